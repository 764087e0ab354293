"""The tables' two histories, of the data and of the key store, and bringing both up to date.

`python -m storage.schema upgrade` is the migrate job. `python -m storage.schema revision data|keys "what changes"`
writes a new migration from what the models say.
"""

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import MetaData, inspect, select

from storage import users
from storage.config import StorageConfig
from storage.database import Database
from storage.errors import ConfigurationError, StorageError
from storage.keys import KeyBase, KeyStore
from storage.models import Base, User
from storage.store import Storage

MIGRATIONS = Path(__file__).resolve().parent.parent / "migrations"
CANNOT = 2


@dataclass(frozen=True)
class History:
    """One line of migrations, and the tables it leads to. Its place in a database is a row of `version_table`."""

    name: str
    folder: Path
    version_table: str
    metadata: MetaData

    @property
    def head(self) -> str:
        """The newest migration's id."""
        return str(ScriptDirectory(str(MIGRATIONS), version_locations=[str(self.folder)]).get_current_head())

    def alembic(self, database: Database) -> Config:
        """Alembic's own configuration, for its commands; migrations/env.py reads the attributes."""
        config = Config(attributes={"history": self, "database": database})
        config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
        config.set_main_option("version_locations", str(self.folder).replace("%", "%%"))
        config.set_main_option("path_separator", "newline")
        return config


DATA = History("data", MIGRATIONS / "versions", "data_version", Base.metadata)
KEYS = History("keys", MIGRATIONS / "key_versions", "key_version", KeyBase.metadata)


def standing(history: History, database: Database) -> str | None:
    """The migration a database stands at in this history, None before the first."""
    with database.engine.connect() as connection:
        options = {"version_table": history.version_table}
        return MigrationContext.configure(connection, opts=options).get_current_revision()


def upgrade(config: StorageConfig) -> None:
    """Bring both databases up to date, and finish erasures that were cut short.

    Raises WrongMasterKey or ConfigurationError with nothing touched.
    """
    keys = KeyStore(config.key_store_url, config.master_key)
    data = Database(config.database_url, foreign_keys=False)
    key_data = Database(config.key_store_url, foreign_keys=False)
    try:
        _require_right_key(keys, data)
        command.upgrade(KEYS.alembic(key_data), "head")
        command.upgrade(DATA.alembic(data), "head")
        keys.check_master_key()
    finally:
        keys.close()
        data.dispose()
        key_data.dispose()
    storage = Storage.open(config)
    users.finish_erasures(storage)
    storage.close()


def require_current(config: StorageConfig) -> None:
    """Raises ConfigurationError unless both databases stand at this release's newest migration."""
    for history, url in ((DATA, config.database_url), (KEYS, config.key_store_url)):
        database = Database(url)
        try:
            at = standing(history, database)
        finally:
            database.dispose()
        if at != history.head:
            raise ConfigurationError(
                f"the {history.name} tables are at migration {at}, this release needs {history.head}: "
                "run `python -m storage.schema upgrade`"
            )


def revise(config: StorageConfig, history: History, message: str) -> None:
    """Write a new migration from the difference between a database at the newest one and the models."""
    database = Database(config.database_url if history is DATA else config.key_store_url, foreign_keys=False)
    try:
        command.revision(history.alembic(database), message, autogenerate=True, rev_id=f"{int(history.head) + 1:04d}")
    finally:
        database.dispose()


def main(arguments: list[str] | None = None) -> int:
    """The command line. 0, or 2 with one line on stderr."""
    parser = argparse.ArgumentParser(prog="python -m storage.schema", description="Bring the tables up to date.")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("upgrade", help="bring the data and the key store up to date")
    revision = commands.add_parser("revision", help="write a new migration from the models")
    revision.add_argument("history", choices=["data", "keys"])
    revision.add_argument("message")
    given = parser.parse_args(arguments)
    try:
        config = StorageConfig.from_env()
        if given.command == "upgrade":
            upgrade(config)
        else:
            revise(config, DATA if given.history == "data" else KEYS, given.message)
    except StorageError as wrong:
        print(f"idiolect: {wrong}", file=sys.stderr)
        return CANNOT
    return 0


def _require_right_key(keys: KeyStore, data: Database) -> None:
    if keys.is_migrated():
        keys.check_master_key()
    if not inspect(data.engine).has_table(User.__tablename__):
        return
    with data.reading() as session:
        someone = session.scalar(select(User.id).limit(1))
    if someone is not None and (not keys.is_migrated() or keys.is_empty()):
        raise ConfigurationError(
            "the database has accounts but the key store has no keys: IDIOLECT_KEY_STORE_URL must name the key store "
            "this data was written with"
        )


if __name__ == "__main__":
    sys.exit(main())
