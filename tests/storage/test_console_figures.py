"""What the console reads: workers, base models, the audit trail, counts."""

import pytest

from storage import audit, base_models, overview, users, workers
from storage.store import Storage
from tests import factories


def register(storage: Storage, fingerprint: str, name: str = "small") -> None:
    with storage.database.session() as session:
        base_models.register(
            session, fingerprint=fingerprint, name=name, num_parameters=5_000_000_000, context_length=512,
            probe={"ok": True}, has_chat_template=name.endswith("chat"),
        )  # fmt: skip


def test_the_base_model_loaded_last_is_the_current_one(storage: Storage) -> None:
    with storage.database.session() as session:
        assert base_models.current(session) is None
    for fingerprint in ("aa", "bb", "aa"):
        register(storage, fingerprint, f"model {fingerprint}")
    with storage.database.session() as session:
        current = base_models.current(session)
        assert current is not None
        assert (current.fingerprint, current.num_parameters, current.probe) == ("aa", 5_000_000_000, {"ok": True})
        assert [model.fingerprint for model in base_models.list_all(session)] == ["aa", "bb"]


def test_a_base_model_that_takes_requests_is_known_by_its_last_registration(storage: Storage) -> None:
    for name, takes_requests in (("plain", False), ("now with chat", True), ("plain again", False)):
        register(storage, "aa", name)
        with storage.database.reading() as session:
            current = base_models.current(session)
            assert current is not None
            assert current.has_chat_template is takes_requests


def test_workers_are_known_from_their_first_beat_to_their_last(storage: Storage) -> None:
    with storage.database.session() as session:
        workers.beat(session, "a")
        workers.beat(session, "b", "run-1")
    with storage.database.session() as session:
        workers.beat(session, "a", "run-2")
        workers.beat(session, "b")
        assert {worker.name: worker.run_id for worker in workers.list_workers(session)} == {"a": "run-2", "b": None}
        workers.forget(session, "b")
        workers.forget(session, "nobody")
        (left,) = workers.list_workers(session)
    assert left.name == "a"
    assert left.last_seen_at >= left.started_at


def test_the_trail_is_filtered_and_read_page_by_page(storage: Storage) -> None:
    with storage.database.session() as session:
        for number in range(3):
            audit.record(session, "run.cancelled", actor_id="user-a", subject_id=f"run-{number}", number=number)
        audit.record(session, "runway.cleared", subject_id="run-1")
    with storage.database.session() as session:
        newest = audit.list_events(session, limit=2)
        assert [event.action for event in newest] == ["runway.cleared", "run.cancelled"]
        older = audit.list_events(session, before=newest[-1].id)
        assert [event.detail for event in older] == [{"number": 1}, {"number": 0}]
        assert len(audit.list_events(session, action="run")) == 3
        assert len(audit.list_events(session, action="run.cancelled", actor_id="user-a")) == 3
        assert len(audit.list_events(session, subject_id="run-1")) == 2
        assert audit.list_events(session, action="run%") == []
        assert audit.list_actions(session) == ["run.cancelled", "runway.cleared"]


def test_the_overview_counts(storage: Storage) -> None:
    user, other = factories.make_user(storage), factories.make_user(storage)
    factories.publish(storage, user, factories.first_voice(storage, user), b"x" * 1000)
    queued = factories.make_run(storage, other, factories.first_voice(storage, other))
    with storage.database.session() as session:
        users.set_state(session, other.id, "suspended")
        seen = overview.read_overview(session)
    assert (seen.users, seen.suspended_users, seen.voices, seen.trained_voices) == (2, 1, 2, 1)
    assert (seen.samples, seen.versions, seen.runs, seen.queued) == (10, 1, 2, 1)
    assert seen.runs_by_state == {"succeeded": 1, "queued": 1}
    assert seen.oldest_queued_at == pytest.approx(queued.created_at)
    assert seen.prefix_bytes == 1000
    assert seen.storage_bytes > 50_000


def test_holdings_are_one_persons(storage: Storage) -> None:
    user, other = factories.make_user(storage), factories.make_user(storage)
    factories.publish(storage, user, factories.first_voice(storage, user), b"x" * 1000)
    with storage.database.session() as session:
        mine, theirs = (overview.read_holdings(session, person.id) for person in (user, other))
    assert (mine.voices, mine.samples, mine.runs, mine.versions, mine.prefix_bytes) == (1, 5, 1, 1, 1000)
    assert mine.characters == sum(map(len, factories.SAMPLE_TEXTS))
    assert (theirs.voices, theirs.samples, theirs.prefix_bytes) == (1, 0, 0)
