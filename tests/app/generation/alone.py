"""The oracle of the engine's tests: one request at a time through transformers' own `generate`, and logits without any
cache of ours."""

import torch
from torch import Tensor

from tuning.base_model import BaseModel
from tuning.prefix import Prefix


def answer_alone(base: BaseModel, prompt: list[int], prefix: Prefix | None, max_tokens: int) -> list[int]:
    """The greedy answer of `generate`, its end token included."""
    virtual = prefix.num_virtual_tokens if prefix is not None else 0
    answer = base.model.generate(
        input_ids=torch.tensor([prompt]),
        attention_mask=torch.ones(1, virtual + len(prompt), dtype=torch.long),
        past_key_values=prefix.as_cache() if prefix is not None else None,
        max_new_tokens=max_tokens,
        do_sample=False,
        pad_token_id=1,
    )
    return [int(token) for token in answer[0, len(prompt) :]]


def logits_alone(base: BaseModel, token_ids: list[int], prefix: Prefix | None) -> Tensor:
    """[vocabulary]: the logits after `token_ids`, in one pass over all of them."""
    virtual = prefix.num_virtual_tokens if prefix is not None else 0
    with torch.inference_mode():
        logits: Tensor = base.model(
            input_ids=torch.tensor([token_ids]),
            attention_mask=torch.ones(1, virtual + len(token_ids), dtype=torch.long),
            past_key_values=prefix.as_cache() if prefix is not None else None,
        ).logits
    return logits[0, -1]
