"""Signed-in browsers. The token lives in the cookie; the database holds its SHA-256, so reading one gives no entry.

Of the browser itself its name and system are kept, so that people can tell their own apart; no address, no version.
"""

import hashlib
import secrets
from dataclasses import dataclass

from sqlalchemy import delete, func, or_, select, update
from sqlalchemy.orm import Session

from storage import audit, clock
from storage.database import Database
from storage.errors import NotFound
from storage.models import User, WebSession

LIFETIME_S = 14 * 24 * 3600  # since its browser was last seen
LONGEST_S = 90 * 24 * 3600  # since the sign-in
TOUCH_EVERY_S = 60
_ID_CHARS = 16  # of the hash: enough to name one of a person's own sessions, and no entry


@dataclass(frozen=True)
class SignedIn:
    """One of a person's browsers. mine: the one that asks."""

    id: str
    browser: str | None
    created_at: float
    last_seen_at: float
    mine: bool


def start(session: Session, user_id: str, browser: str | None = None) -> str:
    """A new session's token, good until its browser has not been seen for 14 days, and for 90 days at most. browser:
    its name and system, in a few words. Expired sessions of the same person are cleared away."""
    at, token = clock.now(), secrets.token_urlsafe(32)
    session.execute(delete(WebSession).where(WebSession.user_id == user_id, WebSession.expires_at <= at))
    session.add(
        WebSession(
            token_hash=hashed(token),
            user_id=user_id,
            browser=browser,
            created_at=at,
            last_seen_at=at,
            expires_at=at + LIFETIME_S,
        )
    )
    session.flush()
    return token


def recognise(database: Database, token_hash: str) -> User | None:
    """Who is signed in with the token of this hash: active people only, until it expires or their visit is over.

    Reads, and so never waits for a writer; once a minute a second transaction writes down that they were seen, which
    puts the end off.
    """
    with database.reading() as session:
        found = _find(session, token_hash)
    if found is None:
        return None
    signed_in, user = found
    at = clock.now()
    if signed_in.last_seen_at < at - TOUCH_EVERY_S:
        until = min(at + LIFETIME_S, signed_in.created_at + LONGEST_S)
        seen = update(WebSession).where(WebSession.token_hash == token_hash, WebSession.expires_at > at)
        with database.session() as session:
            session.execute(seen.values(last_seen_at=at, expires_at=until))
    return user


def end(session: Session, token: str) -> None:
    """Sign this browser out."""
    session.execute(delete(WebSession).where(WebSession.token_hash == hashed(token)))


def end_all(session: Session, user_id: str) -> None:
    """Sign every browser of this person out."""
    session.execute(delete(WebSession).where(WebSession.user_id == user_id))


def list_sessions(session: Session, user_id: str, token: str) -> list[SignedIn]:
    """The person's signed-in browsers, the one with this token first, then whoever was seen last."""
    mine = select(WebSession).where(WebSession.user_id == user_id, WebSession.expires_at > clock.now())
    rows = session.scalars(mine.order_by(WebSession.last_seen_at.desc(), WebSession.token_hash))
    found = [
        SignedIn(
            row.token_hash[:_ID_CHARS],
            row.browser,
            row.created_at,
            row.last_seen_at,
            mine=row.token_hash == hashed(token),
        )
        for row in rows
    ]
    return sorted(found, key=lambda signed_in: not signed_in.mine)


def end_one(session: Session, user_id: str, session_id: str) -> None:
    """Sign one of the person's browsers out. Raises NotFound."""
    named = func.substr(WebSession.token_hash, 1, _ID_CHARS) == session_id
    ended = session.scalars(
        delete(WebSession).where(WebSession.user_id == user_id, named).returning(WebSession.user_id)
    )
    if not ended.all():
        raise NotFound("no such session")
    audit.record(session, "user.ended_sessions", actor_id=user_id, subject_id=user_id, count=1)


def end_others(session: Session, user_id: str, token: str) -> int:
    """Sign out every browser of this person but the one with this token; how many."""
    others = delete(WebSession).where(WebSession.user_id == user_id, WebSession.token_hash != hashed(token))
    count = len(session.scalars(others.returning(WebSession.user_id)).all())
    if count:
        audit.record(session, "user.ended_sessions", actor_id=user_id, subject_id=user_id, count=count)
    return count


def hashed(token: str) -> str:
    """What is kept of a token: its SHA-256 in hex."""
    return hashlib.sha256(token.encode(errors="replace")).hexdigest()


def _find(session: Session, token_hash: str) -> tuple[WebSession, User] | None:
    found = session.execute(
        select(WebSession, User)
        .join(User, WebSession.user_id == User.id)
        .where(WebSession.token_hash == token_hash, WebSession.expires_at > clock.now(), User.state == "active")
        .where(or_(User.guest_until.is_(None), User.guest_until > clock.now()))
    ).one_or_none()
    return None if found is None else (found[0], found[1])
