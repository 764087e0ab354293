"""Continuations of token ids, of the bare base model or behind a prefix, by the model's own `generate`. Owns mask and
padding of such a batch; knows nothing of whose texts they are. Serving has an engine of its own (app/generation)."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import GenerationConfig, StoppingCriteriaList

from tuning.base_model import BaseModel
from tuning.prefix import Prefix


@torch.no_grad()
def continuations(
    base: BaseModel,
    prefix: Prefix | None,
    beginnings: Sequence[Sequence[int]],
    *,
    num_tokens: int,
    temperature: float,
    seed: int = 0,
    check: Callable[[], None] = lambda: None,
) -> list[str]:
    """What follows each of `beginnings` (token ids, document start and all), at most `num_tokens` tokens, without the
    beginning. Temperature 0 is greedy. The same seed gives the same texts; torch's global random state is left as it
    was. check: called before every token; what it raises ends it all. The caller sees to it that prefix, beginning and
    continuation fit the context.
    """
    inputs, mask = _left_padded(beginnings, base.document_start_id, base.device)
    length = prefix.num_virtual_tokens if prefix is not None else 0
    with torch.random.fork_rng(devices=[base.device] if base.device.type == "cuda" else []):
        torch.manual_seed(seed)
        whole = base.model.generate(
            inputs,
            # P + L long: of a shorter one, generate takes the first P ids of the text for cached ones.
            attention_mask=torch.cat([mask.new_ones(len(inputs), length), mask], dim=1),
            past_key_values=prefix.as_cache(len(inputs)) if prefix is not None else None,
            generation_config=_sampling(base, num_tokens, temperature),
            stopping_criteria=StoppingCriteriaList([_stopping_nothing(check)]),
        )
    return [base.decode(row) for row in whole[:, inputs.shape[1] :].tolist()]


def _sampling(base: BaseModel, num_tokens: int, temperature: float) -> GenerationConfig:
    """Nothing but the temperature: a checkpoint's own settings, which would fill the gaps, do not count."""
    drawn = {"do_sample": True, "temperature": temperature, "top_k": 0, "top_p": 1.0}
    return GenerationConfig(
        max_new_tokens=num_tokens,
        num_beams=1,
        repetition_penalty=1.0,
        no_repeat_ngram_size=0,
        eos_token_id=list(base.stop_token_ids) or None,
        pad_token_id=base.document_start_id,  # masked in front, and left out in decoding behind
        **(drawn if temperature > 0 else {"do_sample": False}),
    )


def _stopping_nothing(check: Callable[[], None]) -> Callable[..., Tensor]:
    """A stopping criterion that ends no row by itself, and lets `check` raise between two tokens."""

    def criterion(input_ids: Tensor, scores: Tensor, **_: Any) -> Tensor:
        check()
        return torch.zeros(input_ids.shape[0], dtype=torch.bool, device=input_ids.device)

    return criterion


def _left_padded(beginnings: Sequence[Sequence[int]], pad_id: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Ids and mask, each [rows, length], every row ending where its continuation begins."""
    length = max(len(ids) for ids in beginnings)
    rows = [[pad_id] * (length - len(ids)) + list(ids) for ids in beginnings]
    mask = [[0] * (length - len(ids)) + [1] * len(ids) for ids in beginnings]
    return torch.tensor(rows, device=device), torch.tensor(mask, device=device)
