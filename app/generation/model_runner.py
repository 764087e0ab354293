"""The forward passes: a token for every row that writes, and the next tokens of prompts, into the cache.

Owns the call of the frozen model, with positions and mask of its own for each row. Two ways: packed, one pass over all
tokens one behind the other (processors; app.generation.packed_attention), and padded, through whatever back end the
model has, as long as it takes masks (accelerators, and families that the packed way does not fit). Knows no sampling,
no scheduling and nothing of who asks.
"""

import inspect
import logging
from abc import ABC, abstractmethod
from collections.abc import Sequence as Many
from functools import partial
from itertools import accumulate
from typing import ClassVar

import torch
from torch import Tensor

from app.generation.bag_attention import Bags
from app.generation.errors import ModelUnfit
from app.generation.kv_cache import ChunkedLayer, KVCache, RowLayer, Window
from app.generation.llama_pass import LlamaPass
from app.generation.packed_attention import NAME, Packing, Part, attended
from app.generation.sampling import SamplingParams, followed
from app.generation.sequence import Sequence
from tuning.base_model import BaseModel

logger = logging.getLogger(__name__)

MASKED_ATTENTION = ("sdpa", "eager", NAME)  # the back ends that take a mask of our own
COLUMNS = 32  # softmax in 16 bits takes up to twice as long over a number that is no multiple of it
FEW_PARAMETERS = 100e6  # beyond, a step's time is in its products, and a second copy of the weights is large
TRIAL_LENGTHS = (40, 5)  # tokens of the two rows
TOLERANCE = {2: 0.05, 4: 1e-3, 8: 1e-6}  # of the largest logit, by bytes of a number
Parts = Many[tuple[Sequence, int]]  # prompts, and how many tokens of each come next


class ModelRunner(ABC):
    """Runs the base model on rows of its `cache`. layer: of which layers it has to be made."""

    layer: ClassVar[type[RowLayer]] = RowLayer

    def __init__(self, base: BaseModel, cache: KVCache) -> None:
        self._model = base.model
        self._device = base.device
        self._dtype = base.dtype
        self.cache = cache
        self._columns = torch.arange(cache.capacity, device=base.device)
        self._chooses = "logits_to_keep" in inspect.signature(base.model.forward).parameters

    @torch.inference_mode()
    def run(self, writing: Many[Sequence], reading: Parts) -> Tensor:
        """Cache the last token of each that writes, and the next tokens of each that reads. Twins run together.

        Returns [writing + reading without twins, vocabulary]: the logits after each one's last token that is cached
        now; where it has a twin, what is followed of the two.
        """
        return self._logits(_without_twins(self._states(writing, reading), writing, reading))

    @abstractmethod
    def _states(self, writing: Many[Sequence], reading: Parts) -> Tensor:
        """[writing + reading, size]: logits, or that of which `_logits` makes them by a linear layer."""

    def _logits(self, states: Tensor) -> Tensor:
        """[rows, size] -> [rows, vocabulary]."""
        return states

    def _mask(self, positions: Tensor, length: int) -> Tensor:
        """[…] positions -> […, length]: 0 where a column lies at or before the position, else the lowest number.

        Rows are filled from column 0 without gaps, so that one comparison is causality and the row's own end at once.
        """
        hidden = self._columns[:length] > positions[..., None]
        return torch.zeros(hidden.shape, dtype=self._dtype, device=self._device).masked_fill_(
            hidden, torch.finfo(self._dtype).min
        )

    def _tensor(self, numbers: list[int] | list[list[int]]) -> Tensor:
        return torch.tensor(numbers, dtype=torch.long, device=self._device)


class PaddedRunner(ModelRunner):
    """Through the model's own attention: one pass for all rows that write, one or a few for those that read."""

    def _states(self, writing: Many[Sequence], reading: Parts) -> Tensor:
        found = [self._write(writing)] if writing else []
        order: list[int] = []
        for group in _of_like_size(reading):
            found.append(self._read([reading[place] for place in group]))
            order += group
        logits = torch.cat(found)
        if order == sorted(order):
            return logits
        back = sorted(range(len(order)), key=order.__getitem__)
        return logits[[*range(len(writing)), *(len(writing) + place for place in back)]]

    def _write(self, writing: Many[Sequence]) -> Tensor:
        """All rows up to the last that writes; what the others get goes to their scratch, and nobody looks at it."""
        rows = [sequence.held_row for sequence in writing]
        token_ids, positions = [0] * (max(rows) + 1), [0] * (max(rows) + 1)
        targets = [self.cache.scratch] * (max(rows) + 1)
        for row, sequence in zip(rows, writing, strict=True):
            token_ids[row], positions[row], targets[row] = sequence.last_token_id, sequence.length, sequence.length
            sequence.length += 1
        length = max(sequence.length for sequence in writing)
        all_rows = torch.arange(len(token_ids), device=self._device)[:, None]
        seen = (slice(len(token_ids)), slice(None), slice(length))
        window = Window(all_rows, self._tensor(targets)[:, None], seen, length)
        logits = self._forward(self._tensor(token_ids)[:, None], self._tensor(positions)[:, None], window)
        return logits if rows == list(range(len(rows))) else logits[rows]

    def _read(self, reading: Parts) -> Tensor:
        """Shorter parts are padded on the left."""
        longest = max(size for _, size in reading)
        token_ids, positions, targets = [], [], []
        for sequence, size in reading:
            padding, places = longest - size, list(range(sequence.length, sequence.length + size))
            token_ids.append([0] * padding + sequence.next_prompt_tokens(size))
            positions.append([0] * padding + places)
            targets.append([self.cache.scratch] * padding + places)
            sequence.length += size
        rows = self._tensor([sequence.held_row for sequence, _ in reading])
        length = max(sequence.length for sequence, _ in reading)
        window = Window(rows[:, None], self._tensor(targets), (rows, slice(None), slice(length)), length)
        return self._forward(self._tensor(token_ids), self._tensor(positions), window)

    def _forward(self, token_ids: Tensor, positions: Tensor, window: Window) -> Tensor:
        """[rows, new tokens] -> [rows, vocabulary], after each row's last."""
        self.cache.open(window)
        logits: Tensor = self._model(
            input_ids=token_ids,
            position_ids=positions,
            attention_mask=self._mask(positions, window.length)[:, None],
            past_key_values=self.cache,
            use_cache=True,
            **({"logits_to_keep": 1} if self._chooses else {}),
        ).logits
        return logits[:, -1]


class PackedRunner(ModelRunner):
    """One pass over all tokens of a step, one behind the other. From then on the model has the packed back end, which
    does for everybody else what `sdpa` does.

    Raises ModelUnfit for a model that takes no attention back end from outside.
    """

    layer = ChunkedLayer

    def __init__(self, base: BaseModel, cache: KVCache) -> None:
        super().__init__(base, cache)
        base.model.set_attn_implementation(NAME)
        if base.model.config._attn_implementation != NAME:
            raise ModelUnfit(f"{type(base.model).__name__} takes no attention back end from outside")
        # A model that is handed a mask of four dimensions makes none; the packed back end does not look at it.
        self._no_mask = torch.zeros(1, 1, 1, 1, dtype=self._dtype, device=self._device)

    def _states(self, writing: Many[Sequence], reading: Parts) -> Tensor:
        asked = [(sequence, [sequence.last_token_id]) for sequence in writing]
        asked += [(sequence, sequence.next_prompt_tokens(size)) for sequence, size in reading]
        order = sorted(range(len(asked)), key=lambda place: self._turn(*asked[place]))
        laid = [asked[place] for place in order]
        token_ids = [token_id for _, tokens in laid for token_id in tokens]
        rows = [sequence.held_row for sequence, tokens in laid for _ in tokens]
        positions = [sequence.length + step for sequence, tokens in laid for step in range(len(tokens))]
        places = self._tensor(positions)
        for sequence, tokens in laid:
            sequence.length += len(tokens)
        ends = list(accumulate(len(tokens) for _, tokens in laid))
        of_place = {place: end - 1 for place, end in zip(order, ends, strict=True)}
        self.cache.open(Window(self._tensor([rows]), places[None], ..., max(positions) + 1))
        return self._forward(
            self._tensor([token_ids]),
            places[None],
            self._packing(laid, places),
            self._tensor([of_place[place] for place in range(len(asked))]),
        )

    @staticmethod
    def _turn(sequence: Sequence, tokens: list[int]) -> tuple[bool, int]:
        """Singles first, as their rows lie in memory."""
        return len(tokens) > 1, sequence.held_row

    def _packing(self, laid: list[tuple[Sequence, list[int]]], places: Tensor) -> Packing:
        singles = [sequence for sequence, tokens in laid if len(tokens) == 1]
        first, parts = len(singles), []
        for sequence, tokens in laid[len(singles) :]:
            end = first + len(tokens)
            columns = min(-(-sequence.length // COLUMNS) * COLUMNS, self.cache.capacity)
            parts.append(Part(sequence.held_row, first, self._mask(places[first:end], columns)))
            first = end
        rows = self._tensor([sequence.held_row for sequence in singles])
        return Packing(Bags(rows, places[: len(singles)] + 1) if singles else None, tuple(parts))

    def _forward(self, token_ids: Tensor, positions: Tensor, packing: Packing, kept: Tensor) -> Tensor:
        """[1, tokens] -> [kept, vocabulary], or the states of which `_logits` makes them."""
        logits: Tensor = self._model(
            input_ids=token_ids,
            position_ids=positions,
            attention_mask=self._no_mask,
            past_key_values=self.cache,
            use_cache=True,
            packing=packing,
            **({"logits_to_keep": kept} if self._chooses else {}),
        ).logits[0]
        return logits if self._chooses else logits[kept]


class LlamaRunner(PackedRunner):
    """The same with a pass of our own in place of the model's code. Raises ModelUnfit for all but small Llamas."""

    def __init__(self, base: BaseModel, cache: KVCache) -> None:
        super().__init__(base, cache)
        if base.num_parameters > FEW_PARAMETERS:
            raise ModelUnfit(f"{base.name} is large: its steps are more numbers than calls")
        self._pass = LlamaPass(base.model)

    def _forward(self, token_ids: Tensor, positions: Tensor, packing: Packing, kept: Tensor) -> Tensor:
        return self._pass(token_ids, positions, self.cache, partial(attended, packing), kept)

    def _logits(self, states: Tensor) -> Tensor:
        return self._pass.head(states)


def runner_for(base: BaseModel, max_num_seqs: int, capacity: int, most_bytes: int | None = None) -> ModelRunner:
    """With a cache of so many rows of so many positions, or as many as fit in most_bytes. The packed way on a
    processor, where it computes what the model itself does; else the padded one, where that does.

    Raises CacheTooSmall, and ModelUnfit where neither way fits.
    """

    def made(kind: type[ModelRunner]) -> ModelRunner:
        shapes, dtype, layer = base.layer_shapes, base.dtype, kind.layer
        fitting = KVCache.rows_in(most_bytes, shapes, capacity, dtype, layer) if most_bytes else 10**6
        return kind(base, KVCache(shapes, min(max_num_seqs, fitting), capacity, dtype, base.device, layer))

    own = getattr(base.model.config, "_attn_implementation", "eager")
    if own not in MASKED_ATTENTION:
        raise ModelUnfit(
            f"the engine needs an attention back end that takes masks (sdpa or eager), not {own!r}: load the "
            "model with attn_implementation='sdpa'"
        )
    trial = Trial(base)
    if base.device.type == "cpu":
        for kind in (LlamaRunner, PackedRunner):
            if trial.passes(kind):
                return made(kind)
        base.model.set_attn_implementation(own)
    trial.run(PaddedRunner)
    return made(PaddedRunner)


class Trial:
    """Whether rows that are run together, in parts and token by token, get what the model says of each text alone.
    Made before a runner changes the model."""

    @torch.inference_mode()
    def __init__(self, base: BaseModel) -> None:
        self._base = base
        self._texts = [[1 + (7 * row + place) % 10 for place in range(size)] for row, size in enumerate(TRIAL_LENGTHS)]
        self._expected = torch.cat([self._alone(text) for text in self._texts])

    def passes(self, kind: type[ModelRunner]) -> bool:
        """Whether it can be run so."""
        try:
            self.run(kind)
        except ModelUnfit as unfit:
            level = logging.WARNING if unfit.__cause__ else logging.INFO  # something broke, or it is not made for it
            logger.log(level, "%s does not fit %s: %s", kind.__name__, self._base.name, unfit)
            return False
        return True

    @torch.inference_mode()
    def run(self, kind: type[ModelRunner]) -> None:
        """On a small cache. Raises ModelUnfit where something else comes out, or nothing."""
        base = self._base
        cache = KVCache(base.layer_shapes, 2, max(TRIAL_LENGTHS), base.dtype, base.device, kind.layer)
        try:
            found = self._together(kind(base, cache))
        except ModelUnfit:
            raise
        except Exception as broken:  # a foreign model's code may raise anything
            raise ModelUnfit(f"it fails on rows of different lengths: {type(broken).__name__}: {broken}") from broken
        off = float((found - self._expected).abs().max() / self._expected.abs().max())
        if not off <= TOLERANCE[base.dtype.itemsize]:
            raise ModelUnfit(f"rows that run together get other logits than alone (off by {off:.2g} of the largest)")

    def _alone(self, text: list[int]) -> Tensor:
        logits: Tensor = self._base.model(
            input_ids=torch.tensor([text], device=self._base.device), use_cache=False
        ).logits
        return logits[:, -1]

    def _together(self, runner: ModelRunner) -> Tensor:
        rows = [Sequence(text[:-1], SamplingParams(temperature=0), None, room=1) for text in self._texts]
        for row, (sequence, text) in enumerate(zip(rows, self._texts, strict=True)):
            sequence.row, sequence.last_token_id = len(rows) - 1 - row, text[-1]
        runner.run([], [(sequence, sequence.num_prompt_left - 1 - place) for place, sequence in enumerate(rows)])
        runner.run([], [(sequence, sequence.num_prompt_left) for sequence in rows])
        return runner.run(rows, [])


def _without_twins(states: Tensor, writing: Many[Sequence], reading: Parts) -> Tensor:
    """The rows that somebody reads, each mixed with its twin's where it has one."""
    sequences = [*writing, *(sequence for sequence, _ in reading)]
    if not any(sequence.is_twin for sequence in sequences):
        return states
    row_of = {sequence: row for row, sequence in enumerate(sequences)}
    read = [sequence for sequence in sequences if not sequence.is_twin]
    pairs = [(place, row_of[one], row_of[one.twin]) for place, one in enumerate(read) if one.twin is not None]
    places, voices, twins = (list(rows) for rows in zip(*pairs, strict=True))
    led = followed(states[voices], states[twins], [read[place].params.voice_strength for place in places])
    states = states[[row_of[sequence] for sequence in read]].to(led.dtype)
    states[places] = led
    return states


def _of_like_size(reading: Parts) -> list[list[int]]:
    """Places in groups within which no part is longer than twice another: at most half of a group is padding."""
    groups: list[list[int]] = []
    longest = 0
    for place in sorted(range(len(reading)), key=lambda place: -reading[place][1]):
        if groups and 2 * reading[place][1] >= longest:
            groups[-1].append(place)
        else:
            groups.append([place])
            longest = reading[place][1]
    return groups
