"""How many steps a training still takes."""

import random

import pytest

from tuning.remaining import NEAR, _chance_of_gain, judging_steps, steps_left

EVERY, PATIENCE = 5, 5


def left(step: int, looks_in_vain: int, max_steps: int, patience: int = PATIENCE) -> int:
    return steps_left(step, looks_in_vain, max_steps, EVERY, patience)


def plays(step: int, looks_in_vain: int, max_steps: int) -> list[int]:
    """Steps that trainings took from there which find a new best with the measured chances, played one by one."""
    drawn, taken = random.Random(0), []
    for _ in range(4000):
        now, in_vain = step - step % EVERY, looks_in_vain
        while now < max_steps and in_vain < PATIENCE:
            now = min(max_steps, now + EVERY)
            in_vain = 0 if drawn.random() < _chance_of_gain(now, in_vain) else in_vain + 1
        taken.append(now - step)
    return taken


@pytest.mark.parametrize(
    ("step", "looks_in_vain", "max_steps"), [(0, 0, 240), (33, 0, 240), (50, 2, 90), (61, 4, 240), (17, 1, 54)]
)
def test_no_other_number_is_right_more_often(step: int, looks_in_vain: int, max_steps: int) -> None:
    taken = plays(step, looks_in_vain, max_steps)

    def right(guess: int) -> float:
        return sum(guess / NEAR <= steps <= guess * NEAR for steps in taken) / len(taken)

    assert right(left(step, looks_in_vain, max_steps)) >= max(map(right, range(1, max_steps))) - 0.03


def test_a_training_that_can_only_end_at_its_last_step_is_told_so() -> None:
    assert [left(step, 0, 20) for step in (0, 7, 15, 19)] == [20, 13, 5, 1]
    assert left(40, 3, 240, patience=1000) == 200


def test_the_last_look_is_awaited_and_a_gain_sets_the_end_back() -> None:
    assert left(50, 4, 240) == 5
    assert left(52, 4, 240) == 3
    assert left(50, 0, 240) >= 25 > left(50, 2, 240) > left(50, 4, 240)


def test_what_can_be_left_is_what_is_told() -> None:
    for max_steps in (20, 36, 90, 240):
        for step in range(max_steps):
            for looks_in_vain in range(min(PATIENCE, step // EVERY + 1)):
                least = min(max_steps - step, (PATIENCE - looks_in_vain) * EVERY - step % EVERY)
                assert max(1, least) <= left(step, looks_in_vain, max_steps) <= max_steps - step


def test_the_judging_counts_by_its_text() -> None:
    assert judging_steps(0, 1000) == 0
    assert judging_steps(2000, 1000) == 2 * judging_steps(1000, 1000) > 0
