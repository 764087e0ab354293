"""Checkpoints: sealed, replaced, gone with the run's end."""

import pytest
from sqlalchemy import text

from storage import checkpoints, run_claims
from storage.errors import IntegrityError, KeyErased
from storage.models import TuningRun
from storage.store import Storage
from tests import factories

STATE = b"optimizer zanzibarquokka" * 1000


@pytest.fixture
def run(storage: Storage) -> TuningRun:
    user = factories.make_user(storage)
    return factories.make_run(storage, user, factories.first_voice(storage, user))


def stored(storage: Storage) -> list[bytes]:
    with storage.database.session() as session:
        return [bytes(row.sealed) for row in session.execute(text("SELECT sealed FROM tuning_checkpoints"))]


def test_the_newest_checkpoint_is_what_the_next_worker_goes_on_from(storage: Storage, run: TuningRun) -> None:
    first = factories.start_run(storage, run)
    with storage.database.session() as session:
        assert checkpoints.load_checkpoint(session, storage.keys, first) is None
        checkpoints.save_checkpoint(session, storage.keys, first, 1, b"old")
        checkpoints.save_checkpoint(session, storage.keys, first, 2, STATE)
        run_claims.heartbeat(session, first, -1)
    second = factories.claim_run(storage, run)
    with storage.database.session() as session:
        assert checkpoints.load_checkpoint(session, storage.keys, second) == STATE
    (sealed,) = stored(storage)
    assert b"zanzibarquokka" not in sealed


@pytest.mark.parametrize("state", ["succeeded", "failed", "cancelled"])
def test_the_runs_end_deletes_it(storage: Storage, run: TuningRun, state: run_claims.EndState) -> None:
    held = factories.start_run(storage, run)
    with storage.database.session() as session:
        checkpoints.save_checkpoint(session, storage.keys, held, 2, STATE)
    with storage.database.session() as session:
        run_claims.finish(session, held, state=state)
    assert stored(storage) == []


def test_another_runs_checkpoint_does_not_open(storage: Storage, run: TuningRun) -> None:
    user = factories.make_user(storage)
    other = factories.start_run(storage, factories.make_run(storage, user, factories.first_voice(storage, user)))
    held = factories.start_run(storage, run)
    with storage.database.session() as session:
        for claim, data in ((held, b"mine"), (other, b"theirs")):
            checkpoints.save_checkpoint(session, storage.keys, claim, 1, data)
        session.execute(
            text(
                "UPDATE tuning_checkpoints SET sealed = (SELECT sealed FROM tuning_checkpoints WHERE run_id = :other)"
            ),
            {"other": other.run_id},
        )
    with pytest.raises(IntegrityError), storage.database.session() as session:
        checkpoints.load_checkpoint(session, storage.keys, held)


def test_without_the_key_nothing_is_saved_or_loaded(storage: Storage, run: TuningRun) -> None:
    held = factories.start_run(storage, run)
    with storage.database.session() as session:
        checkpoints.save_checkpoint(session, storage.keys, held, 1, STATE)
    storage.keys.erase(run.user_id)
    with pytest.raises(KeyErased), storage.database.session() as session:
        checkpoints.load_checkpoint(session, storage.keys, held)
    with pytest.raises(KeyErased), storage.database.session() as session:
        checkpoints.save_checkpoint(session, storage.keys, held, 2, STATE)
