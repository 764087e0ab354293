"""Prefix: the trained keys and values of one voice, and their stored form. Knows nothing of users, of training or of
where the bytes are kept."""

import hashlib
import json
import math
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Self

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor
from transformers import DynamicCache

from tuning.errors import InvalidPrefix, WrongBaseModel

FORMAT = "idiolect-prefix"
FORMAT_VERSION = "1"
STORED_DTYPE = torch.float16
_DTYPES = {"float16": torch.float16, "bfloat16": torch.bfloat16, "float32": torch.float32, "float64": torch.float64}
_MAX_HEADER = 1 << 20


@dataclass(frozen=True, eq=False)
class Prefix:
    """Keys and values of the virtual tokens at positions 0 … P−1, one tensor [num_kv_heads, P, head_dim] per layer.

    Real tokens take positions P … P+L−1 and the attention mask has length P+L. Keys are as the model caches them:
    nothing rotates or normalises them again. Never modified: every cache made from it is fresh.
    """

    keys: tuple[Tensor, ...]
    values: tuple[Tensor, ...]
    base_fingerprint: str

    @property
    def num_virtual_tokens(self) -> int:
        """P."""
        return int(self.keys[0].shape[1])

    @property
    def num_bytes(self) -> int:
        """Size of the tensors as they lie in memory."""
        return sum(tensor.numel() * tensor.element_size() for tensor in (*self.keys, *self.values))

    @property
    def layer_shapes(self) -> tuple[tuple[int, int], ...]:
        """(num_kv_heads, head_dim) of each layer."""
        return tuple((keys.shape[0], keys.shape[2]) for keys in self.keys)

    @property
    def digest(self) -> str:
        """Hex SHA-256 of the values in float64 and of the base model's fingerprint: the same for the same prefix, which
        its bytes are not (their header's order varies)."""
        whole = hashlib.sha256(self.base_fingerprint.encode())
        for tensor in (*self.keys, *self.values):
            whole.update(f"{tuple(tensor.shape)}".encode())
            whole.update(tensor.detach().to("cpu", torch.float64).contiguous().numpy().tobytes())
        return whole.hexdigest()

    def as_cache(self, batch_size: int = 1) -> DynamicCache:
        """A fresh cache whose every row begins with this prefix, [batch_size, num_kv_heads, P, head_dim] per layer."""
        return DynamicCache(
            [
                (keys.expand(batch_size, *keys.shape), values.expand(batch_size, *values.shape))
                for keys, values in zip(self.keys, self.values, strict=True)
            ]
        )

    def to(self, device: torch.device | None = None, dtype: torch.dtype | None = None) -> "Prefix":
        """The same prefix elsewhere or in another floating-point type."""
        return Prefix(
            keys=tuple(tensor.to(device=device, dtype=dtype) for tensor in self.keys),
            values=tuple(tensor.to(device=device, dtype=dtype) for tensor in self.values),
            base_fingerprint=self.base_fingerprint,
        )

    def to_bytes(self, dtype: torch.dtype = STORED_DTYPE) -> bytes:
        """Safetensors bytes. Raises InvalidPrefix when a value is not finite in `dtype`."""
        stored = self.to(torch.device("cpu"), dtype)
        tensors = _named(stored.keys, stored.values)
        _require_finite(tensors.values())
        metadata = {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "base_fingerprint": self.base_fingerprint,
            "num_virtual_tokens": str(self.num_virtual_tokens),
            "num_layers": str(len(self.keys)),
            "dtype": str(dtype).removeprefix("torch."),
        }
        return bytes(save(tensors, metadata))

    @classmethod
    def from_bytes(
        cls,
        data: bytes,
        expected_fingerprint: str,
        *,
        layer_shapes: Sequence[tuple[int, int]] | None = None,
        device: torch.device | None = None,
        dtype: torch.dtype | None = None,
    ) -> Self:
        """Read what to_bytes wrote. `layer_shapes`, where given, must be the model's.

        Raises WrongBaseModel (trained for another model), InvalidPrefix (cut, altered or of another format).
        """
        metadata = _metadata(data)
        _check_kind(metadata, expected_fingerprint)
        try:
            tensors = load(data)
        except (SafetensorError, ValueError) as wrong:
            raise InvalidPrefix(f"These prefix bytes are damaged: {wrong}") from wrong
        keys, values = _checked_layers(tensors, metadata)
        prefix = cls(keys=keys, values=values, base_fingerprint=expected_fingerprint)
        if layer_shapes is not None and prefix.layer_shapes != tuple(layer_shapes):
            raise InvalidPrefix("These prefix bytes do not have the base model's layers.")
        return cls(*_moved(keys, values, device, dtype), base_fingerprint=expected_fingerprint)


def _named(keys: Sequence[Tensor], values: Sequence[Tensor]) -> dict[str, Tensor]:
    pairs = enumerate(zip(keys, values, strict=True))
    return {
        f"layer.{n}.{part}": t.contiguous() for n, kv in pairs for part, t in zip(("key", "value"), kv, strict=True)
    }


def _moved(
    keys: Sequence[Tensor], values: Sequence[Tensor], device: torch.device | None, dtype: torch.dtype | None
) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    return tuple(k.to(device=device, dtype=dtype) for k in keys), tuple(
        v.to(device=device, dtype=dtype) for v in values
    )


def _metadata(data: bytes) -> dict[str, Any]:
    """The safetensors header's own metadata: eight bytes of length, then JSON."""
    if len(data) < 8:
        raise InvalidPrefix("These prefix bytes are cut short.")
    (length,) = struct.unpack("<Q", data[:8])
    if length > min(_MAX_HEADER, len(data) - 8):
        raise InvalidPrefix("These bytes are not a prefix, or they are cut short.")
    try:
        header = json.loads(data[8 : 8 + length])
    except (ValueError, RecursionError) as wrong:
        raise InvalidPrefix("These bytes are not a prefix: their header can't be read.") from wrong
    metadata = header.get("__metadata__") if isinstance(header, dict) else None
    if not isinstance(metadata, dict):
        raise InvalidPrefix("These bytes are not a prefix: they carry no description.")
    return metadata


def _check_kind(metadata: dict[str, Any], expected_fingerprint: str) -> None:
    if metadata.get("format") != FORMAT:
        raise InvalidPrefix("These bytes are not a prefix of this platform.")
    if metadata.get("format_version") != FORMAT_VERSION:
        raise InvalidPrefix(
            f"This prefix has format version {metadata.get('format_version')!r}; this release reads {FORMAT_VERSION}."
        )
    trained_for = str(metadata.get("base_fingerprint", ""))
    if trained_for != expected_fingerprint:
        raise WrongBaseModel(
            f"This prefix was trained for the base model {trained_for[:12]}…, but {expected_fingerprint[:12]}… is "
            "loaded. Train the voice again on the loaded model, or load the model it was trained for."
        )


def _checked_layers(
    tensors: dict[str, Tensor], metadata: dict[str, Any]
) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    num_layers, length = _count(metadata, "num_layers"), _count(metadata, "num_virtual_tokens")
    dtype = _DTYPES.get(str(metadata.get("dtype")))
    wanted = {f"layer.{n}.{part}" for n in range(min(num_layers, len(tensors))) for part in ("key", "value")}
    if set(tensors) != wanted or 2 * num_layers != len(tensors):
        raise InvalidPrefix("These prefix bytes do not hold the layers they announce.")
    keys = tuple(tensors[f"layer.{n}.key"] for n in range(num_layers))
    values = tuple(tensors[f"layer.{n}.value"] for n in range(num_layers))
    for key, value in zip(keys, values, strict=True):
        if key.dim() != 3 or key.shape != value.shape or key.shape[1] != length or {key.dtype, value.dtype} != {dtype}:
            raise InvalidPrefix("These prefix bytes hold tensors of another shape or type than they announce.")
    _require_finite(tensors.values())
    return keys, values


def _count(metadata: dict[str, Any], name: str) -> int:
    text = str(metadata.get(name, ""))
    if not (text.isascii() and text.isdigit() and 1 <= len(text) <= 6 and int(text) > 0):
        raise InvalidPrefix(f"These prefix bytes announce no sensible {name}.")
    return int(text)


def _require_finite(tensors: Iterable[Tensor]) -> None:
    """A NaN anywhere is both the lowest and the highest value. One pass each; isfinite takes three times as long."""
    if not all(math.isfinite(end.item()) for tensor in tensors for end in torch.aminmax(tensor)):
        raise InvalidPrefix("This prefix holds values that are not finite numbers.")
