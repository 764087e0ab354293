"""Checkpoint: a training's whole state as bytes and back. Safetensors for the tensors, JSON in their header for the
rest; nothing in it can run code. Knows neither what the state means nor where the bytes are kept."""

import json
from dataclasses import dataclass
from typing import Any, Self

from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from tuning.errors import InvalidCheckpoint

FORMAT = "idiolect-checkpoint-1"


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """tensors: by name. state: JSON-able values. belongs_to: digest of the data, the settings and the base model."""

    tensors: dict[str, Tensor]
    state: dict[str, Any]
    belongs_to: str

    def to_bytes(self) -> bytes:
        """Safetensors bytes with format, state and digest in the header."""
        metadata = {"format": FORMAT, "belongs_to": self.belongs_to, "state": json.dumps(self.state)}
        return bytes(save({name: tensor.detach().contiguous() for name, tensor in self.tensors.items()}, metadata))

    @classmethod
    def from_bytes(cls, data: bytes, belongs_to: str) -> Self:
        """Read what to_bytes wrote. Raises InvalidCheckpoint (damaged bytes, or another training's)."""
        try:
            tensors = load(data)
            header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
            metadata = header["__metadata__"]
            if metadata["format"] != FORMAT:
                raise InvalidCheckpoint("These bytes are not a checkpoint of this release.")
            found, state = str(metadata["belongs_to"]), json.loads(metadata["state"])
        except (SafetensorError, ValueError, KeyError, TypeError) as wrong:
            raise InvalidCheckpoint("These checkpoint bytes are damaged.") from wrong
        if found != belongs_to:
            raise InvalidCheckpoint("This checkpoint belongs to other samples, other settings or another base model.")
        return cls(tensors=tensors, state=state, belongs_to=found)
