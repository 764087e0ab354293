"""`python -m benchmarks.step_time`: what a training step costs in the arithmetic, with the attention, the weights cast
once, our own token losses, under the allocator settings and in passes side by side, as a worker has them, against what
it would cost without. One person, the default step, made-up tokens; the variants in turn, each in a fresh process.
Progress on stderr; the last line on stdout is a JSON object."""

import argparse
import contextlib
import json
import subprocess
import sys
import time
from unittest.mock import patch

import numpy as np
from torch import Tensor
from torch.nn import functional

from benchmarks.worker_process import worker_environment
from tuning import precision, scoring, training_step
from tuning.base_model import load_base_model
from tuning.config import TuningConfig
from tuning.dataset import TRAIN_BLOCK_TOKENS, Block, Split
from tuning.learner import Learner
from tuning.training import TrainingJob, TrainingSettings
from tuning.training_step import StepPlan, train_step

_STEPS = 6
_VARIANTS = {  # kind of step, and whether under the worker's allocator settings
    "as_shipped": ("shipped", True),
    "float32": ("float32", True),
    "fused_attention": ("fused_attention", True),
    "cast_in_every_pass": ("cast_in_every_pass", True),
    "torch_cross_entropy": ("torch_cross_entropy", True),
    "one_pass": ("one_pass", True),
    "plain_allocator": ("shipped", False),
    "none_of_them": ("plain", False),
}
_PLANS = {
    "one_pass": StepPlan(10**6, lanes=1),
    "plain": StepPlan(10**6, lanes=1),
    "cast_in_every_pass": StepPlan(cast_once=False),
}


def main() -> None:
    """Time every variant in turn, or, as a child, one of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--child", choices=sorted({kind for kind, _ in _VARIANTS.values()}), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        print(json.dumps(_seconds(options.child)))
        return
    seconds: dict[str, list[float]] = {name: [] for name in _VARIANTS}
    for number in range(options.rounds):
        for name, (kind, allocator) in _VARIANTS.items():
            seconds[name].append(_in_child(kind, allocator=allocator))
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


def _in_child(kind: str, *, allocator: bool) -> float:
    """Wall seconds of a step in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.step_time", "--child", kind]
    environment = worker_environment(allocator=allocator)
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return float(done.stdout.splitlines()[-1])


def _seconds(kind: str) -> float:
    slow = patch.object(precision, "multiplies_bfloat16", return_value=False)
    fused = patch.object(training_step, "fast_attention", return_value=contextlib.nullcontext())
    torchs = patch.object(scoring, "token_losses", _torch_losses)
    changed: dict[str, list[contextlib.AbstractContextManager[object]]] = {
        "float32": [slow],
        "fused_attention": [fused],
        "torch_cross_entropy": [torchs],
        "plain": [slow, torchs],
    }
    with contextlib.ExitStack() as stack:
        for patched in changed.get(kind, []):
            stack.enter_context(patched)
        return _step_seconds(_PLANS.get(kind, StepPlan()))


def _torch_losses(logits: Tensor, targets: Tensor) -> Tensor:
    return functional.cross_entropy(logits.float(), targets, reduction="none")


def _step_seconds(plan: StepPlan) -> float:
    config = TuningConfig.from_env()
    base, settings = load_base_model(config), TrainingSettings.from_config(config)
    drawn = np.random.default_rng(0).integers(2, base.tokenizer.vocab_size, (64, TRAIN_BLOCK_TOKENS))
    blocks = tuple(Block(tuple(map(int, row)), 1, 4 * TRAIN_BLOCK_TOKENS) for row in drawn)
    learner = Learner(base, TrainingJob(Split(blocks, blocks[:1], blocks[:1], len(blocks))), settings)
    train_step(base, [learner.trainee], plan)
    began = time.perf_counter()
    for _ in range(_STEPS):
        train_step(base, [learner.trainee], plan)
    return (time.perf_counter() - began) / _STEPS


if __name__ == "__main__":
    main()
