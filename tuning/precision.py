"""Which arithmetic a training step uses. Owns the one decision; looks at held-out text never use it: what decides and
what is published is computed in the weights' own type."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import nn
from transformers.pytorch_utils import Conv1D

from tuning.base_model import BaseModel

_CASTS: WeakKeyDictionary[nn.Module, list[tuple[Any, nn.Parameter, nn.Parameter]]] = WeakKeyDictionary()


def fast_arithmetic(base: BaseModel) -> AbstractContextManager[object]:
    """Matrix products in bfloat16, sums in float32, where a processor multiplies bfloat16 natively and the weights are
    float32: about 0.6 of the time of a step (docs/likeness.md). Elsewhere nothing changes. Of this thread alone."""
    return torch.autocast("cpu", dtype=torch.bfloat16, enabled=_is_fast(base))


@contextmanager
def fast_attention(base: BaseModel, model: Any = None) -> Iterator[None]:
    """Attention by the model's own plain products where arithmetic is fast: going backward in bfloat16, torch's fused
    kernel for a CPU takes three times as long as they do, a quarter of a step. In every thread: to be entered once,
    around all passes of a step. model: a copy of the base model's, in its place."""
    model = base.model if model is None else model
    if not _is_fast(base) or model.config._attn_implementation != "sdpa":
        yield
        return
    model.set_attn_implementation("eager")
    try:
        yield
    finally:
        model.set_attn_implementation("sdpa")


@contextmanager
def weights_cast_once(base: BaseModel) -> Iterator[None]:
    """The products' weights in bfloat16 where arithmetic is fast, kept from one time to the next: frozen, they would
    come to the same in every pass. The numbers are those of `fast_arithmetic` alone. In every thread, as
    `fast_attention`; of two such at a time, who ends first puts the weights back."""
    if not _is_fast(base):
        yield
        return
    if base.model not in _CASTS:
        _CASTS[base.model] = [(layer, layer.weight, _cast(layer.weight)) for layer in _products(base)]
    try:
        for layer, _, cast in _CASTS[base.model]:
            layer.weight = cast
        yield
    finally:
        for layer, own, _ in _CASTS[base.model]:
            layer.weight = own


def cast_bytes(base: BaseModel) -> int:
    """What `weights_cast_once` keeps beside the model."""
    return sum(2 * layer.weight.numel() for layer in _products(base)) if _is_fast(base) else 0


def _products(base: BaseModel) -> list[Any]:
    return [module for module in base.model.modules() if isinstance(module, nn.Linear | Conv1D)]


def _cast(weight: nn.Parameter) -> nn.Parameter:
    return nn.Parameter(weight.detach().to(torch.bfloat16), requires_grad=False)


def _is_fast(base: BaseModel) -> bool:
    return base.device.type == "cpu" and base.dtype == torch.float32 and multiplies_bfloat16()


def multiplies_bfloat16() -> bool:
    """Whether this processor has instructions for it; without them bfloat16 is slower than float32. The two questions
    are private to torch: pinned, and a test asks them."""
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
