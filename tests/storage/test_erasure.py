"""Leaving for good: nothing of the person can be found or read afterwards, and a backup does not bring it back."""

import json
import shutil
import sqlite3
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import text

from storage import (
    api_keys,
    audit,
    checkpoints,
    deliveries,
    idempotency,
    identities,
    notices,
    outbox,
    password_links,
    prefixes,
    quotas,
    reports,
    run_claims,
    samples,
    trials,
    tuning_runs,
    uploads,
    usage,
    users,
    web_sessions,
)
from storage.errors import ConfigurationError, Conflict, KeyErased, LostLease, NotFound
from storage.models import Base, User, Voice
from storage.redis_cache import RedisCache
from storage.store import Storage
from tests import factories
from tests.servers import Valkey

CANARY = "zanzibarquokka"
KEPT = {
    "api_latency",
    "audit_events",
    "base_models",
    "maintenance",
    "receipts",
    "workers",
}  # tables that hold nobody's data


def live(storage: Storage) -> tuple[User, Voice]:
    """A person with something in every table: samples, a version, a running run, a file, a key, a session, a trial."""
    user = factories.make_user(storage, f"{CANARY}@example.org")
    voice = factories.first_voice(storage, user)
    texts = [f"{text_} Signed, {CANARY}." for text_ in factories.SAMPLE_TEXTS]
    factories.add_samples(storage, user, voice, texts)
    version = factories.publish(storage, user, voice, CANARY.encode() * 50)
    held = factories.start_run(storage, factories.make_run(storage, user, voice))
    with storage.database.session() as session:
        reports.add_report(session, storage.keys, user.id, version.run_id, {CANARY: 1.0})
        checkpoints.save_checkpoint(session, storage.keys, held, 1, CANARY.encode())
        api_keys.create_key(session, user.id, "laptop")
        data = json.dumps({"text": texts[0]}).encode()
        uploads.add_upload(session, storage.keys, user_id=user.id, data=data, filename=f"{CANARY}.jsonl")
        web_sessions.start(session, user.id)
        password_links.make_link(session, user.id, actor_id=None, lifetime_s=60)
        deliveries.add(session, user.id, "password_changed", "mail")
        url = f"https://{CANARY}.example/"
        notices.save(session, storage.keys, user.id, by_mail=True, webhook_url=url)
        identities.connect(session, user.id, "https://id.example", "s-1")
        turn = idempotency.begin(session, storage.keys, user.id, CANARY, CANARY.encode())
        assert isinstance(turn, idempotency.Turn)
        idempotency.keep(session, storage.keys, turn, idempotency.Answer(200, CANARY.encode()))
        usage.add(session, {usage.Place(user.id, usage.today(), "key-1", "voice-1"): usage.Counts(1)})
        trials.begin_trial(session, user.id, voice.id, against=None)
        quotas.set_own(session, user.id, {"voices": 7}, "user-chief")
    factories.make_run(storage, user, factories.make_voice(storage, user))
    return user, voice


def rows(storage: Storage) -> dict[str, int]:
    """Rows of each table that can hold somebody's data."""
    names = [table.name for table in Base.metadata.sorted_tables if table.name not in KEPT]
    with storage.database.session() as session:
        return {name: session.execute(text(f"SELECT count(*) FROM {name}")).scalar_one() for name in names}


def test_everything_goes_and_other_people_stay(storage: Storage, valkey: Valkey) -> None:
    bystander = factories.make_user(storage)
    factories.publish(storage, bystander, factories.first_voice(storage, bystander), b"theirs")
    before = rows(storage)
    user, voice = live(storage)
    assert all(count > before[name] for name, count in rows(storage).items())
    users.erase_user(storage, user.id, user.id)
    assert rows(storage) == before
    with valkey.cache.client() as client:
        assert list(client.scan_iter(f"*{user.id}*")) == []
    with pytest.raises(KeyErased):
        storage.keys.data_key(user.id)
    with pytest.raises(NotFound):
        prefixes.load_prefix(storage, user.id, voice.id)
    theirs = prefixes.load_prefix(storage, bystander.id, factories.first_voice(storage, bystander).id)
    assert theirs.data == b"theirs"
    with storage.database.session() as session:
        assert [run_id for _, run_id in outbox.unsent(session)] == []


def test_the_trail_keeps_who_erased_whom_and_nothing_personal(storage: Storage) -> None:
    user, _ = live(storage)
    users.erase_user(storage, user.id, "user-admin")
    with storage.database.session() as session:
        (erased,) = audit.list_events(session, action="user.erased")
        assert (erased.actor_id, erased.subject_id, set(erased.detail)) == ("user-admin", user.id, {"receipt"})
        assert CANARY not in repr([vars(event) for event in audit.list_events(session)])


def test_erasing_twice_or_nobody_is_not_found(storage: Storage) -> None:
    user, _ = live(storage)
    users.erase_user(storage, user.id, None)
    for user_id in (user.id, "user-nobody"):
        with pytest.raises(NotFound):
            users.erase_user(storage, user_id, None)


def test_an_erasure_that_was_cut_short_is_finished_by_the_next(storage: Storage) -> None:
    user, _ = live(storage)
    with storage.database.session() as session:
        session.execute(text("DELETE FROM users"))  # the process died here, before the cache and the key
    users.erase_user(storage, user.id, None)
    assert storage.cache.figures().entries == 0
    with pytest.raises(KeyErased):
        storage.keys.data_key(user.id)


def test_the_next_start_finishes_it_too_and_touches_nobody_else(storage: Storage) -> None:
    user, _ = live(storage)
    bystander = factories.make_user(storage)
    storage.keys.create("user-of-a-later-backup")
    with storage.database.session() as session:
        session.execute(text("DELETE FROM users WHERE id = :id"), {"id": user.id})
        audit.record(session, users.ERASED, subject_id=user.id)
    assert users.finish_erasures(storage) == 1
    assert users.finish_erasures(storage) == 0
    assert storage.keys.owners() == {bystander.id, "user-of-a-later-backup"}
    assert storage.cache.figures().entries == 0


def test_without_the_cache_the_key_still_goes(storage: Storage) -> None:
    user, _ = live(storage)
    users.erase_user(replace(storage, cache=RedisCache("unix:///tmp/idiolect-nobody-is-here.sock")), user.id, None)
    with pytest.raises(KeyErased):
        storage.keys.data_key(user.id)


def test_a_worker_at_work_meanwhile_loses_its_lease_and_nothing_deadlocks(storage: Storage) -> None:
    user = factories.make_user(storage)
    run = factories.make_run(storage, user, factories.first_voice(storage, user))
    held = factories.start_run(storage, run)
    begun, outcomes = threading.Event(), []

    def work() -> None:
        for step in range(100_000):
            try:
                with storage.database.session() as session:
                    run_claims.record_progress(session, held, step, {"step": step})
            except LostLease:
                outcomes.append(step)
                return
            if step == 3:
                begun.set()

    worker = threading.Thread(target=work)
    worker.start()
    assert begun.wait(20)
    users.erase_user(storage, user.id, None)
    worker.join(20)
    assert len(outcomes) == 1
    assert rows(storage)["tuning_events"] == 0


def test_no_file_holds_a_word_of_it_before_or_after(sqlite_storage: Storage, tmp_path: Path) -> None:
    user, _ = live(sqlite_storage)
    address = f"{CANARY}@example.org".encode()

    def found(mark: bytes) -> bool:
        return any(mark in path.read_bytes().replace(address, b"") for path in tmp_path.glob("*.db*"))

    assert not found(CANARY.encode())  # sealed from the first moment, but for the address
    users.erase_user(sqlite_storage, user.id, None)
    sqlite_storage.close()
    for path in tmp_path.glob("*.db*"):
        assert address not in path.read_bytes()
    assert not found(CANARY.encode())


def test_a_backup_of_the_data_holds_no_key_and_brings_nothing_back(sqlite_storage: Storage, tmp_path: Path) -> None:
    user, voice = live(sqlite_storage)
    key = sqlite_storage.keys.data_key(user.id)
    with sqlite3.connect(tmp_path / "keys.db") as connection:
        wrapped = [row[0] for row in connection.execute("SELECT wrapped FROM data_keys")]
    connection.close()
    backup = tmp_path / "backup.db"
    with sqlite3.connect(tmp_path / "data.db") as source, sqlite3.connect(backup) as target:
        source.backup(target)
    source.close()
    target.close()
    assert not any(secret in backup.read_bytes() for secret in (key, *wrapped))
    users.erase_user(sqlite_storage, user.id, None)
    factories.make_user(sqlite_storage)
    sqlite_storage.close()
    for left in tmp_path.glob("data.db*"):
        left.unlink()
    shutil.move(backup, tmp_path / "data.db")
    restored = Storage.open(sqlite_storage.config)
    with pytest.raises(KeyErased):
        prefixes.load_prefix(restored, user.id, voice.id)
    with pytest.raises(KeyErased), restored.database.session() as session:
        samples.list_samples(session, restored.keys, user.id, voice.id)
    with pytest.raises(KeyErased), restored.database.reading() as session:
        reports.read_report(session, restored.keys, user.id, voice.id, 1)
    restored.close()
    with pytest.raises(ConfigurationError):
        Storage.open(replace(sqlite_storage.config, key_store_url=f"sqlite:///{tmp_path / 'new.db'}"))


def test_the_last_active_owner_is_erased_only_when_nobody_else_is_left(storage: Storage) -> None:
    chief, writer = factories.make_user(storage, role="admin"), factories.make_user(storage)
    run = factories.make_run(storage, chief, factories.first_voice(storage, chief))
    with pytest.raises(Conflict, match="only active owner"):
        users.erase_user(storage, chief.id, chief.id)
    with storage.database.session() as session:
        assert tuning_runs.get_run(session, chief.id, run.id).state == "queued"
    assert storage.keys.data_key(chief.id)
    users.erase_user(storage, writer.id, chief.id)
    users.erase_user(storage, chief.id, chief.id)
    with storage.database.session() as session:
        assert not users.has_admin(session)
