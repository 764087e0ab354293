"""Training prefixes of many people in the same passes, each as if it were alone. Owns the course: who trains, when the
early-stopping sets are looked at, who leaves. What belongs to one person is a Learner's. Knows nothing of runs, leases
or storage."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from tuning.base_model import BaseModel
from tuning.errors import Stopped
from tuning.evaluation import bits_per_char_each
from tuning.learner import Learner
from tuning.training import Progress, TrainingJob, TrainingResult, TrainingSettings
from tuning.training_step import StepPlan, train_step

__all__ = [
    "Listener",
    "Progress",
    "Stack",
    "TrainingJob",
    "TrainingResult",
    "TrainingSettings",
    "train_alone",
    "train_prefixes",
]

OnProgress = Callable[[int, Progress], None]
OnCheckpoint = Callable[[int, bytes], None]


class Listener(Protocol):
    """Whom one person's training is told to."""

    def on_progress(self, progress: Progress) -> None:
        """After every step. May raise Stopped: this person leaves, the others go on."""

    def on_checkpoint(self, data: bytes) -> None:
        """After every look at the early-stopping set but the first and the last. May raise Stopped."""

    def on_end(self, result: TrainingResult | None) -> None:
        """Once, when this person's training is over; None when it was stopped."""


class Stack:
    """People who train together on one base model. Anyone may join and leave between two steps, and nobody's training
    depends on who else is there."""

    def __init__(self, base: BaseModel, settings: TrainingSettings, plan: StepPlan | None = None) -> None:
        self._base, self._settings, self._plan = base, settings, plan or StepPlan()
        self._seats: list[tuple[Learner, Listener]] = []

    def __len__(self) -> int:
        """How many train now."""
        return len(self._seats)

    def join(self, job: TrainingJob, listener: Listener, resume_from: bytes | None = None) -> None:
        """One more from the next step on. The start is looked at first: it may already be the best there is.

        resume_from: the bytes of the job's last checkpoint; raises InvalidCheckpoint when they are of another training.
        """
        learner = Learner(self._base, job, self._settings, resume_from)
        seat = (learner, listener)
        self._seats.append(seat)
        try:
            if learner.step == 0:
                self._report([seat], [None])
            elif learner.finished:
                self._leave(learner, listener, learner.result())
        except Exception:
            self._seats.remove(seat)
            raise

    def checkpoint_of(self, listener: Listener) -> bytes | None:
        """The state of the training that is told to `listener`, between two steps; None before its first."""
        for learner, other in self._seats:
            if other is listener and learner.step:
                return learner.to_checkpoint()
        return None

    def step(self) -> None:
        """One step of everybody."""
        began, seats = time.monotonic(), list(self._seats)
        losses = train_step(self._base, [learner.trainee for learner, _ in seats], self._plan)
        for (learner, _), loss in zip(seats, losses, strict=True):
            learner.stepped(loss)
            learner.seconds += time.monotonic() - began
        self._report(seats, losses)

    def _report(self, seats: Sequence[tuple[Learner, Listener]], losses: Sequence[float | None]) -> None:
        looks = self._look([learner for learner, _ in seats if learner.due])
        for (learner, listener), loss in zip(seats, losses, strict=True):
            looked = looks.get(id(learner))
            try:
                listener.on_progress(learner.progress(loss, looked))
                if looked is not None and learner.step and not learner.finished:
                    listener.on_checkpoint(learner.to_checkpoint())
            except Stopped:
                self._leave(learner, listener, None)
            else:
                if learner.finished:
                    self._leave(learner, listener, learner.result())

    def _look(self, learners: Sequence[Learner]) -> dict[int, float]:
        """Everybody's early-stopping set whose turn it is, in common passes; bits per character."""
        if not learners:
            return {}
        prefixes = [learner.present() for learner in learners]
        measured = [prefix.to(dtype=self._base.dtype) for prefix in prefixes]
        sets = [learner.early_stopping_set for learner in learners]
        losses = bits_per_char_each(self._base, list(zip(measured, sets, strict=True)))
        for learner, prefix, loss in zip(learners, prefixes, losses, strict=True):
            learner.looked(prefix, loss)
        return {id(learner): loss for learner, loss in zip(learners, losses, strict=True)}

    def _leave(self, learner: Learner, listener: Listener, result: TrainingResult | None) -> None:
        try:
            listener.on_end(result)  # which may still ask for its checkpoint
        finally:
            self._seats = [(other, seat) for other, seat in self._seats if other is not learner]


def train_prefixes(
    base: BaseModel,
    jobs: Sequence[TrainingJob],
    settings: TrainingSettings,
    *,
    plan: StepPlan | None = None,
    on_progress: OnProgress | None = None,
    on_checkpoint: OnCheckpoint | None = None,
    resume_from: Sequence[bytes | None] | None = None,
) -> list[TrainingResult | None]:
    """Train one prefix per job; every job has its own optimizer, order of data, clip and early stop.

    on_progress(job, progress), on_checkpoint(job, bytes): as a Listener's. A job that was stopped has no result;
        Stopped is raised from here when there is no other.
    resume_from: per job, the bytes of its last checkpoint. Raises InvalidCheckpoint when they are of another training.
    """
    stack = Stack(base, settings, plan)
    listeners = [_ByNumber(number, on_progress, on_checkpoint) for number in range(len(jobs))]
    for job, listener, data in zip(jobs, listeners, resume_from or [None] * len(jobs), strict=True):
        stack.join(job, listener, data)
    while len(stack):
        stack.step()
    stopped = [listener.stopped for listener in listeners]
    if stopped and all(stopped):
        raise stopped[0] or Stopped()
    return [listener.result for listener in listeners]


def train_alone(base: BaseModel, job: TrainingJob, settings: TrainingSettings) -> TrainingResult:
    """One person's training, to its end."""
    (result,) = train_prefixes(base, [job], settings)
    assert result is not None  # nobody could have stopped it
    return result


@dataclass
class _ByNumber:
    """Tells one job's course to callbacks that take its number."""

    number: int
    progress: OnProgress | None
    checkpoint: OnCheckpoint | None
    result: TrainingResult | None = field(default=None, init=False)
    stopped: Stopped | None = field(default=None, init=False)

    def on_progress(self, progress: Progress) -> None:
        """Pass it on, and remember a stop."""
        try:
            if self.progress:
                self.progress(self.number, progress)
        except Stopped as stop:
            self.stopped = stop
            raise

    def on_checkpoint(self, data: bytes) -> None:
        """Pass it on."""
        if self.checkpoint:
            self.checkpoint(self.number, data)

    def on_end(self, result: TrainingResult | None) -> None:
        """Keep it."""
        self.result = result
