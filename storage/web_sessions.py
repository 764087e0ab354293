"""Signed-in browsers. The token lives in the cookie; the database holds its SHA-256, so reading one gives no entry."""

import hashlib
import secrets

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from storage import clock
from storage.database import Database
from storage.models import User, WebSession

LIFETIME_S = 14 * 24 * 3600
TOUCH_EVERY_S = 60


def start(session: Session, user_id: str) -> str:
    """A new session's token, good for 14 days. Expired sessions of the same person are cleared away."""
    at, token = clock.now(), secrets.token_urlsafe(32)
    session.execute(delete(WebSession).where(WebSession.user_id == user_id, WebSession.expires_at <= at))
    session.add(
        WebSession(
            token_hash=hashed(token), user_id=user_id, created_at=at, last_seen_at=at, expires_at=at + LIFETIME_S
        )
    )
    session.flush()
    return token


def recognise(database: Database, token_hash: str) -> User | None:
    """Who is signed in with the token of this hash: active people only, and only until it expires.

    Reads, and so never waits for a writer; once a minute a second transaction writes down that they were seen.
    """
    with database.reading() as session:
        found = _find(session, token_hash)
    if found is None:
        return None
    signed_in, user = found
    if signed_in.last_seen_at < clock.now() - TOUCH_EVERY_S:
        seen = update(WebSession).where(WebSession.token_hash == token_hash).values(last_seen_at=clock.now())
        with database.session() as session:
            session.execute(seen)
    return user


def end(session: Session, token: str) -> None:
    """Sign this browser out."""
    session.execute(delete(WebSession).where(WebSession.token_hash == hashed(token)))


def end_all(session: Session, user_id: str) -> None:
    """Sign every browser of this person out."""
    session.execute(delete(WebSession).where(WebSession.user_id == user_id))


def hashed(token: str) -> str:
    """What is kept of a token: its SHA-256 in hex."""
    return hashlib.sha256(token.encode(errors="replace")).hexdigest()


def _find(session: Session, token_hash: str) -> tuple[WebSession, User] | None:
    found = session.execute(
        select(WebSession, User)
        .join(User, WebSession.user_id == User.id)
        .where(WebSession.token_hash == token_hash, WebSession.expires_at > clock.now(), User.state == "active")
    ).one_or_none()
    return None if found is None else (found[0], found[1])
