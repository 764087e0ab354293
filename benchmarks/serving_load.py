"""What every way of serving is given: who asks what, in whose voice, and for how much. Knows no way of serving."""

import random
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from tuning.base_model import BaseModel
from tuning.prefix import Prefix

FIRST_ID = 2  # below are control tokens, in the bundled vocabulary and in most


@dataclass(frozen=True)
class Request:
    """user: a number; prompt: token ids."""

    user: int
    prompt: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Load:
    """Requests, all there at once, in the order of asking; every answer has max_tokens tokens. prefixes: by user."""

    requests: tuple[Request, ...]
    prefixes: tuple[Prefix, ...]
    max_tokens: int

    @property
    def num_tokens(self) -> int:
        """New tokens of all answers."""
        return len(self.requests) * self.max_tokens

    def of(self, places: Sequence[int], max_tokens: int) -> "Load":
        """A smaller load, of some of the requests."""
        return Load(tuple(self.requests[place] for place in places), self.prefixes, max_tokens)


def make_load(
    base: BaseModel,
    *,
    users: int,
    requests: int,
    prompt_tokens: tuple[int, int],
    max_tokens: int,
    num_virtual_tokens: int,
    seed: int,
) -> Load:
    """`requests` of each user, mixed up; prompts between two lengths; prefixes of random values, whatever they say."""
    chance = random.Random(seed)
    last_id = base.model.get_input_embeddings().num_embeddings - 1
    asked = [
        Request(user, tuple(chance.randint(FIRST_ID, last_id) for _ in range(chance.randint(*prompt_tokens))))
        for user in range(users)
        for _ in range(requests)
    ]
    chance.shuffle(asked)
    prefixes = tuple(random_prefix(base, num_virtual_tokens, seed + user) for user in range(users))
    return Load(tuple(asked), prefixes, max_tokens)


def random_prefix(base: BaseModel, num_virtual_tokens: int, seed: int) -> Prefix:
    """Values of about the size that trained ones have."""
    generator = torch.Generator().manual_seed(seed)
    keys, values = (
        tuple(
            torch.randn(heads, num_virtual_tokens, width, generator=generator).to(base.device, base.dtype)
            for heads, width in base.layer_shapes
        )
        for _ in range(2)
    )
    return Prefix(keys, values, base.fingerprint)
