"""When runs will begin and end, as far as it can be told: one that goes on by its own newest estimate, one that waits
by those ahead of it, the workers that live, and what trainings took lately. Where there is nothing to tell from,
nothing is told. Knows no queue and no torch."""

import heapq
import math
from dataclasses import dataclass
from statistics import fmean, median

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from storage import base_models, clock, maintenance, tuning_runs, workers
from storage.models import CLAIMED_STATES, PrefixVersion, TuningEvent, TuningRun

LATELY = 20  # the newest trainings of the base model in use
LEAST_ENDED = 3  # of fewer, what a training takes is not known
UNUSUAL = 3  # times the median: it was paused or interrupted
REPORTED_WITHIN_S = 3600.0  # a report that is not there by then does not come


@dataclass(frozen=True)
class Forecast:
    """What to expect of a run that waits, in seconds: until it starts, and from there to its end."""

    starts_in_s: float
    takes_s: float


def forecast(session: Session, run: TuningRun) -> Forecast | None:
    """Of a run that waits for a worker. None: it does not, no worker lives or may take it up, or fewer than LEAST_ENDED
    trainings have shown how long one takes."""
    if run.state != "queued" or maintenance.current(session) is not None:
        return None
    living = workers.living(session)
    takes = usually_takes(session)
    if not living or takes is None:
        return None
    free_in, lost = _free_in(session, living, takes)
    ahead = (tuning_runs.queue_position(session, run.id) or 1) - 1 + lost
    for task_takes in [*_reports_ahead(session, run, takes), *[takes] * ahead]:
        heapq.heapreplace(free_in, free_in[0] + task_takes)
    return Forecast(starts_in_s=free_in[0], takes_s=takes)


def estimated_finish(session: Session, run: TuningRun) -> int | None:
    """When a run will most likely have ended, in whole UTC seconds, and at a whole minute while it waits for others'
    trainings; None where nothing can be told: it is paused, has ended, or its own estimate is of before an
    interruption."""
    if (expected := forecast(session, run)) is not None:
        return 60 * math.ceil((clock.now() + expected.starts_in_s + expected.takes_s) / 60)
    if run.state != "running":
        return None
    ends_at = _ends_at(session, [run.id]).get(run.id, 0.0)
    return int(ends_at) if ends_at >= clock.now() else None


def trainings_before_report(session: Session, version: PrefixVersion) -> int | None:
    """How many trainings the report of a version, which comes after all that was asked for before it, still waits for;
    0: none, it is measured now. None: no worker lives."""
    living = workers.living(session)
    if not living:
        return None
    before = select(TuningRun.state).where(
        TuningRun.created_at < version.created_at, TuningRun.state.in_(("queued", *CLAIMED_STATES))
    )
    states = list(session.scalars(before))
    queued = 0 if maintenance.current(session) is not None else states.count("queued")
    if not queued and living - _busy(session):
        return 0
    return queued + sum(state != "queued" for state in states)


def _busy(session: Session) -> set[str]:
    held = select(TuningRun.worker).where(TuningRun.state.in_(CLAIMED_STATES))
    return {worker for worker in session.scalars(held) if worker}


def usually_takes(session: Session) -> float | None:
    """Seconds that a training takes, by those of lately; None: fewer than LEAST_ENDED have shown it."""
    took = _took(session)
    return _usual(took) if len(took) >= LEAST_ENDED else None


def _usual(took: list[float]) -> float:
    """Their mean, since what waits for several waits for the sum of them, without those that stood still."""
    most = UNUSUAL * median(took)
    return fmean(seconds for seconds in took if seconds <= most)


def _took(session: Session) -> list[float]:
    """Seconds from the first worker's hand to the end, of the newest trainings that went all the way."""
    base = base_models.current(session)
    if base is None:
        return []
    ended = select(TuningRun.finished_at - TuningRun.started_at).where(
        TuningRun.state == "succeeded", TuningRun.base_fingerprint == base.fingerprint
    )
    return [
        took
        for took in session.scalars(ended.order_by(TuningRun.finished_at.desc()).limit(LATELY))
        if took and took > 0
    ]


def _free_in(session: Session, living: set[str], takes: float) -> tuple[list[float], int]:
    """As a heap, in how many seconds each place at a living worker is free; and how many runs are in the hands of
    others, from which they come back to the queue. While runs wait, a worker has as many places as it has runs, and
    one at least."""
    now = clock.now()
    held = select(TuningRun.id, TuningRun.worker, TuningRun.started_at).where(TuningRun.state.in_(CLAIMED_STATES))
    claimed = session.execute(held).all()
    ends_at = _ends_at(session, [run_id for run_id, _, _ in claimed])
    expected = [
        (worker, ends_at.get(run_id, (started_at or now) + takes) - now) for run_id, worker, started_at in claimed
    ]
    places = [max(0.0, left) for worker, left in expected if worker in living]
    places += [0.0 for worker in living if all(worker != busy for busy, _ in expected)]
    heapq.heapify(places)
    return places, sum(worker not in living for worker, _ in expected)


def _ends_at(session: Session, run_ids: list[str]) -> dict[str, float]:
    """UTC seconds, by their newest estimates, of those runs that have one."""
    newest = select(func.max(TuningEvent.id)).where(TuningEvent.type == "metrics", TuningEvent.run_id.in_(run_ids))
    told = select(TuningEvent).where(TuningEvent.id.in_(newest.group_by(TuningEvent.run_id)))
    left = {event.run_id: (event.at, event.data.get("eta_seconds")) for event in session.scalars(told)}
    return {run_id: at + seconds for run_id, (at, seconds) in left.items() if seconds is not None}


def _reports_ahead(session: Session, run: TuningRun, takes: float) -> list[float]:
    """Seconds that the reports asked for before this run will take, each about as long as a training: those of versions
    published since the newest of the runs that have begun was asked for."""
    now = clock.now()
    begun = session.scalar(select(func.max(TuningRun.created_at)).where(TuningRun.started_at.is_not(None)))
    since = max(begun or 0.0, now - REPORTED_WITHIN_S)
    unmeasured = select(PrefixVersion.created_at).where(
        PrefixVersion.report_sealed.is_(None), PrefixVersion.created_at.between(since, run.created_at)
    )
    published = sorted(session.scalars(unmeasured))
    return [max(0.0, takes - (now - at)) if nth == 0 else takes for nth, at in enumerate(published)]
