"""The row-slot K/V cache: one row per running request, each seeded from its own Prefix, all buffers allocated once.

A row holds one request from position 0 on: first its prefix, then its prompt and its answer. The buffers are handed to
the model as the `Cache` that every transformers decoder takes; a Window says what a forward pass writes and sees. Knows
nothing of requests, scheduling or sampling.
"""

from dataclasses import dataclass
from types import EllipsisType

import torch
from torch import Tensor
from transformers.cache_utils import Cache, CacheLayerMixin

from app.generation.bag_attention import CHUNK
from app.generation.errors import CacheTooSmall
from tuning.prefix import Prefix

Seen = EllipsisType | tuple[slice | Tensor, slice, slice]


@dataclass(frozen=True, eq=False)
class Window:
    """Which part of the buffers the coming forward pass writes and reads.

    rows, positions: [batch, new tokens] or what broadcasts to it, where each new K/V vector goes.
    seen: the part of [max_num_seqs, num_kv_heads, capacity + 1, head_dim] that attention is given.
    length: positions that attention sees, the new ones included.
    """

    rows: Tensor
    positions: Tensor
    seen: Seen
    length: int


class RowLayer(CacheLayerMixin):  # type: ignore[misc]  # transformers publishes no types
    """One layer's keys and values, each [max_num_seqs, num_kv_heads, capacity + 1, head_dim].

    The last position is scratch: what belongs to nobody (padding, rows without a request) is written there and never
    read.
    """

    is_sliding = False

    def __init__(
        self, max_num_seqs: int, shape: tuple[int, int], capacity: int, dtype: torch.dtype, device: torch.device
    ) -> None:
        super().__init__()
        heads, head_dim = shape
        self._capacity = capacity
        self.values: Tensor = torch.zeros(max_num_seqs, heads, capacity + 1, head_dim, dtype=dtype, device=device)
        self.keys: Tensor = torch.zeros(self._shape_of_keys(), dtype=dtype, device=device)
        self.is_initialized = True
        self.window: Window | None = None

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        """Never needed: the buffers stand from the start."""

    def update(self, key_states: Tensor, value_states: Tensor, *_: object, **__: object) -> tuple[Tensor, Tensor]:
        """Write the new [batch, heads, new tokens, head_dim] states; return what the window sees."""
        window = self.window
        assert window is not None, "KVCache.open() comes before the forward pass"
        self._write_keys(window.rows, window.positions, key_states.transpose(1, 2))
        self.values.transpose(1, 2)[window.rows, window.positions] = value_states.transpose(1, 2)
        return self.keys[window.seen], self.values[window.seen]

    def seed(self, row: int, keys: Tensor, values: Tensor) -> None:
        """Put [heads, P, head_dim] at positions 0 … P-1 of a cleared row."""
        self.keys[row, :, : keys.shape[1]] = keys
        self.values[row, :, : values.shape[1]] = values

    def copy(self, source: int, target: int, length: int) -> None:
        """Copy the first `length` positions of a row into a cleared one."""
        self.keys[target, :, :length] = self.keys[source, :, :length]
        self.values[target, :, :length] = self.values[source, :, :length]

    def clear(self, row: int, length: int) -> None:
        """Zero the first `length` positions of a row, and its scratch."""
        for buffer in (self.keys, self.values):
            buffer[row, :, :length] = 0
            buffer[row, :, self._capacity] = 0

    def _shape_of_keys(self) -> tuple[int, ...]:
        return tuple(self.values.shape)

    def _write_keys(self, rows: Tensor, positions: Tensor, keys: Tensor) -> None:
        """Keys: […, heads, head_dim], one for each of the rows and positions."""
        self.keys.transpose(1, 2)[rows, positions] = keys

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """Length and offset of what attention sees."""
        return self.get_seq_length(), 0

    def get_seq_length(self) -> int:
        """Positions that attention sees; rows differ, so the runner gives every row its own positions and mask."""
        return self.window.length if self.window is not None else 0

    def get_max_length(self) -> int:
        """Positions that a row can hold."""
        return self._capacity


class ChunkedLayer(RowLayer):
    """The same with keys by chunks of positions, [max_num_seqs, chunks, num_kv_heads, head_dim, CHUNK], as
    app.generation.bag_attention reads them, and without scratch for keys: nothing is padded."""

    def seed(self, row: int, keys: Tensor, values: Tensor) -> None:
        """A chunk after the other."""
        for chunk, part in enumerate(torch.split(keys.transpose(1, 2), CHUNK, dim=2)):
            self.keys[row, chunk, :, :, : part.shape[2]] = part
        self.values[row, :, : values.shape[1]] = values

    def copy(self, source: int, target: int, length: int) -> None:
        """With what else lies in the last chunk: of the same owner, and hidden."""
        chunks = -(-length // CHUNK)
        self.keys[target, :chunks] = self.keys[source, :chunks]
        self.values[target, :, :length] = self.values[source, :, :length]

    def clear(self, row: int, length: int) -> None:
        """Whole chunks."""
        self.keys[row, : -(-length // CHUNK)] = 0
        self.values[row, :, :length] = 0

    def _shape_of_keys(self) -> tuple[int, ...]:
        rows, heads, _, head_dim = self.values.shape
        return rows, -(-self._capacity // CHUNK), heads, head_dim, CHUNK

    def _write_keys(self, rows: Tensor, positions: Tensor, keys: Tensor) -> None:
        self.keys.permute(0, 1, 4, 2, 3)[rows, positions // CHUNK, positions % CHUNK] = keys


class KVCache(Cache):  # type: ignore[misc]  # transformers publishes no types
    """K/V of `max_num_seqs` rows of `capacity` positions.

    layer_shapes: (num_kv_heads, head_dim) of each layer; layer: how each keeps them. A row that was cleared is all
    zeros but for its scratch.
    """

    def __init__(
        self,
        layer_shapes: tuple[tuple[int, int], ...],
        max_num_seqs: int,
        capacity: int,
        dtype: torch.dtype,
        device: torch.device,
        layer: type[RowLayer] = RowLayer,
    ) -> None:
        self.rows: list[RowLayer] = [layer(max_num_seqs, shape, capacity, dtype, device) for shape in layer_shapes]
        super().__init__(layers=self.rows)
        self.max_num_seqs = max_num_seqs
        self.capacity = capacity

    @classmethod
    def rows_in(
        cls,
        num_bytes: int,
        layer_shapes: tuple[tuple[int, int], ...],
        capacity: int,
        dtype: torch.dtype,
        layer: type[RowLayer],
    ) -> int:
        """How many rows fit in so many bytes. Raises CacheTooSmall where there is not one."""
        of_a_row = cls(layer_shapes, 1, capacity, dtype, torch.device("meta"), layer).num_bytes
        if num_bytes < of_a_row:
            raise CacheTooSmall(of_a_row, capacity)
        return num_bytes // of_a_row

    @property
    def scratch(self) -> int:
        """The position for what belongs to nobody."""
        return self.capacity

    @property
    def num_bytes(self) -> int:
        """Memory of all buffers."""
        return sum(layer.keys.nbytes + layer.values.nbytes for layer in self.rows)

    def open(self, window: Window) -> None:
        """Set what the next forward pass writes and reads."""
        for layer in self.rows:
            layer.window = window

    def seed(self, row: int, prefix: Prefix) -> None:
        """Put the prefix's K/V at positions 0 … P-1 of a cleared row. The prefix itself stays untouched."""
        for layer, keys, values in zip(self.rows, prefix.keys, prefix.values, strict=True):
            layer.seed(row, keys, values)

    def copy(self, source: int, target: int, length: int) -> None:
        """Copy the first `length` positions of a row into a cleared one."""
        for layer in self.rows:
            layer.copy(source, target, length)

    def clear(self, row: int, length: int) -> None:
        """Zero the first `length` positions of a row, and its scratch: nothing of its request remains."""
        for layer in self.rows:
            layer.clear(row, length)
