"""Token files: the corpus as numbers, written once and read by every training. Owns train.bin, personal.bin, val.bin
and meta.json; knows no model.

train.bin, val.bin: uint16, one document after the other, each led by the document-start token. personal.bin: those of
train.bin that are somebody's own writing, once more. meta.json: train_tokens, personal_tokens, val_tokens, and
val_bytes, the UTF-8 bytes of the held-out documents.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from pretraining.corpus import Document, is_held_out
from pretraining.errors import CorpusUnusable
from pretraining.personal import is_personal
from pretraining.tokenizer import START_ID

Ids = NDArray[np.uint16]
_BATCH = 512


@dataclass(frozen=True, eq=False)
class Tokens:
    """train, personal: mapped from their files, not loaded. bits_per_nat: what turns nats per held-out token into bits
    per byte."""

    train: Ids  # [train_tokens]
    personal: Ids  # [personal_tokens]
    held_out: Ids  # [val_tokens]
    bits_per_nat: float

    @classmethod
    def open(cls, folder: Path, length: int) -> "Tokens":
        """Raises CorpusUnusable when there is not a stretch of `length` tokens in each file."""
        try:
            meta = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
            train = np.memmap(folder / "train.bin", dtype=np.uint16, mode="r")
            personal = np.memmap(folder / "personal.bin", dtype=np.uint16, mode="r")
            held_out = np.fromfile(folder / "val.bin", dtype=np.uint16)
        except (OSError, ValueError) as wrong:
            raise CorpusUnusable(f"{folder} is not a folder of tokens ({wrong}): make it with `prepare`.") from wrong
        sizes = [len(ids) for ids in (train, personal, held_out)]
        if min(sizes) <= length + 1:
            written = ", ".join(map(str, sizes))
            raise CorpusUnusable(
                f"{folder} has {written} tokens (all, personal, held out), too few for {length} at once."
            )
        return cls(train, personal, held_out, meta["val_tokens"] / meta["val_bytes"] / math.log(2))


def write_tokens(documents: Sequence[Document], tokenizer: Tokenizer, folder: Path) -> dict[str, int]:
    """Write the four files; returns what meta.json says. Raises CorpusUnusable when nothing is held out, or nothing is
    personal."""
    folder.mkdir(parents=True, exist_ok=True)
    held_out: list[Ids] = []
    train_tokens = personal_tokens = val_bytes = 0
    with (folder / "train.bin").open("wb") as out, (folder / "personal.bin").open("wb") as own:
        for start in range(0, len(documents), _BATCH):
            batch = documents[start : start + _BATCH]
            for number, (document, ids) in enumerate(zip(batch, _encoded(batch, tokenizer), strict=True), start):
                if is_held_out(number):
                    held_out.append(ids)
                    val_bytes += len(document.text.encode())
                else:
                    out.write(ids.tobytes())
                    train_tokens += len(ids)
                    if is_personal(document):
                        own.write(ids.tobytes())
                        personal_tokens += len(ids)
    if not held_out:
        raise CorpusUnusable(f"{len(documents)} documents are too few: none is held out.")
    if not personal_tokens:
        raise CorpusUnusable(
            f"None of {len(documents)} documents is somebody's own writing: see pretraining/personal.py."
        )
    val = np.concatenate(held_out)
    val.tofile(folder / "val.bin")
    facts = {"train_tokens": train_tokens, "personal_tokens": personal_tokens}
    return _written(folder, facts | {"val_tokens": len(val), "val_bytes": val_bytes})


def _encoded(batch: Sequence[Document], tokenizer: Tokenizer) -> list[Ids]:
    encodings: list[Any] = tokenizer.encode_batch([document.text for document in batch])
    return [np.array([START_ID, *encoding.ids], dtype=np.uint16) for encoding in encodings]


def _written(folder: Path, facts: dict[str, int]) -> dict[str, int]:
    (folder / "meta.json").write_text(json.dumps(facts), encoding="utf-8")
    return facts
