from dataclasses import replace

import pytest
import torch

from tests.tiny_model import make_prefix, make_tiny
from tuning.base_model import BaseModel
from tuning.dataset import Split
from tuning.errors import TooLittleText
from tuning.learner import Learner
from tuning.rehearsal import PublicWriter, RehearsalSettings, _trained, public_writers, rehearse
from tuning.training import TrainingJob, TrainingSettings
from tuning.training_step import StepPlan, train_step

TRAINING = TrainingSettings(
    num_virtual_tokens=4, hidden=16, learning_rate=0.03, warmup_steps=2, tokens_per_step=150, min_steps=6, max_steps=6
)
SETTINGS = RehearsalSettings(writers=3, steps=6, learning_rate=0.1, warmup=2, looked_at=4, training=TRAINING)


@pytest.fixture(scope="module")
def base() -> BaseModel:
    return make_tiny("llama", dtype=torch.float64)


def some_writers(base: BaseModel, number: int) -> list[PublicWriter]:
    """Each has a word of their own, and says it in each of eight pieces."""
    pieces = [
        [f"Piece {n}, {word}: {word} and then {word} once more. " * 2 for n in range(8)] for word in WORDS[:number]
    ]
    return public_writers(base, pieces, 4)


WORDS = [
    f"{first}{second}" for first in ("har", "mo", "til", "wes", "qua") for second in ("bour", "ter", "ning", "dle")
]


def test_everybody_in_a_class_is_trained_as_a_person_alone(base: BaseModel) -> None:
    start, writers = make_prefix(base), some_writers(base, 3)
    keys, values = _trained(base, start, writers, SETTINGS, StepPlan(), seed=5)
    for place, writer in enumerate(writers):
        split = Split(train=writer.train, stop=writer.held_out, test=writer.held_out, num_samples=8)
        alone = Learner(base, TrainingJob(split, seed=15 + place, start=start), TRAINING)
        for _ in range(6):
            train_step(base, [alone], StepPlan())
        prefix = alone.encoder.prefix()
        for layer in range(len(keys)):
            torch.testing.assert_close(keys[layer][place], prefix.keys[layer], rtol=1e-9, atol=1e-9)
            torch.testing.assert_close(values[layer][place], prefix.values[layer], rtol=1e-9, atol=1e-9)
    assert not torch.equal(keys[0][0], keys[0][1])


def test_passes_change_nothing_but_the_order_of_sums(base: BaseModel) -> None:
    start, writers = make_prefix(base), some_writers(base, 3)
    whole, _ = _trained(base, start, writers, SETTINGS, StepPlan(tokens_at_once=10_000), seed=0)
    parts, _ = _trained(base, start, writers, SETTINGS, StepPlan(tokens_at_once=60), seed=0)
    for one, other in zip(whole, parts, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)


def test_who_starts_from_the_rehearsed_prefix_comes_further(base: BaseModel) -> None:
    looks: list[tuple[int, float]] = []
    start = make_prefix(base)
    found = rehearse(base, start, some_writers(base, 20), 12, SETTINGS, on_look=lambda *look: looks.append(look))
    assert [rehearsal for rehearsal, _ in looks] == [0, 3, 6, 9, 12]
    assert max(gain for _, gain in looks) > looks[0][1] + 1.0
    assert found.layer_shapes == start.layer_shapes
    assert found.base_fingerprint == base.fingerprint
    again = rehearse(base, start, some_writers(base, 20), 12, SETTINGS)
    assert again.digest == found.digest


def test_where_rehearsing_ends_in_no_numbers_the_start_stays(base: BaseModel) -> None:
    start = make_prefix(base)
    kept = rehearse(base, start, some_writers(base, 8), 2, replace(SETTINGS, learning_rate=float("inf"), warmup=1))
    assert kept is start


def test_too_few_writers_are_refused_with_both_numbers(base: BaseModel) -> None:
    with pytest.raises(TooLittleText, match=r"6 writers.*at least 7"):
        rehearse(base, make_prefix(base), some_writers(base, 6), 1, SETTINGS)
