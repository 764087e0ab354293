"""`python -m benchmarks.step_time`: what a training step costs in the arithmetic and under the allocator settings that
a worker gets, against what it would cost without. One person, the default step, made-up tokens; the variants in turn,
each in a fresh process. Progress on stderr; the last line on stdout is one JSON object."""

import argparse
import contextlib
import json
import os
import subprocess
import sys
import time
from unittest.mock import patch

import numpy as np

from app.embedded.roles import ALLOCATOR
from tuning import precision, trainer
from tuning.base_model import load_base_model
from tuning.config import TuningConfig
from tuning.dataset import TRAIN_BLOCK_TOKENS, Block, Split
from tuning.learner import Learner
from tuning.trainer import TrainingJob, TrainingSettings

_STEPS = 6
_VARIANTS = {
    "as_shipped": (True, True),
    "float32": (False, True),
    "plain_allocator": (True, False),
    "neither": (False, False),
}


def main() -> None:
    """Time every variant in turn, or, as a child, one of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--child", choices=("fast", "float32"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        print(json.dumps(_seconds(fast=options.child == "fast")))
        return
    seconds: dict[str, list[float]] = {name: [] for name in _VARIANTS}
    for number in range(options.rounds):
        for name, (fast, allocator) in _VARIANTS.items():
            seconds[name].append(_in_child(fast=fast, allocator=allocator))
            print(f"round {number + 1} of {options.rounds}, {name}: {seconds[name][-1]:.3f} s a step", file=sys.stderr)
    shipped = np.array(seconds["as_shipped"])
    ratios = {
        f"ratio_to_{name}": round(float(np.median(shipped / np.array(of))), 3)
        for name, of in seconds.items()
        if name != "as_shipped"
    }
    medians = {name: round(float(np.median(of)), 4) for name, of in seconds.items()}
    print(
        json.dumps(
            ratios
            | {"seconds": medians, "rounds": options.rounds, "tokens_per_step": TrainingSettings().tokens_per_step}
        )
    )


def _in_child(*, fast: bool, allocator: bool) -> float:
    """Wall seconds of a step in a process of its own."""
    environment = {name: value for name, value in os.environ.items() if name not in ALLOCATOR}
    environment |= {"OMP_WAIT_POLICY": "PASSIVE"} | (ALLOCATOR if allocator else {})
    command = [sys.executable, "-m", "benchmarks.step_time", "--child", "fast" if fast else "float32"]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return float(done.stdout.splitlines()[-1])


def _seconds(*, fast: bool) -> float:
    with contextlib.nullcontext() if fast else patch.object(precision, "multiplies_bfloat16", return_value=False):
        return _step_seconds()


def _step_seconds() -> float:
    config = TuningConfig.from_env()
    base, settings = load_base_model(config), TrainingSettings.from_config(config)
    drawn = np.random.default_rng(0).integers(2, base.tokenizer.vocab_size, (64, TRAIN_BLOCK_TOKENS))
    blocks = tuple(Block(tuple(map(int, row)), 1, 4 * TRAIN_BLOCK_TOKENS) for row in drawn)
    learner = Learner(base, TrainingJob(Split(blocks, blocks[:1], blocks[:1], len(blocks))), settings)
    trainer.train_step(base, [learner])
    began = time.perf_counter()
    for _ in range(_STEPS):
        trainer.train_step(base, [learner])
    return (time.perf_counter() - began) / _STEPS


if __name__ == "__main__":
    main()
