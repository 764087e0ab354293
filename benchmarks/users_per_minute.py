"""How many waiting people are trained a minute: whole trainings to their ends, looks included, as the product plans
them. Ours one after the other, ours together, and PEFT one after the other. Knows nothing of the command line."""

import sys
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import cycle, islice
from typing import Any

from benchmarks import peers
from benchmarks.authors import Author
from tuning.base_model import BaseModel
from tuning.config import TuningConfig
from tuning.memory import MemoryPlan, plan_memory
from tuning.prefix import Prefix
from tuning.trainer import Progress, Stack, TrainingJob, TrainingResult, TrainingSettings

LEAST_TIMED = 4  # of PEFT's trainings, where not all are
Row = dict[str, Any]


@dataclass(frozen=True, eq=False)
class Office:
    """Where people wait. setting: PEFT's, for everybody."""

    base: BaseModel
    settings: TrainingSettings
    config: TuningConfig
    setting: peers.Setting


@dataclass
class Leaving:
    """A Listener that counts who is done."""

    count: int = 0

    def on_progress(self, progress: Progress) -> None:
        """Not followed."""

    def on_checkpoint(self, data: bytes) -> None:
        """Not kept."""

    def on_end(self, result: TrainingResult | None) -> None:
        """One more."""
        self.count += 1


def waiting(
    base: BaseModel,
    authors: Sequence[Author],
    number: int,
    num_samples: int,
    start: Prefix | None,
    config: TuningConfig,
) -> list[TrainingJob]:
    """`number` people's jobs: the authors in order, and again with another seed where there are not so many."""
    splits = [author.split(base, num_samples, config.num_virtual_tokens) for author in authors[:number]]
    return [
        TrainingJob(split, seed=place // len(splits), start=start)
        for place, split in enumerate(islice(cycle(splits), number))
    ]


def table(office: Office, jobs: Sequence[TrainingJob], numbers: Sequence[int], peft_users: int) -> dict[int, Row]:
    """Users per minute by number of waiting users and way. peft_users: so many of PEFT's trainings are timed; more are
    taken to be as much slower or faster than ours as those are, since people differ in how much they wrote."""
    timed = min(len(jobs), max(LEAST_TIMED, peft_users))
    solo, theirs = one_by_one(office, jobs, timed)
    return {number: _row(office, jobs[:number], solo[:number], theirs[:number]) for number in numbers}


def one_by_one(office: Office, jobs: Sequence[TrainingJob], peft_users: int) -> tuple[list[float], list[float]]:
    """Seconds of every training of ours, and of the first of PEFT's, in turn."""
    alone = _planned(office, 1)
    ours, theirs = [], []
    for place, job in enumerate(jobs):
        ours.append(seconds_of(office, [job], alone))
        if place < peft_users:
            theirs.append(_pefts_seconds(office, job))
        _tell(f"user {place + 1} of {len(jobs)}: {ours[-1]:.2f} s, PEFT {theirs[place:] or 'not timed'}")
    return ours, theirs


def seconds_of(office: Office, jobs: Sequence[TrainingJob], plan: MemoryPlan) -> float:
    """Wall seconds until all are trained, at most `plan.runs_together` at once; who leaves is followed by the next."""
    queue, leaving = deque(jobs), Leaving()
    stack = Stack(office.base, office.settings, plan.step)
    began = time.monotonic()
    while leaving.count < len(jobs):
        while queue and len(stack) < plan.runs_together:
            stack.join(queue.popleft(), leaving)
        stack.step()
    return time.monotonic() - began


def _row(office: Office, jobs: Sequence[TrainingJob], solo: Sequence[float], theirs: Sequence[float]) -> Row:
    default, together = _planned(office, 0), _planned(office, len(jobs))
    seconds = {1: sum(solo)}  # by how many train at once
    for plan in (default, together):
        most = min(plan.runs_together, len(jobs))
        if most not in seconds:
            seconds[most] = seconds_of(office, jobs, plan)
            _tell(f"{len(jobs)} users, {most} at once: {seconds[most]:.1f} s")
    at_once = {way: min(plan.runs_together, len(jobs)) for way, plan in (("default", default), ("stacked", together))}
    return {
        "solo": _rate(len(jobs), seconds[1]),
        "default": _rate(len(jobs), seconds[at_once["default"]]),
        "stacked": _rate(len(jobs), seconds[at_once["stacked"]]),
        "peft": _rate(len(jobs), sum(theirs) * sum(solo) / sum(solo[: len(theirs)])),
        "default_at_once": at_once["default"],
        "stacked_at_once": at_once["stacked"],
        "peft_users_timed": len(theirs),
    }


def _planned(office: Office, runs_together: int) -> MemoryPlan:
    return plan_memory(office.base, office.settings, replace(office.config, runs_together=runs_together))


def _pefts_seconds(office: Office, job: TrainingJob) -> float:
    base, setting, split = office.base, office.setting, job.split
    model = peers.build(base, setting, split.train, job.seed)
    began = time.monotonic()
    peers.train_one(base, model, setting.learning_rate, split.train, split.stop, office.settings, job.seed)
    return time.monotonic() - began


def _rate(users: int, seconds: float) -> float:
    return round(60 * users / seconds, 3)


def _tell(what: str) -> None:
    print(what, file=sys.stderr, flush=True)
