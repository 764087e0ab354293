"""Guests: accounts for a while, with example pieces to begin with, that leave nothing behind.

A guest's account is like any other, with small quotas, no password and no address anybody could write to. It is erased
when its time is over or its person leaves, unless they give it an address and a password before: then it is theirs.
"""

from collections.abc import Sequence

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from storage import audit, clock, samples, users, voices
from storage.errors import Conflict, LimitReached
from storage.ids import new_id
from storage.keys import KeyStore
from storage.models import User, UserQuota
from storage.text_intake import Draft

LIFETIME_S = 2 * 3600.0
NOBODYS_DOMAIN = "guest.invalid"  # no letter can go there (RFC 2606)
QUOTAS = {"voices": 1, "samples": 60, "stored_mb": 1, "runs": 1, "tokens_per_day": 50_000}


def welcome(session: Session, keys: KeyStore, most: int, pieces: Sequence[Draft]) -> User:
    """A new guest whose first voice has these pieces. most: how many there may be at once, but for some who come in the
    same moment. Raises LimitReached."""
    here = session.scalar(select(func.count()).where(User.guest_until.is_not(None))) or 0
    if here >= most:
        raise LimitReached("There are as many guests as there is room for. Try again in a while, or sign up.")
    guest = users.account(email=f"{new_id('guest')}@{NOBODYS_DOMAIN}", password=None, role="writer")
    guest.guest_until = clock.now() + LIFETIME_S
    users.add(session, keys, guest)
    session.add(UserQuota(user_id=guest.id, **QUOTAS))
    (voice,) = voices.list_voices(session, guest.id)
    samples.add_drafts(session, keys, user_id=guest.id, voice_id=voice.id, drafts=pieces)
    return guest


def keep(session: Session, user_id: str, *, email: str, password_hash: str) -> User:
    """Make a guest's account its person's own, with everything in it. Raises Conflict (the address is taken, or the
    visit is over), InvalidAccount."""
    mine = select(User.id).where(User.id == user_id, User.guest_until > clock.now())
    if session.scalar(mine.with_for_update()) is None:
        raise Conflict("This visit is over, or the account is yours already.")
    user = users.settle(session, user_id, email=email, password_hash=password_hash)
    user.guest_until = None
    session.execute(delete(UserQuota).where(UserQuota.user_id == user_id))
    audit.record(session, "user.stayed", actor_id=user_id, subject_id=user_id)
    return user


def expired(session: Session) -> list[str]:
    """Guests whose time is over."""
    return list(session.scalars(select(User.id).where(User.guest_until < clock.now())))
