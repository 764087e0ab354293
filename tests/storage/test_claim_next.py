"""Taking the run that has waited longest, on both databases."""

from sqlalchemy import update

from storage import run_claims
from storage.models import TuningRun
from storage.run_claims import Claim
from storage.store import Storage
from tests.factories import claim_run, make_run, make_user, make_voice


def claim_next(storage: Storage, beside: set[str] | None = None) -> Claim | None:
    with storage.database.session() as session:
        return run_claims.claim_next(session, worker="w", lease_s=60, max_attempts=3, beside=beside or set())


def waiting(storage: Storage, number: int) -> list[TuningRun]:
    """Runs of one voice each of so many people, oldest first."""
    runs = []
    for place in range(number):
        user = make_user(storage)
        run = make_run(storage, user, make_voice(storage, user))
        with storage.database.session() as session:
            session.execute(update(TuningRun).where(TuningRun.id == run.id).values(created_at=1000.0 + place))
        runs.append(run)
    return runs


def test_the_oldest_is_taken_first_and_none_twice(storage: Storage) -> None:
    runs = waiting(storage, 3)
    taken = [claim_next(storage) for _ in range(4)]
    assert [held.run_id if held else None for held in taken] == [*(run.id for run in runs), None]


def test_people_who_are_there_already_come_last(storage: Storage) -> None:
    first, second = waiting(storage, 2)
    held = claim_next(storage, beside={first.user_id})
    assert held is not None
    assert held.run_id == second.id
    again = claim_next(storage, beside={first.user_id})
    assert again is not None
    assert again.run_id == first.id


def test_what_was_interrupted_is_left_to_be_taken_by_itself(storage: Storage) -> None:
    (run,) = waiting(storage, 1)
    held = claim_run(storage, run)
    with storage.database.session() as session:
        run_claims.set_apart(session, held)
    assert claim_next(storage) is None
    assert claim_run(storage, run).attempts == 2


def test_what_a_stopping_worker_gave_back_counts_as_never_begun(storage: Storage) -> None:
    (run,) = waiting(storage, 1)
    held = claim_run(storage, run)
    with storage.database.session() as session:
        run_claims.release(session, held)
    again = claim_next(storage)
    assert again is not None
    assert again.attempts == 1
