"""Who runs next: waiting -> running -> gone, first come, first served, and which row of the cache each one has.

Rows are kept without gaps, so that a batch is always a range of neighbouring rows: first the requests that decode, then
at most one whose prompt is partly cached. When a row falls free, the edges move down into the gap. Only the loop
thread calls this. Knows no model and no text.
"""

from collections import deque

from app.generation.kv_cache import KVCache
from app.generation.sequence import Sequence

IDLE_CHUNKS = 4


class Scheduler:
    """Admission, rows and order.

    prefill_chunk: prompt tokens (rows x longest part, padding included) that may be cached between two decode steps;
    four times as many where nobody decodes, whom a longer step would stall.
    """

    def __init__(self, cache: KVCache, prefill_chunk: int) -> None:
        self._cache = cache
        self._prefill_chunk = prefill_chunk
        self.waiting: deque[Sequence] = deque()
        self.running: list[Sequence] = []  # running[i] has row i
        self._num_decoding = 0

    @property
    def decoding(self) -> list[Sequence]:
        """The requests whose next token comes from a decode step: rows 0 … len-1."""
        return self.running[: self._num_decoding]

    @property
    def has_work(self) -> bool:
        """Whether another step would do anything."""
        return bool(self.running or self.waiting)

    def next_prefill(self) -> list[tuple[Sequence, int]]:
        """The next prompts to cache and how many tokens of each, in neighbouring rows after the decoding ones.

        Either one prompt that is longer than a chunk (or a part of it), or several that are cached whole.
        Their rows are seeded. Empty when nothing waits or no row is free.
        """
        batch = [(sequence, self._part(sequence)) for sequence in self.running[self._num_decoding :]]
        while self.waiting and len(self.running) < self._cache.max_num_seqs:
            part = self._part(self.waiting[0])
            longest = max([part, *(size for _, size in batch)])
            if batch and longest * (len(batch) + 1) > self._chunk:
                break
            batch.append((self._admit(self.waiting.popleft()), part))
        return batch

    def start_decoding(self, sequence: Sequence) -> None:
        """The prompt is cached: from now on its row decodes. Called in the order of rows."""
        assert sequence.row == self._num_decoding, "prompts are finished in the order of their rows"
        self._num_decoding += 1

    def release(self, sequence: Sequence) -> None:
        """Clear the row of a running request and close the gap."""
        gap = self._row_of(sequence)
        self._cache.clear(gap, sequence.length)
        if gap < self._num_decoding:
            self._num_decoding -= 1
        for edge in (self._num_decoding, len(self.running) - 1):
            if edge > gap:
                self._move(edge, gap)
                gap = edge
        self.running.pop()
        sequence.row = None

    def drop_cancelled(self) -> list[Sequence]:
        """Take out every request whose caller has gone; returns them."""
        gone = [sequence for sequence in (*self.running, *self.waiting) if sequence.cancelled]
        for sequence in gone:
            if sequence.row is None:
                self.waiting.remove(sequence)
            else:
                self.release(sequence)
        return gone

    def abandon(self) -> list[Sequence]:
        """Forget every request without touching the cache, which may be what broke; returns them."""
        left = [*self.running, *self.waiting]
        self.running.clear()
        self.waiting.clear()
        self._num_decoding = 0
        return left

    @property
    def _chunk(self) -> int:
        return self._prefill_chunk if self._num_decoding else IDLE_CHUNKS * self._prefill_chunk

    def _part(self, sequence: Sequence) -> int:
        return min(sequence.num_prompt_left, self._chunk)

    def _admit(self, sequence: Sequence) -> Sequence:
        sequence.row = len(self.running)
        self.running.append(sequence)
        if sequence.prefix is not None:
            self._cache.seed(sequence.row, sequence.prefix)
            sequence.prefix = None  # its K/V are in the row: let the caller's tensors go
        return sequence

    def _move(self, source: int, target: int) -> None:
        sequence = self.running[source]
        self._cache.move(source, target, sequence.length)
        self.running[target] = sequence
        sequence.row = target

    @staticmethod
    def _row_of(sequence: Sequence) -> int:
        assert sequence.row is not None, "only a running request has a row"
        return sequence.row
