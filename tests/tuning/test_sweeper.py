"""The sweeper's turns on a real database and a real broker, and what a worker refuses to start with."""

import logging
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from unittest.mock import patch

import pytest
from celery import Celery
from sqlalchemy import update
from sqlalchemy.exc import OperationalError

from storage import clock, guests, maintenance, outbox, tuning_runs, usage, users, workers
from storage.models import OutboxMessage, TuningRun, WorkerHeartbeat
from storage.store import Storage
from tests.factories import claim_run, first_voice, make_run, make_user
from tests.servers import Valkey
from tuning import celery_app as queue
from tuning import sweeper
from tuning.config import TuningConfig
from tuning.sweeper import FORGOTTEN_AFTER_S, LONGEST_INTERVAL_S, Sweeper

WORKER = "here:1"


@dataclass
class Place:
    """A sweeper, and what it sweeps."""

    storage: Storage
    valkey: Valkey
    config: TuningConfig
    alarms: list[str] = field(default_factory=list)

    def sweeper(self) -> Sweeper:
        return Sweeper(self.storage, self.config, WORKER, on_deaf=lambda: self.alarms.append("deaf"))

    def queued(self) -> int:
        with self.valkey.broker.client() as client:
            return int(client.llen(queue.QUEUE))

    def run(self) -> TuningRun:
        user = make_user(self.storage)
        return make_run(self.storage, user, first_voice(self.storage, user))


@pytest.fixture
def place(storage: Storage, valkey: Valkey) -> Iterator[Place]:
    valkey.broker.flush()
    with broker_at(valkey.broker_url):
        yield Place(storage, valkey, TuningConfig(broker_url=valkey.broker_url, lease_s=1))


@contextmanager
def broker_at(url: str) -> Iterator[None]:
    """The queue's app, freshly configured for this broker until the block ends."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("IDIOLECT_BROKER_URL", url)
        fresh = Celery("idiolect", set_as_current=False)
        fresh.add_defaults(queue._settings)
        patch.setattr(queue, "celery_app", fresh)
        yield
        fresh.close()


def test_a_kept_request_is_sent_once_the_broker_is_back(place: Place) -> None:
    place.run()
    sweeper = place.sweeper()
    with broker_at("redis://127.0.0.1:1/0"):
        sweeper.sweep()
    with place.storage.database.session() as session:
        assert len(outbox.unsent(session)) == 1
    sweeper.sweep()
    sweeper.sweep()
    assert place.queued() == 1


def test_a_run_whose_worker_went_silent_is_queued_again_and_sent(place: Place) -> None:
    run = place.run()
    claim_run(place.storage, run, worker="gone:9", lease_s=-1)
    place.sweeper().sweep()
    with place.storage.database.session() as session:
        assert tuning_runs.get_run(session, None, run.id).state == "queued"
    assert place.queued() == 1


def age_messages(place: Place) -> None:
    """Every message was sent long enough ago to have been forgotten."""
    with place.storage.database.session() as session:
        long_ago = clock.now() - 2 * outbox.FORGOTTEN_AFTER_S
        session.execute(update(OutboxMessage).where(OutboxMessage.sent_at.is_not(None)).values(sent_at=long_ago))


def test_a_long_backlog_is_not_announced_again_while_the_queue_holds_it(place: Place) -> None:
    for _ in range(3):
        place.run()
    for _ in range(4):
        place.sweeper().sweep()
        age_messages(place)
    assert place.queued() == 3


def test_while_maintenance_is_on_nothing_is_announced_and_afterwards_everything(place: Place) -> None:
    place.run()
    claim_run(place.storage, place.run(), worker="gone:9", lease_s=-1)
    with place.storage.database.session() as session:
        maintenance.begin(session, "A new disk", "user-chief")
    for _ in range(2):
        place.sweeper().sweep()
        age_messages(place)
    assert place.queued() == 0
    with place.storage.database.session() as session:
        assert {run.state for run in tuning_runs.list_all_runs(session)} == {"queued"}
        assert maintenance.end(session, "user-chief") == 2
    place.sweeper().sweep()
    assert place.queued() == 2


def test_what_the_queue_has_lost_is_sent_again_and_blames_no_worker(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    runs = [place.run() for _ in range(2)]
    place.sweeper().sweep()
    age_messages(place)
    place.valkey.broker.flush()
    with caplog.at_level(logging.WARNING):
        place.sweeper().sweep()
        place.sweeper().sweep()
    assert place.queued() == len(runs)
    assert all(f"run {run.id}: it waits and the queue is empty" in caplog.text for run in runs)
    assert "silent" not in caplog.text


def test_nothing_is_announced_again_while_the_broker_is_away(place: Place) -> None:
    place.run()
    place.sweeper().sweep()
    age_messages(place)
    with broker_at("redis://127.0.0.1:1/0"):
        place.sweeper().sweep()
    with place.storage.database.session() as session:
        assert outbox.unsent(session) == []


def test_a_worker_is_listed_with_its_run_until_it_stops(place: Place) -> None:
    sweeper = place.sweeper()
    sweeper.sweep()
    run = place.run()
    claim_run(place.storage, run, worker=WORKER)
    sweeper.sweep()
    with place.storage.database.session() as session:
        (listed,) = workers.list_workers(session)
    assert (listed.name, listed.run_id) == (WORKER, run.id)
    sweeper.start()
    sweeper.stop()
    with place.storage.database.session() as session:
        assert workers.list_workers(session) == []


def test_a_worker_that_died_long_ago_is_struck_off_the_list(place: Place) -> None:
    with place.storage.database.session() as session:
        workers.beat(session, "gone:9")
        session.execute(update(WorkerHeartbeat).values(last_seen_at=clock.now() - 2 * FORGOTTEN_AFTER_S))
    place.sweeper().sweep()
    with place.storage.database.session() as session:
        assert [known.name for known in workers.list_workers(session)] == [WORKER]


def test_an_idle_worker_that_hears_none_of_the_waiting_messages_raises_the_alarm(place: Place) -> None:
    place.run()
    sweeper = place.sweeper()
    sweeper.sweep()
    sweeper.sweep()
    assert place.alarms == []
    time.sleep(2 * place.config.lease_s + 0.1)
    sweeper.sweep()
    assert place.alarms == ["deaf"]


def test_a_busy_worker_may_let_messages_wait(place: Place) -> None:
    claim_run(place.storage, place.run(), worker=WORKER)
    place.run()
    sweeper = place.sweeper()
    sweeper.sweep()
    time.sleep(2 * place.config.lease_s + 0.1)
    sweeper.sweep()
    assert (place.alarms, place.queued()) == ([], 1)


def test_a_database_that_is_away_is_met_again_at_the_next_turn(
    place: Place, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    place.run()
    place.storage.database.dispose()
    shutil.move(tmp_path / "data.db", tmp_path / "elsewhere.db")
    (tmp_path / "data.db").mkdir()
    with caplog.at_level(logging.WARNING):
        place.sweeper().sweep()
    assert "a sweep was cut short (OperationalError)" in caplog.text
    (tmp_path / "data.db").rmdir()
    shutil.move(tmp_path / "elsewhere.db", tmp_path / "data.db")
    place.sweeper().sweep()
    assert place.queued() == 1


def test_what_was_to_be_kept_for_a_while_is_deleted_from_time_to_time(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = usage.Place(make_user(place.storage).id, "2020-01-01", "key-1", "")
    watching = place.sweeper()

    def left_after_a_turn() -> bool:
        with place.storage.database.session() as session:
            usage.add(session, {old: usage.Counts(1)})
        watching.sweep()
        with place.storage.database.reading() as session:
            return bool(usage.list_usage(session, old.user_id, days=100_000))

    assert [left_after_a_turn(), left_after_a_turn()] == [False, True]
    monkeypatch.setattr(sweeper, "TIDY_EVERY_S", 0.0)
    assert not left_after_a_turn()


def test_a_guest_whose_time_is_over_is_erased_and_nobody_else(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    staying = make_user(place.storage)
    with place.storage.database.session() as session:
        visitors = [guests.welcome(session, place.storage.keys, 5, ()) for _ in range(2)]
        visitors[0].guest_until = clock.now() - 1
    place.sweeper().sweep()
    with place.storage.database.reading() as session:
        left = {user.id for user in users.list_users(session)}
    assert left == {staying.id, visitors[1].id}
    assert place.storage.keys.owners() == left


def without_the_key_store(storage: Storage) -> AbstractContextManager[object]:
    """Until the block ends nothing can be written to the key store."""
    lost = OperationalError("DELETE", {}, Exception("connection lost"))
    return patch.object(storage.keys.database, "session", side_effect=lost)


def test_an_erasure_that_the_key_store_cut_short_is_finished(place: Place) -> None:
    staying, leaving = make_user(place.storage), make_user(place.storage)
    with without_the_key_store(place.storage), pytest.raises(OperationalError):
        users.erase_user(place.storage, leaving.id, leaving.id)
    assert place.storage.keys.holds(leaving.id)
    place.sweeper().sweep()
    assert not place.storage.keys.holds(leaving.id)
    assert place.storage.keys.holds(staying.id)


def test_a_guests_erasure_that_the_key_store_cut_short_is_finished_at_the_next_turn(place: Place) -> None:
    with place.storage.database.session() as session:
        guest = guests.welcome(session, place.storage.keys, 5, ())
        guest.guest_until = clock.now() - 1
    watching = place.sweeper()
    with without_the_key_store(place.storage):
        watching.sweep()
    with place.storage.database.reading() as session:
        assert users.list_users(session) == []
    assert place.storage.keys.holds(guest.id)
    watching.sweep()
    assert not place.storage.keys.holds(guest.id)


def test_turns_are_quicker_with_a_shorter_lease_and_never_rare(place: Place) -> None:
    sweepers = [Sweeper(place.storage, TuningConfig(lease_s=s), WORKER, print) for s in (1, 60, 3600)]
    assert [round(sweeper.every_s, 3) for sweeper in sweepers] == [0.083, 5.0, LONGEST_INTERVAL_S]


@pytest.mark.parametrize(
    ("setting", "value", "said"),
    [
        ("IDIOLECT_BROKER_URL", "", "IDIOLECT_BROKER_URL is not set"),
        ("IDIOLECT_MASTER_KEY", "ab" * 32, "master key"),
        ("IDIOLECT_DATABASE_URL", "sqlite:////no/such/folder/data.db", "/no/such/folder"),
    ],
)
def test_a_worker_that_could_never_work_says_so_in_one_line(place: Place, setting: str, value: str, said: str) -> None:
    place.run()
    config = place.storage.config
    environment = os.environ | {
        "IDIOLECT_DATABASE_URL": config.database_url,
        "IDIOLECT_KEY_STORE_URL": config.key_store_url,
        "IDIOLECT_CACHE_URL": config.cache_url,
        "IDIOLECT_MASTER_KEY": config.master_key.hex(),
        "IDIOLECT_BROKER_URL": place.valkey.broker_url,
    }
    command = (sys.executable, "-m", "celery", "-A", "tuning.celery_app", "worker")
    done = subprocess.run(command, env=environment | {setting: value}, capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr
    (line,) = [line for line in done.stderr.splitlines() if line.strip()]
    assert line.startswith("idiolect: the worker can't start:")
    assert said in line
