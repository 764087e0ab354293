"""A piece as it can be kept: clean, neither too short nor too long. Knows neither file nor table."""

from collections.abc import Iterator
from dataclasses import replace

from app.intake.errors import Unreadable
from app.intake.findings import Piece
from app.intake.splitting import cut_to_fit
from storage.remarks import OWN, Part, kept_text
from storage.text_intake import MAX_CHARS, MAX_TITLE_CHARS, MIN_CHARS, clean_name, tidy_text

_NUMBER_CHARS = 20


def tidied(piece: Piece) -> Iterator[Piece]:
    """The piece, in several where one would be too long. Raises Unreadable (too short), InvalidSample (binary)."""
    parts = _within_reach(_cleaned(piece.parts))
    own = kept_text(parts)
    if any(part.out for part in parts) and len(own) < MIN_CHARS:  # all quotation: then it is one, and not a reply
        parts = (Part(OWN, kept_text([replace(part, out=False) for part in parts]), out=False),)
        own = parts[0].text
    if len(own) < MIN_CHARS:
        raise Unreadable(
            f"This is too short to learn from: it has {len(own)} characters, and {MIN_CHARS} are the least."
        )
    title = clean_name(piece.title or "", MAX_TITLE_CHARS - _NUMBER_CHARS) or None
    if len(own) <= MAX_CHARS:
        yield replace(piece, parts=parts, title=title)
        return
    cut = cut_to_fit(own, MAX_CHARS)
    for number, text in enumerate(cut, start=1):
        numbered = f"{title or 'Part'} ({number} of {len(cut)})"
        yield replace(piece, parts=(Part(OWN, text, out=False),), title=numbered)


def _cleaned(parts: tuple[Part, ...]) -> tuple[Part, ...]:
    cleaned = [replace(part, text=tidy_text(part.text)) for part in parts]
    return tuple(part for part in cleaned if part.text)


def _within_reach(parts: tuple[Part, ...]) -> tuple[Part, ...]:
    """Without what was taken out and is too long ever to be put back."""
    kept, chars = [], 0
    for part in parts:
        chars += len(part.text) * part.out
        if not part.out or chars <= MAX_CHARS:
            kept.append(part)
    return tuple(kept)
