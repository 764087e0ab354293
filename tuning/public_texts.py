"""Stretches of public text from files, for the population prefix. Owns the file forms, the choice of what is most like
a person's own writing, and the shuffle; knows no model."""

import json
import lzma
import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from tuning.errors import TooLittleText, UnreadableText

SEPARATOR = "<|endoftext|>"
STRETCH_CHARS = 3_000
PIECE_CHARS = 1_100  # of a writer's
MOST_PIECES = 12  # of a writer: a longer document counts as several
LEAST_PIECES = 7
LEAST_CHARS = 400
_SUFFIXES = (".txt", ".md", ".jsonl")
_WORD = re.compile(r"[a-z']+")
_FIRST_PERSON = frozenset({"i", "i'm", "i've", "i'd", "i'll", "me", "my", "myself"})
_SPOKEN = frozenset(
    {"we", "our", "us", "you", "your", "it's", "that's", "don't", "can't", "didn't", "wasn't", "isn't"}
    | {"just", "really", "so", "like", "because", "think", "know", "feel"}
)
# Whose turn it is in a transcript: a name, or one of the usual roles, and a colon at the head of a line.
_SPEAKER = re.compile(r"^\**(?:[A-Z][\w.'-]*(?: [A-Z][\w.'-]*){0,3}|user|assistant|agent)\**:\s+", re.MULTILINE)


@dataclass(frozen=True)
class Source:
    """A file or folder of public text. most: keep only so many stretches of each file, those richest in the English
    words of people who speak of themselves; None: all."""

    path: Path
    most: int | None = None

    @classmethod
    def of(cls, written: str) -> Self:
        """PATH, or PATH:MOST."""
        path, colon, most = written.rpartition(":")
        return cls(Path(path), int(most)) if colon and most.isdigit() else cls(Path(written))


def read_texts(sources: Sequence[Source], seed: int) -> list[str]:
    """Stretches of at most STRETCH_CHARS characters, shuffled by `seed`: a share of them is a share of every file.

    A .txt or .md file holds documents separated by lines `<|endoftext|>`; a .jsonl has one in each line's `text`; each
    may be compressed as .xz; of a folder, all such files are read.

    Raises OSError, UnreadableText, TooLittleText (nothing usable in a file); both say which.
    """
    stretches = [
        stretch for source in sources for file in _files(source.path) for stretch in _chosen(file, source.most)
    ]
    random.Random(seed).shuffle(stretches)
    return stretches


def read_writers(sources: Sequence[Source], seed: int) -> list[list[str]]:
    """Writers as lists of pieces of about PIECE_CHARS, shuffled by `seed`: every document of at least LEAST_PIECES is
    one, a long one several. A source's `most` counts writers. Files and errors as read_texts has them."""
    writers = [writer for source in sources for writer in _writers_of(source)]
    random.Random(seed).shuffle(writers)
    return writers


def personal(text: str) -> float:
    """Share of first-person words, and half the share of words of talk, of all words."""
    words = _WORD.findall(text.lower())
    scored = sum((word in _FIRST_PERSON) + 0.5 * (word in _SPOKEN) for word in words)
    return scored / max(1, len(words))


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    return sorted(file for file in path.rglob("*") if file.is_file() and _kind(file) in _SUFFIXES)


def _chosen(file: Path, most: int | None) -> list[str]:
    stretches = [stretch for text in _texts(file) for stretch in _stretches(text)]
    if not stretches:
        raise TooLittleText(f"{file} holds no document of {LEAST_CHARS} characters.")
    return stretches if most is None else sorted(stretches, key=personal, reverse=True)[:most]


def _writers_of(source: Source) -> list[list[str]]:
    writers = [writer for file in _files(source.path) for writer in _writers(file, source.most)]
    if not writers:
        raise TooLittleText(f"{source.path} holds no document of {LEAST_PIECES} pieces of {PIECE_CHARS} characters.")
    return writers


def _writers(file: Path, most: int | None) -> list[list[str]]:
    documents = [list(_stretches(text, PIECE_CHARS)) for text in _texts(file)]
    writers = [
        pieces
        for document in documents
        for start in range(0, len(document), MOST_PIECES)
        if len(pieces := document[start : start + MOST_PIECES]) >= LEAST_PIECES
    ]
    if most is None:
        return writers
    return sorted(writers, key=lambda pieces: personal(" ".join(pieces)), reverse=True)[:most]


def _stretches(text: str, chars: int = STRETCH_CHARS) -> Iterator[str]:
    plain = _SPEAKER.sub("", text.replace("’", "'").replace("“", '"').replace("”", '"')).strip()
    for start in range(0, len(plain), chars):
        stretch = plain[start : start + chars]
        whole_words = stretch[stretch.find(" ") + 1 :] if start else stretch
        if len(whole_words) >= LEAST_CHARS:
            yield whole_words


def _texts(file: Path) -> list[str]:
    opened = lzma.open if file.suffix == ".xz" else open
    try:
        with opened(file, "rt", encoding="utf-8", errors="replace") as source:
            if _kind(file) == ".jsonl":
                return [str(json.loads(line)["text"]) for line in source if line.strip()]
            return source.read().split(SEPARATOR)
    except (ValueError, KeyError, TypeError, lzma.LZMAError, EOFError) as wrong:
        raise UnreadableText(
            f"{file} can't be read ({type(wrong).__name__}): a .jsonl needs an object with `text` in each line, and an "
            ".xz must be whole."
        ) from wrong


def _kind(file: Path) -> str:
    return file.with_suffix("").suffix if file.suffix == ".xz" else file.suffix
