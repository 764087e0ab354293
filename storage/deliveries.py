"""What is to be brought to people outside these pages, written in the transaction of what it tells of.

Whoever carries it out claims one for a while, and says how it went; where nobody says, it is due again. So each is
carried at least once, under an id by which its receiver tells a second copy. Knows no mail server and no address.
"""

from collections.abc import Collection
from dataclasses import dataclass

from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session

from storage import clock
from storage.ids import new_id
from storage.models import Channel, Delivery, DeliveryKind, User

CHANNELS: tuple[Channel, ...] = ("mail", "webhook")
CLAIMED_S = 120.0
WAITS_S = (30.0, 120.0, 600.0, 3600.0, 3 * 3600.0, 8 * 3600.0, 12 * 3600.0)  # before the second attempt, the third …
HASTY_WAITS_S = WAITS_S[:2]  # for what is of no use the day after
KEPT_S = 30 * 24 * 3600.0
MOST_RESETS = 3
RESETS_WITHIN_S = 3600.0


@dataclass(frozen=True)
class Due:
    """One that was claimed. attempts: this one included."""

    id: str
    user_id: str
    kind: DeliveryKind
    channel: Channel
    attempts: int
    run_id: str | None


def add(session: Session, user_id: str, kind: DeliveryKind, channel: Channel, *, run_id: str | None = None) -> Delivery:
    """To be carried as soon as may be. run_id: what it tells of; it goes with it."""
    at = clock.now()
    delivery = Delivery(
        id=new_id("delivery"), user_id=user_id, kind=kind, channel=channel, run_id=run_id, due_at=at, created_at=at
    )
    session.add(delivery)
    session.flush()
    return delivery


def ask_for_reset(session: Session, email: str) -> bool:
    """A mail with a link to choose a new password, if an active person has this address and got no more than two within
    the hour. Whether there will be one: tell nobody."""
    address = email.strip().lower()
    if not address.isprintable():
        return False
    staying = (User.email == address, User.state == "active", User.guest_until.is_(None))
    user_id = session.scalar(select(User.id).where(*staying).with_for_update())
    lately = select(func.count()).where(
        Delivery.user_id == user_id,
        Delivery.kind == "password_reset",
        Delivery.created_at > clock.now() - RESETS_WITHIN_S,
    )
    if user_id is None or (session.scalar(lately) or 0) >= MOST_RESETS:
        return False
    add(session, user_id, "password_reset", "mail")
    return True


def any_due(session: Session, channels: Collection[Channel] = CHANNELS) -> bool:
    """Whether there is something to claim. Only reads."""
    due = select(Delivery.id).where(Delivery.due_at <= clock.now(), Delivery.channel.in_(channels))
    return session.scalar(due.limit(1)) is not None


def claim(session: Session, channels: Collection[Channel] = CHANNELS) -> Due | None:
    """One that is due by one of these ways, for two minutes. None: nothing is, or another was quicker."""
    at = clock.now()
    waiting = select(Delivery.id).where(Delivery.due_at <= at, Delivery.channel.in_(channels))
    oldest = waiting.order_by(Delivery.due_at, Delivery.id).limit(1)
    taken = session.execute(
        update(Delivery)
        .where(Delivery.id == session.scalar(oldest), Delivery.due_at <= at)
        .values(due_at=at + CLAIMED_S, attempts=Delivery.attempts + 1)
        .returning(Delivery.id, Delivery.user_id, Delivery.kind, Delivery.channel, Delivery.attempts, Delivery.run_id)
        .execution_options(synchronize_session=False)
    ).one_or_none()
    return None if taken is None else Due(*taken)


def settle(session: Session, due: Due, error: str | None = None, *, final: bool = False) -> None:
    """Say how it went. error: what went wrong, in one word without any address; it is tried again later, unless it was
    final or has been tried often enough."""
    at = clock.now()
    waits = HASTY_WAITS_S if due.kind == "password_reset" else WAITS_S
    again = None if error is None or final or due.attempts > len(waits) else at + waits[due.attempts - 1]
    mine = update(Delivery).where(Delivery.id == due.id, Delivery.attempts == due.attempts)
    outcome = {"due_at": again, "error": error, "delivered_at": at if error is None else None}
    session.execute(mine.values(**outcome).execution_options(synchronize_session=False))


def newest(session: Session, user_id: str, limit: int = 5) -> list[Delivery]:
    """The person's, newest first."""
    mine = select(Delivery).where(Delivery.user_id == user_id)
    return list(session.scalars(mine.order_by(Delivery.created_at.desc(), Delivery.id).limit(limit)))


def forget_old(session: Session) -> None:
    """Delete what was made more than thirty days ago."""
    session.execute(delete(Delivery).where(Delivery.created_at <= clock.now() - KEPT_S))
