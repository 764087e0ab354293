"""How soon one person's training is as good as PEFT's ever gets. PEFT's best setting is found once and kept; then
PEFT's training by that setting and ours are timed one after the other. Knows nothing of the command line."""

import hashlib
import json
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import peft
import torch

from benchmarks import peers
from benchmarks.journal import Journal
from benchmarks.statistics import median
from benchmarks.timed import Bench, Look, best, ratio, reached, train_ours, train_peft
from tuning.dataset import Split
from tuning.precision import multiplies_bfloat16
from tuning.prefix import Prefix

EVALUATE_EVERY = 2  # often enough to time the crossing
Row = dict[str, Any]
Starts = Mapping[str, Prefix | None]


@dataclass(frozen=True, eq=False)
class Race:
    """One author's. grid: PEFT's choice, kept in the journal. theirs: PEFT's best look, round by round. pace: seconds
    of a step of PEFT's, round by round. ours: by start, the first look at that loss, round by round, and the lowest
    loss seen."""

    grid: Row
    theirs: list[Look]
    pace: list[float]
    ours: dict[str, list[tuple[Look | None, float]]]

    def ratio(self, start: str) -> float:
        """Our time in units of theirs, the median of the rounds."""
        pairs = zip(self.ours[start], self.theirs, strict=True)
        return median([ratio(mine, theirs) for (mine, _), theirs in pairs])


def warm_up(bench: Bench, split: Split) -> None:
    """Two steps of either kind: the first ones of a process load and compile."""
    short = replace(bench, settings=replace(bench.settings, min_steps=2, max_steps=2))
    train_ours(short, split, None)
    train_peft(short, split, settings_of(bench)[0])


def settings_of(bench: Bench) -> list[peers.Setting]:
    """The grid of PEFT's prefix tuning."""
    return peers.grids(bench.settings.num_virtual_tokens, None)["peft_prefix"]


def choose(bench: Bench, journal: Journal, split: Split) -> Row:
    """The setting of PEFT's grid with the lowest early-stopping loss; measured once."""
    key = {
        "grid": [setting.name for setting in settings_of(bench)],
        "base": bench.base.fingerprint,
        "arithmetic": [str(bench.base.dtype), multiplies_bfloat16(), torch.get_num_threads()],
        "versions": [torch.__version__, peft.__version__],
        "blocks": hashlib.sha256(repr((split.train, split.stop)).encode()).hexdigest(),
        "settings": peers.recipe(peers.racing(bench.settings)),
        "seed": bench.seed,
    }
    return journal.once(key, partial(_tried, bench, split))


def race(bench: Bench, split: Split, grid: Row, starts: Starts, rounds: int) -> Race:
    """PEFT to its best loss, then ours to the same from every start, `rounds` times."""
    (setting,) = (setting for setting in settings_of(bench) if setting.name == grid["setting"])
    done = Race(grid, [], [], {name: [] for name in starts})
    for number in range(rounds):
        course = train_peft(bench, split, setting)
        theirs = best(course)
        done.theirs.append(theirs)
        done.pace.append(course[-1].seconds / course[-1].step)
        _tell(f"round {number + 1}, PEFT, {setting.name}: {theirs}")
        for name, start in starts.items():
            looks = train_ours(bench, split, start, until=theirs.loss)
            done.ours[name].append((reached(looks, theirs.loss), best(looks).loss))
            _tell(f"round {number + 1}, {name}: {done.ours[name][-1][0] or f'not reached, {best(looks)}'}")
    return done


def table(races: Sequence[Race]) -> Row:
    """All authors' figures in lists, in file order; never reached is null."""
    names = list(races[0].ours)
    return {
        "authors": len(races),
        "peft": {
            "setting": [one.grid["setting"] for one in races],
            "loss": [round(one.theirs[0].loss, 5) for one in races],
            "step": [one.theirs[0].step for one in races],
            "seconds": [median([look.seconds for look in one.theirs]) for one in races],
            "grid_seconds": [round(one.grid["steps"] * median(one.pace), 1) for one in races],
        },
    } | {name: _side(races, name) for name in names}


def shown(figure: float) -> float | None:
    """JSON has no word for what is infinite."""
    return figure if math.isfinite(figure) else None


def _side(races: Sequence[Race], name: str) -> Row:
    firsts = [one.ours[name][0] for one in races]
    ratios = [one.ratio(name) for one in races]
    return {
        "reached": sum(look is not None for look, _ in firsts),
        "median_ratio": shown(median(ratios)),
        "ratios": [shown(figure) for figure in ratios],
        "loss": [round(loss, 5) for _, loss in firsts],
        "step": [look and look.step for look, _ in firsts],
        "seconds": [shown(median([look.seconds if look else math.inf for look, _ in one.ours[name]])) for one in races],
    }


def _tried(bench: Bench, split: Split) -> Row:
    """steps: of the whole grid. No times: they would be another process's."""
    courses = {setting.name: train_peft(bench, split, setting) for setting in settings_of(bench)}
    losses = {name: best(looks).loss for name, looks in courses.items()}
    row: Row = {"setting": min(losses, key=losses.__getitem__), "losses": losses}
    row["steps"] = sum(looks[-1].step for looks in courses.values())
    _tell(json.dumps(row))
    return row


def _tell(what: str) -> None:
    print(what, file=sys.stderr, flush=True)
