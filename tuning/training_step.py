"""One training step of everybody who trains together: a forward and a backward pass over everybody's next blocks, then
everybody's own update. Owns the passes and the way of the gradients; knows nothing of when a training ends.

The loss is each person's mean over their tokens, summed over people, so no gradient crosses from one to another.
"""

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import groupby

import torch
from torch import Tensor

from tuning.base_model import BaseModel
from tuning.dataset import Block, num_tokens
from tuning.lanes import side_by_side
from tuning.precision import fast_arithmetic, fast_attention, weights_cast_once
from tuning.prefix_encoder import encoded_together, unflatten
from tuning.recomputation import recomputing
from tuning.scoring import Pass, passes, row_losses
from tuning.trainee import Trainee

_FEWEST_AT_ONCE = 128  # tokens of a pass, below which its operations cost more than they compute


@dataclass(frozen=True)
class StepPlan:
    """tokens_at_once: padded tokens of one pass through the model, at most. recompute: keep less, compute more. lanes:
    passes side by side, at most; None: as many as there are threads. cast_once: keep the weights in the arithmetic of
    a step, rather than cast them in each pass."""

    tokens_at_once: int = 512
    recompute: bool = False
    lanes: int | None = None
    cast_once: bool = True


def train_step(base: BaseModel, trainees: Sequence[Trainee], plan: StepPlan) -> list[float]:
    """One step of every trainee; nats per token of each. The plan changes nothing but the order of sums."""
    encoded = encoded_together([trainee.encoder for trainee in trainees])
    dealt = [trainee.deck.deal() for trainee in trainees]
    gradients, losses = loss_gradients(base, encoded.detach(), dealt, plan)
    encoded.backward(gradients)  # type: ignore[no-untyped-call]
    for trainee in trainees:
        trainee.update()
    return losses


def loss_gradients(
    base: BaseModel, encoded: Tensor, owned: Sequence[Sequence[Block]], plan: StepPlan
) -> tuple[Tensor, list[float]]:
    """Of each owner's mean loss per token of their blocks: the gradient with respect to their keys and values, which
    are `encoded`, [owners, P, width]; and that loss, in nats."""
    sizes = [num_tokens(blocks) for blocks in owned]

    def run(one: Pass) -> tuple[Tensor, dict[int, float]]:
        return _run(base, one, encoded, sizes)

    casts = weights_cast_once(base) if plan.cast_once else nullcontext()
    with recomputing(base, plan.recompute), fast_attention(base), casts:
        done = side_by_side(base.device, run, _parted(base, owned, plan), most=plan.lanes)
    gradients, losses = torch.zeros_like(encoded), [0.0] * len(owned)
    for parts, shares in done:  # in a fixed order, whichever pass was done first
        gradients[list(shares)] += parts
        for owner, share in shares.items():
            losses[owner] += share
    return gradients, losses


def _parted(base: BaseModel, owned: Sequence[Sequence[Block]], plan: StepPlan) -> list[Pass]:
    """In passes no larger than planned, and on a CPU so small that every lane has one."""
    if base.device.type != "cpu":
        return passes(owned, plan.tokens_at_once)
    total = sum(len(block.token_ids) for blocks in owned for block in blocks)
    share = -(-total // (plan.lanes or torch.get_num_threads()))
    return passes(owned, min(plan.tokens_at_once, max(_FEWEST_AT_ONCE, share)))


def _run(base: BaseModel, one: Pass, encoded: Tensor, sizes: Sequence[int]) -> tuple[Tensor, dict[int, float]]:
    """The gradients of the keys and values of a pass's owners, [owners, P, width], and by owner the pass's share of
    their loss. The pass works on a leaf of its own: passes run side by side."""
    owners, counts = zip(*((owner, len(list(rows))) for owner, rows in groupby(one.owners)), strict=True)
    leaf = encoded[list(owners)].requires_grad_()
    weights = torch.tensor([1 / sizes[owner] for owner in one.owners], dtype=leaf.dtype, device=base.device)
    with fast_arithmetic(base):
        keys, values = unflatten(_rows(leaf, counts).to(base.dtype), base.layer_shapes)
        losses = row_losses(base, one.blocks, list(zip(keys, values, strict=True)))
    weighted = losses * weights
    weighted.sum().backward()  # type: ignore[no-untyped-call]
    assert leaf.grad is not None
    shares = dict.fromkeys(owners, 0.0)
    for owner, share in zip(one.owners, weighted.tolist(), strict=True):
        shares[owner] += share
    return leaf.grad, shares


def _rows(prefixes: Tensor, counts: Sequence[int]) -> Tensor:
    """Each prefix as often as its owner has rows, one behind the other, [rows, P, width]. They are expanded:
    the gradient of an index adds up in whatever order threads come, and no two runs are alike."""
    return torch.cat([prefix.expand(count, -1, -1) for prefix, count in zip(prefixes, counts, strict=True)])
