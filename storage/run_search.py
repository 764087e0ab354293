"""Finding everybody's runs by what became of them, and counting them by cause. For the console; a person's own runs are
storage.tuning_runs'."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, and_, case, func, select
from sqlalchemy.orm import Session

from storage import clock, paging, tuning_runs
from storage.models import CLAIMED_STATES, RunState, TuningRun

NOT_PUBLISHED = "not_published"  # the cause of a run that succeeded and brought nothing better
DAY_S = 24 * 3600.0


@dataclass(frozen=True)
class RunFilter:
    """Which runs; what is not given does not count. states: one of them. lost: their worker has let the lease run out.
    cause: an error code, or NOT_PUBLISHED. ended_since: epoch seconds."""

    states: Sequence[RunState] = ()
    user_id: str | None = None
    base_fingerprint: str | None = None
    cause: str | None = None
    ended_since: float | None = None
    lost: bool = False

    @property
    def where(self) -> ColumnElement[bool]:
        """As a condition."""
        asked: list[ColumnElement[bool]] = [TuningRun.id.is_not(None)]
        if self.states:
            asked.append(TuningRun.state.in_(self.states))
        if self.user_id is not None:
            asked.append(TuningRun.user_id == self.user_id)
        if self.base_fingerprint is not None:
            asked.append(TuningRun.base_fingerprint == self.base_fingerprint)
        if self.cause is not None:
            asked.append(_cause() == self.cause)
        if self.ended_since is not None:
            asked.append(TuningRun.finished_at >= self.ended_since)
        if self.lost:
            asked.append(and_(TuningRun.state.in_(CLAIMED_STATES), TuningRun.lease_until < clock.now()))
        return and_(*asked)


@dataclass(frozen=True)
class Cause:
    """How often runs ended for one cause, and when the last one did (epoch seconds)."""

    code: str
    within_a_day: int
    within_a_week: int
    in_all: int
    last_at: float


def find(session: Session, wanted: RunFilter, *, after: str | None = None, limit: int = 50) -> list[TuningRun]:
    """Newest first; `after` is the last id of the page before. Raises NotFound for an unknown one."""
    found = select(TuningRun).where(wanted.where)
    if after is not None:
        last = tuning_runs.get_run(session, None, after)
        found = found.where(paging.after(TuningRun.created_at, TuningRun.id, last.created_at, last.id))
    return list(session.scalars(found.order_by(TuningRun.created_at.desc(), TuningRun.id.desc()).limit(limit)))


def count(session: Session, wanted: RunFilter) -> int:
    """How many there are."""
    return session.scalar(select(func.count()).select_from(TuningRun).where(wanted.where)) or 0


def causes(session: Session) -> list[Cause]:
    """Every cause for which runs ended without a version, the one that was met last first."""
    now, code = clock.now(), _cause()

    def since(seconds: float) -> ColumnElement[int]:
        return func.coalesce(func.sum(case((TuningRun.finished_at >= now - seconds, 1), else_=0)), 0)

    last = func.coalesce(func.max(TuningRun.finished_at), 0.0)
    counted = select(code, since(DAY_S), since(7 * DAY_S), func.count(), last).where(code.is_not(None)).group_by(code)
    found = session.execute(counted.order_by(last.desc(), code))
    return [Cause(str(code), day, week, in_all, float(at or 0)) for code, day, week, in_all, at in found]


def _cause() -> ColumnElement[str | None]:
    brought_nothing = and_(TuningRun.state == "succeeded", TuningRun.published.is_(False))
    return case((brought_nothing, NOT_PUBLISHED), else_=TuningRun.error_code)
