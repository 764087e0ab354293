"""Each token's loss in nats of the model's logits, and its way back: cross-entropy that keeps the logits alone, as they
come. Owns how much of the vocabulary is there at once; knows nothing of blocks, prefixes or people.

torch's own keeps the logits again as float32 logarithms, and its way back makes them twice more, for the whole pass:
two thirds of what a pass of a small model with a large vocabulary needed. Here each stretch of rows is brought to
float32, used and forgotten while the processor still has it at hand (`python -m benchmarks.step_time`; the same idea in
Hsu et al. 2024, Liger Kernel).
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

_AT_ONCE = {"cpu": 2**19}  # logits: 2 MiB in float32, about a processor core's second-level cache
_MORE_AT_ONCE = 2**24  # where each operation costs a launch


def token_losses(logits: Tensor, targets: Tensor) -> Tensor:
    """Nats of each target, [n], in at least float32, of logits [n, vocabulary]; 0 where the target is negative.
    Differentiable once, in the logits."""
    losses = _TokenLosses.apply(logits, targets)  # type: ignore[no-untyped-call]
    assert isinstance(losses, Tensor)
    return losses


class _TokenLosses(Function):
    @staticmethod
    def forward(ctx: Any, logits: Tensor, targets: Tensor) -> Tensor:
        """log Σ exp(logits) − the target's own logit."""
        wide = torch.float64 if logits.dtype == torch.float64 else torch.float32
        totals = torch.empty(len(logits), dtype=wide, device=logits.device)
        own = torch.empty_like(totals)
        for rows in _stretches(logits):
            some = logits[rows].to(wide)
            totals[rows] = some.logsumexp(dim=1)
            own[rows] = some.gather(1, targets[rows].clamp_min(0)[:, None])[:, 0]
        ctx.save_for_backward(logits, targets, totals)
        return (totals - own).masked_fill(targets < 0, 0.0)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradients: Tensor) -> tuple[Tensor, None]:
        """Of each row: its gradient × (probabilities − 1 at the target)."""
        logits, targets, totals = ctx.saved_tensors
        weights = gradients.masked_fill(targets < 0, 0.0)[:, None]
        back = torch.empty_like(logits)
        for rows in _stretches(logits):
            some = logits[rows].to(totals.dtype, copy=True).sub_(totals[rows, None]).exp_().mul_(weights[rows])
            back[rows] = some.scatter_add_(1, targets[rows].clamp_min(0)[:, None], -weights[rows])
        return back, None


def _stretches(logits: Tensor) -> list[slice]:
    rows, vocabulary = logits.shape
    length = max(1, _AT_ONCE.get(logits.device.type, _MORE_AT_ONCE) // vocabulary)
    return [slice(first, first + length) for first in range(0, rows, length)]
