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

from torch.utils.checkpoint import checkpoint
from transformers.modeling_layers import GradientCheckpointingLayer

from tuning.base_model import BaseModel


def can_recompute(base: BaseModel) -> bool:
    """Whether this model's layers know how."""
    return bool(_layers(base))


@contextmanager
def recomputing(base: BaseModel, wanted: bool = True) -> Iterator[None]:
    """Inside, forward passes keep each layer's input alone. The layer alone is told that it is trained: dropout inside
    it stays off."""
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
