"""One request on its way through the engine, and the stream its caller reads.

The loop thread alone writes a Sequence; the caller's thread reads its events and may set `cancelled`. Knows no text, no
model and no other request.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import Literal, Self

from app.generation.errors import EngineError
from app.generation.logprobs import Logprobs
from app.generation.sampling import SamplingParams, uniform_numbers
from tuning.prefix import Prefix

FinishReason = Literal["stop", "length"]


@dataclass(frozen=True, slots=True)
class Token:
    """One new token. The last one of an answer carries the reason.

    "stop": this token is one of the stop tokens, and no part of the text; "length": max_tokens or the room is spent.
    index: of which of the answers to one request it is; logprobs: how likely it was, where that was asked for.
    """

    id: int
    finish_reason: FinishReason | None = None
    index: int = 0
    logprobs: Logprobs | None = None


@dataclass(frozen=True, slots=True)
class Cut:
    """An answer's end without a last token: its caller had gone."""

    index: int


Events = SimpleQueue[Token | Cut | EngineError]


class Sequence:
    """A request's state: what was asked, how far its row is filled, and what was answered.

    prompt: the prompt's token ids; num_virtual_tokens: positions that the prefix takes in the row.
    length: positions of the row that are filled, the prefix's included; row: its row in the cache, None while it waits.
    max_new_tokens: the asked ceiling, cut to the room that is left.
    index, events: where a request has several answers, each has a number, and all share one queue.
    owner: whose request it is, for whom turns are kept; any string.
    kin: all answers to one request, this one included; whose prompt is cached first lends the others its row.
    twin: where a voice is followed by more or less than itself, the row beside it that has no prefix and is given the
        same tokens. It is admitted, run and released together with this one, and nobody reads it.
    """

    def __init__(
        self,
        prompt: list[int],
        params: SamplingParams,
        prefix: Prefix | None,
        room: int,
        index: int = 0,
        events: Events | None = None,
        owner: str = "",
    ) -> None:
        self.prompt = list(prompt)
        self.params = params
        self.prefix = prefix
        self.num_virtual_tokens = prefix.num_virtual_tokens if prefix is not None else 0
        self.max_new_tokens = min(params.max_tokens, room)
        self.twin = Sequence(prompt, replace(params, temperature=0), None, room) if self._follows(params) else None
        self.is_twin = False
        if self.twin is not None:
            self.twin.is_twin = True
        self.row: int | None = None
        self.length = self.num_virtual_tokens
        self.last_token_id = prompt[-1]
        self.num_generated = 0
        self.finished = False
        self.cancelled = False
        self.index = index
        self.events: Events = SimpleQueue() if events is None else events
        self.owner = owner
        self.kin: list[Sequence] = [self]
        self._stop_token_ids = frozenset(params.stop_token_ids)
        self._uniforms = [] if params.greedy else uniform_numbers(params.seed, self.max_new_tokens)

    def _follows(self, params: SamplingParams) -> bool:
        return self.prefix is not None and params.voice_strength != 1

    @property
    def rows(self) -> "tuple[Sequence, ...]":
        """What takes a row of the cache for this answer: itself and its twin."""
        return (self,) if self.twin is None else (self, self.twin)

    @property
    def held_row(self) -> int:
        """Its row in the cache. For running requests only."""
        assert self.row is not None, "only a running request has a row"
        return self.row

    @property
    def num_prompt_left(self) -> int:
        """Prompt tokens that are not in the cache yet."""
        return max(0, self.num_virtual_tokens + len(self.prompt) - self.length)

    @property
    def lender(self) -> "Sequence | None":
        """An answer to the same request whose row holds all of the prompt that this one needs not compute itself."""
        return next((one for one in self.kin if one.row is not None and one.num_prompt_left <= 1), None)

    @property
    def waits_for_kin(self) -> bool:
        """Whether another answer's row will hold the prompt before this one could read it."""
        return self.lender is None and any(one.row is not None for one in self.kin)

    def borrow_prompt(self) -> None:
        """The prompt was copied into its row, all but the last token, which says how the answer begins."""
        for one in self.rows:
            one.length = one.num_virtual_tokens + len(one.prompt) - 1

    def next_prompt_tokens(self, count: int) -> list[int]:
        """The next `count` prompt tokens to be cached."""
        start = self.length - self.num_virtual_tokens
        return self.prompt[start : start + count]

    @property
    def uniform(self) -> float:
        """The number in [0, 1) to be spent on the next token."""
        return self._uniforms[self.num_generated] if self._uniforms else 0.0

    def append(self, token_id: int, logprobs: Logprobs | None = None) -> Token:
        """Take in a new token and finish with the last one. The caller of this puts the Token among the events."""
        self.last_token_id = token_id
        if self.twin is not None:
            self.twin.last_token_id = token_id
        self.num_generated += 1
        reason: FinishReason | None = None
        if token_id in self._stop_token_ids:
            reason = "stop"
        elif self.num_generated >= self.max_new_tokens:
            reason = "length"
        self.finished = reason is not None
        if self.finished:
            self._let_go()
        return Token(token_id, reason, self.index, logprobs)

    def end(self, error: EngineError | None = None) -> None:
        """Nothing more will come: wake the caller, with `error` if that is why."""
        self.finished = True
        self._let_go()
        self.events.put(error or Cut(self.index))

    def _let_go(self) -> None:
        """Nothing of the prefix is held on to, and nobody goes round in a circle, so that memory is free at once."""
        for one in self.rows:
            one.prefix, one.kin = None, []


class GenerationStream:
    """What a caller holds of its request: an iterator of Token that blocks for the next one, of whichever answer.

    Ends when each answer has ended: after its token with a finish_reason, or early and without one after cancel().
    Raises EngineClosed or EngineFailed when the engine ends first. For one reading thread; cancel() may come from any.
    As a context manager it cancels on the way out, so that a caller that fails never keeps its rows.
    """

    def __init__(self, *sequences: Sequence) -> None:
        self._sequences = sequences
        self._events = sequences[0].events
        self._open = {sequence.index for sequence in sequences}

    def __iter__(self) -> Iterator[Token]:
        return self

    def __next__(self) -> Token:
        token = self.next_within(None)
        if token is None:
            raise StopIteration
        return token

    @property
    def ended(self) -> bool:
        """Whether the last token of each answer, or its end without one, has been read."""
        return not self._open

    def next_within(self, seconds: float | None) -> Token | None:
        """The next token, or None when there is none so soon (or, if it has `ended`, ever). None seconds: no limit."""
        while self._open:
            try:
                event = self._events.get(timeout=seconds)
            except Empty:
                return None
            if isinstance(event, EngineError):
                self._open.clear()
                raise event
            if event.index not in self._open:
                continue  # of an answer that the reader has done with
            if isinstance(event, Cut) or event.finish_reason is not None:
                self._open.remove(event.index)
            if isinstance(event, Token):
                return event
        return None

    def cancel(self) -> None:
        """Stop generating: the rows are free at the engine's next step. Harmless when all is over."""
        for sequence in self._sequences:
            sequence.cancelled = True

    def drop(self, index: int) -> None:
        """Have done with one of the answers: stop generating it, read no more of it. For the reading thread alone."""
        self._sequences[index].cancelled = True
        self._open.discard(index)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.cancel()
