"""What is to be brought to people: at least once, and not for ever."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import select, update

from storage import clock, deliveries, users
from storage.deliveries import CLAIMED_S, HASTY_WAITS_S, KEPT_S, WAITS_S, Due
from storage.models import Delivery, DeliveryKind, User
from storage.store import Storage
from tests import factories


def claim(storage: Storage) -> Due | None:
    with storage.database.session() as session:
        return deliveries.claim(session)


def settle(storage: Storage, due: Due | None, error: str | None = None, *, final: bool = False) -> None:
    assert due is not None
    with storage.database.session() as session:
        deliveries.settle(session, due, error, final=final)


def row(storage: Storage) -> Delivery:
    with storage.database.reading() as session:
        return session.scalars(select(Delivery)).one()


def add(storage: Storage, kind: DeliveryKind = "password_changed") -> User:
    user = factories.make_user(storage)
    with storage.database.session() as session:
        deliveries.add(session, user.id, kind, "mail")
    return user


def hasten(storage: Storage) -> None:
    """Let the time until the next attempt pass."""
    with storage.database.session() as session:
        session.execute(update(Delivery).where(Delivery.due_at.is_not(None)).values(due_at=clock.now() - 1))


def test_one_is_claimed_once_and_done_with_when_it_was_delivered(storage: Storage) -> None:
    user = add(storage)
    with storage.database.reading() as session:
        assert deliveries.any_due(session)
    due = claim(storage)
    assert due is not None
    assert (due.user_id, due.kind, due.channel, due.attempts) == (user.id, "password_changed", "mail", 1)
    assert claim(storage) is None
    settle(storage, due)
    hasten(storage)
    assert claim(storage) is None
    assert row(storage).delivered_at is not None
    with storage.database.reading() as session:
        assert not deliveries.any_due(session)
        assert [found.id for found in deliveries.newest(session, user.id)] == [due.id]


def test_what_nobody_reports_on_is_due_again_under_the_same_id(storage: Storage) -> None:
    add(storage)
    first = claim(storage)
    due_at = row(storage).due_at
    assert due_at is not None
    assert 0 < due_at - clock.now() <= CLAIMED_S
    hasten(storage)
    second = claim(storage)
    assert first is not None
    assert second is not None
    assert (second.id, second.attempts) == (first.id, 2)
    settle(storage, first)  # the one given up for dead comes back: the second's outcome decides
    assert row(storage).delivered_at is None


@pytest.mark.parametrize(("kind", "waits"), [("password_changed", WAITS_S), ("password_reset", HASTY_WAITS_S)])
def test_what_fails_is_tried_again_later_and_later_and_then_given_up(
    storage: Storage, kind: DeliveryKind, waits: tuple[float, ...]
) -> None:
    add(storage, kind)
    for wait in waits:
        settle(storage, claim(storage), "unreachable")
        due_at = row(storage).due_at
        assert due_at is not None
        assert abs(due_at - clock.now() - wait) < 20
        hasten(storage)
    settle(storage, claim(storage), "unreachable")
    assert (row(storage).due_at, row(storage).error, row(storage).delivered_at) == (None, "unreachable", None)
    assert claim(storage) is None


def test_what_is_refused_for_good_is_not_tried_again(storage: Storage) -> None:
    add(storage)
    settle(storage, claim(storage), "refused", final=True)
    assert row(storage).due_at is None


def test_who_carries_letters_leaves_webhooks_alone(storage: Storage) -> None:
    user = add(storage)
    with storage.database.session() as session:
        deliveries.add(session, user.id, "run_ended", "webhook")
        for channel in deliveries.CHANNELS:
            assert deliveries.any_due(session, [channel])
            due = deliveries.claim(session, [channel])
            assert due is not None
            assert due.channel == channel
            assert not deliveries.any_due(session, [channel])
            assert deliveries.claim(session, [channel]) is None


def test_two_who_claim_at_once_get_it_once(storage: Storage) -> None:
    add(storage)
    with ThreadPoolExecutor(4) as pool:
        claimed = list(pool.map(lambda _: claim(storage), range(4)))
    assert len([due for due in claimed if due is not None]) == 1


def test_a_reset_is_for_who_has_the_address_and_three_times_an_hour(storage: Storage) -> None:
    user, suspended = factories.make_user(storage, "ada@example.org"), factories.make_user(storage)
    with storage.database.session() as session:
        users.set_state(session, suspended.id, "suspended")

    def ask(email: str) -> bool:
        with storage.database.session() as session:
            return deliveries.ask_for_reset(session, email)

    assert not any(ask(email) for email in ("nobody@example.org", suspended.email, "", "\x00", "\ud800"))
    assert [ask(" Ada@Example.org ") for _ in range(4)] == [True, True, True, False]
    with storage.database.session() as session:
        session.execute(update(Delivery).values(created_at=clock.now() - 3700))
    assert ask(user.email)


def test_old_ones_are_forgotten(storage: Storage) -> None:
    add(storage)
    with storage.database.session() as session:
        session.execute(update(Delivery).values(created_at=clock.now() - KEPT_S - 1))
    kept = add(storage)
    with storage.database.session() as session:
        deliveries.forget_old(session)
        assert session.scalars(select(Delivery.user_id)).all() == [kept.id]
