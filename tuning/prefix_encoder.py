"""PrefixEncoder: how a prefix is parametrised while it is trained, and where it starts. Dropped after training; what
remains is a Prefix. Knows nothing of data, optimizers or people."""

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from tuning.base_model import BaseModel
from tuning.prefix import Prefix

Parametrisation = Literal["direct", "mlp", "residual"]


class PrefixEncoder(nn.Module):
    """Keys and values of P virtual tokens as a function of trainable parameters.

    parametrisation:
        "direct"    the keys and values themselves, from `start`;
        "mlp"       MLP(embedding), two layers with a tanh between them (Li & Liang 2021); `start` gives the shape only;
        "residual"  start + MLP(embedding), the MLP's last layer zero at first, so training begins at `start`.
    scale: what the trained part is measured in, [1, width]: the spread of each layer's own keys or values.
    """

    start: Tensor
    scale: Tensor

    def __init__(self, start: Prefix, parametrisation: Parametrisation, *, hidden: int, seed: int) -> None:
        """`hidden`: width of the MLP and of its embeddings. Parameters are drawn from `seed` alone."""
        super().__init__()
        self._parametrisation = parametrisation
        self._layer_shapes = start.layer_shapes
        self._base_fingerprint = start.base_fingerprint
        flat = flatten(start.keys, start.values)
        self.register_buffer("start", flat, persistent=False)
        self.register_buffer("scale", _spread(start), persistent=False)
        if parametrisation == "direct":
            self.offset = nn.Parameter(torch.zeros_like(flat))
        else:
            self._make_mlp(flat, hidden, seed)

    def _make_mlp(self, flat: Tensor, hidden: int, seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        length, width = flat.shape

        def drawn(*shape: int, std: float) -> nn.Parameter:
            return nn.Parameter((torch.randn(shape, generator=generator, dtype=torch.float64) * std).to(flat))

        self.embedding = drawn(length, hidden, std=1.0)
        self.inner_weight = drawn(hidden, hidden, std=1 / math.sqrt(hidden))
        self.inner_bias = drawn(hidden, std=0.0)
        last = 0.0 if self._parametrisation == "residual" else 1 / math.sqrt(hidden)
        self.outer_weight = drawn(hidden, width, std=last)
        self.outer_bias = drawn(width, std=0.0)

    def forward(self) -> Tensor:
        """All keys and values as `unflatten` takes them, [P, width]; differentiable."""
        if self._parametrisation == "direct":
            return self.start + self.scale * self.offset
        inner = torch.tanh(self.embedding @ self.inner_weight + self.inner_bias)
        outer = self.scale * (inner @ self.outer_weight + self.outer_bias)
        return self.start + outer if self._parametrisation == "residual" else outer

    @torch.no_grad()
    def prefix(self, kept: float = 1.0) -> Prefix:
        """The prefix as it stands, detached. kept: share of the way from `start`; a plain MLP did not begin there and
        gives all of it."""
        flat = self()
        if self._parametrisation != "mlp":
            flat = torch.lerp(self.start, flat, kept)
        keys, values = unflatten(flat, self._layer_shapes)
        return Prefix(
            keys=tuple(tensor.clone() for tensor in keys),
            values=tuple(tensor.clone() for tensor in values),
            base_fingerprint=self._base_fingerprint,
        )


def encoded_together(encoders: Sequence[PrefixEncoder]) -> Tensor:
    """What each of them gives, [len(encoders), P, width], in as many operations as one of them takes. They are alike in
    all but their numbers. Differentiable, in everybody's own parameters alone."""
    states = [dict(encoder.named_parameters()) | dict(encoder.named_buffers()) for encoder in encoders]
    stacked = {name: torch.stack([state[name] for state in states]) for name in states[0]}
    together: Tensor = torch.func.vmap(lambda state: torch.func.functional_call(encoders[0], state, ()))(stacked)
    return together


def start_from_tokens(base: BaseModel, token_ids: Sequence[int], num_virtual_tokens: int) -> Prefix:
    """The keys and values `base` computes for the document start and the first tokens of `token_ids`, repeated where
    there are too few of them."""
    repeated = list(token_ids) * math.ceil(num_virtual_tokens / max(1, len(token_ids)))
    ids = torch.tensor([[base.document_start_id, *repeated][:num_virtual_tokens]], device=base.device)
    with torch.no_grad():
        cache = base.model(ids, use_cache=True).past_key_values
    keys, values = zip(*((layer.keys[0], layer.values[0]) for layer in cache.layers), strict=True)
    return Prefix(keys, values, base.fingerprint).to(dtype=training_dtype(base))


def start_at_random(base: BaseModel, num_virtual_tokens: int, seed: int) -> Prefix:
    """Gaussian keys and values with the spread of the model's own in each layer."""
    like = start_from_tokens(base, [base.document_start_id], 2)
    generator = torch.Generator().manual_seed(seed)

    def noise(tensor: Tensor) -> Tensor:
        shape = (tensor.shape[0], num_virtual_tokens, tensor.shape[2])
        return torch.randn(shape, generator=generator, dtype=torch.float64).to(tensor) * tensor.std()

    return Prefix(tuple(map(noise, like.keys)), tuple(map(noise, like.values)), base.fingerprint)


def training_dtype(base: BaseModel) -> torch.dtype:
    """Trainable parameters are kept in float32 (float64 for a float64 model), whatever the weights are in."""
    return torch.float64 if base.dtype == torch.float64 else torch.float32


def flatten(keys: Sequence[Tensor], values: Sequence[Tensor]) -> Tensor:
    """[P, width]: each layer's keys, then its values, heads side by side."""
    parts = [tensor.transpose(0, 1).flatten(1) for pair in zip(keys, values, strict=True) for tensor in pair]
    return torch.cat(parts, dim=1)


def unflatten(flat: Tensor, layer_shapes: Sequence[tuple[int, int]]) -> tuple[list[Tensor], list[Tensor]]:
    """Keys and values, a tensor [..., num_kv_heads, P, head_dim] per layer, of [..., P, width]; `flatten` undone."""
    sizes = [heads * width for heads, width in layer_shapes for _ in ("key", "value")]
    parts = [
        part.view(*part.shape[:-1], *layer_shapes[number // 2]).transpose(-3, -2)
        for number, part in enumerate(torch.split(flat, sizes, dim=-1))
    ]
    return parts[0::2], parts[1::2]


def _spread(start: Prefix) -> Tensor:
    """Standard deviation of each layer's keys and of its values, [1, width]."""
    parts = [
        tensor.std().clamp_min(1e-3).expand(1, tensor.shape[0] * tensor.shape[2])
        for pair in zip(start.keys, start.values, strict=True)
        for tensor in pair
    ]
    return torch.cat(parts, dim=1)
