"""Runs the migrations of either history. Storage.schema says which, and on what database, in the attributes."""

from alembic import context
from sqlalchemy import Connection

from storage.database import Database
from storage.schema import History

# A migration that would wait long for a lock gives way to the platform that is running, and is tried again later.
POSTGRESQL_LIMITS = ("SET LOCAL lock_timeout = '5s'", "SET LOCAL statement_timeout = '60s'")
ADVISORY_LOCK = 0x1D101EC7  # two migrate jobs at once: the second waits, then finds nothing to do

history: History = context.config.attributes["history"]
database: Database = context.config.attributes["database"]


def take_turn(connection: Connection) -> None:
    """One migration at a time. On SQLite the transaction's write lock does it."""
    if not database.is_sqlite:
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({ADVISORY_LOCK})")
        for limit in POSTGRESQL_LIMITS:
            connection.exec_driver_sql(limit)


def check_references(connection: Connection) -> None:
    """SQLite copies tables with foreign keys off: none may dangle afterwards."""
    if database.is_sqlite and connection.exec_driver_sql("PRAGMA foreign_key_check").first() is not None:
        raise RuntimeError("a migration left rows that refer to nothing; it was rolled back")


with database.engine.connect() as connection, connection.begin():
    take_turn(connection)
    context.configure(
        connection=connection,
        target_metadata=history.metadata,
        version_table=history.version_table,
        render_as_batch=True,  # SQLite alters a table by copying it
        transactional_ddl=True,
    )
    context.run_migrations()
    check_references(connection)
