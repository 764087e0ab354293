"""By which sign-in service, and under which name of its own, a person is known. Never by an address: a service may call
two people by the same one, and anybody may sign up here with anybody's.
"""

from sqlalchemy import delete, select
from sqlalchemy.exc import IntegrityError as RowExists
from sqlalchemy.orm import Session

from storage import audit, clock, users
from storage.errors import Conflict, NotFound
from storage.keys import KeyStore
from storage.models import Identity, User


def find_user(session: Session, issuer: str, subject: str) -> User | None:
    """Whom this service calls so, suspended or not."""
    known = (Identity.issuer == issuer, Identity.subject == subject)
    return session.scalar(select(User).join(Identity, Identity.user_id == User.id).where(*known))


def find_issuer(session: Session, user_id: str, issuer: str) -> Identity | None:
    """By what the person is known to this service."""
    return session.scalar(select(Identity).where(Identity.user_id == user_id, Identity.issuer == issuer))


def sign_up(session: Session, keys: KeyStore, *, issuer: str, subject: str, email: str) -> User:
    """An account without a password, whose owner is known to this service. email: one that the service has confirmed.
    Raises InvalidAccount, Conflict (there is an account with this address: it is never taken over)."""
    user = users.add(session, keys, users.account(email=email, password=None, role="writer"))
    connect(session, user.id, issuer, subject)
    return user


def connect(session: Session, user_id: str, issuer: str, subject: str) -> None:
    """Let an account be entered by this service too. Raises Conflict when that name leads to another account, or
    another name to this one; connecting what is connected changes nothing."""
    found = find_user(session, issuer, subject)
    if found is not None and found.id == user_id:
        return
    try:
        with session.begin_nested():
            session.add(Identity(issuer=issuer, subject=subject, user_id=user_id, created_at=clock.now()))
    except RowExists:
        raise Conflict(
            "That sign-in leads to another account, or another one to yours: nothing was changed. Disconnect it first."
        ) from None
    audit.record(session, "user.connected_sign_in", actor_id=user_id, subject_id=user_id)


def disconnect(session: Session, user_id: str, issuer: str) -> None:
    """Let the account be entered by its password alone. Raises Conflict where it has none, NotFound."""
    if not users.get_user(session, user_id).password_hash:
        raise Conflict("Your account has no password, so there would be no way in: set one first.")
    mine = delete(Identity).where(Identity.user_id == user_id, Identity.issuer == issuer)
    if not session.scalars(mine.returning(Identity.user_id)).all():
        raise NotFound("not connected")
    audit.record(session, "user.disconnected_sign_in", actor_id=user_id, subject_id=user_id)
