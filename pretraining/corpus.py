"""The documents of a corpus: where they stand, how they are cut, their fixed order, and which of them are held out.
Knows no tokenizer and no model."""

import lzma
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pretraining.errors import CorpusUnusable

SEPARATOR = "<|endoftext|>"
_SUFFIX = ".txt.xz"
_LEAST_CHARS = 80
_MOST_CHARS = 20_000
_ONE_HELD_OUT_IN, _OFFSET = 400, 7


@dataclass(frozen=True)
class Document:
    """One text, or a piece of a long one. source: the name of its file without the suffixes."""

    source: str
    text: str


def source_files(corpus: Path) -> list[Path]:
    """The *.txt.xz of a folder, sorted. Raises CorpusUnusable when there is none."""
    found = sorted(corpus.glob(f"*{_SUFFIX}"))
    if not found:
        raise CorpusUnusable(f"{corpus} holds no {_SUFFIX} file.")
    return found


def source_name(path: Path) -> str:
    """What a file's source is called: shares and sources go by it."""
    return path.name.removesuffix(_SUFFIX)


def read_pieces(path: Path) -> list[str]:
    """What stands between the separators, as it is. Raises CorpusUnusable."""
    try:
        with lzma.open(path, "rt", encoding="utf-8", errors="ignore") as source:
            return source.read().split(SEPARATOR)
    except (lzma.LZMAError, EOFError) as wrong:
        raise CorpusUnusable(f"{path} can't be read: {wrong}") from wrong


def documents_in(corpus: Path) -> list[Document]:
    """Every document of at least 80 characters, cut at 20,000, in an order that is always the same.

    Tokens, held-out part and requests all count on this order. Raises CorpusUnusable.
    """
    documents = [document for path in source_files(corpus) for document in _documents(path)]
    random.Random(0).shuffle(documents)
    return documents


def is_held_out(number: int) -> bool:
    """Whether the document at this place of the order is kept from training."""
    return number % _ONE_HELD_OUT_IN == _OFFSET


def held_out_documents(documents: Sequence[Document]) -> list[Document]:
    """Those kept from training."""
    return [document for number, document in enumerate(documents) if is_held_out(number)]


def training_documents(documents: Sequence[Document]) -> list[Document]:
    """All the others."""
    return [document for number, document in enumerate(documents) if not is_held_out(number)]


def _documents(path: Path) -> list[Document]:
    texts = [piece.strip() for piece in read_pieces(path)]
    return [
        Document(source_name(path), text[start : start + _MOST_CHARS])
        for text in texts
        if len(text) >= _LEAST_CHARS
        for start in range(0, len(text), _MOST_CHARS)
    ]
