"""Making a text out of what people paste and upload, or saying in one sentence what to do instead. Knows no table."""

import unicodedata
from dataclasses import dataclass
from datetime import date
from pathlib import PurePath

from charset_normalizer import from_bytes

from storage.errors import InvalidSample
from storage.words import count_words

MIN_CHARS = 20
MAX_CHARS = 200_000
MAX_TITLE_CHARS = 200
MAX_PROMPT_CHARS = 4_000
MAX_SAMPLES = 500  # of a voice
MAX_VOICE_CHARS = 5_000_000
TEXT_SUFFIXES = (".txt", ".md", ".markdown", ".text")
MOST_TEXT_BYTES = 4 * MAX_CHARS
_BINARY_SHARE = 0.01  # of control characters
_BYTE_ORDER_MARKS = (
    (b"\xff\xfe\x00\x00", "utf-32"),
    (b"\x00\x00\xfe\xff", "utf-32"),
    (b"\xff\xfe", "utf-16"),
    (b"\xfe\xff", "utf-16"),
    (b"\xef\xbb\xbf", "utf-8-sig"),
)
_WESTERN = frozenset("ÀÁÂÃÄÅÆÇÈÉÊËÌÍÎÏÑÒÓÔÕÖØÙÚÛÜßàáâãäåæçèéêëìíîïñòóôõöøùúûüÿŒœ¡¿ªº€£§°·«»‘’“”„–—…•´\u00a0")
BINARY = "This is not text but the inside of a file. Save it as plain text (.txt), or paste the words themselves."


@dataclass(frozen=True)
class Draft:
    """A text that can be kept, not yet in any voice."""

    text: str
    title: str | None
    prompt: str | None
    written_on: str | None
    num_words: int


def draft(text: str, *, title: str | None = None, prompt: str | None = None, written_on: str | None = None) -> Draft:
    """Make ready what takes time before a transaction. Raises InvalidSample (empty, short, long, binary)."""
    text = clean_text(text)
    return Draft(
        text=text,
        title=clean_line(title, "title", MAX_TITLE_CHARS),
        prompt=clean_line(prompt, "prompt", MAX_PROMPT_CHARS),
        written_on=clean_date(written_on),
        num_words=count_words(text),
    )


def decode_upload(data: bytes, filename: str, most_bytes: int = MOST_TEXT_BYTES) -> str:
    """The text of an uploaded file, whatever its encoding. Raises InvalidSample."""
    suffix = PurePath(filename).suffix.lower()
    if suffix not in TEXT_SUFFIXES:
        raise InvalidSample(f"Files of the kind “{suffix or 'no ending'}” can't be read here. Save it as .txt or .md.")
    if not data.strip():
        raise InvalidSample("This file is empty. Choose one with some of your writing in it.")
    if len(data) > most_bytes:
        raise InvalidSample(_too_long(len(data)))
    text = _decoded(data)
    if _looks_binary(text):
        raise InvalidSample(BINARY)
    return text


def clean_text(text: str) -> str:
    """The text as it is kept: NFC, plain newlines, no control characters, nothing blank around it.

    Raises InvalidSample: empty, too short, too long, binary.
    """
    if len(text) > 2 * MAX_CHARS:
        raise InvalidSample(_too_long(len(text)))
    kept = tidy_text(text)
    if not kept:
        raise InvalidSample("There is no text here yet. Paste something that you wrote.")
    if len(kept) < MIN_CHARS:
        raise InvalidSample(_too_short(MIN_CHARS - len(kept)))
    if len(kept) > MAX_CHARS:
        raise InvalidSample(_too_long(len(kept)))
    return kept


def tidy_text(text: str) -> str:
    """The text in that form, however long or short. Raises InvalidSample: binary."""
    if _looks_binary(text):
        raise InvalidSample(BINARY)
    return _without_controls(text).strip()


def clean_line(text: str | None, what: str, limit: int) -> str | None:
    """A title or prompt as it is kept; blank is None. Raises InvalidSample when longer than `limit` characters."""
    kept = _without_controls(text or "").strip()
    if len(kept) > limit:
        raise InvalidSample(f"The {what} has {len(kept):,} characters and may have {limit:,}: shorten it.")
    return kept or None


def clean_name(name: str, limit: int) -> str:
    """A name as headings can hold it: one line of printable characters, cut at `limit`. May be empty."""
    return " ".join(_without_controls(name).split())[:limit].rstrip()


def clean_date(written_on: str | None) -> str | None:
    """An ISO date (YYYY-MM-DD), or None. Raises InvalidSample."""
    if not (given := (written_on or "").strip()):
        return None
    try:
        return date.fromisoformat(given).isoformat()
    except ValueError:
        raise InvalidSample("Write the date as year-month-day, like 2024-05-31, or leave it out.") from None


def _decoded(data: bytes) -> str:
    for mark, encoding in _BYTE_ORDER_MARKS:
        if data.startswith(mark):
            return _by(data, encoding)
    if b"\x00" in data:
        raise InvalidSample(BINARY)
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return _in_an_older_encoding(data)


def _in_an_older_encoding(data: bytes) -> str:
    """Western European letters, and writing that is not Latin at all, can be told. The few accents of other Latin
    writing can't: rather refuse it than learn garbled words."""
    if 2 * sum(byte >= 0x80 for byte in data) < len(data):
        western = data.decode("cp1252", errors="replace")
        if {char for char in western if not char.isascii()} <= _WESTERN:
            return western
    elif (guess := from_bytes(data).best()) is not None:
        return str(guess)
    raise InvalidSample(_UNREADABLE)


_UNREADABLE = "The letters of this file can't be made out. Open it and save it again as UTF-8 text, then upload that."


def _by(data: bytes, encoding: str) -> str:
    try:
        return data.decode(encoding)
    except UnicodeDecodeError:
        raise InvalidSample(_UNREADABLE) from None


def _controls(text: str) -> set[str]:
    """The control characters in a text. A long text has few different characters, so each is looked at once."""
    return {c for c in set(text) if unicodedata.category(c) in ("Cc", "Cs", "Cn", "Co") and c not in "\n\t"}


def _looks_binary(text: str) -> bool:
    found = sum(map(text.count, _controls(text) - set("\r\f\v")))
    return found > max(4, _BINARY_SHARE * len(text)) or text.lstrip("\r\f\v").startswith("%PDF-")


def _without_controls(text: str) -> str:
    lines = text.replace("\r\n", "\n").replace("\r", "\n").replace("\ufeff", "")
    return unicodedata.normalize("NFC", lines.translate(dict.fromkeys(map(ord, _controls(lines)))))


_BEST = "A paragraph or a page does best."


def _too_short(missing: int) -> str:
    said = (
        "This is too short to learn from: write at least 1 more character."
        if missing == 1
        else f"This is too short to learn from: write at least {missing} more characters."
    )
    return f"{said} {_BEST}"


def _too_long(length: int) -> str:
    return (
        f"This is {length:,} characters long, and one sample may have {MAX_CHARS:,}. "
        "Split it into parts, for instance by chapter, and add them one by one."
    )
