"""The outbox: every queued run is announced until a worker has it."""

from sqlalchemy import text

from storage import outbox, run_claims
from storage.models import TuningRun
from storage.store import Storage
from tests import factories


def make_run(storage: Storage) -> TuningRun:
    user = factories.make_user(storage)
    return factories.make_run(storage, user, factories.first_voice(storage, user))


def unsent(storage: Storage, limit: int = 100) -> list[tuple[int, str]]:
    with storage.database.session() as session:
        return outbox.unsent(session, limit)


def send_all(storage: Storage) -> None:
    with storage.database.session() as session:
        outbox.mark_sent(session, [outbox_id for outbox_id, _ in outbox.unsent(session)])


def remind(storage: Storage) -> list[str]:
    with storage.database.session() as session:
        return outbox.remind(session)


def age_messages(storage: Storage, seconds: int = 200) -> None:
    with storage.database.session() as session:
        session.execute(text("UPDATE outbox SET sent_at = sent_at - :seconds"), {"seconds": seconds})


def test_messages_wait_in_order_until_they_are_sent(storage: Storage) -> None:
    runs = [make_run(storage).id for _ in range(3)]
    assert [run_id for _, run_id in unsent(storage)] == runs
    assert len(unsent(storage, 2)) == 2
    with storage.database.session() as session:
        outbox.mark_sent(session, [unsent_id for unsent_id, _ in outbox.unsent(session, 2)])
    assert [run_id for _, run_id in unsent(storage)] == runs[2:]


def test_a_claimed_run_needs_no_message(storage: Storage) -> None:
    run = make_run(storage)
    factories.claim_run(storage, run)
    assert unsent(storage) == []


def test_runs_that_the_queue_forgot_are_announced_again(storage: Storage) -> None:
    forgotten, fresh = make_run(storage), make_run(storage)
    with storage.database.session() as session:
        outbox.mark_sent(session, [outbox_id for outbox_id, run_id in outbox.unsent(session) if run_id == forgotten.id])
    age_messages(storage)
    assert remind(storage) == [forgotten.id]
    assert [run_id for _, run_id in unsent(storage)] == [fresh.id, forgotten.id]
    assert remind(storage) == []


def test_a_run_that_lost_its_worker_is_announced_once_and_no_other(storage: Storage) -> None:
    waiting, silent = make_run(storage), make_run(storage)
    factories.claim_run(storage, silent, lease_s=-1)
    send_all(storage)
    age_messages(storage)
    with storage.database.session() as session:
        assert run_claims.expire_leases(session) == [silent.id]
    assert [run_id for _, run_id in unsent(storage)] == [silent.id]
    assert remind(storage) == [waiting.id]


def test_messages_sent_a_moment_ago_are_given_time(storage: Storage) -> None:
    make_run(storage)
    send_all(storage)
    assert remind(storage) == []
