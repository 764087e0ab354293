"""Bearer keys of the API and what each may do. A secret is shown once; the database holds its SHA-256 and its first
characters.

A key's scopes are chosen when it is made and stay: whoever wants others makes another key.
"""

import hashlib
import secrets
from collections.abc import Collection
from typing import Literal, get_args

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from storage import audit, clock, paging
from storage.errors import LimitReached, NotFound
from storage.ids import new_id
from storage.models import ApiKey, User
from storage.text_intake import clean_name

SCOPES = ("generate", "samples", "tuning", "read")
Only = Literal["used", "idle", "revoked"]
ONLY: tuple[Only, ...] = get_args(Only)
IDLE_AFTER_S = 90 * 24 * 3600
PREFIX = "idl-"
MAX_KEYS = 20
MAX_NAME_CHARS = 80
TOUCH_EVERY_S = 60
_HINT_CHARS = len(PREFIX) + 4


def create_key(session: Session, user_id: str, name: str, scopes: Collection[str] = SCOPES) -> tuple[ApiKey, str]:
    """A new key and its secret, which can't be read again. scopes: one or more of SCOPES. Raises LimitReached beyond
    20 keys in use."""
    if not scopes or not set(scopes) <= set(SCOPES):
        raise ValueError(f"a key has one or more of the scopes {', '.join(SCOPES)}")
    in_use = select(func.count()).select_from(ApiKey).where(ApiKey.user_id == user_id, ApiKey.revoked_at.is_(None))
    if (session.scalar(in_use) or 0) >= MAX_KEYS:
        raise LimitReached(f"You have {MAX_KEYS} keys, which is the most: revoke one that you no longer use.")
    secret = PREFIX + secrets.token_urlsafe(32)
    key = ApiKey(
        id=new_id("key"),
        user_id=user_id,
        name=clean_name(name, MAX_NAME_CHARS) or "My key",
        hint=f"{secret[:_HINT_CHARS]}…",
        key_hash=_hashed(secret),
        scopes=[scope for scope in SCOPES if scope in scopes],
        created_at=clock.now(),
    )
    session.add(key)
    session.flush()
    audit.record(session, "key.created", actor_id=user_id, subject_id=key.id, scopes=key.scopes)
    return key, secret


def scopes_of(key: ApiKey) -> tuple[str, ...]:
    """What a key may do."""
    return SCOPES if key.scopes is None else tuple(key.scopes)


def authenticate(session: Session, secret: str) -> tuple[ApiKey, User] | None:
    """The key and its owner, unless it is unknown or revoked or the owner is not active. Only reads; see `touch`."""
    found = session.execute(
        select(ApiKey, User)
        .join(User, User.id == ApiKey.user_id)
        .where(ApiKey.key_hash == _hashed(secret), ApiKey.revoked_at.is_(None), User.state == "active")
    ).one_or_none()
    if found is None:
        return None
    key, user = found
    return key, user


def is_touch_due(key: ApiKey) -> bool:
    """Whether the key's last use was written down long enough ago to be written again."""
    return key.last_used_at is None or key.last_used_at < clock.now() - TOUCH_EVERY_S


def touch(session: Session, key_id: str) -> None:
    """Write down that the key is in use; when `is_touch_due`, since it takes SQLite's write lock."""
    session.execute(update(ApiKey).where(ApiKey.id == key_id).values(last_used_at=clock.now()))


def list_keys(session: Session, user_id: str) -> list[ApiKey]:
    """The person's keys, revoked ones too, newest first."""
    mine = select(ApiKey).where(ApiKey.user_id == user_id)
    return list(session.scalars(mine.order_by(ApiKey.created_at.desc(), ApiKey.id.desc())))


def list_all_keys(
    session: Session, *, query: str = "", only: Only = "used", after: str | None = None, limit: int = 50
) -> list[tuple[ApiKey, User]]:
    """Everybody's keys with their owners for the console, newest first: of which the hint begins with the query, or the
    owner's address holds it. only "used": not revoked; "idle": not revoked, and not used for 90 days; "revoked". Raises
    NotFound for an unknown `after`."""
    found = select(ApiKey, User).join(User, User.id == ApiKey.user_id)
    if part := "".join(filter(str.isprintable, query)).strip().removesuffix("…"):
        hinted = ApiKey.hint.startswith(part[:_HINT_CHARS], autoescape=True)  # of a whole key, too
        found = found.where(hinted | User.email.contains(part.lower(), autoescape=True))
    found = found.where(ApiKey.revoked_at.is_not(None) if only == "revoked" else ApiKey.revoked_at.is_(None))
    if only == "idle":
        found = found.where(func.coalesce(ApiKey.last_used_at, ApiKey.created_at) < clock.now() - IDLE_AFTER_S)
    if after is not None:
        last = session.get(ApiKey, after)
        if last is None:
            raise NotFound("no such key")
        found = found.where(paging.after(ApiKey.created_at, ApiKey.id, last.created_at, last.id))
    rows = session.execute(found.order_by(ApiKey.created_at.desc(), ApiKey.id.desc()).limit(limit))
    return [(key, owner) for key, owner in rows]


def revoke_key(session: Session, user_id: str, key_id: str, *, actor_id: str | None) -> ApiKey:
    """Stop a key from working, on behalf of actor_id; the first time counts and is recorded. Raises NotFound."""
    key = session.scalar(select(ApiKey).where(ApiKey.id == key_id, ApiKey.user_id == user_id))
    if key is None:
        raise NotFound("no such key")
    if key.revoked_at is None:
        key.revoked_at = clock.now()
        session.flush()
        audit.record(session, "key.revoked", actor_id=actor_id, subject_id=user_id, key_id=key_id)
    return key


def revoke_all(session: Session, user_id: str) -> None:
    """Stop every key of a person from working, on their own behalf."""
    for key in list_keys(session, user_id):
        revoke_key(session, user_id, key.id, actor_id=user_id)


def _hashed(secret: str) -> str:
    return hashlib.sha256(secret.encode(errors="replace")).hexdigest()
