"""`python -m benchmarks.serving`: how fast many people's requests are answered, each in their own voice, beside what
else there is.

32 people with 32 different prefixes ask 4 times each; prompts have 24 to 256 tokens, answers 64. All requests are there
at once. Against the same engine without prefixes; PEFT's prefix tuning, one request at a time and a user's requests in
one batch; PEFT's LoRA, mixed in a batch; transformers' continuous batching, without prefixes; and transformers'
`generate` in static batches with the prefixes stacked. Every way gets the same model, type of numbers, threads and
prompts, is greedy and ignores the end of a text; peers are tried at several settings first, and keep their fastest.

Ratios are of throughput, ours in units of theirs, the median over rounds whose order is balanced; before each timing
the same way answers a few requests untimed. cost_of_strength is the time with a voice_strength of 0.5 in units of that
with 1. Run it on a quiet machine; how many cores others kept busy stands beside the figures. `--shape 1b --device cuda`
times a model of a real shape with random weights.

Progress on stderr; the last line on stdout is one JSON object.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import peft
import torch
import transformers

from app.config import AppConfig
from app.generation.engine import Engine
from benchmarks.other_load import OtherLoad
from benchmarks.serving_load import Load, make_load
from benchmarks.serving_ways import BATCHES, Answers, Continuous, LoraMixed, Ours, PeftPrefix, Static, Way, plain_copy
from benchmarks.shapes import SHAPES, random_model
from benchmarks.statistics import interval, median
from benchmarks.worker_process import wait_policy
from tuning.base_model import BaseModel
from tuning.config import TuningConfig
from tuning.loading import choose_threads, load_to_answer

RATIOS = {
    "ratio_to_no_prefix": "no_prefix",
    "ratio_to_peft_sequential": "peft_sequential",
    "ratio_to_peft_grouped": "peft_grouped",
    "ratio_to_lora_mixed": "lora_mixed",
    "ratio_to_transformers_continuous": "transformers_continuous",
    "ratio_to_static": "static",
}
WITH_PREFIXES = ("peft_sequential", "peft_grouped", "static")  # whose answers should be ours
Row = dict[str, Any]


@dataclass(frozen=True, eq=False)
class Measured:
    """By way: seconds a load in each round, and the answers to the first round's last load."""

    seconds: dict[str, list[float]]
    answers: dict[str, Answers]


def main(arguments: Sequence[str] | None = None) -> None:
    """Time everything, and print one JSON object."""
    options = _options(arguments)
    base = _base(options)
    load = make_load(
        base,
        users=options.users,
        requests=options.requests,
        prompt_tokens=(options.shortest_prompt, options.longest_prompt),
        max_tokens=options.max_tokens,
        num_virtual_tokens=base.num_virtual_tokens_probed,
        seed=options.seed,
    )
    rows = options.max_num_seqs or AppConfig.from_env().max_num_seqs
    engine = Engine(base, max_num_seqs=rows, max_waiting=2 * len(load.requests), max_model_len=_positions(base, load))
    engine.start()
    ways = _ways(base, engine, load, options.without)
    for name, way in ways.items():
        print(f"{name}: choosing its setting", file=sys.stderr, flush=True)
        way.choose(load)
        way.serve(load.of(range(min(4, len(load.requests))), 4))
    others = OtherLoad()
    measured = measure(ways, load, options.rounds, options.least_seconds)
    engine.close()
    print(
        json.dumps(
            _told(measured, load)
            | {"others_busy_cores": others.cores(), "configuration": _configuration(base, ways, load, options)}
        )
    )


def measure(ways: dict[str, Way], load: Load, rounds: int, least_seconds: float) -> Measured:
    """Every way in every round, with the load as often as it takes to fill least_seconds: a short timing says little.

    A quarter of the requests, with a quarter of the tokens, goes before untimed, and the order is balanced: what a way
    left in memory and caches is not always paid for by the same next one. Raises RuntimeError where an answer has not
    as many tokens as it should.
    """
    measured = Measured({name: [] for name in ways}, {})
    names = list(ways)
    before = load.of(range(0, len(load.requests), 4), max(1, load.max_tokens // 4))
    for number in range(rounds):
        for name in balanced(names, number):
            ways[name].serve(before)
            seconds, answers = timed(name, ways[name], load, least_seconds)
            measured.seconds[name].append(seconds)
            measured.answers.setdefault(name, answers)
            print(f"round {number + 1} of {rounds}, {name}: {seconds:.2f} s", file=sys.stderr, flush=True)
    return measured


def balanced(names: Sequence[str], number: int) -> list[str]:
    """The order of a round. Within as many rounds as there are names, each comes right behind each other one once; of
    an odd number, twice within twice as many (Williams 1949, designs balanced for residual effects)."""
    count = len(names)
    steps = [(place + 1) // 2 * (1 if place % 2 else -1) for place in range(count)]  # 0, 1, -1, 2, -2 …
    order = [names[(number + step) % count] for step in steps]
    return order[::-1] if count % 2 and number // count % 2 else order


def timed(name: str, way: Way, load: Load, least_seconds: float) -> tuple[float, Answers]:
    """Seconds for one load, the mean of as many as fill least_seconds; and the last one's answers."""
    began, count, seconds = time.perf_counter(), 0, 0.0
    while count == 0 or seconds < least_seconds:
        answers = way.serve(load)  # token ids on this side: whatever device, all is done
        count, seconds = count + 1, time.perf_counter() - began
        if any(len(answer) != load.max_tokens for answer in answers) or len(answers) != len(load.requests):
            raise RuntimeError(f"{name} did not give every request its {load.max_tokens} tokens")
    return seconds / count, answers


def _told(measured: Measured, load: Load) -> Row:
    ours = measured.seconds["ours"]
    ratios = {
        key: [theirs / own for theirs, own in zip(measured.seconds[name], ours, strict=True)]
        for key, name in RATIOS.items()
        if name in measured.seconds
    }
    strength = [led / own for led, own in zip(measured.seconds["strength"], ours, strict=True)]
    return {
        **{key: median(of) for key, of in ratios.items()},
        "cost_of_strength": median(strength),
        "intervals": {key: interval(of) for key, of in (ratios | {"cost_of_strength": strength}).items()},
        "tokens_per_second": {name: round(load.num_tokens / median(of)) for name, of in measured.seconds.items()},
        "seconds": {name: median(of) for name, of in measured.seconds.items()},
        "answers_like_ours": {
            name: _alike(measured.answers[name], measured.answers["ours"])
            for name in WITH_PREFIXES
            if name in measured.answers
        },
    }


def _alike(theirs: Answers, ours: Answers) -> float:
    """The share of answers that are the same to the last token: all, but for what rounding decides."""
    return round(sum(one == other for one, other in zip(theirs, ours, strict=True)) / len(ours), 3)


def _base(options: argparse.Namespace) -> BaseModel:
    """As the API loads it, or a random one."""
    given = {name: value for name in ("device", "dtype") if (value := getattr(options, name))}
    config = replace(TuningConfig.from_env(), **given)
    if options.shape is None:
        return load_to_answer(config)
    if config.num_threads:
        torch.set_num_threads(config.num_threads)
    device = torch.device("cpu" if config.device == "auto" else config.device)
    by_default = "float32" if device.type == "cpu" else "bfloat16"
    base = random_model(
        options.shape,
        device=device,
        dtype=getattr(torch, by_default if config.dtype == "auto" else config.dtype),
        num_virtual_tokens=config.num_virtual_tokens,
        max_context=config.max_context,
    )
    choose_threads(config, base)
    return base


def _ways(base: BaseModel, engine: Engine, load: Load, without: Sequence[str]) -> dict[str, Way]:
    made: dict[str, Callable[[], Way]] = {
        "ours": lambda: Ours(engine, 1.0),
        "no_prefix": lambda: Ours(engine, None),
        "strength": lambda: Ours(engine, 0.5),
        "static": lambda: Static(plain_copy(base), BATCHES),
        "peft_grouped": lambda: PeftPrefix(base, load, len(load.requests)),
        "peft_sequential": lambda: PeftPrefix(base, load, 1),
        "lora_mixed": lambda: LoraMixed(base, len(load.prefixes), BATCHES),
        "transformers_continuous": lambda: Continuous(base, load),
    }
    return {name: make() for name, make in made.items() if name not in without}


def _positions(base: BaseModel, load: Load) -> int:
    """What a row must hold on a model whose whole context would fill the memory."""
    longest = max(len(request.prompt) for request in load.requests)
    needed = load.prefixes[0].num_virtual_tokens + longest + load.max_tokens
    return min(base.context_length, max(needed, 1024))


def _configuration(base: BaseModel, ways: dict[str, Way], load: Load, options: argparse.Namespace) -> Row:
    device = torch.cuda.get_device_name() if base.device.type == "cuda" else "cpu"
    return {
        "base_model": base.name,
        "parameters": base.num_parameters,
        "device": device,
        "dtype": str(base.dtype).removeprefix("torch."),
        "threads": torch.get_num_threads(),
        "cores": os.cpu_count(),
        "omp_wait_policy": wait_policy(),
        "versions": {"torch": torch.__version__, "transformers": transformers.__version__, "peft": peft.__version__},
        "num_virtual_tokens": load.prefixes[0].num_virtual_tokens,
        "prompt_tokens": sum(len(request.prompt) for request in load.requests),
        "settings": {name: way.setting for name, way in ways.items()},
    } | {
        name: getattr(options, name)
        for name in (
            "users",
            "requests",
            "shortest_prompt",
            "longest_prompt",
            "max_tokens",
            "rounds",
            "least_seconds",
            "seed",
        )
    }


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--users", type=int, default=32)
    parser.add_argument("--requests", type=int, default=4, help="of each user")
    parser.add_argument("--shortest-prompt", type=int, default=24, help="tokens")
    parser.add_argument("--longest-prompt", type=int, default=256, help="tokens")
    parser.add_argument("--max-tokens", type=int, default=64, help="new tokens of each answer")
    parser.add_argument("--rounds", type=int, default=8, help="balanced at a multiple of the ways")
    parser.add_argument("--least-seconds", type=float, default=10.0, help="of each timing")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--max-num-seqs", type=int, help="rows of our engine; by default what the API has")
    parser.add_argument("--device", help="in place of IDIOLECT_DEVICE")
    parser.add_argument("--dtype", help="in place of IDIOLECT_DTYPE")
    parser.add_argument(
        "--shape", choices=sorted(SHAPES), help="random weights of a real shape, not IDIOLECT_BASE_MODEL"
    )
    parser.add_argument("--without", nargs="*", default=[], choices=list(RATIOS.values()), help="ways to leave out")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    transformers.logging.set_verbosity_error()
    main()
