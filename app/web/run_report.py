"""What a page says of one training run: its state in words, its curve, its place in the queue. Reads storage only."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy.orm import Session

from app.web.closeness import rests_on
from app.web.curve import Curve, draw
from storage import clock, maintenance, run_times, tuning_runs
from storage.models import ENDED_STATES, LIVE_STATES, TuningEvent, TuningRun
from storage.run_times import Forecast

PAGE = 500
SOON_S = 5.0  # until a run starts: no wait to speak of
TOLD_ANEW_S = 15.0  # how often a page that waits is told what to expect
Mark = tuple[object, ...]


@dataclass(frozen=True)
class RunReport:
    """A run and what there is to show of it."""

    run: TuningRun
    queue_position: int | None  # 1 is next; None once it has been claimed
    last: dict[str, Any]  # the newest metrics event's data, or empty
    curve: Curve | None
    messages: tuple[TuningEvent, ...]
    metrics: tuple[dict[str, Any], ...] = ()  # oldest first
    held: str | None = None  # it waits for the end of maintenance, for this reason
    forecast: Forecast | None = None  # while it waits, where there is something to tell it from

    @property
    def live(self) -> bool:
        """Whether the run may still change."""
        return self.run.state in LIVE_STATES

    @property
    def outcome(self) -> str:
        """One word that chooses what the page says."""
        if self.live:
            return self.run.state if self.run.state in ("queued", "paused") else "training"
        if self.run.state == "succeeded":
            return "published" if self.run.published else "not-published"
        return self.run.state

    @property
    def starts_soon(self) -> bool:
        """Whether there is no wait to speak of."""
        return self.forecast is None or self.forecast.starts_in_s < SOON_S

    @property
    def rests_on(self) -> str:
        """How much of the person's writing the run was judged on, and what that makes of its figures."""
        return rests_on(self.run.figures)

    @property
    def progress(self) -> float:
        """How much of the most steps it may take has been done, 0 to 100."""
        return 100.0 * min(1.0, self.run.step / self.run.max_steps) if self.run.max_steps else 0.0


def report(session: Session, user_id: str, run_id: str) -> RunReport:
    """Everything a page shows of a run. Raises NotFound for another's."""
    run = tuning_runs.get_run(session, user_id, run_id)
    events = all_events(session, user_id, run_id)
    metrics = [event.data for event in events if event.type == "metrics"]
    ended = run.state in ENDED_STATES
    return RunReport(
        run=run,
        queue_position=tuning_runs.queue_position(session, run_id) if run.state == "queued" else None,
        last=metrics[-1] if metrics else {},
        curve=draw(metrics, run.step if ended else run.max_steps),
        messages=tuple(event for event in events if event.type == "message"),
        metrics=tuple(metrics),
        held=_held(session, run),
        forecast=run_times.forecast(session, run),
    )


def newest_report(session: Session, user_id: str, voice_id: str) -> RunReport | None:
    """The report of the voice's newest run, None when it was never trained."""
    newest = tuning_runs.list_runs(session, user_id, voice_id, limit=1)
    return report(session, user_id, newest[0].id) if newest else None


def mark(session: Session, user_id: str, run_id: str) -> Mark:
    """What changes when there is something new to show; one or two cheap reads."""
    run = tuning_runs.get_run(session, user_id, run_id)
    position = tuning_runs.queue_position(session, run_id) if run.state == "queued" else None
    asked = (run.cancel_requested, run.pause_requested)
    told = int(clock.now() / TOLD_ANEW_S) if run.state == "queued" else None
    return (run.state, run.step, run.max_steps, asked, run.published, position, _held(session, run), told)


def _held(session: Session, run: TuningRun) -> str | None:
    on = maintenance.current(session) if run.state == "queued" else None
    return on.reason if on else None


def all_events(session: Session, user_id: str, run_id: str) -> list[TuningEvent]:
    """Every event of a run, oldest first."""
    events: list[TuningEvent] = []
    while page := tuning_runs.list_events(session, user_id, run_id, after=events[-1].id if events else 0, limit=PAGE):
        events += page
    return events
