"""Losses of token blocks behind prefixes: the one place where blocks become a padded batch and meet the model.
Trainer and evaluation both score through it, so they cannot disagree about masks, positions or targets."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import DynamicCache

from tuning.base_model import BaseModel
from tuning.dataset import Block

_IGNORED = -100

KeysValues = Sequence[tuple[Tensor, Tensor]]


def row_losses(base: BaseModel, blocks: Sequence[Block], prefixes: KeysValues | None) -> Tensor:
    """Nats summed over each block's scored tokens, [rows], in at least float32.

    prefixes: (keys, values) per layer, each [rows, num_kv_heads, P, head_dim], one row per block; None for the bare
    base model. Real tokens take positions P … P+L−1; rows are padded on the right. Differentiable in `prefixes`.
    """
    inputs, targets, mask = padded(blocks, base.device)
    if prefixes is None:
        logits = base.model(inputs, attention_mask=mask, use_cache=False).logits
    else:
        length = prefixes[0][0].shape[2]
        whole = torch.cat([mask.new_ones(len(blocks), length), mask], dim=1)
        positions = torch.arange(length, length + inputs.shape[1], device=base.device).expand_as(inputs)
        cache = DynamicCache(list(prefixes))
        logits = base.model(inputs, attention_mask=whole, position_ids=positions, past_key_values=cache).logits
    return summed_losses(logits, targets)


def summed_losses(logits: Tensor, targets: Tensor) -> Tensor:
    """Nats summed over each row's scored targets, [rows], of logits [rows, length, vocabulary]."""
    wide = logits if logits.dtype == torch.float64 else logits.float()
    losses = F.cross_entropy(wide.flatten(0, 1), targets.flatten(), ignore_index=_IGNORED, reduction="none")
    return losses.view_as(targets).sum(1)


def batches(blocks: Sequence[Block], num_tokens: int) -> list[list[Block]]:
    """All blocks, longest first, in batches of at most `num_tokens` padded tokens (one block at least)."""
    done: list[list[Block]] = []
    for block in sorted(blocks, key=lambda block: -len(block.token_ids)):
        if done and len(done[-1][0].token_ids) * (len(done[-1]) + 1) <= num_tokens:
            done[-1].append(block)
        else:
            done.append([block])
    return done


def padded(blocks: Sequence[Block], device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Inputs, targets (the next token where it is scored, else ignored) and attention mask, each [rows, length]."""
    length = max(len(block.token_ids) for block in blocks) - 1
    inputs = torch.zeros(len(blocks), length, dtype=torch.long)
    targets = torch.full((len(blocks), length), _IGNORED)
    mask = torch.zeros(len(blocks), length, dtype=torch.long)
    for row, block in enumerate(blocks):
        ids = torch.tensor(block.token_ids)
        inputs[row, : len(ids) - 1] = ids[:-1]
        targets[row, block.num_context - 1 : len(ids) - 1] = ids[block.num_context :]
        mask[row, : len(ids) - 1] = 1
    return inputs.to(device), targets.to(device), mask.to(device)
