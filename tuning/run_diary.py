"""RunDiary: what a training tells the database as it goes: metrics, a truthful time left, checkpoints. Owns how often.

Knows neither how training works nor what becomes of the run."""

import math
import time
from collections import deque

from storage import checkpoints, run_claims
from storage.run_claims import Claim
from storage.store import Storage
from tuning.training import Progress

MOST_METRICS = 100
PACE_STEPS = 10  # the pace is theirs: others come to the machine and leave it
LEAST_STEPS = 5  # before a pace is told: there is a look among them by the recipe


class RunDiary:
    """Records one claimed run. At most about MOST_METRICS metrics events a run; at most one checkpoint every
    `checkpoint_every_s` seconds. Every write raises LostLease once another worker has the run."""

    def __init__(self, storage: Storage, claim: Claim, *, checkpoint_every_s: float) -> None:
        self._storage, self._claim = storage, claim
        self._checkpoint_every_s = checkpoint_every_s
        self._has_begun = False
        self._lately: deque[tuple[int, float]] = deque(maxlen=PACE_STEPS + 1)  # steps and when they were done
        self._last_look = self._last_metrics = -math.inf
        self._saved_at = time.monotonic()
        self._step = 0

    def note(self, message: str) -> None:
        """A sentence for the person whose run it is."""
        with self._storage.database.session() as session:
            run_claims.record_progress(session, self._claim, self._step, {}, message)

    def progress(self, progress: Progress) -> None:
        """Record a step, if it is time for it. The last one always is."""
        if self._has_begun:  # a first step takes what only a first step takes
            self._lately.append((progress.step, time.monotonic()))
        self._has_begun = True
        self._step = progress.step
        if not self._is_due(progress):
            return
        self._last_metrics = progress.step
        if progress.held_out_loss is not None:
            self._last_look = progress.step
        metrics = progress.as_metrics() | {"eta_seconds": self._eta(progress)}
        with self._storage.database.session() as session:
            run_claims.record_progress(session, self._claim, progress.step, metrics)

    def checkpoint(self, data: bytes) -> None:
        """Keep the training's state, sealed, unless it was kept a moment ago."""
        if time.monotonic() - self._saved_at >= self._checkpoint_every_s:
            self.keep(data)

    def keep(self, data: bytes) -> None:
        """Keep it now."""
        with self._storage.database.session() as session:
            checkpoints.save_checkpoint(session, self._storage.keys, self._claim, self._step, data)
        self._saved_at = time.monotonic()

    def _is_due(self, progress: Progress) -> bool:
        stride = math.ceil(2 * progress.max_steps / MOST_METRICS)
        last = self._last_metrics if progress.held_out_loss is None else self._last_look
        return progress.step - last >= stride or progress.steps_left == 0

    def _eta(self, progress: Progress) -> float | None:
        """Seconds that are most likely left, at the pace by the clock of the last steps, looks and writes included.
        None before there is a pace; 0 at the end."""
        if progress.steps_left == 0:
            return 0.0
        if len(self._lately) <= LEAST_STEPS:
            return None
        (first, began), (last, now) = self._lately[0], self._lately[-1]
        return round((now - began) / (last - first) * progress.steps_left, 1)
