"""Who runs next: waiting -> running -> gone, and which row of the cache each one has.

Whoever waits has its turn (app.generation.fair_queue); whoever runs keeps its row until it ends: nobody is ever put
back. A running request reads its prompt, then writes its answer. Only the loop thread calls this. Knows no model and no
text.
"""

import heapq

from app.generation.fair_queue import FairQueue
from app.generation.kv_cache import KVCache
from app.generation.sequence import Sequence

FREE_CHUNKS = 4


class Scheduler:
    """Admission, rows and how much is read in a step.

    prefill_chunk: prompt tokens that may be read in one step, or chunk_per_row for each row that writes where that is
    more, since a step of many rows is long anyway; four times as many where nobody writes, whom a longer step would
    stall, or more could begin than write: then longer steps are the shorter wait for most.
    """

    def __init__(self, cache: KVCache, prefill_chunk: int, chunk_per_row: int = 0) -> None:
        self._cache = cache
        self._prefill_chunk = prefill_chunk
        self._chunk_per_row = chunk_per_row
        self._free = list(range(cache.max_num_seqs))  # a heap: the lowest row is taken first
        self.waiting = FairQueue()
        self.running: list[Sequence] = []  # in the order of admission

    @property
    def writing(self) -> list[Sequence]:
        """The requests whose prompt is cached."""
        return [sequence for sequence in self.running if sequence.num_prompt_left == 0]

    @property
    def has_work(self) -> bool:
        """Whether another step would do anything."""
        return bool(self.running or self.waiting)

    def next_parts(self) -> list[tuple[Sequence, int]]:
        """The prompts to read now and how many tokens of each: first what is half read, then who waits, as far as there
        are rows. A twin's part is as long as its partner's, so that both are through at once."""
        left = self._chunk()
        parts: list[tuple[Sequence, int]] = []
        for sequence in [one for one in self.running if one.num_prompt_left and not one.is_twin]:
            left -= self._read(sequence, left, parts)
        while left > 0 and (first := self.waiting.next) and len(first.rows) <= len(self._free):
            self.waiting.take(first)
            self._admit(first)
            left -= self._read(first, left, parts)
        return parts

    def release_all(self, sequence: Sequence) -> None:
        """Take the row of a running request from it, and its twin's, and clear them."""
        for one in sequence.rows:
            self._cache.clear(one.held_row, one.length)
            heapq.heappush(self._free, one.held_row)
            self.running.remove(one)
            one.row = None

    def drop_cancelled(self) -> list[Sequence]:
        """Take out every request whose caller has gone; returns them."""
        gone = [sequence for sequence in (*self.running, *self.waiting) if sequence.cancelled]
        for sequence in gone:
            if sequence.row is None:
                self.waiting.remove(sequence)
            else:
                self.release_all(sequence)
        return gone

    def abandon(self) -> list[Sequence]:
        """Forget every request without touching the cache, which may be what broke; returns them."""
        left = [sequence for sequence in (*self.running, *self.waiting) if not sequence.is_twin]
        self.running.clear()
        self.waiting.clear()
        return left

    def _chunk(self) -> int:
        writing = len(self.writing)
        chunk = max(self._prefill_chunk, self._chunk_per_row * writing)
        crowded = min(self.waiting.num_ready, len(self._free)) > writing
        return chunk if writing and not crowded else FREE_CHUNKS * chunk

    @staticmethod
    def _read(sequence: Sequence, left: int, parts: list[tuple[Sequence, int]]) -> int:
        """Add the next part of a prompt; returns how many tokens that takes of those that are left."""
        size = min(sequence.num_prompt_left, max(1, left // len(sequence.rows)))
        parts += [(one, size) for one in sequence.rows]
        return size * len(sequence.rows)

    def _admit(self, sequence: Sequence) -> None:
        lender = sequence.lender
        for place, one in enumerate(sequence.rows):
            one.row = heapq.heappop(self._free)
            self.running.append(one)
            if lender is not None:
                lent = lender.rows[place]
                self._cache.copy(lent.held_row, one.row, one.num_virtual_tokens + len(one.prompt) - 1)
            elif one.prefix is not None:
                self._cache.seed(one.row, one.prefix)
            one.prefix = None  # its K/V are in the row: let the caller's tensors go
        if lender is not None:
            sequence.borrow_prompt()
