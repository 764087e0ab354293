"""Causal attention of whole rows, for training. On a CPU torch's fused kernel spends more time on attention than all
other products of a small model together, most of it going backward; plain products over stretches of queries, each with
the keys up to its own end, take a quarter of that. An accelerator's fused kernel is told that rows are whole, and
builds no mask. Knows no masks, no caches and no padding."""

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, PreTrainedModel

NAME, FUSED = "causal_in_stretches", "causal_fused"
_STRETCHES = 4  # so that hardly more than the causal half of the scores is computed


def causal_in_stretches(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float,
    dropout: float = 0.0,
    **_: object,
) -> tuple[Tensor, None]:
    """query [rows, heads, length, head_dim], key and value [rows, kv heads, length, head_dim] -> [rows, length, heads,
    head_dim]. Softmax in float32."""
    assert attention_mask is None, "whole rows only"
    assert not dropout
    groups = query.shape[1] // key.shape[1]
    key, value = (states.repeat_interleave(groups, dim=1) if groups > 1 else states for states in (key, value))
    length = query.shape[2]
    ends = [length * number // _STRETCHES for number in range(1, _STRETCHES + 1)]
    parts = [
        _attended(query[:, :, start:end], key[:, :, :end], value[:, :, :end], scaling)
        for start, end in pairwise([0, *ends])
    ]
    return torch.cat(parts, dim=2).transpose(1, 2), None


def causal_fused(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float,
    dropout: float = 0.0,
    **_: object,
) -> tuple[Tensor, None]:
    """The same shapes; torch's own kernel, told that all rows are whole."""
    assert attention_mask is None, "whole rows only"
    assert not dropout
    grouped = query.shape[1] > key.shape[1]
    attended = scaled_dot_product_attention(query, key, value, is_causal=True, scale=scaling, enable_gqa=grouped)
    return attended.transpose(1, 2), None


def use_in_training(model: PreTrainedModel) -> None:
    """The one that suits the model's device."""
    name, attention = (NAME, causal_in_stretches) if model.device.type == "cpu" else (FUSED, causal_fused)
    AttentionInterface.register(name, attention)
    model.set_attn_implementation(name)


def _attended(query: Tensor, key: Tensor, value: Tensor, scaling: float) -> Tensor:
    """The queries are the last positions that the keys have."""
    scores = (query @ key.transpose(2, 3)).float() * scaling  # [rows, heads, queries, keys]
    ahead = torch.ones(scores.shape[2:], dtype=torch.bool, device=scores.device).triu(key.shape[2] - query.shape[2] + 1)
    return scores.masked_fill(ahead, -torch.inf).softmax(-1).to(value.dtype) @ value
