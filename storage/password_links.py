"""Links with which whoever has lost a password chooses another: good once, for a short while, and for one account.

The link holds a random token; the database holds its SHA-256, so that reading it gives no entry. Whoever uses one that
an administrator made is that person from then on, so the audit trail says of each whether it was used. Knows no mail.
"""

import secrets
from dataclasses import dataclass

from argon2 import PasswordHasher
from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from storage import api_keys, audit, clock, passwords, users, web_sessions
from storage.errors import NotFound
from storage.models import AuditEvent, Identity, NoticeSettings, PasswordLink, User

BY_MAIL_S = 30 * 60.0
BY_HAND_S = 24 * 3600.0  # an administrator has to find a way to pass it on
MADE, USED = "user.password_link_made", "user.changed_password"
ID_CHARS = 12  # of the token's hash: enough to tell links apart, and nothing to sign in with
MOST_LISTED = 200


@dataclass(frozen=True)
class HandedLink:
    """A link that an administrator made. maker: the address, while that account exists. used_at: when a password was
    chosen with it, None where none was."""

    at: float
    maker: str | None
    used_at: float | None


def make_link(session: Session, user_id: str, *, actor_id: str | None, lifetime_s: float) -> str:
    """A new link's token, for an active person; links made before stay good. actor_id: the administrator who made it,
    None where the person asked for it by mail. Where the account has no way in yet it is an invitation, and the trail
    says so. Raises NotFound."""
    user = users.get_user(session, user_id)
    if user.state != "active":
        raise NotFound("nobody active has this id")
    at, token = clock.now(), secrets.token_urlsafe(32)
    token_hash = web_sessions.hashed(token)
    link = PasswordLink(token_hash=token_hash, user_id=user_id, created_at=at, expires_at=at + lifetime_s)
    session.add(link)
    session.flush()
    invites = {} if users.has_way_in(session, user) else {"invites": True}
    audit.record(session, MADE, actor_id=actor_id, subject_id=user_id, link=token_hash[:ID_CHARS], **invites)
    return token


def holder(session: Session, token: str) -> User | None:
    """Whose password this token may change; None where it is unknown, used or too old."""
    return session.scalar(
        select(User)
        .join(PasswordLink, PasswordLink.user_id == User.id)
        .where(
            PasswordLink.token_hash == web_sessions.hashed(token),
            PasswordLink.expires_at > clock.now(),
            User.state == "active",
        )
    )


def choose_password(
    session: Session, token: str, password: str, *, hasher: PasswordHasher = passwords.HASHER
) -> User | None:
    """Use the link up: set the password, and end whatever else may be somebody else's: sessions, links, connected
    sign-ins, API keys, notices. None, with nothing changed, where the link is unknown, used or too old. Raises
    InvalidAccount, and the link stays good."""
    token_hash = web_sessions.hashed(token)
    password_hash = users.hashed_password(password, hasher)  # slow: before the transaction holds anything
    user = holder(session, token)
    taken = delete(PasswordLink).where(PasswordLink.token_hash == token_hash)
    if user is None or not session.scalars(taken.returning(PasswordLink.user_id)).all():  # of two, one is first
        return None
    user.password_hash = password_hash
    session.execute(delete(PasswordLink).where(PasswordLink.user_id == user.id))
    web_sessions.end_all(session, user.id)
    for others in (Identity, NoticeSettings):
        session.execute(delete(others).where(others.user_id == user.id))
    api_keys.revoke_all(session, user.id)
    detail = {"by": "link", "link": token_hash[:ID_CHARS]}
    audit.record(session, USED, actor_id=user.id, subject_id=user.id, **detail)
    return user


def list_handed(session: Session, user_id: str) -> list[HandedLink]:
    """Every link to this account that an administrator made, newest first, but for invitations: there was nothing in
    it to read before."""
    by_hand = (AuditEvent.action == MADE, AuditEvent.subject_id == user_id, AuditEvent.actor_id.is_not(None))
    made = session.scalars(select(AuditEvent).where(*by_hand).order_by(AuditEvent.id.desc()).limit(MOST_LISTED)).all()
    changes = audit.list_events(session, action=USED, subject_id=user_id, limit=MOST_LISTED)[::-1]
    uses = [change for change in changes if change.detail.get("by") == "link"]
    return [_handed(session, event, uses) for event in made if not event.detail.get("invites")]


def _handed(session: Session, made: AuditEvent, uses: list[AuditEvent]) -> HandedLink:
    """Links from before they had an id on the trail are told by their day alone."""
    maker = session.get(User, made.actor_id)
    used = [
        use.at
        for use in uses
        if use.detail.get("link") == made.detail.get("link") and made.at <= use.at <= made.at + BY_HAND_S
    ]
    return HandedLink(made.at, maker.email if maker else None, used[0] if used else None)


def forget_expired(session: Session) -> None:
    """Delete the links that lead nowhere any more."""
    session.execute(delete(PasswordLink).where(PasswordLink.expires_at <= clock.now()))
