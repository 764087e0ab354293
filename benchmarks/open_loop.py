"""Requests that arrive at random times, whatever the answers take, from people whose prefixes lie in different places.
Owns one load: its arrivals, its answers, and what a cold prefix adds. Knows nothing of the command line."""

import asyncio
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.api_process import ApiProcess
from benchmarks.registered_users import Person, note_key_use
from benchmarks.statistics import median
from benchmarks.timed_stream import Answered, ask

WARM, COLD_REDIS, COLD_DATABASE = KINDS = ("warm", "cold_redis", "cold_database")
FOUND_IN = {WARM: "memory", COLD_REDIS: "cache", COLD_DATABASE: "database"}
PROMPT = (
    "On the way home I thought about the letter again, and about the garden behind the house, where nobody had cut the "
    "grass since spring. There was a chair under the apple tree. My brother used to sit there and read"
)
_WARM_UPS = 2  # of each person
_FULL_BATCHES = 3  # answers that the capacity is measured on, in batches
Arrival = tuple[str, Person]


@dataclass(frozen=True)
class Load:
    """What came of one load. rate: arrivals a second. answers: by kind."""

    rate: float
    answers: dict[str, list[Answered]]

    @property
    def gaps_s(self) -> list[float]:
        """Times between tokens, of all answers."""
        return [gap for answers in self.answers.values() for answer in answers for gap in answer.gaps_s]

    @property
    def step_s(self) -> float:
        """One decode step: the median time between tokens."""
        return _median(self.gaps_s)

    def steps(self, kind: str) -> list[float]:
        """Each one's time to first token, from the warm median on, in decode steps."""
        warm = _median([answer.first_token_s for answer in self.answers[WARM]])
        return [(answer.first_token_s - warm) / self.step_s for answer in self.answers[kind]]


async def capacity(api: ApiProcess, people: Sequence[Person], batch: int, tokens: int) -> float:
    """Answers a second with `batch` of them at once, from people who have spoken before: here they do so first."""
    note_key_use(api.storage, people)
    await _in_batches(api, list(people) * _WARM_UPS, batch, tokens)
    wanted = [people[number % len(people)] for number in range(_FULL_BATCHES * batch)]
    began = time.perf_counter()
    await _in_batches(api, wanted, batch, tokens)
    return len(wanted) / (time.perf_counter() - began)


async def run(api: ApiProcess, arrivals: Sequence[Arrival], rate: float, tokens: int, drawn: random.Random) -> Load:
    """Let them arrive, `rate` a second on average at exponential distances, and wait for all answers.

    Raises ValueError when the API's log says that a prefix was not where its kind says.
    """
    note_key_use(api.storage, [person for _, person in arrivals])
    api.seen()
    answers: dict[str, list[Answered]] = {kind: [] for kind in KINDS}

    async def one(kind: str, person: Person, seed: int) -> None:
        answers[kind].append(await ask((api.host, api.port), person, PROMPT, tokens, seed=seed))

    at = time.perf_counter()
    async with asyncio.TaskGroup() as going:
        for number, (kind, person) in enumerate(arrivals):
            at += drawn.expovariate(rate)
            await asyncio.sleep(max(0.0, at - time.perf_counter()))
            going.create_task(one(kind, person, number))
    await asyncio.to_thread(_check, api, arrivals)
    return Load(rate, answers)


def _check(api: ApiProcess, arrivals: Sequence[Arrival]) -> None:
    time.sleep(0.5)  # a request is logged when its answer has ended
    expected = sorted((person.voice_id, FOUND_IN[kind]) for kind, person in arrivals)
    found = sorted((str(one.voice), str(one.prefix_from)) for one in api.seen())
    if found != expected:
        raise ValueError(f"{len(set(expected) - set(found))} prefixes were not found where they should have been")


async def _in_batches(api: ApiProcess, people: Sequence[Person], at_once: int, tokens: int) -> None:
    places = asyncio.Semaphore(at_once)

    async def one(person: Person, seed: int) -> None:
        async with places:
            await ask((api.host, api.port), person, PROMPT, tokens, seed=seed)

    async with asyncio.TaskGroup() as going:
        for number, person in enumerate(people):
            going.create_task(one(person, number))


def _median(figures: Sequence[float]) -> float:
    return median(figures, digits=9)
