"""Attention of rows with one new token each, as sums of table rows with weights.

Keys lie by chunks, positions innermost, so that a chunk's scores are the sum of the rows of a table with the query's
numbers as weights, and values are summed with the softmax's: `embedding_bag` does both at nearly the speed of memory,
reads every row to its own end, and copies nothing. Heads that share keys each read them, from what is then at hand.
Knows nothing of requests.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import embedding_bag

CHUNK = 64


@dataclass(frozen=True)
class Tables:
    """The sizes of buffers that Bags point into.

    keys: [rows, chunks, kv_heads, width, CHUNK]; values: [rows, kv_heads, positions, their own width].
    """

    kv_heads: int
    chunks: int
    width: int
    positions: int

    @classmethod
    def of(cls, key: Tensor, value: Tensor) -> "Tables":
        """Their sizes."""
        return cls(kv_heads=key.shape[2], chunks=key.shape[1], width=key.shape[3], positions=value.shape[2])


class Bags:
    """What the new tokens of some rows see.

    rows: [n] of the cache, best in rising order, as they lie in memory; lengths: [n], positions that each one's new
    token sees.
    """

    def __init__(self, rows: Tensor, lengths: Tensor) -> None:
        self._rows = rows
        self._lengths = lengths
        self._chunks = (lengths + CHUNK - 1) // CHUNK
        self._most = int(self._chunks.max())
        self._pointers: dict[tuple[Tables, int], Pointers] = {}

    def __len__(self) -> int:
        """How many new tokens."""
        return len(self._rows)

    def attend(self, query: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor:
        """[n, heads, head_dim] queries -> the same of answers."""
        tables = Tables.of(key, value)
        count, heads, _ = query.shape
        at = self._pointers.get((tables, heads)) or self._pointers.setdefault(
            (tables, heads), self._point(tables, heads, query.dtype)
        )
        asked = (query * scale).index_select(0, at.row_of_chunk).view(-1)
        found = embedding_bag(at.keys, key.view(-1, CHUNK), at.key_bags, mode="sum", per_sample_weights=asked)
        found.view(-1, heads, CHUNK).add_(at.hidden)
        at.scores.index_copy_(0, at.place_of_chunk, found)
        weights = torch.softmax(at.scores.view(count * heads, -1), dim=-1).view(-1).index_select(0, at.weights)
        answers = embedding_bag(
            at.values, value.view(-1, value.shape[3]), at.value_bags, mode="sum", per_sample_weights=weights
        )
        return answers.view(count, heads, -1)

    def _point(self, tables: Tables, heads: int, dtype: torch.dtype) -> "Pointers":
        rows, lengths = self._rows.int()[:, None], self._lengths[:, None]
        head = torch.arange(heads, dtype=torch.int32, device=rows.device)
        read = head * tables.kv_heads // heads  # whose keys and values a head reads
        row, chunk = _ragged(self._chunks)
        of_chunk = torch.arange(CHUNK, device=rows.device) + CHUNK * chunk[:, None]
        hidden = torch.zeros(of_chunk.shape, dtype=dtype, device=rows.device)
        lowest = torch.finfo(dtype).min
        bag = torch.arange(len(rows), dtype=torch.int32, device=rows.device)[:, None] * heads + head  # [n, heads]
        keys = (
            ((rows[row] * tables.chunks + chunk[:, None].int()) * tables.kv_heads + read)[..., None] * tables.width
        ).view(-1, 1)
        sizes = lengths.expand(-1, heads).reshape(-1)
        begins = (sizes.cumsum(0) - sizes).int()
        scores = torch.full((bag.numel() * self._most, CHUNK), lowest, dtype=dtype, device=rows.device)
        count = torch.arange(int(begins[-1] + sizes[-1]), dtype=torch.int32, device=rows.device)
        in_scores = bag.view(-1) * (self._most * CHUNK) - begins
        in_values = ((rows * tables.kv_heads + read) * tables.positions).view(-1) - begins
        return Pointers(
            row_of_chunk=row,
            hidden=hidden.masked_fill_(of_chunk >= lengths[row], lowest)[:, None],
            place_of_chunk=(bag[row] * self._most + chunk[:, None]).view(-1),
            scores=scores,
            keys=(keys + torch.arange(tables.width, dtype=torch.int32, device=rows.device)).view(-1),
            key_bags=torch.arange(len(keys), dtype=torch.int32, device=rows.device) * tables.width,
            weights=count + in_scores.repeat_interleave(sizes),
            values=count + in_values.repeat_interleave(sizes),
            value_bags=begins,
        )


@dataclass(frozen=True, eq=False)
class Pointers:
    """Where Bags find what they see in buffers of certain sizes; the same for all layers that have them.

    row_of_chunk: [chunks]; hidden: [chunks, 1, CHUNK], added to scores: 0, or the lowest number beyond a row's end.
    place_of_chunk: [chunks * heads], in the scores; scores: [n * heads * most chunks, CHUNK], the lowest number where
        there is no chunk; a layer's overwrite those of the one before.
    keys, key_bags: rows of the table of keys, and where those of a chunk begin.
    weights: of each position its place in the scores; values, value_bags: rows of the table, and where a row's begin.
    """

    row_of_chunk: Tensor
    hidden: Tensor
    place_of_chunk: Tensor
    scores: Tensor
    keys: Tensor
    key_bags: Tensor
    weights: Tensor
    values: Tensor
    value_bags: Tensor


def _ragged(counts: Tensor) -> tuple[Tensor, Tensor]:
    """[n] counts -> for each of their sum which of the n it belongs to, and its number there."""
    of = torch.arange(len(counts), device=counts.device).repeat_interleave(counts)
    begins = counts.cumsum(0) - counts
    return of, torch.arange(len(of), device=counts.device) - begins[of]
