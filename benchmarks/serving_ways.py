"""The ways to serve one load: ours, and the peers at their best setting. Each gets the same base model, type of
numbers, threads and prompts, is greedy, ignores the end of a text and returns the token ids of every answer.

What a setting can change (rows in a batch, in what order) is tried on the machine at hand, and the fastest is kept:
`choose`. Knows no rounds and no ratios.
"""

import copy
import math
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from peft import LoraConfig, PeftModel, PrefixTuningConfig, get_peft_model
from torch import Tensor
from transformers import ContinuousBatchingConfig, DynamicCache, GenerationConfig

from app.generation.engine import Engine
from app.generation.sampling import SamplingParams
from benchmarks.serving_load import Load, Request
from tuning.base_model import BaseModel
from tuning.prefix import Prefix

PAD = 1
BATCHES = (16, 32, 64, 128)
CONTINUOUS_BATCHES = (1, 2, 4, 8, 32, 128)  # requests at once
PAGE, BATCH_TOKENS = 32, {"cpu": 256, "cuda": 2048}  # tokens of a page of its cache, and of one of its steps
TRIAL_REQUESTS, TRIAL_TOKENS = 64, 16  # where a whole load would take minutes for each setting
Setting = dict[str, Any]
Answers = list[list[int]]  # in the order of the requests
Batch = list[tuple[int, Request]]  # with their places


class Way(ABC):
    """One way. candidates: settings to choose from; setting: the one that is used."""

    def __init__(self, candidates: list[Setting]) -> None:
        self.candidates = candidates
        self.setting = candidates[0]

    @abstractmethod
    def serve(self, load: Load) -> Answers:
        """Answer every request."""

    def trial(self, load: Load) -> Load:
        """What settings are tried with: all requests, with half of their tokens."""
        return load.of(range(len(load.requests)), max(1, load.max_tokens // 2))

    def choose(self, load: Load) -> None:
        """Keep the fastest setting."""
        if len(self.candidates) == 1:
            return
        self.serve(load.of(range(min(4, len(load.requests))), 4))  # what is made once is made before anybody is timed
        seconds = []
        for candidate in self.candidates:
            self.setting = candidate
            began = time.perf_counter()
            self.serve(self.trial(load))
            seconds.append(time.perf_counter() - began)
            print(f"{type(self).__name__} {candidate}: {seconds[-1]:.1f} s", file=sys.stderr, flush=True)
        self.setting = self.candidates[seconds.index(min(seconds))]


class Ours(Way):
    """The engine as the API runs it. strength: None for no prefixes at all."""

    def __init__(self, engine: Engine, strength: float | None) -> None:
        super().__init__([{"max_num_seqs": engine.figures().max_num_seqs, "voice_strength": strength}])
        self._engine = engine
        self._strength = strength

    def serve(self, load: Load) -> Answers:
        """All requests are handed in at once, each under its user's name."""
        strength = 1.0 if self._strength is None else self._strength
        params = SamplingParams(temperature=0, max_tokens=load.max_tokens, voice_strength=strength)
        streams = [
            self._engine.submit(
                list(request.prompt),
                params,
                None if self._strength is None else load.prefixes[request.user],
                owner=str(request.user),
            )
            for request in load.requests
        ]
        return [[token.id for token in stream] for stream in streams]


class Batched(Way):
    """By `generate`, in static batches. A subclass says what it is called with.

    rows: numbers of rows in a batch to choose from; by_user: whether to try batches of as few users as can be, too.
    """

    def __init__(self, model: Any, rows: Sequence[int], *, by_user: bool = False) -> None:
        super().__init__([{"rows": most, "by_user": together} for together in {False, by_user} for most in rows])
        self._model = model

    def begin(self, load: Load, users: list[int]) -> int:
        """Before a batch of these users; returns positions that are cached before the prompts."""
        return 0

    def called_with(self, load: Load, users: list[int]) -> dict[str, Any]:
        """What `generate` is given for them beside ids and mask."""
        return {}

    def serve(self, load: Load) -> Answers:
        """Prompts of like length together, padded on the left."""
        answers: Answers = [[] for _ in load.requests]
        for batch in self.batches(load):
            for (place, _), answer in zip(batch, self._answer(load, batch), strict=True):
                answers[place] = answer
        return answers

    def batches(self, load: Load) -> Iterator[Batch]:
        """All requests with their places."""

        def key(one: tuple[int, Request]) -> tuple[int, int]:
            return (one[1].user if self.setting["by_user"] else 0, len(one[1].prompt))

        ordered = sorted(enumerate(load.requests), key=key)
        for first in range(0, len(ordered), self.setting["rows"]):
            yield ordered[first : first + self.setting["rows"]]

    def _answer(self, load: Load, batch: Batch) -> Answers:
        users, prompts = [request.user for _, request in batch], [request.prompt for _, request in batch]
        cached = self.begin(load, users)
        longest = max(map(len, prompts))
        device = self._model.device
        ids = torch.tensor([[PAD] * (longest - len(prompt)) + list(prompt) for prompt in prompts], device=device)
        mask = torch.tensor(
            [[1] * cached + [0] * (longest - len(prompt)) + [1] * len(prompt) for prompt in prompts], device=device
        )
        with torch.inference_mode():
            found = self._model.generate(
                input_ids=ids,
                attention_mask=mask,
                max_new_tokens=load.max_tokens,
                do_sample=False,
                pad_token_id=PAD,
                **self.called_with(load, users),
            )
        answers: Answers = found[:, longest:].tolist()
        return answers


class Static(Batched):
    """Prefixes stacked in the cache that `generate` begins with: rows of one batch have different ones."""

    def begin(self, load: Load, users: list[int]) -> int:
        """All prefixes are of one length."""
        return load.prefixes[0].num_virtual_tokens

    def called_with(self, load: Load, users: list[int]) -> dict[str, Any]:
        """A fresh cache."""
        return {"past_key_values": stacked([load.prefixes[user] for user in users])}


class PeftPrefix(Batched):
    """PEFT's prefix tuning: one adapter is active at a time. rows: of one user, together in a batch."""

    def __init__(self, base: BaseModel, load: Load, rows: int) -> None:
        super().__init__(peft_prefix_model(base, load.prefixes), [rows])

    def begin(self, load: Load, users: list[int]) -> int:
        """PEFT lengthens the mask itself."""
        self._model.set_adapter(str(users[0]))
        return 0

    def batches(self, load: Load) -> Iterator[Batch]:
        """One user after the other."""
        for user in range(len(load.prefixes)):
            own = [(place, request) for place, request in enumerate(load.requests) if request.user == user]
            for first in range(0, len(own), self.setting["rows"]):
                yield own[first : first + self.setting["rows"]]


class LoraMixed(Batched):
    """PEFT's LoRA of rank 8 on every linear layer, rows of one batch with different ones by `adapter_names`."""

    def __init__(self, base: BaseModel, users: int, rows: Sequence[int]) -> None:
        config = LoraConfig(task_type="CAUSAL_LM", r=8, lora_alpha=16, target_modules="all-linear")
        super().__init__(_with_adapters(base, config, users), rows, by_user=True)

    def called_with(self, load: Load, users: list[int]) -> dict[str, Any]:
        """The adapter of each row."""
        return {"adapter_names": [str(user) for user in users]}


class Continuous(Way):
    """transformers' own continuous batching, which knows no prefixes. Its manager, with the cache, is kept as long as
    the setting; by itself it would take nearly all memory."""

    def __init__(self, base: BaseModel, load: Load) -> None:
        super().__init__([{"max_requests_per_batch": most} for most in CONTINUOUS_BATCHES])
        self._model: Any = plain_copy(base)
        self._longest = max(len(request.prompt) for request in load.requests) + load.max_tokens
        self._built: Setting | None = None

    def trial(self, load: Load) -> Load:
        """A part: on a processor its attention goes over all requests for each, and the wrong setting takes minutes."""
        return load.of(range(min(TRIAL_REQUESTS, len(load.requests))), min(TRIAL_TOKENS, load.max_tokens))

    def serve(self, load: Load) -> Answers:
        """Through the one call that it offers for a number of prompts."""
        if self._built != self.setting:
            self._model.destroy_cached_continuous_batching_manager()
            self._built = self.setting
        found = self._model.generate_batch(
            [list(request.prompt) for request in load.requests],
            generation_config=GenerationConfig(do_sample=False, eos_token_id=-1, pad_token_id=PAD),
            continuous_batching_config=self._config(self.setting["max_requests_per_batch"]),
            max_new_tokens=load.max_tokens,
            persistent_manager=True,
        )
        return [list(output.generated_tokens) for output in found.values()]

    def _config(self, most: int) -> ContinuousBatchingConfig:
        """Pages for so many requests, and a few to spare."""
        return ContinuousBatchingConfig(
            max_requests_per_batch=most,
            page_size=PAGE,
            num_blocks=(most + 1) * math.ceil(self._longest / PAGE) + 1,
            max_batch_tokens=BATCH_TOKENS[self._model.device.type],
        )


def stacked(prefixes: Sequence[Prefix]) -> DynamicCache:
    """A fresh cache whose row i begins with prefix i."""
    layers = range(len(prefixes[0].keys))
    return DynamicCache(
        [
            (torch.stack([one.keys[layer] for one in prefixes]), torch.stack([one.values[layer] for one in prefixes]))
            for layer in layers
        ]
    )


def peft_prefix_model(base: BaseModel, prefixes: Sequence[Prefix]) -> Any:
    """PEFT's model with one adapter for each prefix, of the same values, named by its number."""
    config = PrefixTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=prefixes[0].num_virtual_tokens)
    model = _with_adapters(base, config, len(prefixes))
    for name, prefix in enumerate(prefixes):
        embedding = model.prompt_encoder[str(name)].embedding
        embedding.weight.data = _as_pefts(prefix).to(embedding.weight)
    return model


def _as_pefts(prefix: Prefix) -> Tensor:
    """[num_virtual_tokens, layers * 2 * kv_heads * head_dim]."""
    whole = torch.stack([tensor for pair in zip(prefix.keys, prefix.values, strict=True) for tensor in pair])
    return whole.permute(2, 0, 1, 3).flatten(1)


def _with_adapters(base: BaseModel, config: Any, count: int) -> Any:
    model: PeftModel = get_peft_model(plain_copy(base), config, adapter_name="0")
    for name in range(1, count):
        model.add_adapter(str(name), config)
    return model.to(base.device, base.dtype).eval()


def plain_copy(base: BaseModel) -> Any:
    """The same model with transformers' own attention, which never ends a text by itself."""
    model: Any = copy.deepcopy(base.model)
    model.set_attn_implementation("sdpa")
    model.generation_config.eos_token_id = None
    return model
