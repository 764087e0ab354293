"""Trainee: what a step of training changes of one person — prefix encoder, optimizer, order of the blocks. Owns the
update; knows nothing of where gradients come from, nor of when a training ends."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from tuning.dataset import Block
from tuning.prefix import Prefix
from tuning.prefix_encoder import PrefixEncoder
from tuning.training import TrainingSettings

KNOWN_SHARE = 1 / 3


class Trainee:
    """Shares nothing with others. step: how many updates there were. known: see Deck."""

    def __init__(
        self,
        start: Prefix,
        blocks: Sequence[Block],
        settings: TrainingSettings,
        *,
        known: Sequence[Block] = (),
        max_steps: int,
        seed: int,
    ) -> None:
        self._settings = settings
        self.encoder = PrefixEncoder(start, settings.parametrisation, hidden=settings.hidden, seed=seed)
        self._optimizer = torch.optim.AdamW(
            self.encoder.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay
        )
        self.deck = Deck(blocks, settings.tokens_per_step, seed, known)
        self.max_steps = max_steps
        self.step = 0

    def update(self) -> None:
        """One optimizer step from the gradients that a backward pass left, clipped by this person's norm alone."""
        for group in self._optimizer.param_groups:
            group["lr"] = self._settings.learning_rate * self._settings.schedule(self.step, self.max_steps)
        nn.utils.clip_grad_norm_(self.encoder.parameters(), self._settings.clip_norm)
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)
        self.step += 1

    def tensors(self) -> dict[str, Tensor]:
        """The whole state but two numbers: `step` and the deck's position."""
        tensors = {f"encoder.{name}": tensor for name, tensor in self.encoder.state_dict().items()}
        for number, moments in self._optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{number}.{name}": tensor for name, tensor in moments.items()}
        return tensors | {"deck.order": self.deck.order, "deck.random_state": self.deck.generator.get_state()}

    def take_up(self, tensors: Mapping[str, Tensor], step: int, deck_position: int) -> None:
        """Go on from what `tensors` gave. Raises KeyError or RuntimeError where it is another's."""
        self.encoder.load_state_dict(_under("encoder.", tensors))
        moments: dict[int, dict[str, Tensor]] = {}
        for name, tensor in _under("optimizer.", tensors).items():
            number, part = name.split(".", 1)
            moments.setdefault(int(number), {})[part] = tensor
        self._optimizer.load_state_dict(self._optimizer.state_dict() | {"state": moments})
        self.deck.order, self.deck.position = tensors["deck.order"], deck_position
        self.deck.generator.set_state(tensors["deck.random_state"])
        self.step = step


class Deck:
    """One person's training blocks in shuffled order, dealt so that every block comes once an epoch and the steps of
    an epoch are about equally large. known: blocks of them that the start was trained on; of these a third comes in
    each epoch, drawn anew: enough not to unlearn them (docs/likeness.md, "Going on from a version")."""

    def __init__(self, blocks: Sequence[Block], tokens_per_step: int, seed: int, known: Sequence[Block] = ()) -> None:
        rare = set(known)
        is_known = torch.tensor([block in rare for block in blocks])
        self._blocks, self._known, self._new = blocks, is_known.nonzero()[:, 0], (~is_known).nonzero()[:, 0]
        self._num_drawn = math.ceil(len(self._known) * KNOWN_SHARE)
        drawn_share = self._num_drawn / max(1, len(self._known))
        total = sum(len(block.token_ids) * (drawn_share if block in rare else 1.0) for block in blocks)
        self._steps_per_epoch = min(len(self._new) + self._num_drawn, math.ceil(total / tokens_per_step))
        self.tokens_per_step = total / self._steps_per_epoch
        self.generator = torch.Generator().manual_seed(seed)
        self.order = self._shuffled()
        self.position = 0

    def deal(self) -> list[Block]:
        """The next step's blocks."""
        if self.position >= self._steps_per_epoch:
            self.order = self._shuffled()
            self.position = 0
        self.position += 1
        return [self._blocks[number] for number in self.order[self.position - 1 :: self._steps_per_epoch].tolist()]

    def _shuffled(self) -> Tensor:
        """Numbers of the blocks of one epoch, in order."""
        drawn = torch.randperm(len(self._known), generator=self.generator)[: self._num_drawn]
        epoch = torch.cat([self._new, self._known[drawn]])
        return epoch[torch.randperm(len(epoch), generator=self.generator)]


def _under(head: str, tensors: Mapping[str, Any]) -> dict[str, Any]:
    return {name.removeprefix(head): tensor for name, tensor in tensors.items() if name.startswith(head)}
