"""A worker's hold on a run: claimed once, fenced, and lost cleanly."""

import multiprocessing
import threading
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from storage import audit, checkpoints, outbox, run_claims, tuning_runs
from storage.config import StorageConfig
from storage.errors import Conflict, LostLease
from storage.models import TuningRun
from storage.run_claims import Claim
from storage.store import Storage
from tests import factories

STALE_WRITES: dict[str, Callable[[Storage, Session, Claim], object]] = {
    "start_running": lambda _, session, held: run_claims.start_running(session, held, 999),
    "heartbeat": lambda _, session, held: run_claims.heartbeat(session, held, 999),
    "record_progress": lambda _, session, held: run_claims.record_progress(session, held, 999, {"step": 999}),
    "save_checkpoint": lambda s, session, held: checkpoints.save_checkpoint(session, s.keys, held, 999, b"stale"),
    "load_checkpoint": lambda s, session, held: checkpoints.load_checkpoint(session, s.keys, held),
    "release": lambda _, session, held: run_claims.release(session, held),
    "hold": lambda _, session, held: run_claims.hold(session, held),
    "finish": lambda _, session, held: run_claims.finish(session, held, state="failed", error_code="stale"),
}


@pytest.fixture
def run(storage: Storage) -> TuningRun:
    user = factories.make_user(storage)
    return factories.make_run(storage, user, factories.first_voice(storage, user))


def read(storage: Storage, run: TuningRun) -> TuningRun:
    with storage.database.session() as session:
        return tuning_runs.get_run(session, run.user_id, run.id)


def claim(storage: Storage, run_id: str, worker: str = "w", lease_s: float = 60, max_attempts: int = 3) -> Claim | None:
    with storage.database.session() as session:
        return run_claims.claim(session, run_id, worker=worker, lease_s=lease_s, max_attempts=max_attempts)


def expire(storage: Storage) -> list[str]:
    with storage.database.session() as session:
        return run_claims.expire_leases(session)


def snapshot(storage: Storage) -> dict[str, list[tuple[object, ...]]]:
    """Every row that a worker may write."""
    names = ("tuning_runs", "tuning_events", "tuning_checkpoints", "prefix_versions", "voices", "outbox")
    with storage.database.session() as session:
        return {name: sorted(map(tuple, session.execute(text(f"SELECT * FROM {name}"))), key=str) for name in names}


def test_a_claim_carries_what_the_worker_needs(storage: Storage, run: TuningRun) -> None:
    held = claim(storage, run.id)
    assert held == Claim(run.id, run.user_id, run.voice_id, 1, tuple(run.sample_ids), run.seed, 1)
    now = read(storage, run)
    assert (now.state, now.worker, now.fence, now.attempts) == ("leased", "w", 1, 1)
    assert now.started_at is not None
    assert now.lease_until is not None
    assert 50 < now.lease_until - now.started_at < 70


def test_a_run_is_claimed_once(storage: Storage, run: TuningRun) -> None:
    assert claim(storage, run.id) is not None
    assert claim(storage, run.id) is None
    assert claim(storage, "run-unknown") is None


def test_many_threads_that_claim_at_once_get_one_claim(storage: Storage, run: TuningRun) -> None:
    barrier, claims = threading.Barrier(8), []

    def take(number: int) -> None:
        barrier.wait()
        claims.append(claim(storage, run.id, f"w{number}"))

    threads = [threading.Thread(target=take, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(claims) == 8
    assert len([held for held in claims if held]) == 1


def claim_all(config: StorageConfig, run_ids: list[str], worker: str) -> list[tuple[str, int]]:
    """In a process of its own: claim whatever there is."""
    storage = Storage.open(config)
    found = [claim(storage, run_id, worker) for run_id in run_ids]
    storage.close()
    return [(held.run_id, held.fence) for held in found if held]


def test_processes_that_claim_at_once_share_the_runs_without_overlap(storage: Storage) -> None:
    runs = []
    for _ in range(6):
        user = factories.make_user(storage)
        runs.append(factories.make_run(storage, user, factories.first_voice(storage, user)).id)
    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as pool:
        futures = [pool.submit(claim_all, storage.config, runs, f"w{number}") for number in range(2)]
        claimed = [found for future in futures for found in future.result()]
    assert sorted(claimed) == sorted((run_id, 1) for run_id in runs)


def test_a_run_goes_through_its_states(storage: Storage, run: TuningRun) -> None:
    held = factories.claim_run(storage, run)
    with storage.database.session() as session:
        run_claims.start_running(session, held, 40)
        run_claims.record_progress(session, held, 3, {"step": 3, "train_loss": 2.0})
        run_claims.record_progress(session, held, 3, {}, "Went on from step 2", level="warn")
    now = read(storage, run)
    assert (now.state, now.step, now.max_steps) == ("running", 3, 40)
    with storage.database.session() as session:
        run_claims.finish(session, held, state="succeeded", figures={"reason": "it would not have helped"})
    now = read(storage, run)
    assert (now.state, now.published, now.lease_until) == ("succeeded", False, None)
    assert now.figures == {"reason": "it would not have helped"}
    assert now.finished_at is not None
    with storage.database.session() as session:
        events = tuning_runs.list_events(session, run.user_id, run.id)
        trail = [event.action for event in audit.list_events(session, subject_id=run.id)]
    assert [(event.level, event.message) for event in events][2:] == [
        ("info", "Step 3"),
        ("warn", "Went on from step 2"),
        ("info", "Done, and not published: it would not have helped."),
    ]
    assert trail == ["run.succeeded", "run.requested"]


def test_values_that_json_cannot_say_become_null(storage: Storage, run: TuningRun) -> None:
    held = factories.start_run(storage, run)
    with storage.database.session() as session:
        run_claims.record_progress(session, held, 1, {"train_loss": float("nan"), "step": 1})
        run_claims.finish(session, held, state="failed", figures={"steps": 1, "best": float("inf")})
        event = tuning_runs.list_events(session, run.user_id, run.id)[-2]
    assert event.data == {"train_loss": None, "step": 1}
    assert read(storage, run).figures == {"steps": 1, "best": None}


def test_a_failure_keeps_its_code_and_its_sentence(storage: Storage, run: TuningRun) -> None:
    held = factories.start_run(storage, run)
    with storage.database.session() as session:
        run_claims.finish(session, held, state="failed", error_code="too_little_text", error_message="Add 40 words.")
        event = tuning_runs.list_events(session, run.user_id, run.id)[-1]
    now = read(storage, run)
    assert (now.state, now.error_code, now.error_message) == ("failed", "too_little_text", "Add 40 words.")
    assert (event.level, event.message) == ("error", "Add 40 words.")


def test_a_heartbeat_keeps_the_lease(storage: Storage, run: TuningRun) -> None:
    held = factories.claim_run(storage, run, lease_s=0.05)
    with storage.database.session() as session:
        run_claims.heartbeat(session, held, 60)
    time.sleep(0.1)
    assert expire(storage) == []
    assert claim(storage, run.id) is None


def test_a_lease_that_ran_out_is_claimed_under_a_new_fence(storage: Storage, run: TuningRun) -> None:
    first = factories.claim_run(storage, run, lease_s=-1)
    second = claim(storage, run.id, "w2")
    assert second is not None
    assert (second.fence, second.attempts) == (first.fence + 1, 2)
    with storage.database.session() as session:
        assert "attempt 2" in tuning_runs.list_events(session, run.user_id, run.id)[-1].message


@pytest.mark.parametrize("stale_write", STALE_WRITES.values(), ids=STALE_WRITES.keys())
@pytest.mark.parametrize("lost_to", ["another worker", "the queue", "its end", "deletion"])
def test_a_stale_write_raises_and_writes_nothing(
    storage: Storage, run: TuningRun, lost_to: str, stale_write: Callable[[Storage, Session, Claim], object]
) -> None:
    stale = factories.claim_run(storage, run, lease_s=-1)
    match lost_to:
        case "another worker":
            factories.start_run(storage, run)
        case "the queue":
            assert expire(storage) == [run.id]
        case "its end":
            with storage.database.session() as session:
                run_claims.finish(session, stale, state="succeeded")
        case "deletion":
            with storage.database.session() as session:
                session.execute(text("DELETE FROM tuning_runs"))
    before = snapshot(storage)
    with storage.database.session() as session, pytest.raises(LostLease, match="stop, write nothing"):
        stale_write(storage, session, stale)
    assert snapshot(storage) == before


def test_silent_workers_runs_go_back_to_the_queue_with_a_message(storage: Storage, run: TuningRun) -> None:
    factories.start_run(storage, run, lease_s=-1)
    with storage.database.session() as session:
        assert outbox.unsent(session) == []
    assert expire(storage) == [run.id]
    assert expire(storage) == []
    now = read(storage, run)
    assert (now.state, now.worker, now.lease_until) == ("queued", None, None)
    with storage.database.session() as session:
        assert [run_id for _, run_id in outbox.unsent(session)] == [run.id]
        event = tuning_runs.list_events(session, run.user_id, run.id)[-1]
    assert (event.level, event.message) == ("warn", "The worker went silent; the run waits for another one.")
    again = claim(storage, run.id)
    assert again is not None
    assert again.fence == 2


def test_a_run_that_kills_its_workers_is_given_up(storage: Storage, run: TuningRun) -> None:
    for attempt in (1, 2):
        held = claim(storage, run.id, lease_s=-1, max_attempts=2)
        assert held is not None
        assert held.attempts == attempt
    assert claim(storage, run.id, max_attempts=2) is None
    now = read(storage, run)
    assert (now.state, now.error_code) == ("failed", "gave_up")
    assert "start it again" in (now.error_message or "")


def test_a_worker_that_stops_gives_its_run_back_uncounted(storage: Storage, run: TuningRun) -> None:
    for round_ in range(1, 5):
        held = claim(storage, run.id, max_attempts=1)
        assert held is not None
        assert (held.attempts, held.fence) == (1, round_)
        with storage.database.session() as session:
            checkpoints.save_checkpoint(session, storage.keys, held, round_, b"state")
            run_claims.release(session, held)
            assert [run_id for _, run_id in outbox.unsent(session)] == [run.id]
    last = claim(storage, run.id, max_attempts=1)
    assert last is not None
    with storage.database.session() as session:
        assert checkpoints.load_checkpoint(session, storage.keys, last) == b"state"


def test_an_administrator_takes_a_run_back_from_a_worker_that_can_write_no_more(
    storage: Storage, run: TuningRun
) -> None:
    held = claim(storage, run.id)
    assert held is not None
    with storage.database.session() as session:
        assert run_claims.rescue(session, run.id, "user-chief")
    assert (read(storage, run).state, read(storage, run).worker) == ("queued", None)
    with pytest.raises(LostLease), storage.database.session() as session:
        run_claims.record_progress(session, held, 10, {"step": 10})
    with storage.database.session() as session:
        (event,) = audit.list_events(session, action="run.rescued")
        assert (event.actor_id, event.subject_id) == ("user-chief", run.id)
        assert [run_id for _, run_id in outbox.unsent(session)] == [run.id]
    again = claim(storage, run.id)
    assert again is not None
    assert (again.attempts, again.fence) == (2, held.fence + 1)


def test_a_run_that_was_to_be_paused_is_put_aside_when_it_is_taken_back(storage: Storage, run: TuningRun) -> None:
    claim(storage, run.id)
    with storage.database.session() as session:
        tuning_runs.pause_run(session, user_id=run.user_id, run_id=run.id, actor_id=run.user_id)
    with storage.database.session() as session:
        assert not run_claims.rescue(session, run.id, "user-chief")
    assert read(storage, run).state == "paused"


def test_a_run_that_no_worker_holds_is_not_taken_back(storage: Storage, run: TuningRun) -> None:
    with pytest.raises(Conflict, match="nothing to take back"), storage.database.session() as session:
        run_claims.rescue(session, run.id, "user-chief")
    with storage.database.session() as session:
        assert audit.list_events(session, action="run.rescued") == []


def test_a_run_says_which_base_model_it_is_trained_on(storage: Storage, run: TuningRun) -> None:
    held = claim(storage, run.id)
    assert held is not None
    assert read(storage, run).base_fingerprint is None
    with storage.database.session() as session:
        run_claims.start_running(session, held, 10, base_fingerprint="a" * 64)
    assert read(storage, run).base_fingerprint == "a" * 64
