"""`python -m benchmarks.users`: what a request costs, and how much memory, as registered users grow from 10 to 100,000.

Two API processes as the platform runs them stand side by side, each with a database, a key store and a cache server of
its own: one with few registered users, one with many. Everybody is registered in the same way (account, keys, voice, a
version in use). Of the many, a working set has prefixes of full size and is asked for; of the few, everybody. Who asks
is drawn by Zipf's law from all of those.

Held equal: prompts, their order and lengths, the answers (greedy; every prefix has the same values), how many ask at
once, all settings. Not held equal, since it is what more users bring: how many of the prefixes lie in the process's
memory, in Redis, and in neither; the shares are told. Rounds of both sides take turns and change their order; a longer
one that fills the memory comes first and is not counted. cost_ratio_100k_to_10 is the median, over pairs of rounds, of
the wall time of a request with many by that with few; cpu_ratio_100k_to_10 the same of the API process's own time.

Progress on stderr; the last line on stdout is one JSON object.
"""

import argparse
import asyncio
import json
import os
import random
import sys
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import torch

from benchmarks.api_process import ApiProcess
from benchmarks.open_loop import PROMPT
from benchmarks.other_load import OtherLoad
from benchmarks.registered_users import Person, Stored, note_key_use, register, shared_prefix
from benchmarks.statistics import interval, median
from benchmarks.timed_stream import ask
from tuning.base_model import load_base_model
from tuning.config import TuningConfig

Row = dict[str, Any]


@dataclass(frozen=True)
class Round:
    """One side's requests, `count` of them. origins: how many found their prefix where."""

    count: int
    seconds: float
    cpu_seconds: float
    tokens: int
    origins: Counter[str]


@dataclass
class Side:
    """One API process with so many registered users. people: who is asked for, the most popular first."""

    registered: int
    api: ApiProcess
    people: list[Person]
    weights: list[float]
    rounds: list[Round] = field(default_factory=list)
    memory_mb: list[float] = field(default_factory=list)

    def row(self) -> Row:
        """For the report."""
        found: Counter[str] = sum((one.origins for one in self.rounds), Counter())
        return {
            "registered_users": self.registered,
            "working_set": len(self.people),
            "wall_ms_a_request": median([1000 * one.seconds / one.count for one in self.rounds]),
            "cpu_ms_a_request": median([1000 * one.cpu_seconds / one.count for one in self.rounds]),
            "tokens": [one.tokens for one in self.rounds],
            "prefix_from_share": {origin: round(n / found.total(), 4) for origin, n in sorted(found.items())},
            "memory_mb": self.memory_mb,
        }


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and print one JSON object."""
    options = _options(arguments)
    config = TuningConfig.from_env()
    base = load_base_model(config)
    stored = shared_prefix(base, config)
    configuration = {"base_model": base.name, "device": str(base.device), "stored_prefix_bytes": len(stored.data)}
    del base
    torch.cuda.empty_cache()
    with ExitStack() as opened:
        few, many = (_side(opened, stored, count, options) for count in (options.few, options.many))
        others = OtherLoad()
        _take_turns(few, many, options)
        configuration |= {"others_busy_cores": others.cores()}
    configuration |= {"cores": os.cpu_count(), "torch": torch.__version__}
    wall, cpu = (_ratios(few, many, what) for what in ("seconds", "cpu_seconds"))
    printed = {
        "cost_ratio_100k_to_10": median(wall),
        "cost_ratio_interval_95": interval(wall),
        "cpu_ratio_100k_to_10": median(cpu),
        "memory_mb_more_with_many": round(many.memory_mb[-1] - few.memory_mb[-1], 1),
        "few": few.row(),
        "many": many.row(),
        "configuration": configuration | vars(options),
    }
    print(json.dumps(printed))


def popularity(count: int, exponent: float) -> list[float]:
    """Zipf's law: the n-th most popular of them is asked for in proportion to 1 / n ** exponent."""
    return [1 / rank**exponent for rank in range(1, count + 1)]


def _side(opened: ExitStack, stored: Stored, registered: int, options: argparse.Namespace) -> Side:
    api = opened.enter_context(ApiProcess({"IDIOLECT_PREFIX_MEMORY_MB": str(options.prefix_memory_mb)}))
    began = time.monotonic()
    speaking = min(registered, options.working_set)
    people = register(api.storage, stored, registered, speaking)
    random.Random(options.seed).shuffle(people)
    _tell(f"{registered} users are registered, {speaking} can be asked for: {time.monotonic() - began:.0f} s")
    return Side(registered, api, people, popularity(speaking, options.zipf))


def _take_turns(few: Side, many: Side, options: argparse.Namespace) -> None:
    for number in range(options.rounds + 1):
        order = (few, many) if number % 2 else (many, few)
        for side in order:
            note_key_use(side.api.storage, side.people)
            requests = options.requests if number else options.first
            done = asyncio.run(_round(side, requests, options, random.Random(f"{options.seed} {number}")))
            side.memory_mb.append(side.api.memory_mb())
            if number:
                side.rounds.append(done)
            _tell(f"round {number} of {options.rounds}, {side.registered} users: {done}, {side.memory_mb[-1]} MB")


async def _round(side: Side, requests: int, options: argparse.Namespace, drawn: random.Random) -> Round:
    askers = drawn.choices(side.people, side.weights, k=requests)
    places, tokens = asyncio.Semaphore(options.at_once), 0
    side.api.origins()

    async def one(number: int, person: Person) -> None:
        nonlocal tokens
        async with places:
            prompt = PROMPT[: len(PROMPT) // 4 * (1 + number % 4)]
            answer = await ask((side.api.host, side.api.port), person, prompt, options.tokens, temperature=0)
            tokens += len(answer.token_at)

    cpu, began = side.api.cpu_seconds(), time.perf_counter()
    async with asyncio.TaskGroup() as going:
        for number, person in enumerate(askers):
            going.create_task(one(number, person))
    seconds = time.perf_counter() - began
    await asyncio.sleep(0.5)  # a request is logged when its answer has ended
    return Round(len(askers), seconds, side.api.cpu_seconds() - cpu, tokens, side.api.origins())


def _ratios(few: Side, many: Side, what: str) -> list[float]:
    return [getattr(theirs, what) / getattr(ours, what) for ours, theirs in zip(few.rounds, many.rounds, strict=True)]


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--few", type=int, default=10, help="registered users of the one side")
    parser.add_argument("--many", type=int, default=100_000, help="and of the other")
    parser.add_argument("--working-set", type=int, default=2000, help="people with prefixes of full size, at most")
    parser.add_argument("--prefix-memory-mb", type=int, default=64, help="that a process may hold: less than all")
    parser.add_argument("--zipf", type=float, default=1.0, help="the exponent: 0 asks for everybody alike")
    parser.add_argument("--rounds", type=int, default=8, help="counted rounds of each side")
    parser.add_argument("--first", type=int, default=2000, help="requests of the round that comes first")
    parser.add_argument("--requests", type=int, default=400, help="of a round")
    parser.add_argument("--at-once", type=int, default=16, help="requests under way; of one person the API takes 16")
    parser.add_argument("--tokens", type=int, default=32, help="of an answer, at most")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args(arguments)


def _tell(what: str) -> None:
    print(what, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
