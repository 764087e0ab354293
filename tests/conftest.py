"""Fixtures that every room's tests share: real servers, and storage on fresh databases."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from storage import schema
from storage.config import MASTER_KEY_BYTES, StorageConfig
from storage.store import Storage
from tests.servers import Valkey, running_valkey

DATA_FILE = "data.db"
KEY_FILE = "keys.db"


@pytest.fixture(scope="session")
def valkey() -> Iterator[Valkey]:
    """Two real Redis-protocol servers on unix sockets: .broker_url for Celery, .cache_url for redis-py."""
    with running_valkey() as servers:
        yield servers


@pytest.fixture(scope="session")
def master_key() -> bytes:
    """A random master key, the same for the whole session."""
    return os.urandom(MASTER_KEY_BYTES)


@pytest.fixture
def storage_config(tmp_path: Path, valkey: Valkey, master_key: bytes) -> StorageConfig:
    """SQLite files that do not exist yet, a random master key, an empty cache."""
    valkey.cache.flush()
    return sqlite_config(tmp_path, valkey.cache_url, master_key)


@pytest.fixture(scope="session")
def migrated_files(tmp_path_factory: pytest.TempPathFactory, valkey: Valkey, master_key: bytes) -> Path:
    """A folder with both SQLite files, migrated and empty: copying them is quicker than migrating anew."""
    folder = tmp_path_factory.mktemp("migrated")
    schema.upgrade(sqlite_config(folder, valkey.cache_url, master_key))
    return folder


@pytest.fixture
def sqlite_storage(storage_config: StorageConfig, migrated_files: Path, tmp_path: Path) -> Iterator[Storage]:
    """Migrated and open, on SQLite."""
    for name in (DATA_FILE, KEY_FILE):
        shutil.copyfile(migrated_files / name, tmp_path / name)
    opened = Storage.open(storage_config)
    yield opened
    opened.close()


@pytest.fixture
def storage(sqlite_storage: Storage) -> Storage:
    """Migrated and open. The tests of storage itself take this on every database."""
    return sqlite_storage


def sqlite_config(folder: Path, cache_url: str, master_key: bytes) -> StorageConfig:
    """Storage in two files of a folder."""
    return StorageConfig(
        database_url=f"sqlite:///{folder / DATA_FILE}",
        key_store_url=f"sqlite:///{folder / KEY_FILE}",
        cache_url=cache_url,
        master_key=master_key,
    )
