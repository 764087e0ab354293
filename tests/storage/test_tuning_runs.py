"""Asking for training, reading runs, cancelling and asking again."""

import threading

import pytest

from storage import audit, outbox, run_claims, samples, tuning_runs, voices
from storage.errors import Conflict, InvalidSample, LostLease, NotFound
from storage.models import TuningRun, User, Voice
from storage.store import Storage
from tests import factories


@pytest.fixture
def user(storage: Storage) -> User:
    return factories.make_user(storage)


@pytest.fixture
def voice(storage: Storage, user: User) -> Voice:
    return factories.first_voice(storage, user)


def read(storage: Storage, run: TuningRun) -> TuningRun:
    with storage.database.session() as session:
        return tuning_runs.get_run(session, run.user_id, run.id)


def cancel(storage: Storage, run: TuningRun, user_id: str | None = None) -> TuningRun:
    with storage.database.session() as session:
        return tuning_runs.cancel_run(session, user_id=user_id, run_id=run.id, actor_id="user-actor")


def test_a_request_writes_the_run_its_message_and_its_first_event(storage: Storage, user: User, voice: Voice) -> None:
    rows = factories.add_samples(storage, user, voice)
    with storage.database.session() as session:
        samples.set_included(session, user.id, voice.id, rows[1].id, False)
        run, created = tuning_runs.request_run(session, user_id=user.id, voice_id=voice.id, seed=7)
    assert created
    assert (run.state, run.seed, run.fence, run.attempts) == ("queued", 7, 0, 0)
    assert run.sample_ids == [row.id for row in rows if row is not rows[1]]
    with storage.database.session() as session:
        assert [run_id for _, run_id in outbox.unsent(session, 10)] == [run.id]
        (event,) = tuning_runs.list_events(session, user.id, run.id)
    assert (event.type, event.message) == ("message", "Waiting for a worker, with 4 samples.")


def test_a_request_without_enough_text_says_how_much_more(storage: Storage, user: User, voice: Voice) -> None:
    with (
        pytest.raises(InvalidSample, match="3 pieces with 100 words between them, or about 300 words"),
        storage.database.session() as session,
    ):
        tuning_runs.request_run(session, user_id=user.id, voice_id=voice.id)


def test_a_second_request_is_answered_with_the_live_run(storage: Storage, user: User, voice: Voice) -> None:
    first = factories.make_run(storage, user, voice)
    with storage.database.session() as session:
        again, created = tuning_runs.request_run(session, user_id=user.id, voice_id=voice.id)
        assert (again.id, created) == (first.id, False)
    factories.start_run(storage, first)
    assert factories.make_run(storage, user, voice).id == first.id
    other = factories.make_voice(storage, user)
    assert factories.make_run(storage, user, other).id != first.id


def test_many_who_ask_at_once_get_the_same_run(storage: Storage, user: User, voice: Voice) -> None:
    factories.add_samples(storage, user, voice)
    barrier, answers = threading.Barrier(6), []

    def ask() -> None:
        barrier.wait()
        with storage.database.session() as session:
            run, created = tuning_runs.request_run(session, user_id=user.id, voice_id=voice.id)
        answers.append((run.id, created))

    threads = [threading.Thread(target=ask) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 6
    assert len({run_id for run_id, _ in answers}) == 1
    assert sum(created for _, created in answers) == 1
    with storage.database.session() as session:
        assert len(outbox.unsent(session, 10)) == 1


def test_runs_are_listed_newest_first_page_by_page(storage: Storage, user: User, voice: Voice) -> None:
    made = []
    for _ in range(3):
        made.append(factories.make_run(storage, user, voice))
        cancel(storage, made[-1])
    other = factories.make_run(storage, user, factories.make_voice(storage, user))
    newest = [run.id for run in reversed(made)]
    with storage.database.session() as session:
        assert [run.id for run in tuning_runs.list_runs(session, user.id)] == [other.id, *newest]
        assert [run.id for run in tuning_runs.list_runs(session, user.id, voice.id)] == newest
        page = tuning_runs.list_runs(session, user.id, voice.id, limit=2)
        assert [run.id for run in page] == newest[:2]
        following = tuning_runs.list_runs(session, user.id, voice.id, after=page[-1].id, limit=2)
        assert [run.id for run in following] == newest[2:]
        assert [run.id for run in tuning_runs.list_all_runs(session, state="queued")] == [other.id]
        assert len(tuning_runs.list_all_runs(session, after=other.id)) == 3
        assert len(tuning_runs.list_all_runs(session, limit=2)) == 2


def test_events_are_read_from_where_one_left_off(storage: Storage, user: User, voice: Voice) -> None:
    run = factories.make_run(storage, user, voice)
    held = factories.start_run(storage, run)
    for step in (1, 2, 3):
        with storage.database.session() as session:
            run_claims.record_progress(session, held, step, {"step": step, "train_loss": 3.5 / step})
    with storage.database.session() as session:
        events = tuning_runs.list_events(session, user.id, run.id)
        assert [event.data.get("step") for event in events] == [None, None, 1, 2, 3]
        assert [event.type for event in events] == ["message"] * 2 + ["metrics"] * 3
        later = tuning_runs.list_events(session, user.id, run.id, after=events[2].id, limit=1)
        assert [event.data["step"] for event in later] == [2]


def test_the_place_in_the_queue_counts_those_before(storage: Storage, user: User, voice: Voice) -> None:
    runs = [factories.make_run(storage, person, factories.first_voice(storage, person))
            for person in (user, *(factories.make_user(storage) for _ in range(2)))]  # fmt: skip
    with storage.database.session() as session:
        assert [tuning_runs.queue_position(session, run.id) for run in runs] == [1, 2, 3]
        assert tuning_runs.queue_position(session, "run-unknown") is None
    factories.claim_run(storage, runs[0])
    with storage.database.session() as session:
        assert [tuning_runs.queue_position(session, run.id) for run in runs] == [None, 1, 2]


def test_a_waiting_run_is_cancelled_at_once(storage: Storage, user: User, voice: Voice) -> None:
    run = factories.make_run(storage, user, voice)
    assert cancel(storage, run).state == "cancelled"
    assert read(storage, run).finished_at is not None
    with storage.database.session() as session:
        assert run_claims.claim(session, run.id, worker="w", lease_s=60, max_attempts=3) is None
        assert outbox.unsent(session, 10) == []
        actions = [event.action for event in audit.list_events(session, subject_id=run.id)]
    assert actions == ["run.cancelled", "run.requested"]


def test_a_running_run_is_asked_to_stop_and_its_worker_hears_it(storage: Storage, user: User, voice: Voice) -> None:
    run = factories.make_run(storage, user, voice)
    held = factories.start_run(storage, run)
    with storage.database.session() as session:
        assert run_claims.heartbeat(session, held, 60) is None
    asked = cancel(storage, run)
    assert (asked.state, asked.cancel_requested) == ("running", True)
    with storage.database.session() as session:
        assert run_claims.heartbeat(session, held, 60) == "cancel"
        run_claims.finish(session, held, state="cancelled")
    assert read(storage, run).state == "cancelled"


def test_an_ended_run_cannot_be_cancelled(storage: Storage, user: User, voice: Voice) -> None:
    run = factories.make_run(storage, user, voice)
    cancel(storage, run)
    with pytest.raises(Conflict, match=r"ended already \(cancelled\)"):
        cancel(storage, run)


def test_a_cancelled_run_whose_worker_died_is_not_trained_again(storage: Storage, user: User, voice: Voice) -> None:
    run = factories.make_run(storage, user, voice)
    factories.claim_run(storage, run, lease_s=-1)
    cancel(storage, run)
    with storage.database.session() as session:
        assert run_claims.claim(session, run.id, worker="w", lease_s=60, max_attempts=3) is None
    assert read(storage, run).state == "cancelled"


def test_an_ended_run_is_tried_again_as_a_new_one(storage: Storage, user: User, voice: Voice) -> None:
    run = factories.make_run(storage, user, voice, seed=5)
    with pytest.raises(Conflict, match="still going on"), storage.database.session() as session:
        tuning_runs.retry_run(session, run.id, "user-admin")
    cancel(storage, run)
    with storage.database.session() as session:
        again = tuning_runs.retry_run(session, run.id, "user-admin")
        (asked,) = audit.list_events(session, action="run.requested", subject_id=again.id)
    assert asked.actor_id == "user-admin"
    assert again.id != run.id
    assert (again.state, again.voice_id, again.seed) == ("queued", voice.id, 5)
    with pytest.raises(Conflict, match=again.id), storage.database.session() as session:
        tuning_runs.retry_run(session, run.id, "user-admin")


def test_deleting_a_sample_during_a_run_leaves_the_run_alone(storage: Storage, user: User, voice: Voice) -> None:
    run = factories.make_run(storage, user, voice)
    held = factories.start_run(storage, run)
    with storage.database.session() as session:
        samples.delete_sample(session, user.id, voice.id, held.sample_ids[0])
    with storage.database.session() as session:
        left = samples.read_samples(session, storage.keys, user.id, held.sample_ids)
        assert [sample.id for sample in left] == list(held.sample_ids[1:])
        run_claims.finish(session, held, state="succeeded", published=False)
    assert read(storage, run).state == "succeeded"


def test_deleting_the_voice_during_a_run_leaves_the_worker_nothing_to_write(
    storage: Storage, user: User, voice: Voice
) -> None:
    held = factories.start_run(storage, factories.make_run(storage, user, voice))
    voices.delete_voice(storage, user.id, voice.id)
    with pytest.raises(LostLease), storage.database.session() as session:
        run_claims.record_progress(session, held, 1, {"step": 1})


def test_unknown_runs_are_not_found(storage: Storage) -> None:
    with storage.database.session() as session:
        with pytest.raises(NotFound):
            tuning_runs.get_run(session, None, "run-unknown")
        with pytest.raises(NotFound):
            tuning_runs.retry_run(session, "run-unknown", None)
        with pytest.raises(NotFound):
            tuning_runs.cancel_run(session, user_id=None, run_id="run-unknown", actor_id=None)
        with pytest.raises(NotFound):
            tuning_runs.list_all_runs(session, after="run-unknown")
