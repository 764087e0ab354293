"""The inference engine: one thread that owns the model, and the door through which requests come in.

A step reads the next prompts (a bounded number of tokens) and writes one token of every running answer, each row with
its own prefix. Requests join and leave between steps. Knows no HTTP, no database and no text.
"""

import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from threading import Condition, Thread

from torch import Tensor

from app.generation.errors import (
    EngineClosed,
    EngineFailed,
    EngineFull,
    PromptTooLong,
    TooManyAtOnce,
    WrongPrefix,
)
from app.generation.logprobs import Logprobs, logprobs
from app.generation.model_runner import runner_for
from app.generation.sampling import SamplingParams, sample
from app.generation.scheduler import Scheduler
from app.generation.sequence import Events, GenerationStream, Sequence
from tuning.base_model import BaseModel
from tuning.prefix import Prefix

logger = logging.getLogger(__name__)

# Prompt tokens that a step may read, or so many for each row that writes where that is more. On a processor reading
# takes about as long as the rest of the step, and in 32 bits products are more of it (docs/serving.md); an
# accelerator's step takes its time whatever is in it.
CHUNK_CPU, CHUNK_CPU_32, CHUNK_ACCELERATOR = (24, 3), (16, 2), (512, 0)


@dataclass(frozen=True)
class EngineFigures:
    """What the engine is doing now, and has done since its start.

    running, waiting: rows that are taken, and that answers wait for; healthy: False once the loop broke or was closed.
    kv_cache_bytes: memory of the K/V buffers; steps, generated_tokens, finished_answers (whose caller had gone, too):
    totals.
    """

    running: int
    waiting: int
    max_num_seqs: int
    max_waiting: int
    max_model_len: int
    kv_cache_bytes: int
    healthy: bool
    steps: int
    generated_tokens: int
    finished_answers: int


class Engine:
    """Continuous batching of many users' requests on one frozen model.

    max_num_seqs: answers that run together, each with a row of its own; max_waiting: answers that may wait for one.
    max_model_len: positions of a row: prefix, prompt and answer (default and ceiling: the base model's context_length).
    kv_cache_bytes: memory for rows at most; fewer than max_num_seqs are made where it does not suffice.
    prefill_chunk: prompt tokens read in a step (default: on a CPU 24, or 3 for each row that writes, of which two
        thirds in 32 bits; 512 elsewhere); four times that where nobody writes, or more could begin than write.

    Raises CacheTooSmall, and ModelUnfit for a model on which rows can't be run together.
    """

    def __init__(
        self,
        base: BaseModel,
        *,
        max_num_seqs: int,
        max_waiting: int,
        max_model_len: int | None = None,
        kv_cache_bytes: int | None = None,
        prefill_chunk: int | None = None,
    ) -> None:
        self._base = base
        self._vocabulary = range(base.model.get_input_embeddings().num_embeddings)
        self._max_waiting = max_waiting
        capacity = min(base.context_length, max_model_len or base.context_length)
        self._runner = runner_for(base, max_num_seqs, capacity, kv_cache_bytes)
        self._cache = self._runner.cache
        self._scheduler = Scheduler(self._cache, *((prefill_chunk, 0) if prefill_chunk else _chunk(base)))
        self._door = Condition()  # guards the five below, which callers' threads touch too
        self._arrived: deque[Sequence] = deque()
        self._num_open = 0
        self._closing = False
        self._end: type[EngineClosed | EngineFailed] | None = None
        self._thread: Thread | None = None
        self._on_break: Callable[[], None] | None = None
        self._steps = self._generated_tokens = self._finished_answers = 0

    def start(self) -> None:
        """Start the loop thread. Requests that were submitted before wait for it."""
        with self._door:
            assert self._thread is None, "an engine starts once"
            self._thread = Thread(target=self._loop, name="generation", daemon=True)
            self._thread.start()

    def when_broken(self, act: Callable[[], None]) -> None:
        """Have `act` called, once, when a step breaks the loop: by then every open stream knows. At once where it has
        broken before."""
        with self._door:
            broken = self._end is EngineFailed
            if not broken:
                self._on_break = act
        if broken:
            act()

    def close(self) -> None:
        """Stop after the step in hand and end every open stream with EngineClosed. Returns when all is over."""
        with self._door:
            self._closing = True
            self._door.notify()
            thread = self._thread
        if thread is None:
            self._end_all(EngineClosed)
        else:
            thread.join()

    def submit(
        self,
        prompt_token_ids: list[int],
        params: SamplingParams,
        prefix: Prefix | None,
        count: int = 1,
        *,
        owner: str = "",
    ) -> GenerationStream:
        """Ask for an answer to a prompt, in the voice of a prefix or, with None, of the base model. From any thread.

        count: so many independent answers, each with a row of its own; all of them get a place, or none. The prompt is
        read once where they have rows at the same time. A voice that is followed by another strength than 0 or 1 takes
        a second row for each.
        owner: whose request it is; those who wait take turns by owner.

        Raises EngineFull, TooManyAtOnce, PromptTooLong, WrongPrefix, EngineClosed, EngineFailed, and ValueError for a
        prompt that is empty or holds ids that the model does not know.
        """
        self._check_voice(prefix)
        prefix = prefix if params.voice_strength else None
        room, events = self._check(prompt_token_ids, prefix), Events()
        sequences = [
            Sequence(prompt_token_ids, params.of_answer(index), prefix, room, index, events, owner)
            for index in range(count)
        ]
        for sequence in sequences:
            sequence.kin = sequences
        rows, rows_of_one = sum(len(sequence.rows) for sequence in sequences), len(sequences[0].rows)
        places = self._cache.max_num_seqs + self._max_waiting
        if rows > places or rows_of_one > self._cache.max_num_seqs:
            most = min(places, self._cache.max_num_seqs) if rows_of_one > self._cache.max_num_seqs else places
            raise TooManyAtOnce(f"This takes {rows} rows of the batch, and there are at most {most}.")
        with self._door:
            if self._end is not None:
                raise self._end()
            if self._closing:
                raise EngineClosed
            if self._num_open + rows > places:
                raise EngineFull("Too many requests are waiting. Try again in a moment.")
            self._num_open += rows
            self._arrived.extend(sequences)
            self._door.notify()
        return GenerationStream(*sequences)

    def figures(self) -> EngineFigures:
        """A snapshot. From any thread, never blocked by a step."""
        with self._door:
            running = len(self._scheduler.running)
            return EngineFigures(
                running=running,
                waiting=max(0, self._num_open - running),
                max_num_seqs=self._cache.max_num_seqs,
                max_waiting=self._max_waiting,
                max_model_len=self._cache.capacity,
                kv_cache_bytes=self._cache.num_bytes,
                healthy=self._thread is not None and self._end is None and not self._closing,
                steps=self._steps,
                generated_tokens=self._generated_tokens,
                finished_answers=self._finished_answers,
            )

    def _check_voice(self, prefix: Prefix | None) -> None:
        if prefix is not None and prefix.base_fingerprint != self._base.fingerprint:
            raise WrongPrefix("This voice was trained for another base model. Train it again.")

    def _check(self, prompt: list[int], prefix: Prefix | None) -> int:
        """Refuse what can't be run; return the room that is left for new tokens."""
        if not prompt:
            raise ValueError("The prompt is empty: it needs at least one token.")
        if min(prompt) not in self._vocabulary or max(prompt) not in self._vocabulary:
            raise ValueError(f"The prompt has token ids outside the vocabulary (0 to {self._vocabulary[-1]}).")
        limit = max(0, self._cache.capacity - 1 - (prefix.num_virtual_tokens if prefix is not None else 0))
        if len(prompt) > limit:
            raise PromptTooLong(limit, len(prompt))
        return limit + 1 - len(prompt)

    def _loop(self) -> None:
        """The loop thread's whole life. Whatever breaks a step ends the engine, and nobody is left waiting."""
        try:
            while self._await_work():
                self._step()
        except Exception as failure:
            logger.exception("the generation loop broke (%s)", type(failure).__name__)
            self._end_all(EngineFailed)
            if self._on_break is not None:
                self._on_break()
        else:
            self._end_all(EngineClosed)

    def _await_work(self) -> bool:
        """Sleep until there is something to do; take in the new arrivals. False when it is time to go."""
        with self._door:
            while not (self._closing or self._arrived or self._scheduler.has_work):
                self._door.wait()
            self._scheduler.waiting.extend(self._arrived)
            self._arrived.clear()
            return not self._closing

    def _step(self) -> None:
        for sequence in self._scheduler.drop_cancelled():
            self._leave(sequence)
            sequence.end()
        reading = self._scheduler.next_parts()
        writing = self._scheduler.writing
        if reading or writing:
            logits = self._runner.run(writing, reading)
            sequences = [one for one in (*writing, *(one for one, _ in reading)) if not one.is_twin]
            through = [place for place, sequence in enumerate(sequences) if sequence.num_prompt_left == 0]
            if len(through) < len(sequences):
                logits, sequences = logits[through], [sequences[place] for place in through]
            self._choose(logits, sequences)
        self._steps += 1

    def _choose(self, logits: Tensor, sequences: list[Sequence]) -> None:
        """Sample the next token of each row and hand it over; requests that are finished with it give up their rows."""
        if not sequences:
            return
        params = [sequence.params for sequence in sequences]
        token_ids = sample(logits, params, [sequence.uniform for sequence in sequences])
        told = self._logprobs(logits, params, token_ids)
        for row, (sequence, token_id) in enumerate(zip(sequences, token_ids, strict=True)):
            token = sequence.append(token_id, told.get(row))
            if sequence.finished:
                self._scheduler.release_all(sequence)
                self._leave(sequence)
            sequence.events.put(token)  # after its row is free: who reads the last token may count on it
        self._generated_tokens += len(sequences)

    @staticmethod
    def _logprobs(logits: Tensor, params: list[SamplingParams], token_ids: list[int]) -> dict[int, Logprobs]:
        """Row -> how likely its token was, of those that ask for it."""
        counts = {row: asked.logprobs for row, asked in enumerate(params) if asked.logprobs is not None}
        if not counts:
            return {}
        rows = list(counts)
        return dict(
            zip(rows, logprobs(logits[rows], [token_ids[row] for row in rows], list(counts.values())), strict=True)
        )

    def _leave(self, sequence: Sequence) -> None:
        """An answer is over: make room for another at the door."""
        with self._door:
            self._num_open -= len(sequence.rows)
            self._finished_answers += 1

    def _end_all(self, why: type[EngineClosed | EngineFailed]) -> None:
        """The engine's end: every open stream learns why, and so does everyone who asks from now on."""
        with self._door:
            self._end = self._end or why
            left = [*self._scheduler.abandon(), *self._arrived]
            self._arrived.clear()
            self._num_open = 0
        for sequence in left:
            sequence.end(why())


def _chunk(base: BaseModel) -> tuple[int, int]:
    if base.device.type != "cpu":
        return CHUNK_ACCELERATOR
    return CHUNK_CPU if base.dtype.itemsize == 2 else CHUNK_CPU_32
