"""What people ask of the API: requests and tokens by day, key and model. Numbers only, kept for thirteen months."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Literal

from sqlalchemy import ColumnElement, and_, delete, func, literal, or_, select, tuple_
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from storage import clock
from storage.models import ApiUsage, User

PAGES = "pages"  # in place of a key's id: the writing page, for whoever is signed in
KEPT_DAYS = 400


@dataclass(frozen=True, order=True)
class Place:
    """Where requests are counted: whose, on which day (ISO date, UTC), with which key, of which model (empty: none)."""

    user_id: str
    day: str
    key_id: str
    model: str


@dataclass(frozen=True)
class Counts:
    """How much."""

    requests: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(
            self.requests + other.requests,
            self.prompt_tokens + other.prompt_tokens,
            self.completion_tokens + other.completion_tokens,
        )


def add(session: Session, counted: Mapping[Place, Counts]) -> None:
    """Add these to what is there. What somebody did who has been erased meanwhile is left out."""
    # Rows of users are held first and in one order, as an erasure holds them: neither waits for the other in a ring.
    asked = {place.user_id for place in counted}
    held = select(User.id).where(User.id.in_(asked)).order_by(User.id).with_for_update(read=True, key_share=True)
    present = set(session.scalars(held))
    rows = [vars(place) | vars(counted[place]) for place in sorted(counted) if place.user_id in present]
    if not rows:
        return
    insert = sqlite.insert if session.get_bind().dialect.name == "sqlite" else postgresql.insert
    new = insert(ApiUsage)
    more = {name: getattr(ApiUsage, name) + new.excluded[name] for name in vars(Counts())}
    session.execute(new.on_conflict_do_update(index_elements=[*ApiUsage.__table__.primary_key], set_=more), rows)


def list_usage(
    session: Session, user_id: str, *, days: int, after: Place | None = None, limit: int | None = None
) -> list[ApiUsage]:
    """What a person asked for today and on the days before, so many in all; the newest day first. after: the last place
    of the page before."""
    wanted = select(ApiUsage).where(ApiUsage.user_id == user_id, _lately(days))
    if after is not None:
        later = tuple_(ApiUsage.key_id, ApiUsage.model) > tuple_(literal(after.key_id), literal(after.model))
        wanted = wanted.where(or_(ApiUsage.day < after.day, and_(ApiUsage.day == after.day, later)))
    return list(session.scalars(wanted.order_by(ApiUsage.day.desc(), ApiUsage.key_id, ApiUsage.model).limit(limit)))


def totals(session: Session, user_id: str, *, days: int, by: Literal["day", "key_id", "model"]) -> dict[str, Counts]:
    """The sums of the same days for each day, key or model that occurs; the one with most tokens first."""
    column = getattr(ApiUsage, by)
    mine = select(column, *_sums()).where(ApiUsage.user_id == user_id, _lately(days))
    found = {row[0]: Counts(*map(int, row[1:])) for row in session.execute(mine.group_by(column))}
    return dict(sorted(found.items(), key=lambda item: (-item[1].prompt_tokens - item[1].completion_tokens, item[0])))


def days_until_today(days: int) -> list[str]:
    """Today and the days before, so many in all, the oldest first."""
    return [_day_before(ago) for ago in range(days - 1, -1, -1)]


def tokens_of_today(session: Session, user_id: str) -> int:
    """Tokens that the person had read and written today, as far as they have been written down."""
    tokens = func.coalesce(func.sum(ApiUsage.prompt_tokens + ApiUsage.completion_tokens), 0)
    return int(session.scalar(select(tokens).where(ApiUsage.user_id == user_id, ApiUsage.day == today())) or 0)


@dataclass(frozen=True)
class Share:
    """What one person asked of one model (empty: of none)."""

    user_id: str
    email: str
    model: str
    counts: Counts


def by_day(session: Session, days: int) -> dict[str, Counts]:
    """What everybody asked for on each of the last days, today included, those without a request too; oldest first."""
    found = {day: Counts() for day in days_until_today(days)}
    for day, *sums in session.execute(select(ApiUsage.day, *_sums()).where(_lately(days)).group_by(ApiUsage.day)):
        found[day] = Counts(*map(int, sums))
    return found


def greatest_shares(session: Session, days: int, limit: int) -> list[Share]:
    """Who asked most, and of what, by tokens and then requests."""
    tokens = func.sum(ApiUsage.prompt_tokens + ApiUsage.completion_tokens)
    wanted = (
        select(User.id, User.email, ApiUsage.model, *_sums())
        .join(User, User.id == ApiUsage.user_id)
        .where(_lately(days))
        .group_by(User.id, User.email, ApiUsage.model)
        .order_by(tokens.desc(), func.sum(ApiUsage.requests).desc(), User.id, ApiUsage.model)
    )
    rows = session.execute(wanted.limit(limit))
    return [Share(user_id, email, model, Counts(*map(int, sums))) for user_id, email, model, *sums in rows]


def _sums() -> list[ColumnElement[int]]:
    return [func.sum(getattr(ApiUsage, name)) for name in vars(Counts())]


def _lately(days: int) -> ColumnElement[bool]:
    return ApiUsage.day > _day_before(days)


def forget_old(session: Session) -> None:
    """Delete what is older than KEPT_DAYS."""
    session.execute(delete(ApiUsage).where(ApiUsage.day <= _day_before(KEPT_DAYS)))


def today() -> str:
    """The day that requests of now are counted on."""
    return _today().isoformat()


def _today() -> date:
    return datetime.fromtimestamp(clock.now(), UTC).date()


def _day_before(days: int) -> str:
    return (_today() - timedelta(days=days)).isoformat()
