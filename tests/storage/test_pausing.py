"""Pausing and resuming: who may do what to a run when, and which of two at the same moment wins."""

import threading
from collections.abc import Callable

import pytest
from sqlalchemy import update

from storage import audit, checkpoints, outbox, prefixes, run_claims, tuning_runs
from storage.errors import Conflict, LostLease, NotFound, RunPaused
from storage.models import TuningCheckpoint, TuningRun
from storage.run_claims import Claim
from storage.store import Storage
from tests import factories


@pytest.fixture
def run(storage: Storage) -> TuningRun:
    user = factories.make_user(storage)
    return factories.make_run(storage, user, factories.first_voice(storage, user))


def read(storage: Storage, run: TuningRun) -> TuningRun:
    with storage.database.session() as session:
        return tuning_runs.get_run(session, run.user_id, run.id)


def pause(storage: Storage, run: TuningRun) -> TuningRun:
    with storage.database.session() as session:
        return tuning_runs.pause_run(session, user_id=run.user_id, run_id=run.id, actor_id=run.user_id)


def resume(storage: Storage, run: TuningRun) -> bool:
    with storage.database.session() as session:
        return tuning_runs.resume_run(session, user_id=run.user_id, run_id=run.id, actor_id=run.user_id)[1]


def cancel(storage: Storage, run: TuningRun) -> TuningRun:
    with storage.database.session() as session:
        return tuning_runs.cancel_run(session, user_id=run.user_id, run_id=run.id, actor_id=run.user_id)


def claim(storage: Storage, run: TuningRun) -> Claim | None:
    with storage.database.session() as session:
        return run_claims.claim(session, run.id, worker="w", lease_s=60, max_attempts=3)


def stop(storage: Storage, held: Claim) -> None:
    with storage.database.session() as session:
        run_claims.stop(session, held)


def unsent(storage: Storage) -> list[str]:
    with storage.database.session() as session:
        return [run_id for _, run_id in outbox.unsent(session)]


def trail(storage: Storage, run: TuningRun) -> list[str]:
    with storage.database.session() as session:
        return [event.action for event in audit.list_events(session, subject_id=run.id)]


def publish(storage: Storage, held: Claim) -> None:
    prefixes.publish_prefix(
        storage, held, data=b"bytes", base_fingerprint=factories.FINGERPRINT, num_virtual_tokens=4, figures={}
    )


def test_a_waiting_run_is_paused_at_once_and_claimed_by_nobody_until_it_is_resumed(
    storage: Storage, run: TuningRun
) -> None:
    assert pause(storage, run).state == "paused"
    assert pause(storage, run).state == "paused", "asked twice"
    assert claim(storage, run) is None
    with storage.database.session() as session:
        assert run_claims.claim_next(session, worker="w", lease_s=60, max_attempts=3) is None
        assert outbox.remind(session) == []
        assert tuning_runs.queue_position(session, run.id) is None
        again, created = tuning_runs.request_run(session, user_id=run.user_id, voice_id=run.voice_id)
    assert (again.id, created) == (run.id, False)
    assert unsent(storage) == []
    assert resume(storage, run)
    assert unsent(storage) == [run.id]
    assert not resume(storage, run), "it waits already"
    held = claim(storage, run)
    assert held is not None
    assert held.attempts == 1
    assert trail(storage, run) == ["run.resumed", "run.paused", "run.requested"]


def test_a_running_run_is_put_aside_by_its_worker_with_its_checkpoint_and_uncounted(
    storage: Storage, run: TuningRun
) -> None:
    held = factories.start_run(storage, run)
    with storage.database.session() as session:
        checkpoints.save_checkpoint(session, storage.keys, held, 7, b"state")
    asked = pause(storage, run)
    assert (asked.state, asked.pause_requested) == ("running", True)
    assert pause(storage, run).pause_requested
    with storage.database.session() as session:
        assert run_claims.heartbeat(session, held, 60) == "pause"
    stop(storage, held)
    paused = read(storage, run)
    assert (paused.state, paused.lease_until, paused.worker, paused.attempts) == ("paused", None, None, 0)
    assert paused.pause_requested is False
    with pytest.raises(LostLease):
        stop(storage, held)
    resume(storage, run)
    again = claim(storage, run)
    assert again is not None
    assert (again.attempts, again.fence) == (1, held.fence + 1)
    with storage.database.session() as session:
        assert checkpoints.load_checkpoint(session, storage.keys, again) == b"state"
    assert trail(storage, run) == ["run.resumed", "run.paused", "run.pause_requested", "run.requested"]


def test_a_pause_that_was_taken_back_before_the_worker_heeded_it_changes_nothing(
    storage: Storage, run: TuningRun
) -> None:
    held = factories.start_run(storage, run)
    pause(storage, run)
    assert not resume(storage, run)
    with storage.database.session() as session:
        assert run_claims.heartbeat(session, held, 60) is None
    stop(storage, held)  # the worker had heard of it before
    assert (read(storage, run).state, read(storage, run).attempts) == ("queued", 0)
    assert unsent(storage) == [run.id]


@pytest.mark.parametrize("give_back", [run_claims.release, run_claims.set_apart])
def test_a_run_that_is_given_back_while_it_should_pause_is_paused(
    storage: Storage, run: TuningRun, give_back: Callable[..., None]
) -> None:
    held = factories.start_run(storage, run)
    pause(storage, run)
    with storage.database.session() as session:
        give_back(session, held)
    assert read(storage, run).state == "paused"
    assert unsent(storage) == []


def test_a_run_that_should_pause_and_whose_worker_died_is_paused_by_the_sweeper(
    storage: Storage, run: TuningRun
) -> None:
    factories.start_run(storage, run, lease_s=-1)
    pause(storage, run)
    with storage.database.session() as session:
        assert run_claims.expire_leases(session) == []
    assert (read(storage, run).state, read(storage, run).pause_requested) == ("paused", False)
    assert read(storage, run).attempts == 1, "the death counts"
    assert unsent(storage) == []


def test_and_by_a_worker_that_comes_before_the_sweeper(storage: Storage, run: TuningRun) -> None:
    factories.start_run(storage, run, lease_s=-1)
    pause(storage, run)
    assert claim(storage, run) is None
    assert (read(storage, run).state, read(storage, run).attempts) == ("paused", 1)


def test_a_paused_run_can_be_cancelled_and_its_checkpoint_goes(storage: Storage, run: TuningRun) -> None:
    held = factories.start_run(storage, run)
    with storage.database.session() as session:
        checkpoints.save_checkpoint(session, storage.keys, held, 7, b"state")
    pause(storage, run)
    stop(storage, held)
    assert cancel(storage, run).state == "cancelled"
    with storage.database.session() as session:
        assert session.get(TuningCheckpoint, run.id) is None


def test_a_cancel_takes_the_place_of_a_pause(storage: Storage, run: TuningRun) -> None:
    held = factories.start_run(storage, run)
    pause(storage, run)
    cancelling = cancel(storage, run)
    assert (cancelling.cancel_requested, cancelling.pause_requested) == (True, False)
    for late in (pause, resume):
        with pytest.raises(Conflict, match="being cancelled"):
            late(storage, run)
    with storage.database.session() as session:
        assert run_claims.heartbeat(session, held, 60) == "cancel"
    stop(storage, held)  # also of a worker that had heard of the pause
    assert read(storage, run).state == "cancelled"
    for late in (pause, resume):
        with pytest.raises(Conflict, match=r"ended already \(cancelled\)"):
            late(storage, run)


def test_a_pause_before_the_publication_wins_and_the_run_publishes_later(storage: Storage, run: TuningRun) -> None:
    held = factories.start_run(storage, run)
    pause(storage, run)
    with pytest.raises(RunPaused):
        publish(storage, held)
    assert (read(storage, run).state, read(storage, run).published) == ("paused", None)
    resume(storage, run)
    publish(storage, factories.start_run(storage, run))
    assert read(storage, run).published is True


def test_a_run_that_ends_otherwise_is_not_paused_any_more(storage: Storage, run: TuningRun) -> None:
    held = factories.start_run(storage, run)
    pause(storage, run)
    with storage.database.session() as session:
        run_claims.finish(session, held, state="failed", error_code="too_little_text", error_message="Add 40 words.")
    assert (read(storage, run).state, read(storage, run).pause_requested) == ("failed", False)


@pytest.mark.parametrize("rival", ["publish", "cancel"])
def test_of_a_pause_and_another_at_the_same_moment_one_wins(storage: Storage, rival: str) -> None:
    user = factories.make_user(storage)
    voice = factories.first_voice(storage, user)
    for _ in range(5):
        run = factories.make_run(storage, user, voice)
        held = factories.start_run(storage, run)
        barrier, done = threading.Barrier(2), list[str]()

        def attempt(
            name: str,
            run: TuningRun = run,
            held: Claim = held,
            barrier: threading.Barrier = barrier,
            done: list[str] = done,
        ) -> None:
            barrier.wait()
            try:
                {"publish": lambda: publish(storage, held), "pause": lambda: pause(storage, run),
                 "cancel": lambda: cancel(storage, run)}[name]()  # fmt: skip
                done.append(name)
            except Conflict:
                return

        threads = [threading.Thread(target=attempt, args=(name,)) for name in (rival, "pause")]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if rival == "publish":
            assert done == (["publish"] if read(storage, run).state == "succeeded" else ["pause"])
        else:
            assert "cancel" in done
            stop(storage, held)
            assert read(storage, run).state == "cancelled"
        if read(storage, run).state == "paused":
            cancel(storage, run)


def test_only_its_owner_pauses_and_resumes_a_run(storage: Storage, run: TuningRun) -> None:
    stranger = factories.make_user(storage)
    for act in (tuning_runs.pause_run, tuning_runs.resume_run):
        with storage.database.session() as session, pytest.raises(NotFound):
            act(session, user_id=stranger.id, run_id=run.id, actor_id=stranger.id)
    assert read(storage, run).state == "queued"


def test_a_release_that_knows_no_pause_cancels_and_the_run_does_not_come_to_rest_as_paused(
    storage: Storage, run: TuningRun
) -> None:
    factories.start_run(storage, run, lease_s=-1)
    pause(storage, run)
    with storage.database.session() as session:
        session.execute(update(TuningRun).where(TuningRun.id == run.id).values(cancel_requested=True))
        assert run_claims.expire_leases(session) == [run.id]
    assert claim(storage, run) is None
    assert read(storage, run).state == "cancelled"
