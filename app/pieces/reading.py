"""Reads a person's pieces from a folder of .txt and .md files, or from a .jsonl file. Beside it lie those of an
invented person, with which guests and the demo begin. Knows no platform.

Order is file order: by name in a folder, by line in a file. What a piece must be like is for the platform to say.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from app.pieces.errors import UnusableWriting

BUNDLED = Path(__file__).resolve().parent / "bundled"
SUFFIXES = (".txt", ".md")
NAMES_SHOWN = 8
MAX_TITLE_CHARS = 200  # the API's limits for what goes along with a text
MAX_PROMPT_CHARS = 4000


@dataclass(frozen=True)
class Piece:
    """One text. given_date: as it stands in the file. written_on: the ISO date in it, where there is one."""

    text: str
    title: str | None = None
    prompt: str | None = None
    written_on: str | None = None
    author: str | None = None
    given_date: str | None = None


def read_pieces(path: Path, author: str | None = None) -> list[Piece]:
    """The pieces at `path`, those of `author` where one is named. Raises UnusableWriting with the sentence to show."""
    if not path.exists():
        raise UnusableWriting(f"SAMPLES={path}: there is no such file or folder")
    if path.is_dir():
        return _from_folder(path, author)
    if path.suffix.lower() in SUFFIXES:
        return _without_author([_from_text(path)], path, author)
    if path.suffix.lower() == ".jsonl":
        return _of_one_author(list(_from_jsonl(path)), path, author)
    raise UnusableWriting(f"SAMPLES={path}: give a folder of .txt or .md files, or a .jsonl file")


def _from_folder(path: Path, author: str | None) -> list[Piece]:
    files = sorted(file for file in path.iterdir() if file.suffix.lower() in SUFFIXES and file.is_file())
    if not files:
        raise UnusableWriting(f"SAMPLES={path}: there is no .txt or .md file in this folder")
    return _without_author([_from_text(file) for file in files], path, author)


def _without_author(pieces: list[Piece], path: Path, author: str | None) -> list[Piece]:
    if author is not None:
        raise UnusableWriting(f"AUTHOR={author} goes with a .jsonl file whose lines name an author, not with {path}")
    return pieces


def _from_text(path: Path) -> Piece:
    return Piece(text=_read(path), title=path.stem[:MAX_TITLE_CHARS])


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as wrong:
        raise UnusableWriting(f"{path} is not UTF-8 text; save it as UTF-8 and try again") from wrong
    except OSError as wrong:
        raise UnusableWriting(f"{path} cannot be read: {wrong.strerror}") from wrong


def _from_jsonl(path: Path) -> Iterator[Piece]:
    for number, line in enumerate(_read(path).split("\n"), start=1):
        if line.strip():
            yield _from_line(line, f"{path}, line {number}")


def _from_line(line: str, where: str) -> Piece:
    try:
        fields = json.loads(line)
    except json.JSONDecodeError as wrong:
        raise UnusableWriting(f"{where}: this is not JSON ({wrong.msg}, column {wrong.colno})") from wrong
    if not isinstance(fields, dict) or not isinstance(fields.get("text"), str):
        raise UnusableWriting(f'{where}: each line must be an object with a "text", such as {{"text": "…"}}')
    title, prompt = _string(fields, "title", where), _string(fields, "prompt", where)
    given_date = _string(fields, "date", where)
    return Piece(
        text=fields["text"],
        title=title and title[:MAX_TITLE_CHARS],
        prompt=prompt and prompt[:MAX_PROMPT_CHARS],
        written_on=_day(given_date),
        author=_string(fields, "author", where),
        given_date=given_date,
    )


def _string(fields: dict[str, Any], name: str, where: str) -> str | None:
    value = fields.get(name)
    if value is not None and not isinstance(value, str):
        raise UnusableWriting(f'{where}: "{name}" must be a text or left out')
    return value or None


def _day(given_date: str | None) -> str | None:
    """The day of an ISO date or date-time; None for any other way of writing it, which counts as undated."""
    try:
        return date.fromisoformat((given_date or "")[:10]).isoformat()
    except ValueError:
        return None


def _of_one_author(pieces: list[Piece], path: Path, author: str | None) -> list[Piece]:
    if not pieces:
        raise UnusableWriting(f"SAMPLES={path}: there is nothing in this file")
    names = list(dict.fromkeys(piece.author for piece in pieces if piece.author))
    if author is None and len(names) > 1:
        raise UnusableWriting(f"{path} holds {len(names)} authors; choose one with AUTHOR=…: {_some(names)}")
    chosen = [piece for piece in pieces if author is None or piece.author == author]
    if not chosen:
        known = f"it has {_some(names)}" if names else "none of its lines names an author"
        raise UnusableWriting(f"AUTHOR={author}: no line of {path} is by that author; {known}")
    return chosen


def _some(names: list[str]) -> str:
    more = f", and {len(names) - NAMES_SHOWN} more" if len(names) > NAMES_SHOWN else ""
    return ", ".join(names[:NAMES_SHOWN]) + more
