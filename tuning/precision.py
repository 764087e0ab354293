"""Which arithmetic a training step uses. Owns the one decision; looks at held-out text never use it: what decides and
what is published is computed in the weights' own type."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import torch

from tuning.base_model import BaseModel


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


def _is_fast(base: BaseModel) -> bool:
    return base.device.type == "cpu" and base.dtype == torch.float32 and multiplies_bfloat16()


def multiplies_bfloat16() -> bool:
    """Whether this processor has instructions for it; without them bfloat16 is slower than float32. The two questions
    are private to torch: pinned, and a test asks them."""
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
