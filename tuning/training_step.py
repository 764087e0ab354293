"""One training step of everybody who trains together: a forward and a backward pass over everybody's next blocks, then
everybody's own update. Owns the passes and the way of the gradients; knows nothing of when a training ends.

The loss is each person's mean over their tokens, summed over people, so no gradient crosses from one to another.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from tuning.base_model import BaseModel
from tuning.dataset import num_tokens
from tuning.lanes import side_by_side
from tuning.learner import Learner
from tuning.precision import fast_arithmetic, fast_attention
from tuning.recomputation import recomputing
from tuning.scoring import Pass, pass_losses, passes


@dataclass(frozen=True)
class StepPlan:
    """tokens_at_once: padded tokens of one pass through the model, at most. recompute: keep less, compute more."""

    tokens_at_once: int = 512
    recompute: bool = False


def train_step(base: BaseModel, learners: Sequence[Learner], plan: StepPlan) -> list[float]:
    """One step of every learner; nats per token of each. The plan changes nothing but the order of sums."""
    dealt = [learner.next_blocks() for learner in learners]
    encoded = [_paired(learner.encoder()) for learner in learners]
    sizes = [num_tokens(blocks) for blocks in dealt]

    def run(one: Pass) -> tuple[dict[int, list[Tensor]], dict[int, float]]:
        return _run(base, one, encoded, sizes)

    with recomputing(base, plan.recompute), fast_attention(base):
        done = side_by_side(base.device, run, passes(dealt, plan.tokens_at_once))
    for number, tensors in enumerate(encoded):
        mine = [gradients[number] for gradients, _ in done if number in gradients]
        summed = [torch.stack(parts).sum(0) if len(parts) > 1 else parts[0] for parts in zip(*mine, strict=True)]
        torch.autograd.backward(_flat(tensors), summed)
    told = [sum(losses.get(number, 0.0) for _, losses in done) for number in range(len(learners))]
    for learner, loss in zip(learners, told, strict=True):
        learner.update(loss)
    return told


def _run(
    base: BaseModel, one: Pass, encoded: Sequence[list[tuple[Tensor, Tensor]]], sizes: Sequence[int]
) -> tuple[dict[int, list[Tensor]], dict[int, float]]:
    """Gradients by owner, of that owner's keys and values, and each owner's share of their own loss. The pass works on
    leaves of its own: passes run side by side, and their sums are taken in a fixed order afterwards."""
    owners = sorted(set(one.owners))
    leaves = {owner: [_leaves(pair) for pair in encoded[owner]] for owner in owners}
    prefixes = [leaves.get(owner, []) for owner in range(owners[-1] + 1)]
    with fast_arithmetic(base):
        losses = pass_losses(base, one, prefixes)
    weights = torch.tensor([1 / sizes[owner] for owner in one.owners], dtype=losses.dtype, device=base.device)
    weighted = losses * weights
    weighted.sum().backward()  # type: ignore[no-untyped-call]
    shares: dict[int, float] = dict.fromkeys(owners, 0.0)
    for owner, share in zip(one.owners, weighted.tolist(), strict=True):
        shares[owner] += share
    return {owner: [_gradient(leaf) for leaf in _flat(leaves[owner])] for owner in owners}, shares


def _paired(encoded: tuple[list[Tensor], list[Tensor]]) -> list[tuple[Tensor, Tensor]]:
    return list(zip(*encoded, strict=True))


def _leaves(pair: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    keys, values = pair
    return keys.detach().requires_grad_(), values.detach().requires_grad_()


def _flat(pairs: Sequence[tuple[Tensor, Tensor]]) -> list[Tensor]:
    return [tensor for pair in pairs for tensor in pair]


def _gradient(leaf: Tensor) -> Tensor:
    assert leaf.grad is not None
    return leaf.grad
