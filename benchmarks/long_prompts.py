"""Steady streams, and prompts that fill the context arriving among them: how long the others wait for a token then.
Knows nothing of prefixes or of the command line."""

import asyncio
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.api_process import ApiProcess
from benchmarks.open_loop import PROMPT
from benchmarks.registered_users import Person
from benchmarks.statistics import median, percentile
from benchmarks.timed_stream import Answered, ask

_PAUSE_S = (0.4, 0.8)  # before each long prompt: as long as it takes to see the usual time
_SETTLING_S = 2.0
_AS_LONG_AS_FITS = 100_000


@dataclass(frozen=True)
class Gaps:
    """Seconds between the tokens of the others: while a long prompt was read, and at other times. first_token_s: of the
    long prompts."""

    reading: list[float]
    usual: list[float]
    first_token_s: list[float]

    @property
    def ratio_p99(self) -> float:
        """The p99 while one is read, in units of the usual median."""
        return round(percentile(self.reading, 99) / median(self.usual, digits=9), 3)

    def row(self) -> dict[str, Any]:
        """For the report."""
        return {
            "usual_ms": {f"p{part}": round(1000 * percentile(self.usual, part), 2) for part in (50, 95, 99)},
            "while_read_ms": {f"p{part}": round(1000 * percentile(self.reading, part), 2) for part in (50, 95, 99)},
            "gaps_while_read": len(self.reading),
            "first_token_ms": {f"p{part}": round(1000 * percentile(self.first_token_s, part), 1) for part in (50, 95)},
        }


async def disturb(
    api: ApiProcess, people: Sequence[Person], streams: int, prompt: list[int], times: int, drawn: random.Random
) -> Gaps:
    """Keep `streams` answers going, each followed by another; ask for one token after `prompt`, `times` times."""
    address, over = (api.host, api.port), asyncio.Event()
    steady: list[Answered] = []

    async def keep_going(person: Person, seed: int) -> None:
        while not over.is_set():
            steady.append(await ask(address, person, PROMPT, _AS_LONG_AS_FITS, seed=seed))
            seed += streams

    async with asyncio.TaskGroup() as going:
        for number in range(streams):
            going.create_task(keep_going(people[number % len(people)], number))
        await asyncio.sleep(_SETTLING_S)
        reading, began = [], time.perf_counter()
        for _ in range(times):
            await asyncio.sleep(drawn.uniform(*_PAUSE_S))
            reading.append(await ask(address, people[-1], prompt, 1))
        ended = time.perf_counter()
        over.set()
    return split(steady, reading, began, ended)


def split(steady: Sequence[Answered], reading: Sequence[Answered], began: float, ended: float) -> Gaps:
    """Sort the gaps by whether they overlap with the time from asking for a long prompt to its token. Others count only
    between `began` and `ended`, while as many streams go as were meant to."""
    while_read, usual = [], []
    for answer in steady:
        for earlier, later in zip(answer.token_at, answer.token_at[1:], strict=False):
            if any(earlier < long.token_at[0] and later > long.asked_at for long in reading):
                while_read.append(later - earlier)
            elif began < earlier and later < ended:
                usual.append(later - earlier)
    return Gaps(while_read, usual, [long.first_token_s for long in reading])
