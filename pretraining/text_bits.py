"""Bits per byte of people's texts under a model: every byte once, each document from its own start. Prints and keeps
numbers, never a text."""

import json
import math
from dataclasses import dataclass
from pathlib import Path

import torch
from torch.nn.functional import cross_entropy

from pretraining.candidate import Candidate
from pretraining.errors import CorpusUnusable

LAST_TEXTS = 12


@dataclass(frozen=True)
class AuthorBits:
    """One author's texts under one model. lossy: texts that the tokenizer does not give back as they were."""

    bits: float
    num_bytes: int
    lossy: int


def last_texts(path: Path, most: int = LAST_TEXTS, authors: int | None = None) -> dict[str, list[str]]:
    """The last `most` texts of each author of a JSON Lines file (`author`, `text`), of the first `authors` authors.
    Raises CorpusUnusable."""
    texts: dict[str, list[str]] = {}
    try:
        with path.open(encoding="utf-8") as lines:
            for row in map(json.loads, filter(str.strip, lines)):
                texts.setdefault(str(row["author"]), []).append(str(row["text"]))
    except (OSError, ValueError, KeyError, TypeError) as wrong:
        raise CorpusUnusable(f"{path} has no object with `author` and `text` in each line.") from wrong
    if not texts:
        raise CorpusUnusable(f"{path} is empty.")
    return {name: texts[name][-most:] for name in list(texts)[:authors]}


def author_bits(candidate: Candidate, texts: list[str], window: int) -> AuthorBits:
    """Over an author's texts, in windows of `window` tokens at most."""
    encoded = [candidate.encode(text) for text in texts]
    nats = sum(document_nats(candidate, ids, window) for ids in encoded)
    lossy = sum(candidate.decode(ids) != text for ids, text in zip(encoded, texts, strict=True))
    return AuthorBits(nats / math.log(2), sum(len(text.encode()) for text in texts), lossy)


def document_nats(candidate: Candidate, ids: list[int], window: int) -> float:
    """Of all tokens but the document start. Windows overlap by half, and a token is counted in the first that has it:
    with half a window before it, except at the document's beginning."""
    total, counted = 0.0, 1
    for start in range(0, len(ids), max(1, window // 2)):
        end = min(start + window, len(ids) - 1)
        if end >= counted:
            total += float(_nats(candidate, ids[start : end + 1])[counted - start - 1 :].sum())
            counted = end + 1
    return total


def _nats(candidate: Candidate, ids: list[int]) -> torch.Tensor:
    """[len(ids) - 1], of each token after those before it."""
    row = torch.tensor(ids)
    with torch.no_grad():
        logits = candidate.model(input_ids=row[None, :-1], use_cache=False).logits[0]  # [tokens, vocabulary]
    return cross_entropy(logits.double(), row[1:], reduction="none")
