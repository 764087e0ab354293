"""Losses of token blocks behind prefixes: the one place where blocks become a padded batch and meet the model.
Trainer and evaluation both score through it, so they cannot disagree about masks, positions or targets."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import torch
from torch import Tensor
from transformers import Cache, DynamicCache
from transformers.cache_utils import DynamicLayer

from tuning.base_model import BaseModel
from tuning.dataset import Block
from tuning.token_losses import token_losses

_IGNORED = -100

KeysValues = Sequence[tuple[Tensor, Tensor]]


class PrefixLayer(DynamicLayer):  # type: ignore[misc]
    """One layer's prefix as the model reads it. Nothing is stored beside it, so that a layer that is computed a second
    time in the backward pass (tuning.recomputation) finds the prefix as it was."""

    def __init__(self, keys: Tensor, values: Tensor) -> None:
        super().__init__()
        self.lazy_initialization(keys, values)
        self.keys, self.values = keys, values

    def update(self, key_states: Tensor, value_states: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        """The prefix, then the new keys and values, [rows, num_kv_heads, P + length, head_dim]."""
        assert self.keys is not None
        assert self.values is not None
        return torch.cat([self.keys, key_states], dim=-2), torch.cat([self.values, value_states], dim=-2)


@dataclass(frozen=True)
class Pass:
    """Rows that go through the model together. owners: whose each block is, in rising order."""

    blocks: tuple[Block, ...]
    owners: tuple[int, ...]


def passes(owned: Sequence[Sequence[Block]], tokens_at_once: int) -> list[Pass]:
    """Every block of everybody, rows of like length together, in passes of at most `tokens_at_once` padded tokens (one
    block at least), the longest first."""
    rows = sorted(
        ((block, owner) for owner, blocks in enumerate(owned) for block in blocks),
        key=lambda row: -len(row[0].token_ids),
    )
    packed: list[list[tuple[Block, int]]] = []
    for row in rows:
        if packed and len(packed[-1][0][0].token_ids) * (len(packed[-1]) + 1) <= tokens_at_once:
            packed[-1].append(row)
        else:
            packed.append([row])
    ordered = (sorted(rows_of_one, key=lambda row: row[1]) for rows_of_one in packed)
    return [Pass(tuple(block for block, _ in rows), tuple(owner for _, owner in rows)) for rows in ordered]


def pass_losses(base: BaseModel, one: Pass, prefixes: Sequence[KeysValues] | None) -> Tensor:
    """Nats of each row's scored tokens, [rows], every row behind its owner's prefix; None: the bare base model.

    prefixes: per owner and layer (keys, values), each [num_kv_heads, P, head_dim]; P is everybody's, and an owner who
    has no row may have no layers. Differentiable.
    """
    if prefixes is None:
        return row_losses(base, one.blocks, None)
    counts = [(owner, len(list(rows))) for owner, rows in groupby(one.owners)]

    def rows_of(layer: int, part: int) -> Tensor:
        parts = ((prefixes[owner][layer][part], number) for owner, number in counts)
        return torch.cat([tensor.expand(number, *tensor.shape) for tensor, number in parts]).to(base.dtype)

    return row_losses(base, one.blocks, [(rows_of(n, 0), rows_of(n, 1)) for n in range(len(prefixes[counts[0][0]]))])


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
        cache = Cache(layers=[PrefixLayer(keys, values) for keys, values in prefixes])
        logits = base.model(
            inputs, attention_mask=whole, position_ids=positions, past_key_values=cache, use_cache=False
        ).logits
    return summed_losses(logits, targets)


def windowed_losses(base: BaseModel, block: Block, prefix: KeysValues | None, window: int) -> Tensor:
    """As pass_losses of one block and one prefix, [1], read `window` tokens after `window` tokens: so many have logits
    at once, however long the block is. Not for training: what it keeps between windows knows no gradient."""
    inputs, targets, mask = padded((block,), base.device)
    length = 0 if prefix is None else prefix[0][0].shape[1]
    whole = torch.cat([mask.new_ones(1, length), mask], dim=1)
    cache = DynamicCache() if prefix is None else Cache(layers=[_grown_from(base, *layer) for layer in prefix])
    nats = []
    for first in range(0, inputs.shape[1], window):
        ids = inputs[:, first : first + window]
        seen, end = length + first, length + first + ids.shape[1]
        logits = base.model(
            ids,
            attention_mask=whole[:, :end],
            position_ids=torch.arange(seen, end, device=base.device)[None],
            past_key_values=cache,
            use_cache=True,
        ).logits
        nats.append(summed_losses(logits, targets[:, first : first + window]))
        del logits  # before the next window has its own
    return torch.stack(nats).sum(0)


def _grown_from(base: BaseModel, keys: Tensor, values: Tensor) -> DynamicLayer:
    """A layer that begins with keys and values, each [num_kv_heads, P, head_dim], and keeps what is read after them."""
    layer = DynamicLayer()
    layer.lazy_initialization(keys, values)
    layer.update(keys[None].to(base.dtype), values[None].to(base.dtype))
    return layer


def summed_losses(logits: Tensor, targets: Tensor) -> Tensor:
    """Nats summed over each row's scored targets, [rows], of logits [rows, length, vocabulary]."""
    return token_losses(logits.flatten(0, 1), targets.flatten()).view_as(targets).sum(1)


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
