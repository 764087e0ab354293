"""A relational database as the rest of storage uses it: SQLite or PostgreSQL behind `session()`.

Owns connections and transactions; knows no table. Open a Database after forking, never before: connections must not
be shared between processes.
"""

import sqlite3
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import psycopg
from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import ArgumentError
from sqlalchemy.orm import Session
from sqlalchemy.orm.exc import StaleDataError
from sqlalchemy.pool import ConnectionPoolEntry

from storage.errors import ConfigurationError, NotFound

BUSY_TIMEOUT_MS = 5000  # how long SQLite waits for another process's transaction
CONNECT_TIMEOUT_S = 5
LOCK_TIMEOUT_MS = 10_000  # PostgreSQL: no request waits longer than this for another's row
_BEGIN = "sqlite_begin"
_RETRY_S = 0.02
_GONE = "it was deleted in the same moment"


class Database:
    """One database and its pool of connections. Safe to share between threads."""

    def __init__(self, url: str, *, foreign_keys: bool = True, info: Mapping[str, object] | None = None) -> None:
        """url: sqlite:///path or postgresql://… (psycopg 3). foreign_keys: off only for migrations, where SQLite has to
        copy whole tables. info: what every session carries in its `info`. Raises ConfigurationError for any other kind
        of URL."""
        self.url = parse_url(url)
        self._info = dict(info or {})
        self.engine = _sqlite(self.url, foreign_keys) if self.is_sqlite else _postgresql(self.url)
        event.listen(self.engine, "handle_error", _refuse_what_cannot_be_kept)
        if foreign_keys:
            event.listen(self.engine, "handle_error", _miss_what_it_belongs_to)

    @property
    def is_sqlite(self) -> bool:
        """SQLite, not PostgreSQL."""
        return self.url.get_backend_name() == "sqlite"

    @contextmanager
    def session(self) -> Iterator[Session]:
        """One transaction: committed at the end, rolled back on any error. On SQLite it holds the write lock from its
        first statement, so keep it short and do slow work outside. Raises NotFound where another transaction has
        deleted in the same moment what this one changes or adds to."""
        with self._transaction(self.engine) as session:
            yield session

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """One read-only transaction, which never waits for a writer on SQLite. For paths that every request takes."""
        with self._transaction(self._reader) as session:
            yield session

    @contextmanager
    def _transaction(self, engine: Engine) -> Iterator[Session]:
        with Session(
            engine, expire_on_commit=False, info=self._info
        ) as session:  # closing it rolls back what is not committed
            try:
                yield session
                session.commit()
            except StaleDataError as gone:
                raise NotFound(_GONE) from gone

    @property
    def _reader(self) -> Engine:
        if self.is_sqlite:
            return self.engine.execution_options(**{_BEGIN: "DEFERRED"})
        return self.engine.execution_options(postgresql_readonly=True)

    def scrub(self) -> None:
        """Let deleted rows leave the disk too: SQLite's write-ahead log is folded in and emptied, waiting at most 5
        seconds for readers. PostgreSQL's own vacuum does it there."""
        if self.is_sqlite:
            with closing(self.engine.raw_connection()) as connection:
                connection.cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def dispose(self) -> None:
        """Close every connection."""
        self.engine.dispose()


def parse_url(url: str) -> URL:
    """The URL with the driver that storage uses. Raises ConfigurationError without repeating it: it may hold a
    password."""
    try:
        parsed = make_url(url)
    except ArgumentError as wrong:
        raise ConfigurationError("a database URL must look like sqlite:////path or postgresql://host/name") from wrong
    if parsed.get_backend_name() == "sqlite":
        if not parsed.database or parsed.database == ":memory:":
            raise ConfigurationError("SQLite must be a file (sqlite:////path): several processes share it")
        return parsed.set(drivername="sqlite")
    if parsed.drivername in ("postgresql", "postgres", "postgresql+psycopg"):
        return parsed.set(drivername="postgresql+psycopg")
    raise ConfigurationError(f"{parsed.drivername} is not supported: use sqlite:////path or postgresql://host/name")


def _refuse_what_cannot_be_kept(failure: ExceptionContext) -> None:
    """Ids come from outside. One with a NUL, half a character or a number beyond the column names nothing."""
    wrong = failure.original_exception
    unsendable = isinstance(wrong, psycopg.DataError) and wrong.sqlstate is None
    if unsendable or isinstance(wrong, UnicodeEncodeError | OverflowError | psycopg.errors.NumericValueOutOfRange):
        raise NotFound("nothing has such a name or number") from wrong


def _miss_what_it_belongs_to(failure: ExceptionContext) -> None:
    """A row of somebody or something that was deleted in the same moment; deleting takes along what belongs to it."""
    wrong = failure.original_exception
    code = wrong.sqlite_errorcode if isinstance(wrong, sqlite3.IntegrityError) else None
    if code == sqlite3.SQLITE_CONSTRAINT_FOREIGNKEY or isinstance(wrong, psycopg.errors.ForeignKeyViolation):
        raise NotFound(_GONE) from wrong


def _sqlite(url: URL, foreign_keys: bool) -> Engine:
    folder = Path(str(url.database)).parent
    if not folder.is_dir():
        raise ConfigurationError(f"the folder {folder} of the SQLite database does not exist")
    engine = create_engine(url, hide_parameters=True, connect_args={"timeout": BUSY_TIMEOUT_MS / 1000})
    settings = (
        f"PRAGMA foreign_keys = {'ON' if foreign_keys else 'OFF'}",
        "PRAGMA secure_delete = ON",  # what is erased is overwritten, not only unlinked
    )

    @event.listens_for(engine, "connect")
    def _configure(connection: DBAPIConnection, _entry: ConnectionPoolEntry) -> None:
        connection.isolation_level = None  # transactions begin where SQLAlchemy says so, not where sqlite3 guesses
        _write_ahead(connection)
        for setting in settings:
            connection.cursor().execute(setting)

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        # A deferred transaction that turns from reading to writing fails at once when another has written in between.
        connection.exec_driver_sql(f"BEGIN {connection.get_execution_options().get(_BEGIN, 'IMMEDIATE')}")

    return engine


def _write_ahead(connection: DBAPIConnection) -> None:
    """Switch to the write-ahead log, once in a file's life. The switch does not always wait for others as everything
    else does: two processes that open a new file at once would fail at once, so it is tried until the busy time-out."""
    until = time.monotonic() + BUSY_TIMEOUT_MS / 1000
    while True:
        try:
            connection.cursor().execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as locked:
            if locked.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > until:
                raise
            time.sleep(_RETRY_S)
        else:
            return


def _postgresql(url: URL) -> Engine:
    settings: dict[str, Any] = {"connect_timeout": CONNECT_TIMEOUT_S, "options": f"-c lock_timeout={LOCK_TIMEOUT_MS}"}
    if "options" in url.query:
        del settings["options"]
    return create_engine(
        url, hide_parameters=True, pool_size=10, max_overflow=20, pool_pre_ping=True, connect_args=settings
    )
