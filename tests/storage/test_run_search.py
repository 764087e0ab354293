"""Finding runs by what became of them, on both databases."""

import pytest

from storage import clock, run_claims, run_search
from storage.models import TuningRun
from storage.run_search import DAY_S, Cause, RunFilter
from storage.store import Storage
from tests.factories import claim_run, first_voice, make_run, make_user, publish, start_run


def ask(storage: Storage) -> TuningRun:
    user = make_user(storage)
    return make_run(storage, user, first_voice(storage, user))


def ended(storage: Storage, state: run_claims.EndState, code: str | None = None) -> TuningRun:
    run = ask(storage)
    with storage.database.session() as session:
        held = run_claims.claim(session, run.id, worker="w", lease_s=60, max_attempts=3)
        assert held is not None
        run_claims.start_running(session, held, 10, base_fingerprint="a" * 64)
        run_claims.finish(session, held, state=state, published=False, error_code=code, error_message=code)
    return run


def found(storage: Storage, wanted: RunFilter) -> set[str]:
    with storage.database.reading() as session:
        ids = {run.id for run in run_search.find(session, wanted)}
        assert run_search.count(session, wanted) == len(ids)
    return ids


def test_runs_are_narrowed_down_by_state_owner_model_cause_and_loss(storage: Storage) -> None:
    waiting, live, lost = ask(storage), ask(storage), ask(storage)
    start_run(storage, live)
    claim_run(storage, lost, lease_s=-1)
    broken, brought_nothing = ended(storage, "failed", "internal"), ended(storage, "succeeded")
    everything = {run.id for run in (waiting, live, lost, broken, brought_nothing)}
    assert found(storage, RunFilter()) == everything
    assert found(storage, RunFilter(states=("queued", "failed"))) == {waiting.id, broken.id}
    assert found(storage, RunFilter(user_id=live.user_id)) == {live.id}
    assert found(storage, RunFilter(base_fingerprint="a" * 64)) == {broken.id, brought_nothing.id}
    assert found(storage, RunFilter(cause="internal")) == {broken.id}
    assert found(storage, RunFilter(cause=run_search.NOT_PUBLISHED)) == {brought_nothing.id}
    assert found(storage, RunFilter(lost=True)) == {lost.id}
    assert found(storage, RunFilter(ended_since=clock.now() - 60)) == {broken.id, brought_nothing.id}
    assert found(storage, RunFilter(ended_since=clock.now() + 60)) == set()


def test_pages_are_without_gap_or_repeat(storage: Storage) -> None:
    runs = [ask(storage) for _ in range(3)]
    with storage.database.reading() as session:
        first = run_search.find(session, RunFilter(states=("queued",)), limit=2)
        rest = run_search.find(session, RunFilter(states=("queued",)), after=first[-1].id, limit=2)
    assert sorted(run.id for run in [*first, *rest]) == sorted(run.id for run in runs)


def test_causes_are_counted_by_time_and_what_was_published_or_cancelled_is_none(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = clock.now()
    for age, code in ((10 * DAY_S, "internal"), (3 * DAY_S, "internal"), (0.0, "internal"), (2 * DAY_S, "gave_up")):
        monkeypatch.setattr(clock, "now", lambda age=age: now - age)
        ended(storage, "failed", code)
    monkeypatch.setattr(clock, "now", lambda: now)
    ended(storage, "cancelled")
    user = make_user(storage)
    publish(storage, user, first_voice(storage, user))
    with storage.database.reading() as session:
        assert run_search.causes(session) == [
            Cause("internal", 1, 2, 3, now),
            Cause("gave_up", 0, 1, 1, now - 2 * DAY_S),
        ]
