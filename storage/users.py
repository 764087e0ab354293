"""Accounts: sign-up, passwords, states, and erasure with everything that belongs to the person."""

import logging
import re
from typing import Literal

from argon2 import PasswordHasher
from sqlalchemy import delete, func, select
from sqlalchemy.exc import IntegrityError as RowExists
from sqlalchemy.orm import Session

from storage import audit, clock, paging, passwords, prefixes, receipts, voices, web_sessions
from storage.errors import Conflict, InvalidAccount, NotFound
from storage.ids import new_id
from storage.keys import KeyStore
from storage.models import AuditEvent, ConsoleRole, Identity, PasswordLink, Receipt, Role, TuningRun, User, UserState
from storage.store import Storage

Only = Literal["suspended", "administrators"]
FIRST_VOICE = "My voice"
ERASED = "user.erased"
MIN_PASSWORD_CHARS = 10
MAX_PASSWORD_CHARS = 1000
MAX_EMAIL_CHARS = 254
# What a letter can be addressed to as it stands: no quoting, no comments, no encoded words.
_EMAIL = re.compile(r"(?!.*=\?)[^@\s()<>\[\]:;,\\\"]+@[^@\s.()<>\[\]:;,\\\"]+(\.[^@\s.()<>\[\]:;,\\\"]+)+")
log = logging.getLogger(__name__)


def sign_up(
    session: Session,
    keys: KeyStore,
    *,
    email: str,
    password: str,
    role: Role = "writer",
    hasher: PasswordHasher = passwords.HASHER,
) -> User:
    """Make an account with its data key and a first voice. Raises InvalidAccount, Conflict (the address is taken)."""
    return add(session, keys, account(email=email, password=password, role=role, hasher=hasher))


def account(*, email: str, password: str | None, role: Role, hasher: PasswordHasher = passwords.HASHER) -> User:
    """An account to `add`; an administrator's is an owner's. Hashes its password, so make it before a transaction holds
    anything. None: it has no password. Raises InvalidAccount."""
    return User(
        id=new_id("user"),
        email=_checked_email(email),
        password_hash="" if password is None else hashed_password(password, hasher),
        role=role,
        console_role="owner" if role == "admin" else None,
        state="active",
        created_at=clock.now(),
    )


def add(session: Session, keys: KeyStore, user: User, *, actor_id: str | None = None) -> User:
    """Keep a new account, and make its data key and first voice. actor_id: who made it for the person, None where they
    did. Raises Conflict (the address is taken)."""
    try:
        with session.begin_nested():
            session.add(user)
    except RowExists:
        raise Conflict("There is already an account with this address: sign in, or use another address.") from None
    keys.create(user.id)
    voices.create_voice(session, user.id, FIRST_VOICE)
    audit.record(session, "user.signed_up", actor_id=actor_id or user.id, subject_id=user.id, role=user.role)
    return user


def invite(session: Session, keys: KeyStore, email: str, actor_id: str) -> User:
    """An account for somebody else, who chooses its password with a link (storage.password_links). Raises
    InvalidAccount, Conflict (the address is taken)."""
    return add(session, keys, account(email=email, password=None, role="writer"), actor_id=actor_id)


def verify_password(
    session: Session, email: str, password: str, *, hasher: PasswordHasher = passwords.HASHER
) -> User | None:
    """The account these two open, suspended or not; None otherwise, after the same time for an unknown address.

    Ends the transaction before it measures: hashing takes long, and would hold SQLite's lock.
    """
    user = find_by_email(session, email)
    session.commit()
    known = user.password_hash or None if user else None  # an account without a password takes as long as no account
    if not passwords.is_right(known, password[: MAX_PASSWORD_CHARS + 1], hasher):
        return None
    if user is not None and hasher.check_needs_rehash(user.password_hash):
        user.password_hash = passwords.hashed(password, hasher)
    return user


def change_password(
    session: Session, user_id: str, password: str, *, hasher: PasswordHasher = passwords.HASHER
) -> None:
    """Set another password; links to choose one end. Raises InvalidAccount, NotFound. Ending the other browsers is the
    caller's choice."""
    password_hash = hashed_password(password, hasher)
    get_user(session, user_id).password_hash = password_hash
    _end_links(session, user_id)
    audit.record(session, "user.changed_password", actor_id=user_id, subject_id=user_id)


def settle(session: Session, user_id: str, *, email: str, password_hash: str) -> User:
    """Give an account another address and password. Raises InvalidAccount, Conflict (a taken address), NotFound."""
    user, address = get_user(session, user_id), _checked_email(email)
    try:
        with session.begin_nested():
            user.email, user.password_hash = address, password_hash
            session.flush()
    except RowExists:
        raise Conflict("There is already an account with this address: sign in, or use another address.") from None
    return user


def hashed_password(password: str, hasher: PasswordHasher = passwords.HASHER) -> str:
    """What is kept of a new password. Slow on purpose. Raises InvalidAccount where it is too short or too long."""
    return passwords.hashed(_checked_password(password), hasher)


def get_user(session: Session, user_id: str) -> User:
    """The account. Raises NotFound."""
    user = session.get(User, user_id)
    if user is None:
        raise NotFound("no such user")
    return user


def find_by_email(session: Session, email: str) -> User | None:
    """The account with this address, however it is spelled."""
    address = _normal_email(email)
    return session.scalar(select(User).where(User.email == address)) if address.isprintable() else None


def list_users(
    session: Session, *, query: str = "", only: Only | None = None, after: str | None = None, limit: int = 50
) -> list[User]:
    """Newest first, by part of the address or the id; `after` is the last id of the page before (else NotFound)."""
    wanted = select(User)
    if only is not None:
        wanted = wanted.where(User.state == "suspended" if only == "suspended" else User.role == "admin")
    if query.strip():
        part = "".join(filter(str.isprintable, query)).strip().lower()
        wanted = wanted.where(User.email.contains(part, autoescape=True) | (User.id == part))
    if after is not None:
        last = get_user(session, after)
        wanted = wanted.where(paging.after(User.created_at, User.id, last.created_at, last.id))
    return list(session.scalars(wanted.order_by(User.created_at.desc(), User.id.desc()).limit(limit)))


def set_state(session: Session, user_id: str, state: UserState) -> User:
    """Suspend (which ends every browser session) or let in again. Raises NotFound, Conflict for the last owner. The
    caller records who did it."""
    user = get_user(session, user_id)
    if state != "active":
        _keep_one_owner(session, user)
        web_sessions.end_all(session, user_id)
        _end_links(session, user_id)
    user.state = state
    session.flush()
    return user


def set_console_role(session: Session, user_id: str, role: ConsoleRole | None) -> User:
    """Make somebody an administrator of this kind, or a writer (None) again. Raises NotFound, Conflict for the last
    owner, and for a guest or a suspended person who should become an administrator, or one without a way in. The caller
    records who did it."""
    user = get_user(session, user_id)
    if role is not None and user.state != "active":
        raise Conflict("This person is suspended: nothing was changed. Let them back in first.")
    if role is not None and user.guest_until is not None:
        raise Conflict("This is a guest, whose account ends by itself: nothing was changed.")
    if role is not None and not has_way_in(session, user):
        raise Conflict(
            "This person has not chosen a password yet: nothing was changed. A link that you make lets them."
        )
    if role != "owner":
        _keep_one_owner(session, user)
    user.role, user.console_role = "writer" if role is None else "admin", role
    _end_links(session, user_id)  # one made for a writer must not lead into the console
    session.flush()
    return user


def has_way_in(session: Session, user: User) -> bool:
    """Whether the account can be signed in to: an invited person's can't before they have chosen a password."""
    connected = select(Identity).where(Identity.user_id == user.id).limit(1)
    return bool(user.password_hash) or session.scalar(connected) is not None


def has_admin(session: Session) -> bool:
    """Whether there is any administrator, suspended or not."""
    return session.scalar(select(User.id).where(User.role == "admin").limit(1)) is not None


def erase_user(
    storage: Storage, user_id: str, actor_id: str | None, *, guest_until: float | None = None
) -> Receipt | None:
    """Erase the account: its rows (queued and running runs with them), its cached prefixes, then its data key.

    An erasure that was cut short is finished by calling it again, or by finish_erasures, which every worker does from
    time to time; None then, as its receipt was written the first time.
    What stays is one audit event and the receipt, with the bare ids and how many rows went. guest_until: only if it is
    still a guest's whose time ends by then; NotFound and nothing erased otherwise.
    Raises NotFound when there is neither an account nor a key; Conflict, with nothing erased, for the only active
    owner while there is any other account, since whoever held the set-up link could rule over it then.
    """
    receipt = None
    with storage.database.session() as session:
        if guest_until is not None:
            still = select(User.id).where(User.id == user_id, User.guest_until <= guest_until)
            if session.scalar(still.with_for_update()) is None:
                raise NotFound("no guest any more")
        removed = receipts.count_rows(session, user_id)
        session.execute(delete(TuningRun).where(TuningRun.user_id == user_id))  # first: workers lock runs, then users
        if (user := session.get(User, user_id)) is not None and _has_others(session, user_id):
            _keep_one_owner(session, user)
        gone = session.execute(delete(User).where(User.id == user_id).returning(User.id)).all()
        if gone:
            receipt = receipts.write(session, user_id, removed)
            audit.record(session, ERASED, actor_id=actor_id, subject_id=user_id, receipt=receipt.id)
    prefixes.wipe_cached(storage, user_id)
    had_key = storage.keys.erase(user_id)
    storage.database.scrub()
    if not gone and not had_key:
        raise NotFound("no such user")
    log.info("an account was erased: %s", user_id)
    return receipt


def finish_erasures(storage: Storage) -> int:
    """Finish erasures that were cut short between the rows and the key; how many. Goes by the trail, not by missing
    rows: after an older backup is restored, people without rows are not people who left."""
    with storage.database.reading() as session:
        erased = select(AuditEvent.subject_id).where(AuditEvent.action == ERASED, AuditEvent.subject_id.is_not(None))
        half_gone = storage.keys.owners().intersection(session.scalars(erased))
    for user_id in half_gone:
        prefixes.wipe_cached(storage, user_id)
        storage.keys.erase(user_id)
        storage.database.scrub()
        log.info("an erasure that was cut short was finished: %s", user_id)
    return len(half_gone)


def _end_links(session: Session, user_id: str) -> None:
    session.execute(delete(PasswordLink).where(PasswordLink.user_id == user_id))


def _keep_one_owner(session: Session, user: User) -> None:
    if user.console != "owner" or user.state != "active":
        return
    owners = (User.role == "admin", func.coalesce(User.console_role, "owner") == "owner", User.state == "active")
    active = select(User.id).where(*owners).order_by(User.id)
    if len(session.scalars(active.with_for_update()).all()) == 1:  # locked: two at once must not both go
        raise Conflict(
            "This is the only active owner, and there must be one: nothing was changed. "
            "Make somebody else an owner first, on their page in the console."
        )


def _has_others(session: Session, user_id: str) -> bool:
    return session.scalar(select(User.id).where(User.id != user_id).limit(1)) is not None


def _normal_email(email: str) -> str:
    return email.strip().lower()


def _checked_email(email: str) -> str:
    normal = _normal_email(email)
    if len(normal) > MAX_EMAIL_CHARS or not _EMAIL.fullmatch(normal) or not normal.isprintable():
        raise InvalidAccount("That does not look like an e-mail address. It should read like name@example.org.")
    return normal


def _checked_password(password: str) -> str:
    if len(password) < MIN_PASSWORD_CHARS:
        raise InvalidAccount(f"Choose a password of at least {MIN_PASSWORD_CHARS} characters; a few words do well.")
    if len(password) > MAX_PASSWORD_CHARS:
        raise InvalidAccount(f"Choose a password of at most {MAX_PASSWORD_CHARS} characters.")
    return password


__all__ = [
    "FIRST_VOICE",
    "InvalidAccount",
    "Only",
    "account",
    "add",
    "change_password",
    "erase_user",
    "find_by_email",
    "finish_erasures",
    "get_user",
    "has_admin",
    "hashed_password",
    "list_users",
    "set_console_role",
    "set_state",
    "settle",
    "sign_up",
    "verify_password",
]
