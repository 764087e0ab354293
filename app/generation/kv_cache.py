"""The row-slot K/V cache: one row per running request, each seeded from its own Prefix, all buffers allocated once.

A row holds one request from position 0 on: first its prefix, then its prompt and its answer. Rows are handed to the
model as the `Cache` that every transformers decoder takes, as a view of neighbouring rows cut to the longest of them:
nothing is gathered or copied to run a batch. Knows nothing of requests, scheduling or sampling.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from transformers.cache_utils import Cache, CacheLayerMixin

from tuning.prefix import Prefix


@dataclass
class Window:
    """Which part of the buffers the coming forward pass reads and writes.

    rows: [n, 1] neighbouring row numbers; first, last: the same as a half-open range.
    positions: [n, new tokens], where each new K/V vector goes.
    length: positions that attention sees, the new ones included.
    """

    rows: Tensor
    first: int
    last: int
    positions: Tensor
    length: int


class RowLayer(CacheLayerMixin):  # type: ignore[misc]  # transformers publishes no types
    """One layer's keys and values, each [max_num_seqs, num_kv_heads, capacity + 1, head_dim].

    The last position is scratch: padding of a prefill batch is written there and never read.
    """

    is_sliding = False

    def __init__(self, shape: tuple[int, int, int, int], dtype: torch.dtype, device: torch.device) -> None:
        super().__init__()
        self.keys: Tensor = torch.zeros(shape, dtype=dtype, device=device)
        self.values: Tensor = torch.zeros(shape, dtype=dtype, device=device)
        self.is_initialized = True
        self.window: Window | None = None

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        """Never needed: the buffers stand from the start."""

    def update(self, key_states: Tensor, value_states: Tensor, *_: object, **__: object) -> tuple[Tensor, Tensor]:
        """Write the new [n, heads, new tokens, head_dim] states; return what the window's rows may attend to."""
        window = self.window
        assert window is not None, "KVCache.open() comes before the forward pass"
        for buffer, states in ((self.keys, key_states), (self.values, value_states)):
            buffer.transpose(1, 2)[window.rows, window.positions] = states.transpose(1, 2)
        seen = (slice(window.first, window.last), slice(None), slice(window.length))
        return self.keys[seen], self.values[seen]

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """Length and offset of what attention sees."""
        return self.get_seq_length(), 0

    def get_seq_length(self) -> int:
        """Positions that attention sees; rows differ, so the runner gives every row its own positions and mask."""
        return self.window.length if self.window is not None else 0

    def get_max_length(self) -> int:
        """Positions that a row can hold."""
        return int(self.keys.shape[2]) - 1


class KVCache(Cache):  # type: ignore[misc]  # transformers publishes no types
    """K/V of `max_num_seqs` rows of `capacity` positions.

    layer_shapes: (num_kv_heads, head_dim) of each layer. A row that was cleared is all zeros.
    """

    def __init__(
        self,
        layer_shapes: tuple[tuple[int, int], ...],
        max_num_seqs: int,
        capacity: int,
        dtype: torch.dtype,
        device: torch.device,
    ) -> None:
        self.rows: list[RowLayer] = [
            RowLayer((max_num_seqs, heads, capacity + 1, head_dim), dtype, device) for heads, head_dim in layer_shapes
        ]
        super().__init__(layers=self.rows)
        self.max_num_seqs = max_num_seqs
        self.capacity = capacity
        self.device = device
        self._row_numbers = torch.arange(max_num_seqs, device=device)[:, None]

    @property
    def scratch(self) -> int:
        """The position that padding is written to."""
        return self.capacity

    @property
    def num_bytes(self) -> int:
        """Memory of all buffers."""
        return sum(layer.keys.nbytes + layer.values.nbytes for layer in self.rows)

    def open(self, first: int, last: int, positions: Tensor, length: int) -> None:
        """Set what the next forward pass reads and writes: rows first … last-1, attention over `length` positions."""
        window = Window(self._row_numbers[first:last], first, last, positions, length)
        for layer in self.rows:
            layer.window = window

    def seed(self, row: int, prefix: Prefix) -> None:
        """Put the prefix's K/V at positions 0 … P-1 of a cleared row. The prefix itself stays untouched."""
        for layer, keys, values in zip(self.rows, prefix.keys, prefix.values, strict=True):
            layer.keys[row, :, : keys.shape[1]] = keys
            layer.values[row, :, : values.shape[1]] = values

    def move(self, source: int, target: int, length: int) -> None:
        """Move the first `length` positions of a row into a cleared one, and clear the source."""
        for layer in self.rows:
            layer.keys[target, :, :length] = layer.keys[source, :, :length]
            layer.values[target, :, :length] = layer.values[source, :, :length]
        self.clear(source, length)

    def clear(self, row: int, length: int) -> None:
        """Zero the first `length` positions of a row, and its scratch: nothing of its request remains."""
        for layer in self.rows:
            for buffer in (layer.keys, layer.values):
                buffer[row, :, :length] = 0
                buffer[row, :, self.scratch] = 0
