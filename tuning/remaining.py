"""How many steps a training still takes, when nobody knows how often it will find something better. Owns that guess and
the measured chances behind it; knows no model and no clock.

A training ends after `patience` looks without gain, or at its last step. Whether a look finds a new best was followed
over trainings of real authors (docs/pages.md): the chance falls with the looks since the last gain and with the
steps done, whatever the ceiling. Of all ends that may follow, the number told is the one that most of the chance lies
near.
"""

import math
from collections import defaultdict
from functools import lru_cache

import numpy as np

NEAR = 1.5  # a number told is right when it is no more than so many times too high or too low
# Log-odds that the next look finds a new best: at first, less for every five steps without one, less for every step.
_AT_FIRST, _PER_FIVE_IN_VAIN, _PER_STEP = 2.3, -1.3, -0.0235
_JUDGING_STEPS = 1.5  # to judge by as much text as a step trains on: all sides forward, in the weights' own type
_AS_GOOD = 1e-3
_LOOKS_AHEAD = 200  # what may be after so many counts as the last step


def steps_left(step: int, looks_in_vain: int, max_steps: int, evaluate_every: int, patience: int) -> int:
    """Steps that follow `step`, where the newest of the looks, which come every `evaluate_every` steps, was the
    `looks_in_vain`-th without gain. At least 1: for trainings that go on."""
    looked_at = step - step % evaluate_every
    ends, chances = _ends(looked_at, looks_in_vain, max_steps, evaluate_every, patience)
    left = np.maximum(1, ends - step)
    reach = np.concatenate((left, np.floor(left * NEAR), np.ceil(left / NEAR)))  # where what lies near changes
    guesses = np.unique(np.clip(reach, left.min(), left.max()))
    times_off = np.abs(np.log(guesses[:, None] / left))
    near = (times_off <= math.log(NEAR) + 1e-9) @ chances
    best = np.flatnonzero(near >= near.max() - _AS_GOOD)
    return int(guesses[best[np.argmin(times_off[best] @ chances)]])


def judging_steps(test_tokens: int, tokens_per_step: float) -> float:
    """What follows the last step, the judging, in steps of this training."""
    return _JUDGING_STEPS * test_tokens / max(1.0, tokens_per_step)


@lru_cache(maxsize=4096)
def _ends(
    step: int, in_vain: int, max_steps: int, every: int, patience: int
) -> tuple[np.ndarray[tuple[int], np.dtype[np.int64]], np.ndarray[tuple[int], np.dtype[np.float64]]]:
    """The steps that the training may end with, and the chance of each."""
    ends: dict[int, float] = defaultdict(float)
    going_on = {in_vain: 1.0}
    for ahead in range(_LOOKS_AHEAD):
        step = min(max_steps, step + every) if ahead + 1 < _LOOKS_AHEAD else max_steps
        after: dict[int, float] = defaultdict(float)
        for looks, chance in going_on.items():
            gain = _chance_of_gain(step, looks * every / 5)
            for now, part in ((0, chance * gain), (looks + 1, chance * (1 - gain))):
                if now >= patience or step >= max_steps:
                    ends[step] += part
                else:
                    after[now] += part
        going_on = after
        if not going_on:
            break
    return np.array(list(ends)), np.array(list(ends.values()))


def _chance_of_gain(step: int, fives_in_vain: float) -> float:
    odds = _AT_FIRST + _PER_FIVE_IN_VAIN * fives_in_vain + _PER_STEP * step
    return (1 + math.tanh(odds / 2)) / 2
