"""What there is to say about pieces that come in, beside what their voice has already: that one repeats another, is in
another language than the rest or than the base model reads, is by somebody else.

Decides nothing: what is noticed stands beside the piece. Knows no file and no table.
"""

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from app.intake.findings import Piece
from app.intake.languages import language_of, other_language
from app.intake.repeats import repeated
from storage.remarks import Remarks
from storage.text_intake import Draft

LEAST_REST = 2  # pieces whose language can be called that of the rest


@dataclass(frozen=True)
class Known:
    """A text that the voice has already, and the mac it is found again by."""

    text: str
    mac: str


@dataclass(frozen=True)
class Incoming:
    """A piece, as it would be kept, with the mac of its text."""

    piece: Piece
    draft: Draft
    mac: str


def noticed(incoming: Sequence[Incoming], known: Sequence[Known], base_languages: Collection[str]) -> list[Remarks]:
    """What there is to say of each. base_languages: what the base model reads, by its own account; empty where it gives
    none."""
    texts, known_texts = [each.draft.text for each in incoming], [each.text for each in known]
    macs = [*(each.mac for each in known), *(each.mac for each in incoming)]
    rest = _language_of_the_rest([*known_texts, *texts])
    made = []
    for each, repeat in zip(incoming, repeated(texts, known_texts), strict=True):
        remarks = Remarks(
            source=each.piece.source or None,
            parts=each.piece.parts if any(part.out for part in each.piece.parts) else (),
            sender=each.piece.sender,
            repeats=macs[repeat[0]] if repeat else None,
            share=round(repeat[1], 2) if repeat else 0.0,
        )
        made.append(_with_language(remarks, each.draft.text, rest, base_languages))
    return made


def _language_of_the_rest(texts: Sequence[str]) -> str | None:
    """The one that most are in."""
    found = Counter(filter(None, map(language_of, texts)))
    if not found:
        return None
    code, count = found.most_common(1)[0]
    return code if count >= LEAST_REST and count * 2 > found.total() else None


def _with_language(remarks: Remarks, text: str, rest: str | None, base_languages: Collection[str]) -> Remarks:
    if base_languages:
        found = [other_language(text, code) for code in base_languages]
        if all(found):
            return replace(remarks, language=found[0], expected=sorted(base_languages)[0], expected_by="base")
    if rest is not None and (language := other_language(text, rest)):
        return replace(remarks, language=language, expected=rest, expected_by="rest")
    return remarks
