"""The forward passes: prompts into the cache, and one token for every running row.

Owns the call of the frozen model, with positions and mask of its own for each row. Knows no sampling, no scheduling and
nothing of who asks. Works for every decoder that attends through the `Cache` and takes a 4D mask and position ids.
"""

import inspect
from collections.abc import Sequence as Many

import torch
from torch import Tensor

from app.generation.kv_cache import KVCache
from app.generation.sequence import Sequence
from tuning.base_model import BaseModel

MASKED_ATTENTION = ("sdpa", "eager")  # the back ends that take a mask of our own


class ModelRunner:
    """Runs the base model on rows of the cache. Raises ValueError for an attention back end that takes no 4D mask."""

    def __init__(self, base: BaseModel, cache: KVCache) -> None:
        attention = getattr(base.model.config, "_attn_implementation", "eager")
        if attention not in MASKED_ATTENTION:
            raise ValueError(
                f"the engine needs an attention back end that takes masks ({' or '.join(MASKED_ATTENTION)}), "
                f"not {attention!r}: load the model with attn_implementation='sdpa'"
            )
        self._model = base.model
        self._device = base.device
        self._dtype = base.dtype
        self._cache = cache
        self._columns = torch.arange(cache.capacity, device=base.device)
        takes_choice = "logits_to_keep" in inspect.signature(base.model.forward).parameters
        self._last_only = {"logits_to_keep": 1} if takes_choice else {}

    @torch.inference_mode()
    def prefill(self, batch: Many[tuple[Sequence, int]]) -> Tensor:
        """Cache the next tokens of prompts in neighbouring rows, each as many as is said.

        Returns [rows, vocabulary]: the logits after each one's last token. Shorter parts are padded on the left.
        """
        longest = max(size for _, size in batch)
        token_ids, positions, targets = [], [], []
        for sequence, size in batch:
            padding, places = longest - size, list(range(sequence.length, sequence.length + size))
            token_ids.append([0] * padding + sequence.next_prompt_tokens(size))
            positions.append([0] * padding + places)
            targets.append([self._cache.scratch] * padding + places)
            sequence.length += size
        return self._forward([sequence for sequence, _ in batch], token_ids, positions, targets)

    @torch.inference_mode()
    def decode(self, sequences: Many[Sequence]) -> Tensor:
        """Cache the last token of each of these neighbouring rows; [rows, vocabulary] logits of the next ones."""
        token_ids = [[sequence.last_token_id] for sequence in sequences]
        positions = [[sequence.length] for sequence in sequences]
        for sequence in sequences:
            sequence.length += 1
        return self._forward(sequences, token_ids, positions, positions)

    def _forward(
        self,
        sequences: Many[Sequence],
        token_ids: list[list[int]],
        positions: list[list[int]],
        targets: list[list[int]],
    ) -> Tensor:
        first = sequences[0].row
        assert first is not None, "only running requests are run"
        places = self._tensor(positions)
        length = max(sequence.length for sequence in sequences)
        written = places if targets is positions else self._tensor(targets)
        self._cache.open(first, first + len(sequences), written, length)
        logits: Tensor = self._model(
            input_ids=self._tensor(token_ids),
            position_ids=places,
            attention_mask=self._mask(places, length),
            past_key_values=self._cache,
            use_cache=True,
            **self._last_only,
        ).logits
        return logits[:, -1]

    def _mask(self, positions: Tensor, length: int) -> Tensor:
        """[rows, 1, new tokens, length]: 0 where a row's column lies at or before the token, else the lowest number.

        Rows are filled from column 0 without gaps, so that one comparison is causality and the row's own end at once.
        """
        hidden = self._columns[:length] > positions[:, None, :, None]
        return torch.zeros(hidden.shape, dtype=self._dtype, device=self._device).masked_fill_(
            hidden, torch.finfo(self._dtype).min
        )

    def _tensor(self, numbers: list[list[int]]) -> Tensor:
        return torch.tensor(numbers, dtype=torch.long, device=self._device)
