"""Attention of many rows' tokens that lie one behind the other in one sequence: nothing is padded.

A back end of its own for transformers' attention interface, for processors: there, one matrix product over all tokens
of a step is much faster than several small ones, and the stock kernels are slow where a row has a single new token.
Called without a Packing it is transformers' `sdpa`. Knows nothing of requests or of how tokens are chosen.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from app.generation.bag_attention import CHUNK, Bags

NAME = "idiolect_packed"
NOT_COMPUTED_HERE = (
    "softcap",
    "position_bias",
    "s_aux",
    "sinks",
    "indices",
    "block_indices",
)  # what some families add to attention


@dataclass(frozen=True, eq=False)
class Part:
    """Several neighbouring tokens of one row.

    row: of the cache; first: where they lie among the packed tokens; mask: [tokens, length], added to the scores.
    """

    row: int
    first: int
    mask: Tensor


@dataclass(frozen=True, eq=False)
class Packing:
    """Whose the tokens of one forward pass are: first those that are the only new ones of their row, in bags, then the
    parts."""

    bags: Bags | None
    parts: tuple[Part, ...]


def packed_attention(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    packing: Packing | None = None,
    **others: Any,
) -> tuple[Tensor, None]:
    """[1, heads, tokens, head_dim] queries; keys and values: a layer's whole buffers (app.generation.kv_cache).

    Returns [1, tokens, heads, head_dim]. Raises ValueError for a family whose attention has more to it.
    """
    if packing is None:
        plain: tuple[Tensor, None] = sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **others
        )
        return plain
    changed = attention_mask is None or attention_mask.numel() != 1  # the runner's own mask has a single number
    if changed or any(others.get(name) is not None for name in NOT_COMPUTED_HERE):
        raise ValueError(f"{type(module).__name__} is not computed by {NAME}")
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    return attended(packing, query, key, value, scale)[None], None


def attended(packing: Packing, query: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor:
    """As packed_attention, without a batch in front: [tokens, heads, head_dim]."""
    pieces = []
    if packing.bags is not None:
        pieces.append(packing.bags.attend(query[0, :, : len(packing.bags)].transpose(0, 1), key, value, scale))
    pieces += [_of_part(part, query, key, value, scale) for part in packing.parts]
    return torch.cat(pieces) if len(pieces) > 1 else pieces[0]


def _of_part(part: Part, query: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor:
    """[tokens, heads, head_dim]."""
    size, length = part.mask.shape
    heads, kv_heads, width = query.shape[1], value.shape[1], query.shape[3]
    asked = query[0, :, part.first : part.first + size].reshape(kv_heads, -1, width)  # heads of one key, then tokens
    mask = part.mask.repeat(heads // kv_heads, 1)
    # Plain products: the stock attention kernels take several times as long in 16 bits.
    weights = torch.softmax(torch.baddbmm(mask, asked, _keys_of_row(key, part.row, length), alpha=scale), dim=-1)
    return torch.bmm(weights, value[part.row, :, :length]).view(heads, size, -1).transpose(0, 1)


def _keys_of_row(key: Tensor, row: int, length: int) -> Tensor:
    """[kv_heads, head_dim, length]."""
    return key[row, : -(-length // CHUNK)].permute(1, 2, 0, 3).flatten(2)[:, :, :length]


AttentionInterface.register(NAME, packed_attention)
AttentionMaskInterface.register(NAME, sdpa_mask)
