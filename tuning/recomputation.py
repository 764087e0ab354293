"""Recomputation (gradient checkpointing, Chen et al. 2016): a training pass keeps only what enters each layer and
computes the rest again on the way back, for less memory and about a third more time. Owns how a frozen model with a
prefix is put into that mode and out of it; knows nothing of when it pays.

transformers drops the prefix when it recomputes a layer, some families silently. What makes it right — a cache layer
that stores nothing (tuning.scoring.PrefixLayer), and telling each layer that it may keep the cache — is private to
transformers: pinned, and tests compare every family's gradients.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint
from transformers.modeling_layers import GradientCheckpointingLayer

from tuning.base_model import BaseModel
from tuning.dataset import Block
from tuning.prefix_encoder import start_from_tokens
from tuning.scoring import Pass, pass_losses

_TRIED_TOKENS = 24
_TRIED_LENGTH = 4  # virtual tokens
_SAME = {torch.float64: 1e-9, torch.float32: 1e-3, torch.bfloat16: 5e-2, torch.float16: 2e-2}


def can_recompute(base: BaseModel) -> bool:
    """Whether this model's layers know how, and do it rightly: with and without, one short text has the same loss and
    the same gradients. Some families switch dropout on in a layer that is told it is trained."""
    if not _layers(base):
        return False
    ids = (base.document_start_id, *range(2, 2 + _TRIED_TOKENS))
    tried = Pass((Block(ids, num_context=1, num_chars=_TRIED_TOKENS),), (0,))
    plain, again = (_gradients(base, tried, recompute=recompute) for recompute in (False, True))
    return all(
        torch.allclose(one, other, rtol=_SAME[base.dtype], atol=_SAME[base.dtype] * float(one.abs().max()))
        for one, other in zip(plain, again, strict=True)
    )


def _gradients(base: BaseModel, tried: Pass, *, recompute: bool) -> list[Tensor]:
    start = start_from_tokens(base, tried.blocks[0].token_ids, _TRIED_LENGTH)
    leaves = [tensor.clone().requires_grad_() for tensor in (*start.keys, *start.values)]
    layers = list(zip(leaves[: len(start.keys)], leaves[len(start.keys) :], strict=True))
    with recomputing(base, recompute):
        loss = pass_losses(base, tried, [layers]).sum()
        loss.backward()  # type: ignore[no-untyped-call]
    return [loss.detach()[None], *(leaf.grad for leaf in leaves if leaf.grad is not None)]


@contextmanager
def recomputing(base: BaseModel, wanted: bool = True) -> Iterator[None]:
    """Inside, forward passes keep each layer's input alone. The layer alone is told that it is trained, not the modules
    in it, so that their dropout stays off; whether the layer has any of its own, `can_recompute` tries."""
    if not wanted:
        yield
        return
    layers = _layers(base)
    again = partial(checkpoint, use_reentrant=False, preserve_rng_state=False)
    for layer in layers:
        layer.gradient_checkpointing, layer._can_checkpoint_with_cache = True, True
        layer._gradient_checkpointing_func, layer.training = again, True
    try:
        yield
    finally:
        for layer in layers:
            layer.gradient_checkpointing, layer._can_checkpoint_with_cache = False, False
            layer.training = False


def _layers(base: BaseModel) -> list[Any]:
    return [module for module in base.model.modules() if isinstance(module, GradientCheckpointingLayer)]
