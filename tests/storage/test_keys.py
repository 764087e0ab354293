"""The key store: wrapped keys, the sentinel of the master key, and erasure that takes hold everywhere."""

import os
import sqlite3
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import IntegrityError as RowExists

from storage import keys as key_module
from storage import schema
from storage.config import StorageConfig
from storage.errors import ConfigurationError, IntegrityError, KeyErased, WrongMasterKey
from storage.keys import DataKey, KeyStore, Sentinel
from storage.store import Storage


def second_process(storage: Storage) -> KeyStore:
    """The same store as another process has it."""
    return KeyStore(storage.config.key_store_url, storage.config.master_key)


def test_each_user_has_a_key_that_stays_the_same(storage: Storage) -> None:
    storage.keys.create("user-a")
    storage.keys.create("user-b")
    again = second_process(storage)
    assert len(storage.keys.data_key("user-a")) == 32
    assert storage.keys.data_key("user-a") == storage.keys.data_key("user-a") == again.data_key("user-a")
    assert storage.keys.data_key("user-a") != storage.keys.data_key("user-b")
    again.close()


def test_keys_are_stored_wrapped_and_bound_to_their_owner(storage: Storage) -> None:
    for user_id in ("user-a", "user-b"):
        storage.keys.create(user_id)
    with storage.keys.database.session() as session:
        rows = {row.user_id: row for row in session.scalars(select(DataKey))}
        assert storage.keys.data_key("user-a") not in rows["user-a"].wrapped
        rows["user-a"].wrapped, rows["user-b"].wrapped = rows["user-b"].wrapped, rows["user-a"].wrapped
    swapped = second_process(storage)
    with pytest.raises(IntegrityError):
        swapped.data_key("user-a")
    swapped.close()


def test_many_keys_are_made_together_or_none_is(storage: Storage) -> None:
    storage.keys.create_all(f"user-{number}" for number in range(3))
    assert len({storage.keys.data_key(f"user-{number}") for number in range(3)}) == 3
    with pytest.raises(RowExists):
        storage.keys.create_all(["user-new", "user-0"])
    with pytest.raises(KeyErased):
        storage.keys.data_key("user-new")


def test_an_erased_key_is_gone(storage: Storage) -> None:
    storage.keys.create("user-a")
    storage.keys.data_key("user-a")
    assert storage.keys.erase("user-a") is True
    assert storage.keys.erase("user-a") is False
    with pytest.raises(KeyErased):
        storage.keys.data_key("user-a")


def test_an_erasure_takes_hold_in_other_processes_when_their_copy_runs_out(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert key_module.CACHE_SECONDS <= 30
    monkeypatch.setattr(key_module, "CACHE_SECONDS", 0.0)
    other = second_process(storage)
    storage.keys.create("user-a")
    other.data_key("user-a")
    storage.keys.erase("user-a")
    with pytest.raises(KeyErased):
        other.data_key("user-a")
    other.close()


def test_few_keys_are_held_in_memory(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(key_module, "CACHE_KEYS", 2)
    for name in "abcd":
        storage.keys.create(f"user-{name}")
        storage.keys.data_key(f"user-{name}")
    assert len(storage.keys._cached) == 2


def test_the_first_master_key_is_kept_and_another_refused(fresh_config: StorageConfig) -> None:
    schema.upgrade(fresh_config)
    right = KeyStore(fresh_config.key_store_url, fresh_config.master_key)
    right.check_master_key()
    wrong = KeyStore(fresh_config.key_store_url, os.urandom(32))
    with pytest.raises(WrongMasterKey, match="IDIOLECT_MASTER_KEY"):
        wrong.check_master_key()
    right.check_master_key()
    right.close()
    wrong.close()


def test_of_two_that_start_at_once_with_different_keys_one_is_refused(fresh_config: StorageConfig) -> None:
    schema.upgrade(fresh_config)
    stores = [KeyStore(fresh_config.key_store_url, os.urandom(32)) for _ in range(4)]
    with stores[0].database.session() as session:
        session.execute(text("DELETE FROM sentinel"))
    barrier, accepted = threading.Barrier(4), []

    def check(store: KeyStore) -> None:
        barrier.wait()
        try:
            store.check_master_key()
            accepted.append(store)
        except WrongMasterKey:
            return

    threads = [threading.Thread(target=check, args=(store,)) for store in stores]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for store in stores:
        store.close()
    assert len(accepted) == 1


def test_a_store_without_tables_says_what_to_run(fresh_config: StorageConfig) -> None:
    store = KeyStore(fresh_config.key_store_url, fresh_config.master_key)
    with pytest.raises(ConfigurationError, match=r"storage\.schema upgrade"):
        store.check_master_key()
    store.close()


def test_keys_without_a_sentinel_are_not_adopted(storage: Storage) -> None:
    storage.keys.create("user-a")
    with storage.keys.database.session() as session:
        sentinel = session.scalar(select(Sentinel.sealed))
        session.execute(text("DELETE FROM sentinel"))
    with pytest.raises(WrongMasterKey, match="sentinel"):
        storage.keys.check_master_key()
    with storage.keys.database.session() as session:
        session.add(Sentinel(id=1, sealed=sentinel))


def test_an_erased_key_leaves_the_files_too(sqlite_storage: Storage, tmp_path: Path) -> None:
    sqlite_storage.keys.create("user-a")
    with sqlite3.connect(tmp_path / "keys.db") as connection:
        (wrapped,) = connection.execute("SELECT wrapped FROM data_keys").fetchone()
    connection.close()
    assert any(wrapped in path.read_bytes() for path in tmp_path.glob("keys.db*"))
    sqlite_storage.keys.erase("user-a")
    assert not any(wrapped in path.read_bytes() for path in tmp_path.glob("keys.db*"))


def test_storage_refuses_a_wrong_master_key_and_touches_nothing(sqlite_storage: Storage, tmp_path: Path) -> None:
    sqlite_storage.close()
    before = {path.name: path.read_bytes() for path in tmp_path.glob("*.db")}
    wrong = replace(sqlite_storage.config, master_key=os.urandom(32))
    with pytest.raises(WrongMasterKey):
        Storage.open(wrong)
    with pytest.raises(WrongMasterKey):
        schema.upgrade(wrong)
    assert {path.name: path.read_bytes() for path in tmp_path.glob("*.db")} == before
