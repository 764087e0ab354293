"""One training, ours or PEFT's, as looks at the early-stopping set with the time they were reached in. The clock stops
during looks, on both sides. Knows nothing of authors, rounds or ratios."""

import contextlib
import math
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks import peers
from tuning.base_model import BaseModel
from tuning.dataset import Split
from tuning.errors import Stopped
from tuning.prefix import Prefix
from tuning.trainer import Progress, TrainingJob, TrainingSettings, train_prefixes
from tuning.training_step import StepPlan


@dataclass(frozen=True)
class Look:
    """seconds: of wall time, of all steps until then. loss: bits per character of the early-stopping set."""

    step: int
    seconds: float
    loss: float


@dataclass(frozen=True, eq=False)
class Bench:
    """What every training of a comparison shares."""

    base: BaseModel
    settings: TrainingSettings
    plan: StepPlan
    seed: int


def best(looks: Sequence[Look]) -> Look:
    """The first look at the lowest loss."""
    return min(looks, key=lambda look: look.loss)


def reached(looks: Sequence[Look], loss: float) -> Look | None:
    """The first look at `loss` or a lower one; None where there is none."""
    return next((look for look in looks if look.loss <= loss), None)


def ratio(ours: Look | None, theirs: Look) -> float:
    """Our time in units of theirs; infinite where we never got there."""
    if ours is None:
        return math.inf
    if theirs.seconds == 0:
        return 1.0 if ours.seconds == 0 else math.inf
    return ours.seconds / theirs.seconds


def train_ours(bench: Bench, split: Split, start: Prefix | None, until: float = -math.inf) -> list[Look]:
    """Our training, to its end or to a loss of `until`. start: the population prefix; None for the neutral start."""
    looks: list[Look] = []

    def tell(_: int, progress: Progress) -> None:
        if progress.held_out_loss is not None:
            looks.append(Look(progress.step, progress.seconds, progress.held_out_loss))
            if progress.held_out_loss <= until:
                raise Stopped

    with contextlib.suppress(Stopped):
        job = TrainingJob(split, seed=bench.seed, start=start)
        train_prefixes(bench.base, [job], bench.settings, plan=bench.plan, on_progress=tell)
    return looks


def train_peft(bench: Bench, split: Split, setting: peers.Setting) -> list[Look]:
    """PEFT's training to its end; what it takes to build the model is not counted."""
    looks: list[Look] = []
    model = peers.build(bench.base, setting, split.train, bench.seed)

    def tell(step: int, seconds: float, loss: float) -> None:
        looks.append(Look(step, seconds, loss))

    settings = peers.racing(bench.settings)
    peers.train_one(bench.base, model, setting.learning_rate, split.train, split.stop, settings, bench.seed, tell)
    return looks
