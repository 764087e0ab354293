from contextlib import nullcontext, suppress
from functools import partial

import pytest
import torch
from torch import Tensor

from tests.tiny_model import FAMILIES, make_tiny
from tests.tuning.texts import CANARIES, written
from tuning.base_model import BaseModel
from tuning.dataset import Block, build_split
from tuning.evaluation import bits_per_char
from tuning.precision import cast_bytes, fast_arithmetic, fast_attention, multiplies_bfloat16, weights_cast_once
from tuning.recomputation import recomputing
from tuning.scoring import Pass, pass_losses
from tuning.trainer import TrainingJob, TrainingSettings, train_prefixes


def test_only_float32_weights_on_a_fitting_processor_use_it() -> None:
    for dtype in (torch.float64, torch.float32):
        with fast_arithmetic(make_tiny("llama", dtype)):
            assert torch.is_autocast_enabled("cpu") is (dtype == torch.float32 and multiplies_bfloat16())
    assert not torch.is_autocast_enabled("cpu")


def test_fast_attention_goes_with_fast_arithmetic_and_leaves_the_model_as_it_was() -> None:
    for dtype in (torch.float64, torch.float32):
        base = make_tiny("llama", dtype)
        with suppress(ZeroDivisionError), fast_attention(base):
            is_plain = base.model.config._attn_implementation == "eager"
            _ = 1 / 0
        assert is_plain is (dtype == torch.float32 and multiplies_bfloat16())
        assert base.model.config._attn_implementation == "sdpa"


@pytest.mark.parametrize("family", FAMILIES)
def test_fast_attention_computes_what_the_model_s_own_does(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Losses and gradients, rows of unlike length behind a prefix: in float32, so that only attention differs."""
    monkeypatch.setattr("tuning.precision.multiplies_bfloat16", lambda: True)
    base = make_tiny(family, torch.float32)
    blocks = tuple(Block(tuple(range(2, 2 + length)), num_context=1, num_chars=length) for length in (9, 30))
    done = []
    for attention in (nullcontext(), fast_attention(base)):
        drawn = torch.Generator().manual_seed(0)
        shapes = [(heads, 4, size) for heads, size in base.layer_shapes]
        prefix = [tuple(torch.randn(shape, generator=drawn).requires_grad_() for _ in "kv") for shape in shapes]
        with attention:
            losses = pass_losses(base, Pass(blocks, (0, 0)), [prefix])  # type: ignore[list-item]
            losses.sum().backward()  # type: ignore[no-untyped-call]
        done.append([losses, *(tensor.grad for pair in prefix for tensor in pair)])
    for one, other in zip(*done, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def _loss_and_gradients(base: BaseModel) -> list[Tensor]:
    """Of a short block behind a prefix, in the arithmetic of a step."""
    drawn = torch.Generator().manual_seed(0)
    shapes = [(heads, 4, size) for heads, size in base.layer_shapes]
    prefix = [tuple(torch.randn(shape, generator=drawn).requires_grad_() for _ in "kv") for shape in shapes]
    with fast_arithmetic(base):
        losses = pass_losses(base, Pass((Block(tuple(range(2, 32)), 1, 30),), (0,)), [prefix])  # type: ignore[list-item]
    losses.sum().backward()  # type: ignore[no-untyped-call]
    return [losses.detach(), *(tensor.grad for pair in prefix for tensor in pair if tensor.grad is not None)]


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("recompute", [False, True])
def test_weights_cast_once_give_the_numbers_of_weights_cast_in_every_pass(
    family: str, recompute: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tuning.precision.multiplies_bfloat16", lambda: True)
    base = make_tiny(family, torch.float32)
    plain = _loss_and_gradients(base)
    with weights_cast_once(base), recomputing(base, recompute):
        kept = _loss_and_gradients(base)
    for one, other in zip(plain, kept, strict=True):
        assert torch.equal(one, other)


def test_of_two_who_cast_weights_at_a_time_none_leaves_a_cast_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tuning.precision.multiplies_bfloat16", lambda: True)
    base = make_tiny("llama", torch.float32)
    one, other = weights_cast_once(base), weights_cast_once(base)
    for step in (
        one.__enter__,
        other.__enter__,
        partial(one.__exit__, *[None] * 3),
        partial(other.__exit__, *[None] * 3),
    ):
        step()
    assert {parameter.dtype for parameter in base.model.parameters()} == {torch.float32}


def test_weights_cast_once_are_kept_and_the_model_is_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tuning.precision.multiplies_bfloat16", lambda: True)
    base = make_tiny("llama", torch.float32)
    own = {name: parameter.data_ptr() for name, parameter in base.model.named_parameters(remove_duplicate=False)}
    casts = []
    for _ in range(2):
        with suppress(ZeroDivisionError), weights_cast_once(base):
            cast = [parameter for parameter in base.model.parameters() if parameter.dtype == torch.bfloat16]
            casts.append([parameter.data_ptr() for parameter in cast])
            assert sum(parameter.nbytes for parameter in cast) == cast_bytes(base)
            _ = 1 / 0
        after = base.model.named_parameters(remove_duplicate=False)
        assert {name: parameter.data_ptr() for name, parameter in after} == own
    assert casts[0] == casts[1] != []


def test_weights_stay_as_they_are_where_arithmetic_is_not_fast() -> None:
    base = make_tiny("llama", torch.float64)
    with weights_cast_once(base):
        assert {parameter.dtype for parameter in base.model.parameters()} == {torch.float64}
    assert cast_bytes(base) == 0


def test_looks_at_held_out_text_are_computed_in_the_weights_own_type() -> None:
    base = make_tiny("llama", torch.float32)
    split = build_split(base, written(CANARIES[0]), num_virtual_tokens=4)
    settings = TrainingSettings(
        num_virtual_tokens=4, hidden=16, learning_rate=0.05, tokens_per_step=200, max_steps=4, evaluate_every=2
    )
    (result,) = train_prefixes(base, [TrainingJob(split)], settings)
    assert result is not None
    assert result.best_held_out_loss == bits_per_char(base, result.prefix, split.stop)
    assert result.best_held_out_loss < result.base_held_out_loss
