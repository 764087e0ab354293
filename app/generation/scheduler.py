"""Who runs next: waiting -> running -> gone, first come, first served, and which row of the cache each one has.

Rows are kept without gaps, so that a batch is always a range of neighbouring rows: first the requests that decode, then
at most one whose prompt is partly cached (with its twin). When a row falls free, the edges move down into the gap. Only
the loop thread calls this. Knows no model and no text.
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

        Either one prompt that is longer than a chunk (or a part of it), or several that are cached whole. A twin's part
        is as long as its partner's, so that both are through at once. Their rows are seeded. Empty when nothing waits
        or no row is free.
        """
        batch = [(sequence, self._part(sequence)) for sequence in self.running[self._num_decoding :]]
        while self.waiting and len(self.running) + len(self.waiting[0].rows) <= self._cache.max_num_seqs:
            part, rows = self._part(self.waiting[0]), self.waiting[0].rows
            longest = max([part, *(size for _, size in batch)])
            unfinished = any(size < sequence.num_prompt_left for sequence, size in batch)
            if batch and (unfinished or longest * (len(batch) + len(rows)) > self._chunk):
                break
            self.waiting.popleft()
            batch += [(self._admit(sequence), part) for sequence in rows]
        return batch

    def start_decoding(self, sequence: Sequence) -> None:
        """The prompt is cached: from now on its row decodes. Called in the order of rows."""
        assert sequence.row == self._num_decoding, "prompts are finished in the order of their rows"
        self._num_decoding += 1

    def release_all(self, sequence: Sequence) -> None:
        """Release the row of a running request, and its twin's."""
        for one in sequence.rows:
            self.release(one)

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
                self.release_all(sequence)
        return gone

    def abandon(self) -> list[Sequence]:
        """Forget every request without touching the cache, which may be what broke; returns them."""
        left = [sequence for sequence in (*self.running, *self.waiting) if not sequence.is_twin]
        self.running.clear()
        self.waiting.clear()
        self._num_decoding = 0
        return left

    @property
    def _chunk(self) -> int:
        return self._prefill_chunk if self._num_decoding else IDLE_CHUNKS * self._prefill_chunk

    def _part(self, sequence: Sequence) -> int:
        share = self._chunk // 2 if sequence.is_twin or sequence.twin is not None else self._chunk
        return min(sequence.num_prompt_left, max(1, share))

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
