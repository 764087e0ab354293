"""Nothing is taken up while maintenance is on, and nothing is lost by it, on both databases."""

import pytest

from storage import audit, maintenance, outbox, run_claims, tuning_runs
from storage.errors import Conflict
from storage.models import TuningRun
from storage.run_claims import Claim
from storage.store import Storage
from tests.factories import LEASE_S, claim_run, first_voice, make_run, make_user, start_run

CHIEF = "user-chief"


def begin(storage: Storage, reason: str = "A new disk, until noon") -> None:
    with storage.database.session() as session:
        maintenance.begin(session, reason, CHIEF)


def end(storage: Storage) -> int:
    with storage.database.session() as session:
        return maintenance.end(session, CHIEF)


def ask(storage: Storage) -> TuningRun:
    user = make_user(storage)
    return make_run(storage, user, first_voice(storage, user))


def claim(storage: Storage, run: TuningRun) -> Claim | None:
    with storage.database.session() as session:
        return run_claims.claim(session, run.id, worker="w", lease_s=LEASE_S, max_attempts=3)


def claim_next(storage: Storage) -> Claim | None:
    with storage.database.session() as session:
        return run_claims.claim_next(session, worker="w", lease_s=LEASE_S, max_attempts=3)


def test_no_run_is_taken_up_in_any_way_and_all_can_be_afterwards(storage: Storage) -> None:
    waiting, abandoned = ask(storage), ask(storage)
    claim_run(storage, abandoned, lease_s=-1)
    begin(storage)
    late = ask(storage)
    for run in (waiting, abandoned, late):
        assert claim(storage, run) is None
    assert claim_next(storage) is None
    with storage.database.session() as session:
        assert tuning_runs.get_run(session, None, waiting.id).attempts == 0
        assert tuning_runs.queue_position(session, late.id) == 2
    assert end(storage) == 2
    for run in (waiting, abandoned, late):
        assert claim(storage, run) is not None


def test_what_a_worker_holds_goes_on_and_what_it_gives_back_waits(storage: Storage) -> None:
    held, stopped = start_run(storage, ask(storage)), start_run(storage, ask(storage))
    begin(storage)
    with storage.database.session() as session:
        run_claims.record_progress(session, held, 10, {"train_loss": 1.0})
        run_claims.finish(session, held, state="succeeded", published=False)
        run_claims.release(session, stopped)
    assert claim_next(storage) is None
    assert end(storage) == 1
    again = claim_next(storage)
    assert again is not None
    assert (again.run_id, again.attempts) == (stopped.run_id, 1)


def test_the_end_announces_what_was_swallowed_and_nothing_twice(storage: Storage) -> None:
    swallowed, unsent = ask(storage), ask(storage)
    with storage.database.session() as session:
        outbox.mark_sent(session, [number for number, run_id in outbox.unsent(session) if run_id == swallowed.id])
    begin(storage)
    end(storage)
    with storage.database.session() as session:
        assert sorted(run_id for _, run_id in outbox.unsent(session)) == sorted([swallowed.id, unsent.id])
    assert end(storage) == 0
    with storage.database.session() as session:
        assert len(outbox.unsent(session)) == 2


def test_it_takes_a_reason_is_on_once_and_both_ends_are_recorded(storage: Storage) -> None:
    with pytest.raises(Conflict, match="Say in a few words why"):
        begin(storage, " \n ")
    begin(storage, "  A new\ndisk  ")
    with pytest.raises(Conflict, match="on already"):
        begin(storage, "Something else")
    with storage.database.reading() as session:
        on = maintenance.current(session)
    assert on is not None
    assert (on.reason, on.actor_id) == ("A new disk", CHIEF)
    end(storage)
    end(storage)
    with storage.database.reading() as session:
        assert maintenance.current(session) is None
        events = audit.list_events(session, action="maintenance")
    assert [(event.action, event.actor_id, event.detail) for event in events] == [
        ("maintenance.ended", CHIEF, {"waiting": 0}),
        ("maintenance.begun", CHIEF, {"reason": "A new disk"}),
    ]
