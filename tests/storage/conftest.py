"""Here `storage` is real SQLite, then real PostgreSQL: every test that takes it runs on both."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
from sqlalchemy import text

from storage import schema
from storage.config import StorageConfig
from storage.database import Database
from storage.keys import DataKey
from storage.store import Storage
from tests.servers import Valkey
from tests.storage.postgresql import PostgreSQLServer, running_postgresql

ROOTS = (
    "users",
    "receipts",
    "base_models",
    "workers",
    "maintenance",
    "api_latency",
)  # other tables' rows go with their user


@pytest.fixture(scope="session")
def postgresql() -> Iterator[PostgreSQLServer]:
    """One real server."""
    with running_postgresql() as server:
        yield server


@pytest.fixture(scope="session")
def postgresql_storage(postgresql: PostgreSQLServer, valkey: Valkey, master_key: bytes) -> Iterator[Storage]:
    """Storage on it, migrated and opened once; each test empties it."""
    postgresql.create("idiolect_data", "idiolect_keys")
    urls = (postgresql.url("idiolect_data"), postgresql.url("idiolect_keys"))
    config = StorageConfig(*urls, valkey.cache_url, master_key)
    schema.upgrade(config)
    opened = Storage.open(config)
    yield opened
    opened.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def storage(request: pytest.FixtureRequest, valkey: Valkey) -> Iterator[Storage]:
    """Migrated, empty and open, on each database."""
    if request.param == "sqlite":
        yield request.getfixturevalue("sqlite_storage")
        return
    valkey.cache.flush()
    opened: Storage = request.getfixturevalue("postgresql_storage")
    yield opened
    empty(opened.database, *ROOTS)
    forget_the_trail(opened.database)
    empty(opened.keys.database, DataKey.__tablename__)
    opened.keys.close()  # forgets the keys it holds


@pytest.fixture(params=["sqlite", "postgresql"])
def fresh_config(request: pytest.FixtureRequest, storage_config: StorageConfig) -> StorageConfig:
    """Databases with nothing in them, of each kind."""
    if request.param == "sqlite":
        return storage_config
    server: PostgreSQLServer = request.getfixturevalue("postgresql")
    server.create("fresh_data", "fresh_keys")
    return replace(storage_config, database_url=server.url("fresh_data"), key_store_url=server.url("fresh_keys"))


def forget_the_trail(database: Database) -> None:
    """What only a superuser of PostgreSQL can, and nothing of the platform ever does."""
    with database.session() as session:
        session.execute(text("SET LOCAL session_replication_role = replica"))
        session.execute(text("DELETE FROM audit_events"))


def empty(database: Database, *tables: str) -> None:
    """Remove every row of these tables, and what refers to them."""
    with database.session() as session:
        for table in tables:
            session.execute(text(f"DELETE FROM {table}"))
