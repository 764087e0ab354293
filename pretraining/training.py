"""The loop that every training here is: draw, step, save, stop. Owns the order of things within a step; knows neither
what is drawn nor what is reported at the end."""

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from pretraining.loss import Loss
from pretraining.schedule import Schedule
from pretraining.state import TrainingState
from pretraining.stopping import Stop

Draw = Callable[[], tuple[Tensor, Tensor]]  # -> inputs, targets, both [rows, length]
_SAVE_EVERY_SECONDS = 600
_TELL_EVERY_STEPS = 50


@dataclass(eq=False)
class Training:
    """A state, where it is kept, and by which schedule and loss it learns. keep_stable: keep the state from before the
    decay."""

    state: TrainingState
    schedule: Schedule
    loss: Loss
    folder: Path
    keep_stable: bool = True
    _stable_is_kept: bool = field(init=False)
    _saved_at: float = field(init=False, default=0.0)

    def __post_init__(self) -> None:
        self._stable_is_kept = not self.keep_stable or self._decays()

    def run(self, draw: Draw, stop: Stop) -> None:
        """Train until the budget is seen or a stop is asked for, and save."""
        speed = _Speed(self.state.seen, self.schedule.budget)
        self._saved_at = time.monotonic()
        while self.state.seen < self.schedule.budget and not stop.asked:
            self._keep()
            rate, loss = self._step(*draw())
            if self.state.steps % _TELL_EVERY_STEPS == 0:
                speed.tell(self.state.seen, float(loss), rate)
        self.state.save(self.folder)

    def _step(self, inputs: Tensor, targets: Tensor) -> tuple[float, Tensor]:
        state = self.state
        rate = self.schedule.apply(state.optimizers, state.seen, state.steps)
        loss = self.loss(inputs, targets)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(state.optimizers[1].param_groups[0]["params"], 1.0)
        for optimizer in state.optimizers:
            optimizer.step()
        state.model.zero_grad(set_to_none=True)
        state.seen, state.steps = state.seen + inputs.numel(), state.steps + 1
        return rate, loss.detach()

    def _keep(self) -> None:
        if self._decays() and not self._stable_is_kept:
            self.state.save_stable(self.folder)
            self._stable_is_kept = True
        if time.monotonic() - self._saved_at > _SAVE_EVERY_SECONDS:
            self.state.save(self.folder)
            self._saved_at = time.monotonic()

    def _decays(self) -> bool:
        return self.schedule.decays(self.state.seen, self.state.steps)


class _Speed:
    """Progress lines: a running mean of the loss, and tokens per second since this piece began."""

    def __init__(self, seen: int, budget: float) -> None:
        self._began, self._seen, self._budget = time.monotonic(), seen, budget
        self._average: float | None = None

    def tell(self, seen: int, loss: float, rate: float) -> None:
        self._average = loss if self._average is None else 0.9 * self._average + 0.1 * loss
        speed = (seen - self._seen) / (time.monotonic() - self._began)
        print(
            f"{seen / 1e6:8.1f}M of {self._budget / 1e6:.0f}M tokens  loss {self._average:.3f}  rate {rate:.2f}  "
            f"{speed:,.0f} tok/s",
            file=sys.stderr,
            flush=True,
        )
