"""How long the API takes, as counts by hour (UTC): how many answers took at most so long. Nobody's in particular, kept
for forty days. Of generated text the time to its first token, which does not depend on how much was asked for; of
everything else, the whole time."""

from bisect import bisect_left
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from sqlalchemy import delete, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from storage import clock
from storage.models import ApiLatency

Kind = Literal["text", "other"]
BOUNDS_MS = (1, 2, 5, 10, 20, 35, 50, 75, 100, 150, 200, 350, 500, 750, 1000, 2000, 5000, 10_000, 30_000, 60_000)
BEYOND_MS = 600_000  # what took longer than the last bound
HOUR_S = 3600
KEPT_HOURS = 40 * 24
_HOUR = "%Y-%m-%dT%H"


@dataclass(frozen=True, order=True)
class Place:
    """Where an answer is counted: its hour ("2026-11-26T05", UTC), its kind, and the least bound that it kept."""

    hour: str
    kind: Kind
    upto_ms: int


def place_of(kind: Kind, seconds: float) -> Place:
    """Where an answer of now is counted."""
    upto = bisect_left(BOUNDS_MS, seconds * 1000)
    return Place(hour_of(clock.now()), kind, BOUNDS_MS[upto] if upto < len(BOUNDS_MS) else BEYOND_MS)


def hour_of(at: float) -> str:
    """The name of a moment's hour."""
    return datetime.fromtimestamp(at, UTC).strftime(_HOUR)


def add(session: Session, counted: Mapping[Place, int]) -> None:
    """Add these to what is there."""
    rows = [vars(place) | {"answers": counted[place]} for place in sorted(counted)]
    if not rows:
        return
    insert = sqlite.insert if session.get_bind().dialect.name == "sqlite" else postgresql.insert
    new = insert(ApiLatency)
    more = {"answers": ApiLatency.answers + new.excluded.answers}
    session.execute(new.on_conflict_do_update(index_elements=[*ApiLatency.__table__.primary_key], set_=more), rows)


def by_hour(session: Session, kind: Kind, hours: int) -> dict[str, dict[int, int]]:
    """The last hours with any answers, this one included, oldest first: bound in milliseconds -> answers."""
    since = hour_of(clock.now() - (hours - 1) * HOUR_S)
    wanted = select(ApiLatency).where(ApiLatency.kind == kind, ApiLatency.hour >= since)
    found: dict[str, dict[int, int]] = {}
    for row in session.scalars(wanted.order_by(ApiLatency.hour, ApiLatency.upto_ms)):
        found.setdefault(row.hour, {})[row.upto_ms] = row.answers
    return found


def within(counts: Mapping[int, int], percent: float) -> int | None:
    """The bound, in milliseconds, that so many per cent of the answers kept; None where there was none."""
    total, reached = sum(counts.values()), 0
    for bound in sorted(counts):
        reached += counts[bound]
        if reached * 100 >= total * percent and reached:
            return bound
    return None


def together(counts: Iterable[Mapping[int, int]]) -> dict[int, int]:
    """Several hours as one."""
    summed: dict[int, int] = {}
    for hour in counts:
        for bound, answers in hour.items():
            summed[bound] = summed.get(bound, 0) + answers
    return summed


def forget_old(session: Session) -> None:
    """Delete what is older than KEPT_HOURS."""
    oldest = hour_of(clock.now() - KEPT_HOURS * HOUR_S)
    session.execute(delete(ApiLatency).where(ApiLatency.hour < oldest))
