"""Requests that are to be done once, however often they are sent: a day's memory of what was answered.

A request takes a turn under the name that its caller gave it, does its work, and keeps its answer in the transaction of
that work: either both are there or neither. A turn that ends without an answer is given back; one whose process died
is free after CLAIM_S, and whoever was only slow then finds its turn lost and changes nothing. Everything a caller sent
is kept as an HMAC under their own key, the answer sealed. Knows no HTTP.
"""

import hashlib
import hmac
import secrets
from dataclasses import dataclass

from sqlalchemy import ColumnElement, and_, delete, func, select, update
from sqlalchemy.exc import IntegrityError as RowExists
from sqlalchemy.orm import Session

from storage import clock, crypto
from storage.errors import KeyReused, LimitReached, NotFound, RequestUnderWay
from storage.keys import KeyStore
from storage.models import IdempotencyKey, User

KEPT_S = 24 * 3600.0
CLAIM_S = 120.0
MAX_KEYS = 2_000
MAX_ANSWER_BYTES = 32 << 20  # of all answers that are kept of one account: some hold a sample's text


@dataclass(frozen=True)
class Answer:
    """What the first request was answered. status: as its interface counts; body: as it was sent."""

    status: int
    body: bytes


@dataclass(frozen=True)
class Turn:
    """A request that is at work. `claim` is named by its every write."""

    user_id: str
    key_mac: str
    claim: str


def begin(session: Session, keys: KeyStore, user_id: str, name: str, request: bytes) -> Turn | Answer:
    """Take the turn of this name, or get the answer that it was given in the last day. Commit before doing the work.

    Raises RequestUnderWay, KeyReused (another request than the first time), LimitReached, NotFound (no such account),
    KeyErased.
    """
    key = crypto.derive(keys.data_key(user_id), "idempotency")
    key_mac, request_mac = _mac(key, b"name", name.encode()), _mac(key, b"request", request)
    # held first, as an erasure holds it: neither waits for the other in a ring
    owner = select(User.id).where(User.id == user_id).with_for_update(read=True, key_share=True)
    if session.scalar(owner) is None:
        raise NotFound("no such user")
    at, turn = clock.now(), Turn(user_id, key_mac, secrets.token_hex(16))
    session.execute(delete(IdempotencyKey).where(_is(user_id, key_mac), IdempotencyKey.expires_at <= at))
    if _add(session, turn, request_mac, at):
        return turn
    first = session.scalars(select(IdempotencyKey).where(_is(user_id, key_mac))).one_or_none()
    if first is None:  # given back in this moment
        raise RequestUnderWay("A request with this idempotency key has just ended: ask again in a moment.")
    if not hmac.compare_digest(first.request_mac, request_mac):
        raise KeyReused("This idempotency key came with another request before: use a new key for a new request.")
    if first.answer_sealed is not None:
        return _opened(keys.data_key(user_id), first.answer_sealed, turn)
    if not _take_over(session, turn, at):
        raise RequestUnderWay("A request with this idempotency key is at work: ask again in a moment.")
    return turn


def keep(session: Session, keys: KeyStore, turn: Turn, answer: Answer) -> None:
    """Keep the answer, in the transaction of the work. Raises RequestUnderWay when the turn was lost to somebody else:
    roll the work back. Raises KeyErased."""
    sealed = crypto.seal(keys.data_key(turn.user_id), f"{answer.status} ".encode() + answer.body, *_belonging(turn))
    mine = update(IdempotencyKey).where(_is_at_work(turn)).values(answer_sealed=sealed, num_bytes=len(sealed))
    if not session.execute(mine.returning(IdempotencyKey.key_mac)).all():
        raise RequestUnderWay("Another request with this idempotency key took this one's place: ask again in a moment.")


def give_back(session: Session, turn: Turn) -> None:
    """The work was not done: whoever asks next does it."""
    session.execute(delete(IdempotencyKey).where(_is_at_work(turn)))


def forget_expired(session: Session) -> None:
    """Delete what is older than a day."""
    session.execute(delete(IdempotencyKey).where(IdempotencyKey.expires_at <= clock.now()))


def _add(session: Session, turn: Turn, request_mac: str, at: float) -> bool:
    _require_room(session, turn)
    row = IdempotencyKey(
        user_id=turn.user_id,
        key_mac=turn.key_mac,
        request_mac=request_mac,
        claim=turn.claim,
        claimed_until=at + CLAIM_S,
        expires_at=at + KEPT_S,
    )
    try:
        with session.begin_nested():
            session.add(row)
    except RowExists:
        return False
    return True


def _require_room(session: Session, turn: Turn) -> None:
    others = IdempotencyKey.user_id == turn.user_id, IdempotencyKey.key_mac != turn.key_mac
    held = select(func.count(), func.coalesce(func.sum(IdempotencyKey.num_bytes), 0)).where(*others)
    count, num_bytes = session.execute(held).one()
    if count >= MAX_KEYS or num_bytes >= MAX_ANSWER_BYTES:
        raise LimitReached(
            f"An account may use {MAX_KEYS:,} idempotency keys a day, with {MAX_ANSWER_BYTES >> 20} MiB of answers: "
            "send this request without one, or tomorrow."
        )


def _take_over(session: Session, turn: Turn, at: float) -> bool:
    abandoned = and_(
        _is(turn.user_id, turn.key_mac), IdempotencyKey.answer_sealed.is_(None), IdempotencyKey.claimed_until <= at
    )
    mine = update(IdempotencyKey).where(abandoned).values(claim=turn.claim, claimed_until=at + CLAIM_S)
    return bool(session.execute(mine.returning(IdempotencyKey.key_mac)).all())


def _opened(key: bytes, sealed: bytes, turn: Turn) -> Answer:
    status, _, body = crypto.unseal(key, sealed, *_belonging(turn)).partition(b" ")
    return Answer(int(status), body)


def _belonging(turn: Turn) -> tuple[str, str, str]:
    return "idempotency", turn.user_id, turn.key_mac


def _is(user_id: str, key_mac: str) -> ColumnElement[bool]:
    return and_(IdempotencyKey.user_id == user_id, IdempotencyKey.key_mac == key_mac)


def _is_at_work(turn: Turn) -> ColumnElement[bool]:
    mine = _is(turn.user_id, turn.key_mac)
    return and_(mine, IdempotencyKey.claim == turn.claim, IdempotencyKey.answer_sealed.is_(None))


def _mac(key: bytes, kind: bytes, given: bytes) -> str:
    return hmac.new(key, kind + b"\0" + given, hashlib.sha256).hexdigest()
