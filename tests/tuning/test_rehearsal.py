from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.tiny_model import make_prefix, make_tiny
from tuning import rehearsal
from tuning.base_model import BaseModel
from tuning.dataset import Split, num_tokens
from tuning.errors import ConfigurationError, TooLittleText
from tuning.learner import Learner
from tuning.prefix import Prefix
from tuning.prefix_encoder import PrefixEncoder, flatten, unflatten
from tuning.rehearsal import PublicWriter, RehearsalSettings, _pull, _trained, public_writers, rehearse
from tuning.scoring import Pass, pass_losses
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
    encoders = _trained(base, start, writers, SETTINGS, StepPlan(), seed=5)
    for place, writer in enumerate(writers):
        split = Split(train=writer.train, stop=writer.held_out, test=writer.held_out, num_samples=8)
        alone = Learner(base, TrainingJob(split, seed=15 + place, start=start), TRAINING)
        for _ in range(6):
            train_step(base, [alone.trainee], StepPlan())
        torch.testing.assert_close(encoders[place](), alone.trainee.encoder(), rtol=1e-9, atol=1e-9)
    assert not torch.equal(encoders[0](), encoders[1]())


def test_passes_change_nothing_but_the_order_of_sums(base: BaseModel) -> None:
    start, writers = make_prefix(base), some_writers(base, 3)
    whole = _trained(base, start, writers, SETTINGS, StepPlan(tokens_at_once=10_000), seed=0)
    parts = _trained(base, start, writers, SETTINGS, StepPlan(tokens_at_once=60), seed=0)
    for one, other in zip(whole, parts, strict=True):
        torch.testing.assert_close(one(), other(), rtol=1e-9, atol=1e-9)


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


def test_the_start_is_pulled_by_what_was_held_out_at_the_trained_prefixes(base: BaseModel) -> None:
    start, writers = make_prefix(base), some_writers(base, 3)
    free = replace(SETTINGS, clip_norm=1e9)
    scale = PrefixEncoder(start, "direct", hidden=1, seed=0).scale
    pulls = []
    for writer, encoder in zip(writers, _trained(base, start, writers, free, StepPlan(), seed=2), strict=True):
        keys, values = unflatten(encoder().detach(), base.layer_shapes)
        leaves = [tensor.clone().requires_grad_() for tensor in (*keys, *values)]
        pairs = list(zip(leaves[: len(keys)], leaves[len(keys) :], strict=True))
        losses = pass_losses(base, Pass(writer.held_out, (0,) * len(writer.held_out)), [pairs])
        gradients = torch.autograd.grad(losses.sum() / num_tokens(writer.held_out), leaves)
        pulls.append(scale * flatten(gradients[: len(keys)], gradients[len(keys) :]))
    found = _pull(base, start, writers, free, StepPlan(), 2, scale)
    torch.testing.assert_close(found, torch.stack(pulls).mean(0), rtol=1e-9, atol=1e-12)
    untrained = _pull(base, start, writers, replace(free, steps=0), StepPlan(), 2, scale)
    assert not torch.allclose(found, untrained, rtol=1e-3)


def test_no_writer_pulls_harder_than_the_others_may_nor_by_what_is_no_number(
    base: BaseModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    start, writers = make_prefix(base), some_writers(base, 3)
    clipped = replace(SETTINGS, clip_norm=1e-3, steps=0)
    scale = PrefixEncoder(start, "direct", hidden=1, seed=0).scale

    def norm() -> float:
        return float(_pull(base, start, writers, clipped, StepPlan(), 0, scale).norm())

    assert 0 < norm() <= 1e-3
    real = rehearsal.loss_gradients

    def with_infinities(*arguments: Any) -> tuple[Tensor, list[float]]:
        gradients, losses = real(*arguments)
        gradients[1] = torch.inf
        return gradients, losses

    monkeypatch.setattr(rehearsal, "loss_gradients", with_infinities)
    assert 0 < norm() <= 2e-3 / 3 + 1e-9


def test_nobody_who_is_looked_at_is_trained_from(base: BaseModel, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[PublicWriter] = []
    real = rehearsal._pull

    def noting(base: BaseModel, start: Prefix, writers: Sequence[PublicWriter], *rest: Any) -> Tensor:
        asked.extend(writers)
        return real(base, start, writers, *rest)

    monkeypatch.setattr(rehearsal, "_pull", noting)
    writers = some_writers(base, 8)
    rehearse(base, make_prefix(base), writers, 3, replace(SETTINGS, steps=1))
    assert len(asked) == 9
    assert not {writer.train for writer in asked} & {writer.train for writer in writers[:4]}


def test_the_start_is_kept_in_the_trainings_precision_on_a_model_of_16_bits() -> None:
    base = make_tiny("llama", dtype=torch.bfloat16)
    start = make_prefix(base).to(dtype=torch.bfloat16)
    found = rehearse(base, start, some_writers(base, 8), 2, replace(SETTINGS, learning_rate=1e-4))
    assert found.keys[0].dtype == torch.float32


def test_where_rehearsing_ends_in_no_numbers_the_start_stays(base: BaseModel) -> None:
    start = make_prefix(base)
    kept = rehearse(base, start, some_writers(base, 8), 2, replace(SETTINGS, learning_rate=float("inf"), warmup=1))
    assert kept.digest == start.digest


def test_where_nothing_can_be_measured_it_is_said_with_the_mend(base: BaseModel) -> None:
    broken = replace(SETTINGS, training=replace(TRAINING, learning_rate=float("inf")))
    with pytest.raises(ConfigurationError, match="IDIOLECT_DTYPE"):
        rehearse(base, make_prefix(base), some_writers(base, 8), 2, broken)


def test_too_few_writers_are_refused_with_both_numbers(base: BaseModel) -> None:
    with pytest.raises(TooLittleText, match=r"6 writers.*at least 7"):
        rehearse(base, make_prefix(base), some_writers(base, 6), 1, SETTINGS)
