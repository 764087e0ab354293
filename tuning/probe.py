"""The registration probe: may this model take a trained K/V prefix? Owns the checks and the words of a refusal.

A prefix that a model silently ignores, truncates or misplaces is worse than none, so nothing is believed that was
not computed here. Knows nothing of files, tokenizers, users or training.
"""

import inspect
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import Cache, DynamicCache, PreTrainedModel
from transformers.cache_utils import DummyLayer, DynamicSlidingWindowLayer, LinearAttentionCacheLayerMixin

from tuning.errors import BaseModelRefused

AGREEMENT_TOLERANCE = {torch.float64: 1e-8, torch.float32: 1e-3, torch.bfloat16: 0.1, torch.float16: 0.1}
LEAST_NEAR_EFFECT = 1e-3
LEAST_FAR_EFFECT = 1e-5
LEAST_ROOM = 32  # real tokens that must fit behind the prefix
_PROBE_LENGTH = 12  # real tokens of the short checks

KeysValues = list[tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class ProbeReport:
    """What the probe measured; differences are root mean squares relative to the logits' own spread.

    layer_shapes: (num_kv_heads, head_dim) of each layer, read from a forward pass.
    disagreement: between cached and uncached computation (rows of one and of different prefix lengths).
    near_effect: of exchanging one random prefix for another, right behind it.
    far_effect: the same on the last token of the longest context.
    """

    layer_shapes: tuple[tuple[int, int], ...]
    num_virtual_tokens: int
    context_length: int
    disagreement: float
    near_effect: float
    far_effect: float

    def figures(self) -> dict[str, Any]:
        """The report as plain JSON."""
        return asdict(self) | {"layer_shapes": [list(shape) for shape in self.layer_shapes]}


def probe(model: PreTrainedModel, *, num_virtual_tokens: int, context_length: int) -> ProbeReport:
    """Prove that a prefix of `num_virtual_tokens` works on `model` in contexts of up to `context_length` tokens
    (prefix included). Raises BaseModelRefused with the reason in words."""
    refuse_architecture(model.config)
    if context_length < num_virtual_tokens + LEAST_ROOM:
        raise BaseModelRefused(
            f"Its context of {context_length} tokens leaves no room for a prefix of {num_virtual_tokens} and at least "
            f"{LEAST_ROOM} tokens of text. Choose a model with a longer context or set IDIOLECT_NUM_VIRTUAL_TOKENS."
        )
    if "position_ids" not in inspect.signature(model.forward).parameters:
        raise BaseModelRefused("Its forward takes no position_ids, so people with different prefixes can't share it.")
    _refuse_short_reach(model.config.get_text_config(decoder=True), context_length)
    with torch.no_grad():
        own = _keys_values(model, context_length)
        return ProbeReport(
            layer_shapes=tuple((keys.shape[1], keys.shape[3]) for keys, _ in own),
            num_virtual_tokens=num_virtual_tokens,
            context_length=context_length,
            disagreement=_check_agreement(model),
            near_effect=_check_near_effect(model, own, num_virtual_tokens),
            far_effect=_check_far_effect(model, own, num_virtual_tokens, context_length),
        )


def refuse_architecture(config: Any) -> None:
    """Raise BaseModelRefused for what can be told from the configuration alone."""
    if getattr(config, "is_encoder_decoder", False):
        raise BaseModelRefused("It is an encoder-decoder model; a prefix needs a decoder-only (causal) language model.")
    if getattr(config, "alibi", False):
        raise BaseModelRefused(
            "It counts positions in its mask (ALiBi), from the longest row of a batch on, so people with texts of "
            "different lengths can't share it. Choose a model with rotary or learned positions."
        )


def _refuse_short_reach(config: Any, context_length: int) -> None:
    """What changes with the longest row of a batch, so that a person's answer would depend on who else is there; it
    shows only in long contexts of unlike length."""
    rope = getattr(config, "rope_parameters", None) or {}
    for own in (rope, *(kind for kind in rope.values() if isinstance(kind, dict))):
        original = own.get("original_max_position_embeddings") or getattr(
            config, "original_max_position_embeddings", None
        )
        if own.get("rope_type") == "longrope" and original and context_length > original:
            raise BaseModelRefused(
                f"Beyond {original} tokens it turns its positions by the longest text of a batch, so that neighbours "
                f"would change each other's answers. Serve shorter contexts (IDIOLECT_MAX_CONTEXT={original})."
            )
    window = getattr(config, "window_size", None)
    if "local" in (getattr(config, "attention_layers", None) or ()) and window and window < context_length:
        raise BaseModelRefused(
            f"Some of its layers see only the last {window} tokens, so the prefix would leave the window in a context "
            f"of {context_length}. Choose a model with full attention, or serve contexts no longer than the window "
            f"(IDIOLECT_MAX_CONTEXT={window})."
        )


def _keys_values(model: PreTrainedModel, context_length: int) -> KeysValues:
    """The (keys, values) a forward pass leaves in each layer, [1, num_kv_heads, length, head_dim]; refuses caches
    that cannot hold a prefix."""
    cache = getattr(model(_token_ids(model, _PROBE_LENGTH), use_cache=True), "past_key_values", None)
    if not isinstance(cache, Cache):
        raise BaseModelRefused("It keeps no key/value cache (a recurrent or state-space model); a prefix needs one.")
    for number, layer in enumerate(cache.layers):
        _refuse_layer(number, layer, context_length)
    return [(layer.keys, layer.values) for layer in cache.layers]


def _refuse_layer(number: int, layer: Any, context_length: int) -> None:
    if isinstance(layer, LinearAttentionCacheLayerMixin):
        raise BaseModelRefused(
            f"Its layer {number} has linear attention or a recurrent state, which cannot hold a prefix."
        )
    if isinstance(layer, DynamicSlidingWindowLayer) and layer.sliding_window < context_length:
        raise BaseModelRefused(
            f"Its layer {number} sees only the last {layer.sliding_window} tokens, so the prefix would leave the "
            f"window in a context of {context_length}. Choose a model with full attention, or serve contexts no longer "
            f"than the window (IDIOLECT_MAX_CONTEXT={layer.sliding_window})."
        )
    if layer.keys is not None and layer.values is not None and layer.keys.shape != layer.values.shape:
        raise BaseModelRefused(f"The keys and values of its layer {number} are not of one shape, as a prefix's are.")
    if isinstance(layer, DummyLayer) or layer.keys is None or layer.keys.dim() != 4:
        raise BaseModelRefused(f"Its layer {number} has no keys and values of its own, so it cannot take a prefix.")


def _check_agreement(model: PreTrainedModel) -> float:
    """Tokens behind cached ones must get the logits they get when everything is computed at once: the way training
    runs (one length, positions by default) and the way serving runs (different lengths, left-padded, explicit)."""
    long, short = _token_ids(model, 8, seed=1), _token_ids(model, 3, seed=2)
    text = _token_ids(model, _PROBE_LENGTH, seed=3)
    expected = [
        model(torch.cat([before, text], 1), use_cache=False).logits[:, -_PROBE_LENGTH:] for before in (long, short)
    ]
    cached = [model(before, use_cache=True).past_key_values for before in (long, short)]
    pairs = [[(layer.keys, layer.values) for layer in cache.layers] for cache in cached]
    alone = _logits(model, text, pairs[0])
    mixed = _mixed_logits(model, text, pairs, lengths=(8, 3))
    worst = max(
        _difference(alone, expected[0]), _difference(mixed[:1], expected[0]), _difference(mixed[1:], expected[1])
    )
    tolerance = AGREEMENT_TOLERANCE.get(model.dtype, 0.1)
    if not worst <= tolerance:
        raise BaseModelRefused(
            f"With cached tokens in front it computes something else than without a cache (off by {worst:.2g} of the "
            f"logits' spread, at most {tolerance:g} is rounding): its mask or positions ignore the cache."
        )
    return worst


def _mixed_logits(model: PreTrainedModel, text: Tensor, pairs: list[KeysValues], lengths: tuple[int, int]) -> Tensor:
    """Logits [2, length, vocabulary] of `text` behind two caches of different lengths in one batch."""
    width = max(lengths)
    layers = [
        (torch.cat([_left_pad(k, width) for k in keys]), torch.cat([_left_pad(v, width) for v in values]))
        for keys, values in ([[kv[part] for kv in layer] for part in (0, 1)] for layer in zip(*pairs, strict=True))
    ]
    mask = torch.ones(2, width + text.shape[1], dtype=torch.long, device=text.device)
    for row, length in enumerate(lengths):
        mask[row, : width - length] = 0
    positions = (mask.cumsum(-1) - 1).clamp(0)[:, width:]
    output = model(
        text.expand(2, -1), past_key_values=DynamicCache(layers), attention_mask=mask, position_ids=positions
    )
    return _tensor(output.logits)


def _check_near_effect(model: PreTrainedModel, own: KeysValues, num_virtual_tokens: int) -> float:
    text = _token_ids(model, _PROBE_LENGTH, seed=4)
    one, other = (_logits(model, text, _random_prefix(own, num_virtual_tokens, seed)) for seed in (5, 6))
    effect = _difference(one, other)
    if not effect >= LEAST_NEAR_EFFECT:
        raise BaseModelRefused(f"It ignores an injected prefix (two different ones change its logits by {effect:.2g}).")
    return effect


def _check_far_effect(model: PreTrainedModel, own: KeysValues, num_virtual_tokens: int, context_length: int) -> float:
    """Fill the context once, then exchange only the prefix under the last token."""
    filler = _token_ids(model, context_length - num_virtual_tokens - 1, seed=7)
    one, other = (_random_prefix(own, num_virtual_tokens, seed) for seed in (5, 6))
    cache = DynamicCache(one)
    _forward(model, filler, cache, num_virtual_tokens)
    text = [(layer.keys[:, :, num_virtual_tokens:], layer.values[:, :, num_virtual_tokens:]) for layer in cache.layers]
    last = _token_ids(model, 1, seed=8)
    with_one, with_other = (_logits(model, last, _joined(prefix, text)) for prefix in (one, other))
    effect = _difference(with_one, with_other)
    if not effect >= LEAST_FAR_EFFECT:
        raise BaseModelRefused(
            f"At the end of a context of {context_length} tokens the prefix no longer matters (two different ones "
            f"change the logits by {effect:.2g}): the attention does not reach back that far."
        )
    return effect


def _joined(prefix: KeysValues, text: KeysValues) -> KeysValues:
    return [(torch.cat([pk, tk], 2), torch.cat([pv, tv], 2)) for (pk, pv), (tk, tv) in zip(prefix, text, strict=True)]


def _logits(model: PreTrainedModel, text: Tensor, before: KeysValues) -> Tensor:
    return _tensor(_forward(model, text, DynamicCache(before), before[0][0].shape[2]).logits)


def _forward(model: PreTrainedModel, text: Tensor, cache: Cache, num_cached: int) -> Any:
    """One pass behind `num_cached` cached positions. Only the last tokens' logits are computed where the model lets us
    say so: a long context times a large vocabulary would not fit."""
    mask = torch.ones(1, num_cached + text.shape[1], dtype=torch.long, device=text.device)
    few = {"logits_to_keep": _PROBE_LENGTH} if "logits_to_keep" in inspect.signature(model.forward).parameters else {}
    return model(text, past_key_values=cache, attention_mask=mask, **few)


def _random_prefix(own: KeysValues, length: int, seed: int) -> KeysValues:
    """Gaussian keys and values, [1, num_kv_heads, length, head_dim], with the spread of the model's own."""
    generator = torch.Generator().manual_seed(seed)

    def like(tensor: Tensor) -> Tensor:
        shape = (1, tensor.shape[1], length, tensor.shape[3])
        noise = torch.randn(shape, generator=generator, dtype=torch.float32).to(tensor.device)
        return (noise * tensor.float().std() + tensor.float().mean((2,), keepdim=True)).to(tensor.dtype)

    return [(like(keys), like(values)) for keys, values in own]


def _left_pad(tensor: Tensor, width: int) -> Tensor:
    return torch.nn.functional.pad(tensor, (0, 0, width - tensor.shape[2], 0))


def _token_ids(model: PreTrainedModel, length: int, seed: int = 0) -> Tensor:
    """Fixed pseudo-random token ids, [1, length]."""
    vocabulary = model.config.get_text_config(decoder=True).vocab_size
    return torch.randint(vocabulary, (1, length), generator=torch.Generator().manual_seed(seed)).to(model.device)


def _difference(one: Tensor, other: Tensor) -> float:
    """Root mean square difference relative to the spread of `other`; NaN gives NaN, which every check refuses."""
    one, other = one.double(), other.double()
    return float((one - other).square().mean().sqrt() / other.std())


def _tensor(value: Iterable[Any]) -> Tensor:
    assert isinstance(value, Tensor)
    return value
