"""A Llama's forward pass with few calls, for small models on a processor, whose steps are calls more than numbers.

The same computation as transformers' own code, with its norms and rotary embedding: queries, keys and values come out
of one product, what follows a product is done in the same call, the last layer answers only where somebody reads it,
and weights are laid out once as the kernels want them, which takes as much memory again. Knows nothing of requests.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, silu
from transformers import LlamaForCausalLM

from app.generation.errors import ModelUnfit
from app.generation.kv_cache import KVCache, RowLayer

Attend = Callable[[Tensor, Tensor, Tensor, float], Tensor]


class LlamaPass:
    """The pass of one model, whose weights must not change any more.

    Raises ModelUnfit for any other model, and for one whose layers have been replaced.
    """

    def __init__(self, model: Any) -> None:
        if type(model) is not LlamaForCausalLM or model.config.hidden_act != "silu":
            raise ModelUnfit(f"{type(model).__name__} is no plain Llama")
        self._model = model.model
        self._layers = [_Layer(layer) for layer in self._model.layers]
        self._head = Product(model.lm_head)

    def __call__(self, token_ids: Tensor, positions: Tensor, cache: KVCache, attend: Attend, kept: Tensor) -> Tensor:
        """[1, tokens] ids and positions -> [kept, size], after the tokens at the places kept: what `head` takes.

        attend: from [1, heads, tokens, head_dim] queries, a layer's buffers and a scale to [tokens, heads, head_dim].
        """
        hidden = self._model.embed_tokens(token_ids[0])
        cos, sin = (of[0, :, None] for of in self._model.rotary_emb(hidden, position_ids=positions))  # [tokens, 1, …]
        half = sin.shape[-1] // 2
        turned = cos, torch.cat([-sin[..., :half], sin[..., half:]], dim=-1)
        *layers, last = zip(self._layers, cache.rows, strict=True)
        for layer, buffers in layers:
            hidden = layer(hidden, turned, buffers, attend)
        layer, buffers = last  # of whose answers nobody reads but the kept ones, and the cache has all its keys
        hidden = layer(hidden, turned, buffers, attend, kept)
        normed: Tensor = self._model.norm(hidden)
        return normed

    def head(self, states: Tensor) -> Tensor:
        """[rows, size] -> [rows, vocabulary] logits. Linear: a mix of states gives the same mix of logits."""
        return self._head(states.to(self._model.embed_tokens.weight.dtype))


class _Layer:
    def __init__(self, layer: Any) -> None:
        attention, mlp = layer.self_attn, layer.mlp
        self._before_attention, self._before_mlp = layer.input_layernorm, layer.post_attention_layernorm
        self._asked = Product(attention.q_proj, attention.k_proj, attention.v_proj)
        self._answered = Product(attention.o_proj)
        self._gate, self._up, self._down = Product(mlp.gate_proj), Product(mlp.up_proj), Product(mlp.down_proj)
        self._scale, self._width = attention.scaling, attention.head_dim
        self._heads = attention.q_proj.out_features // self._width
        self._turned = self._heads + attention.k_proj.out_features // self._width  # queries and keys

    def __call__(
        self,
        hidden: Tensor,
        turned: tuple[Tensor, Tensor],
        buffers: RowLayer,
        attend: Attend,
        kept: Tensor | None = None,
    ) -> Tensor:
        """[tokens, size] -> the same, or [kept, size] of the tokens at the places kept."""
        cos, sin = turned
        states = self._asked(self._before_attention(hidden)).view(len(hidden), -1, self._width)
        flat = states[:, : self._turned]
        flat = torch.addcmul(flat * cos, flat.roll(self._width // 2, dims=-1), sin)
        query, key, value = (
            part.transpose(0, 1)[None]
            for part in (flat[:, : self._heads], flat[:, self._heads :], states[:, self._turned :])
        )
        answers = attend(query, *buffers.update(key, value), self._scale).reshape(len(hidden), -1)
        if kept is not None:
            hidden, answers = hidden.index_select(0, kept), answers.index_select(0, kept)
        hidden = self._answered.plus(hidden, answers)
        inner = self._before_mlp(hidden)
        return self._down.plus(hidden, self._up.times(self._gate.silu(inner), inner))


class Product:
    """Linear layers over one input as a single product, by plain calls where oneDNN has none: in 64 bits, unbuilt, or
    in 16 bits on a processor that does not multiply them.

    Raises ModelUnfit for what is no plain linear layer.
    """

    def __init__(self, *layers: Any) -> None:
        if any(type(layer) is not nn.Linear for layer in layers):
            raise ModelUnfit("a layer is no plain linear one")
        weight = _joined([layer.weight for layer in layers])
        self._bias = _joined([layer.bias for layer in layers]) if layers[0].bias is not None else None
        self._plain = not _has_one(weight.dtype)
        self._weight = weight if self._plain else torch.ops.mkldnn._reorder_linear_weight(weight)

    def __call__(self, given: Tensor) -> Tensor:
        """[tokens, in] -> [tokens, out]."""
        return linear(given, self._weight, self._bias) if self._plain else self._through("none", given)

    def silu(self, given: Tensor) -> Tensor:
        """Through a SiLU."""
        return silu(self(given)) if self._plain else self._through("swish", given)

    def plus(self, other: Tensor, given: Tensor) -> Tensor:
        """Added to another."""
        return other + self(given) if self._plain else self._with("add", other, given)

    def times(self, other: Tensor, given: Tensor) -> Tensor:
        """Multiplied with another, number by number."""
        return other * self(given) if self._plain else self._with("mul", other, given)

    def _through(self, what: str, given: Tensor) -> Tensor:
        found: Tensor = torch.ops.mkldnn._linear_pointwise(given, self._weight, self._bias, what, [], "")
        return found

    def _with(self, what: str, other: Tensor, given: Tensor) -> Tensor:
        found: Tensor = torch.ops.mkldnn._linear_pointwise.binary(given, other, self._weight, self._bias, what)
        return found


def _joined(parts: list[Tensor]) -> Tensor:
    return (torch.cat(parts) if len(parts) > 1 else parts[0]).detach()


def _has_one(dtype: torch.dtype) -> bool:
    """Whether oneDNN has a product of these numbers here, be it a slow one (tuning.precision asks for a fast one)."""
    built: bool = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    if dtype == torch.bfloat16:
        return built and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    if dtype == torch.float16:
        return built and bool(torch.ops.mkldnn._is_mkldnn_fp16_supported())
    return built and dtype == torch.float32
