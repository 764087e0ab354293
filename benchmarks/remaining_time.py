"""`python -m benchmarks.remaining_time --authors FILE`: whether the remaining time that a training tells comes true.

Each run is what a worker makes of a request: an account with an author's newest pieces (how many is drawn), claimed,
trained by the recipe, judged and published or not, one run after the other in this process, on SQLite files. Afterwards
what a page would have said is read from the run's events: the first remaining time it told, and what stood there after
a quarter, a half and three quarters of the run, counted from its claim, less the seconds gone by since it was told. It
came true if it is at most 1.5 times what was really left until the run ended, and at least that divided by 1.5. The
report on the voice comes after the end and is left out.

Progress on stderr; the last line on stdout is one JSON object. within_1_5: of all that was told at those four moments;
by moment and by run beside it.
"""

import argparse
import json
import os
import random
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path
from typing import Any

from argon2 import PasswordHasher

from benchmarks.authors import Author, author_options, every_author
from benchmarks.other_load import OtherLoad
from benchmarks.role_process import config_in
from benchmarks.statistics import median
from storage import samples, schema, text_intake, tuning_runs, users, voices
from storage.errors import InvalidSample
from storage.models import ENDED_STATES, TuningRun
from storage.readiness import ENOUGH_WORDS
from storage.store import Storage
from storage.text_intake import Draft
from tuning.config import TuningConfig
from tuning.training import TrainingSettings
from tuning.tuning_job import tune
from tuning.workbench import Bench

SIZES = (3, 5, 8, 12, 20, 30, 40, 52)
NEAR = 1.5  # a time told came true when it was no more than so many times too high or too low
FIRST, MOMENTS = "first", (0.25, 0.5, 0.75)
MOST_EVENTS = 10_000
_HASHER = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)


@dataclass(frozen=True)
class Told:
    """One remaining time, and what came true, in seconds."""

    moment: str
    said_s: float
    came_s: float

    @property
    def times_off(self) -> float:
        """1: exactly; above: so many times too high or too low."""
        said, came = max(self.said_s, 0.1), max(self.came_s, 0.1)
        return max(said / came, came / said)


@dataclass(frozen=True)
class Course:
    """One run."""

    author: str
    pieces: int
    seconds: float
    steps: int
    max_steps: int
    told: tuple[Told, ...]

    def row(self) -> dict[str, Any]:
        """For the report."""
        off = {one.moment: round(one.times_off, 2) for one in self.told}
        return {**vars(self), "seconds": round(self.seconds, 1), "told": off}


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and print one JSON object."""
    options = _options(arguments)
    authors = every_author(options.authors)[options.skip :][: options.limit]
    with tempfile.TemporaryDirectory(prefix="idiolect-benchmark-") as folder:
        config = config_in(Path(folder), Path(folder) / "no-cache.sock")
        schema.upgrade(config)
        storage = Storage.open(config)
        bench = _bench(storage)
        others = OtherLoad()
        courses = [_run(bench, *drawn) for drawn in _draw(authors, options.runs, options.seed)]
        busy = others.cores()
        storage.close()
    printed = summary(courses) | {
        "courses": [course.row() for course in courses],
        "configuration": {
            "runs": options.runs,
            "seed": options.seed,
            "base_model": bench.base.name,
            "cores": os.cpu_count(),
            "others_busy_cores": busy,
        },
    }
    print(json.dumps(printed))


def summary(courses: Sequence[Course]) -> dict[str, Any]:
    """Shares of what was told that came true within NEAR."""
    told = [one for course in courses for one in course.told]
    moments = {moment: [one for one in told if one.moment == moment] for moment in (FIRST, *map(str, MOMENTS))}
    return {
        "within_1_5": _share(told),
        "within_1_5_by_moment": {moment: _share(some) for moment, some in moments.items()},
        "runs_always_within_1_5": sum(all(one.times_off <= NEAR for one in course.told) for course in courses),
        "runs": len(courses),
        "median_times_off": median([one.times_off for one in told]),
        "median_seconds": median([course.seconds for course in courses]),
    }


def told_in(began: float, ended: float, etas: Sequence[tuple[float, float]]) -> tuple[Told, ...]:
    """What stood on the page at each moment. etas: when it was told, and the seconds left that were told, in order."""
    first_at, first = etas[0]
    told = [Told(FIRST, first, ended - first_at)]
    for part in MOMENTS:
        moment = max(began + part * (ended - began), first_at)
        at, left = [eta for eta in etas if eta[0] <= moment][-1]
        told.append(Told(str(part), left - (moment - at), ended - moment))
    return tuple(told)


def _draw(authors: Sequence[Author], runs: int, seed: int) -> list[tuple[Author, int]]:
    drawn = random.Random(seed)
    return [(author, drawn.choice(SIZES)) for author in islice(cycle(authors), runs)]


def _bench(storage: Storage) -> Bench:
    """As a worker has it once it has trained something, with the model loaded; and as one that is stopping once the run
    in hand has ended, so that no report is measured."""
    config = TuningConfig.from_env()
    bench = Bench(storage, config, TrainingSettings.from_config(config), "benchmark:1", lambda: _is_over(storage))
    assert bench.base is not None
    _ = bench.population, bench.plan
    return bench


def _is_over(storage: Storage) -> bool:
    with storage.database.reading() as session:
        return all(run.state in ENDED_STATES for run in tuning_runs.list_all_runs(session, limit=1))


def _run(bench: Bench, author: Author, pieces: int) -> Course:
    storage = bench.storage
    email = f"{author.name}-{random.getrandbits(32)}@example.org"
    with storage.database.session() as session:
        user = users.sign_up(session, storage.keys, email=email, password=os.urandom(8).hex(), hasher=_HASHER)
        voice = voices.list_voices(session, user.id)[0]
    drafts = _drafts(author, pieces)
    with storage.database.session() as session:
        samples.add_drafts(session, storage.keys, user_id=user.id, voice_id=voice.id, drafts=drafts)
        run, _ = tuning_runs.request_run(session, user_id=user.id, voice_id=voice.id)
    tune(bench, run.id)
    with storage.database.reading() as session:
        course = _course(author, len(drafts), tuning_runs.get_run(session, None, run.id), _etas(storage, run.id))
    print(course.row(), file=sys.stderr, flush=True)
    return course


def _drafts(author: Author, pieces: int) -> list[Draft]:
    """The newest pieces that are taken in, and more where they are too short to train on."""
    drafts: list[Draft] = []
    for text in reversed(author.texts):
        with suppress(InvalidSample):
            drafts.append(text_intake.draft(text))
        if len(drafts) >= pieces and sum(draft.num_words for draft in drafts) >= ENOUGH_WORDS:
            break
    return drafts[::-1]


def _etas(storage: Storage, run_id: str) -> list[tuple[float, float]]:
    with storage.database.reading() as session:
        events = tuning_runs.list_events(session, None, run_id, limit=MOST_EVENTS)
    measured = [event for event in events if event.type == "metrics"]
    return [(event.at, event.data["eta_seconds"]) for event in measured if event.data["eta_seconds"]]


def _course(author: Author, pieces: int, run: TuningRun, etas: Sequence[tuple[float, float]]) -> Course:
    if run.state != "succeeded" or run.started_at is None or run.finished_at is None:
        raise SystemExit(f"remaining_time: a run ended as {run.state}: {run.error_message}")
    told = told_in(run.started_at, run.finished_at, etas)
    return Course(author.name, pieces, run.finished_at - run.started_at, run.step, run.max_steps, told)


def _share(told: Sequence[Told]) -> float:
    return round(sum(one.times_off <= NEAR for one in told) / max(1, len(told)), 3)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = author_options(__doc__, limit=40)
    parser.add_argument("--runs", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
