"""`python -m benchmarks.tuning_speed --authors FILE …`: how fast people are trained, beside PEFT's prefix tuning.

One person: wall time until our early-stopping loss is as low as PEFT's ever gets, from the population prefix and
without one, in units of the time PEFT took to get there by the setting of its grid that did best: that setting alone,
with the time of the whole grid beside it. Both sides look at the early-stopping set every second step, to time the
crossing, and the clock stops during looks on both sides. Neither side's model building is counted. A loss that is never
reached counts as infinite, and is null in what is printed.

Many people: whole trainings a minute, looks included, as often as the product looks. "solo" is ours one after the
other, "default" what the product does here by itself (on a CPU the same), "stacked" everybody in common steps, "peft"
PEFT one after the other, by the setting that did best for most of the authors above.

PEFT gets the same blocks, tokens a step, optimizer, schedule, arithmetic, allocator settings and torch's own number of
threads; in the race thrice our epochs, in trainings a minute as many steps as ours. The command starts itself again
under the allocator settings. PEFT's choice from its grid is kept and found again; times are all of one process. Run it
on a quiet machine, or the ratios flatter us: PEFT's threads wait for each other in every matrix product, ours once a
step. How many cores others kept busy stands beside the figures; where that is much, OMP_WAIT_POLICY=PASSIVE does PEFT
the lesser wrong.

Progress on stderr; the last line on stdout is one JSON object.
"""

import argparse
import json
import os
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import peft
import torch

from benchmarks import time_to_loss, users_per_minute
from benchmarks.authors import MOST_TRAINING_TEXTS, author_options, between, every_author, read_authors
from benchmarks.journal import Journal
from benchmarks.other_load import OtherLoad
from benchmarks.timed import Bench
from benchmarks.worker_process import restart_under_allocator, wait_policy
from tuning.base_model import load_base_model
from tuning.config import TuningConfig
from tuning.memory import plan_memory
from tuning.population import load_population
from tuning.precision import multiplies_bfloat16
from tuning.prefix import Prefix
from tuning.training import TrainingSettings

OURS, NEUTRAL = "ours", "ours_neutral_start"
Row = dict[str, Any]


def main(arguments: Sequence[str] | None = None) -> None:
    """Time everything, and print one JSON object."""
    options = _options(arguments)
    config = TuningConfig.from_env()
    base = load_base_model(config)
    settings = TrainingSettings.from_config(config)
    population = load_population(config, base)
    plan = plan_memory(base, settings, config)
    bench = Bench(base, settings.looking_every(time_to_loss.EVALUATE_EVERY), plan.step, options.seed)
    one = _one_person(bench, options, population)
    ratios = {"time_ratio_to_peft": OURS, "time_ratio_to_peft_neutral_start": NEUTRAL}
    printed: Row = {key: one[name]["median_ratio"] if name in one else None for key, name in ratios.items()}
    if options.users:
        most_common = Counter(one["peft"]["setting"]).most_common(1)[0][0]
        (setting,) = (found for found in time_to_loss.settings_of(bench) if found.name == most_common)
        office = users_per_minute.Office(base, settings, config, setting)
        printed |= _many_people(office, options, population)
    configuration = {
        "base_model": base.name,
        "fingerprint": base.fingerprint,
        "dtype": str(base.dtype),
        "bfloat16_steps": multiplies_bfloat16(),
        "threads": torch.get_num_threads(),
        "cores": os.cpu_count(),
        "omp_wait_policy": wait_policy(),
        "versions": {"torch": torch.__version__, "peft": peft.__version__},
        "settings": asdict(settings),
        "evaluate_every_for_time_to_loss": time_to_loss.EVALUATE_EVERY,
        "tokens_at_once": plan.step.tokens_at_once,
        "population_seconds": options.population_seconds,
    } | {name: getattr(options, name) for name in ("samples", "samples_of_users", "skip", "rounds", "seed")}
    print(json.dumps(printed | {"time_to_pefts_best": one, "configuration": configuration}))


def _one_person(bench: Bench, options: argparse.Namespace, population: Prefix | None) -> Row:
    journal = Journal(options.state / "tuning_speed.jsonl")
    authors = read_authors(options.authors, options.limit, options.skip)
    splits = [author.split(bench.base, options.samples, bench.settings.num_virtual_tokens) for author in authors]
    starts = ({OURS: population} if population else {}) | {NEUTRAL: None}
    grids = [time_to_loss.choose(bench, journal, split) for split in splits]
    print("PEFT's settings are chosen; timing begins", file=sys.stderr, flush=True)
    time_to_loss.warm_up(bench, splits[0])
    load = OtherLoad()
    races = [
        time_to_loss.race(bench, split, grid, starts, options.rounds) for split, grid in zip(splits, grids, strict=True)
    ]
    return time_to_loss.table(races) | {"others_busy_cores": load.cores()}


def _many_people(office: users_per_minute.Office, options: argparse.Namespace, population: Prefix | None) -> Row:
    authors, most = every_author(options.authors)[options.skip :], max(options.users)
    jobs = users_per_minute.waiting(office.base, authors, most, options.samples_of_users, population, office.config)
    load = OtherLoad()
    table = users_per_minute.table(office, jobs, options.users, options.peft_users)
    whole = table[most]
    return {
        f"users_per_minute_ratio_{most}_to_solo": round(whole["default"] / whole["solo"], 3),
        f"users_per_minute_ratio_{most}_to_peft": round(whole["default"] / whole["peft"], 3),
        f"users_per_minute_ratio_{most}_stacked_to_solo": round(whole["stacked"] / whole["solo"], 3),
        f"users_per_minute_ratio_{most}_stacked_to_peft": round(whole["stacked"] / whole["peft"], 3),
        "users_per_minute": table,
        "users_per_minute_peft_setting": office.setting.name,
        "users_per_minute_others_busy_cores": load.cores(),
    }


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = author_options(__doc__, limit=4)  # trained to PEFT's best loss
    parser.add_argument("--samples", type=between(1, MOST_TRAINING_TEXTS), default=20, help="texts of each of them")
    parser.add_argument(
        "--users", type=_numbers, default=[1, 8, 32], help="numbers of waiting users, with commas; '' leaves them out"
    )
    parser.add_argument(
        "--samples-of-users", type=between(1, MOST_TRAINING_TEXTS), default=20, help="texts of each waiting user"
    )
    parser.add_argument(
        "--peft-users",
        type=int,
        default=8,
        help="time PEFT for so many of them, at least 4, and reckon the others from these",
    )
    parser.add_argument("--rounds", type=int, default=1, help="time every author so often; the median counts")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--population-seconds", type=float, help="what the population prefix took, to stand beside it")
    parser.add_argument(
        "--state", type=Path, default=Path(".benchmarks"), help="where PEFT's choices are kept (.benchmarks)"
    )
    return parser.parse_args(arguments)


def _numbers(text: str) -> list[int]:
    return sorted(int(number) for number in text.split(",") if number)


if __name__ == "__main__":
    restart_under_allocator("benchmarks.tuning_speed")
    main()
