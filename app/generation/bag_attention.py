"""Attention of rows with one new token each, as sums of table rows with weights.

Keys lie by chunks, positions innermost, so that a chunk's scores are the sum of the rows of a table with the query's
numbers as weights, and values are summed with the softmax's: `embedding_bag` does both at nearly the speed of memory,
reads every row to its own end, and copies nothing. It is for models whose heads have keys of their own: where several
share them, one product over all of them is faster. Knows nothing of requests.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import embedding_bag

CHUNK = 64


@dataclass(frozen=True)
class Tables:
    """The sizes of buffers that Bags point into.

    keys: [rows, heads, chunks, width, CHUNK]; values: [rows, heads, positions, their own width].
    """

    heads: int
    chunks: int
    width: int
    positions: int

    @classmethod
    def of(cls, key: Tensor, value: Tensor) -> "Tables":
        """Their sizes."""
        return cls(heads=key.shape[1], chunks=key.shape[2], width=key.shape[3], positions=value.shape[2])


class Bags:
    """What the new tokens of some rows see.

    rows: [n] of the cache; lengths: [n], positions that each one's new token sees.
    """

    def __init__(self, rows: Tensor, lengths: Tensor) -> None:
        self._rows = rows
        self._lengths = lengths
        self._chunks = (lengths + CHUNK - 1) // CHUNK
        self._most = int(self._chunks.max())
        columns = torch.arange(self._most * CHUNK, device=rows.device)
        self._hidden = (columns >= lengths[:, None])[:, None]  # [n, 1, columns]
        self._pointers: dict[Tables, Pointers] = {}

    def attend(self, query: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor:
        """[n, heads, head_dim] queries -> the same of answers."""
        tables = Tables.of(key, value)
        at = self._pointers.get(tables) or self._pointers.setdefault(tables, self._point(tables))
        count, heads, _ = query.shape
        asked = (query * scale).index_select(0, at.row_of_chunk).view(-1)
        found = embedding_bag(at.keys, key.view(-1, CHUNK), at.key_bags, mode="sum", per_sample_weights=asked)
        scores = found.new_empty(count * heads * self._most, CHUNK).index_copy_(0, at.place_of_chunk, found)
        scores = scores.view(count, heads, -1).masked_fill_(self._hidden, torch.finfo(scores.dtype).min)
        weights = torch.softmax(scores, dim=-1).view(-1).index_select(0, at.weights)
        answers = embedding_bag(
            at.values, value.view(-1, value.shape[3]), at.value_bags, mode="sum", per_sample_weights=weights
        )
        return answers.view(count, heads, -1)

    def _point(self, tables: Tables) -> "Pointers":
        heads = torch.arange(tables.heads, device=self._rows.device)
        row, chunk = _ragged(self._chunks)
        chunks = (self._rows[row, None] * tables.heads + heads) * tables.chunks + chunk[:, None]  # [chunks, heads]
        places = (row[:, None] * tables.heads + heads) * self._most + chunk[:, None]
        keys = chunks.view(-1, 1) * tables.width + torch.arange(tables.width, device=self._rows.device)
        bag, position = _ragged(self._lengths.repeat_interleave(tables.heads))
        first_value = ((self._rows[:, None] * tables.heads + heads) * tables.positions).view(-1)
        ends = self._lengths.repeat_interleave(tables.heads).cumsum(0)
        return Pointers(
            row_of_chunk=row,
            place_of_chunk=places.view(-1),
            keys=keys.view(-1).int(),
            key_bags=torch.arange(0, keys.numel(), tables.width, device=self._rows.device).int(),
            weights=bag * (self._most * CHUNK) + position,
            values=(first_value[bag] + position).int(),
            value_bags=torch.cat([ends.new_zeros(1), ends[:-1]]).int(),
        )


@dataclass(frozen=True, eq=False)
class Pointers:
    """Where Bags find what they see in buffers of certain sizes; the same for all layers that have them.

    row_of_chunk: [chunks]; place_of_chunk: [chunks * heads], in the scores of all rows.
    keys, key_bags: rows of the table of keys, and where those of a chunk begin.
    weights: of each position its place in the scores; values, value_bags: rows of the table, and where a row's begin.
    """

    row_of_chunk: Tensor
    place_of_chunk: Tensor
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
