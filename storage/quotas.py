"""How much one account may have and use: defaults of the configuration, over which an owner sets other numbers for a
person. Asked wherever more is taken in; what is there already stays, also above a quota that was lowered.

0 is no bound. The defaults come with every session of an opened Storage (`session.info`). What is counted and then
added may be one too many where two requests come at once.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal, get_args

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from storage import audit
from storage.config import StorageConfig
from storage.errors import Conflict, LimitReached, NotFound
from storage.models import LIVE_STATES, TuningRun, Upload, User, UserQuota, Voice, WritingSample
from storage.usage import tokens_of_today

Kind = Literal["voices", "samples", "stored_mb", "runs", "tokens_per_day"]
KINDS: tuple[Kind, ...] = get_args(Kind)
INFO = "quotas"
MEGABYTE = 1_000_000
MOST = 2_000_000_000  # what the columns hold


@dataclass(frozen=True)
class Quotas:
    """One number for each kind. stored_mb: of samples, a character counting as a byte, and training files, in millions
    of bytes. runs: that wait, are paused or in training. tokens_per_day: read and written, by UTC days."""

    voices: int
    samples: int
    stored_mb: int
    runs: int
    tokens_per_day: int

    @classmethod
    def of_config(cls, config: StorageConfig) -> "Quotas":
        """The defaults."""
        return cls(**{kind: getattr(config, f"quota_{kind}") for kind in KINDS})


@dataclass(frozen=True)
class Standing:
    """How one account stands in one kind. used: in the kind's own unit. own: an owner has set it for this person."""

    kind: Kind
    used: float
    limit: int
    own: bool


_FULL: dict[Kind, tuple[str, str]] = {  # where the limit is one, and where it is another number
    "voices": ("Your account may have 1 voice and has {has}.", "Your account may have {limit} voices and has {has}."),
    "samples": (
        "Your account may have 1 sample in all its voices and has {has}.",
        "Your account may have {limit} samples in all its voices and has {has}.",
    ),
    "stored_mb": (
        "Your account may keep 1 MB of samples and files and keeps {has}.",
        "Your account may keep {limit} MB of samples and files and keeps {has}.",
    ),
    "runs": (
        "Your account may have 1 training waiting, paused or under way and has {has}.",
        "Your account may have {limit} trainings waiting, paused or under way and has {has}.",
    ),
    "tokens_per_day": (
        "Your account may have 1 token read and written in a day and has used {has} today.",
        "Your account may have {limit} tokens read and written in a day and has used {has} today.",
    ),
}
_WAY_OUT: dict[Kind, str] = {
    "voices": "Delete one that you no longer use.",
    "samples": "Delete some, or join short pieces into one.",
    "stored_mb": "Delete some.",
    "runs": "Wait for the end of one, or cancel one that you do not need.",
    "tokens_per_day": "Go on after 0:00 UTC.",
}
_ASK = "An administrator can help too: an owner of this platform can allow you more."


def defaults(session: Session) -> Quotas:
    """What holds for everybody for whom nothing else was set."""
    found = session.info[INFO]
    assert isinstance(found, Quotas)
    return found


def of(session: Session, user_id: str) -> Quotas:
    """What holds for this person."""
    own: dict[str, int] = {kind: number for kind, number in own_numbers(session, user_id).items() if number is not None}
    return replace(defaults(session), **own)


def own_numbers(session: Session, user_id: str) -> dict[Kind, int | None]:
    """What an owner has set for this person; None where the default holds."""
    row = session.get(UserQuota, user_id)
    return {kind: getattr(row, kind) if row else None for kind in KINDS}


def set_own(session: Session, user_id: str, numbers: Mapping[Kind, int | None], actor_id: str) -> bool:
    """Set them all for this person; None: the default. Whether that changed anything. Raises NotFound, Conflict for a
    number that is none of a quota."""
    if session.get(User, user_id) is None:
        raise NotFound("no such user")
    if any(number is not None and not 0 <= number <= MOST for number in numbers.values()):
        raise Conflict(f"A quota is a whole number from 0 to {MOST:,}, or empty. Nothing was changed.")
    if dict(numbers) == own_numbers(session, user_id):
        return False
    given: dict[str, int | None] = {kind: numbers.get(kind) for kind in KINDS}
    session.merge(UserQuota(user_id=user_id, **given))
    session.flush()
    audit.record(session, "user.quotas_changed", actor_id=actor_id, subject_id=user_id, **given)
    return True


def standings(session: Session, user_id: str) -> list[Standing]:
    """How the person stands in every kind."""
    limits, own = of(session, user_id), own_numbers(session, user_id)
    return [
        Standing(kind, used(session, user_id, kind), getattr(limits, kind), own[kind] is not None) for kind in KINDS
    ]


def used(session: Session, user_id: str, kind: Kind) -> float:
    """How much of it the person has, in the kind's own unit."""
    match kind:
        case "voices":
            counted = select(func.count()).select_from(Voice).where(Voice.user_id == user_id)
        case "samples":
            counted = select(func.count()).select_from(WritingSample).where(WritingSample.user_id == user_id)
        case "runs":
            live = (TuningRun.user_id == user_id, TuningRun.state.in_(LIVE_STATES))
            counted = select(func.count()).select_from(TuningRun).where(*live)
        case "stored_mb":
            return stored_bytes(session, user_id) / MEGABYTE
        case "tokens_per_day":
            return tokens_of_today(session, user_id)
    return session.scalar(counted) or 0


def stored_bytes(session: Session, user_id: str) -> int:
    """Characters of samples and bytes of files."""
    chars = select(func.coalesce(func.sum(WritingSample.num_chars), 0)).where(WritingSample.user_id == user_id)
    files = select(func.coalesce(func.sum(Upload.num_bytes), 0)).where(Upload.user_id == user_id)
    return int(session.scalar(chars) or 0) + int(session.scalar(files) or 0)


def require(session: Session, user_id: str, kind: Kind, more: float = 1) -> None:
    """Refuse more of it than the person may have; less than they have is always right. more: in the kind's own unit.
    Raises LimitReached, which says the limit, what helps, and who can raise it."""
    limit = getattr(of(session, user_id), kind)
    if limit and more > 0 and (has := used(session, user_id, kind)) + more > limit:
        raise LimitReached(sentence(kind, limit, has))


def left(session: Session, user_id: str, kind: Kind) -> float:
    """How much more of it the person may have, in the kind's own unit; without a bound, infinity."""
    limit = getattr(of(session, user_id), kind)
    return max(0.0, limit - used(session, user_id, kind)) if limit else float("inf")


def sentence(kind: Kind, limit: int, has: float) -> str:
    """What whoever has reached a quota is told."""
    amount = f"{has:,.1f}" if has % 1 else f"{has:,.0f}"
    full = _FULL[kind][limit != 1].format(limit=f"{limit:,}", has=amount)
    return f"{full} {_WAY_OUT[kind]} {_ASK}"
