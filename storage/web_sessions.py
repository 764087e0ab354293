"""Signed-in browsers. The token lives in the cookie; the database holds its SHA-256, so reading one gives no entry."""

import hashlib
import secrets

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from storage import clock
from storage.models import User, WebSession

LIFETIME_S = 14 * 24 * 3600
TOUCH_EVERY_S = 60


def start(session: Session, user_id: str) -> str:
    """A new session's token, good for 14 days. Expired sessions of the same person are cleared away."""
    at, token = clock.now(), secrets.token_urlsafe(32)
    session.execute(delete(WebSession).where(WebSession.user_id == user_id, WebSession.expires_at <= at))
    session.add(
        WebSession(
            token_hash=_hashed(token), user_id=user_id, created_at=at, last_seen_at=at, expires_at=at + LIFETIME_S
        )
    )
    session.flush()
    return token


def find(session: Session, token: str) -> User | None:
    """Who is signed in with this token: active people only, and only until it expires. Writes down when they were
    seen, at most once a minute."""
    found = find_by_hash(session, _hashed(token))
    if found is None:
        return None
    signed_in, user = found
    if is_touch_due(signed_in):
        touch(session, signed_in.token_hash)
    return user


def find_by_hash(session: Session, token_hash: str) -> tuple[WebSession, User] | None:
    """As `find`, by the token's SHA-256 in hex, with the session itself. Only reads; see `touch`."""
    found = session.execute(
        select(WebSession, User)
        .join(User, WebSession.user_id == User.id)
        .where(WebSession.token_hash == token_hash, WebSession.expires_at > clock.now(), User.state == "active")
    ).one_or_none()
    if found is None:
        return None
    signed_in, user = found
    return signed_in, user


def is_touch_due(signed_in: WebSession) -> bool:
    """Whether it was last written down as seen long enough ago to be written again."""
    return signed_in.last_seen_at < clock.now() - TOUCH_EVERY_S


def touch(session: Session, token_hash: str) -> None:
    """Write down that its person was seen; when `is_touch_due`, since it takes SQLite's write lock."""
    session.execute(update(WebSession).where(WebSession.token_hash == token_hash).values(last_seen_at=clock.now()))


def end(session: Session, token: str) -> None:
    """Sign this browser out."""
    session.execute(delete(WebSession).where(WebSession.token_hash == _hashed(token)))


def end_all(session: Session, user_id: str) -> None:
    """Sign every browser of this person out."""
    session.execute(delete(WebSession).where(WebSession.user_id == user_id))


def _hashed(token: str) -> str:
    return hashlib.sha256(token.encode(errors="replace")).hexdigest()
