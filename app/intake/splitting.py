"""Long texts in parts: where their author has put headings or breaks, else between paragraphs. Knows no table."""

import re
from collections.abc import Sequence

from storage.words import count_words

LONG_WORDS = 2_500  # from which on parts are suggested
PART_WORDS = 800  # about so many in each
_HEADING = re.compile(
    r"#{1,3}\s+\S|(?:chapter|part|kapitel|chapitre|capítulo|capitolo|hoofdstuk|letter|day)\s+[\divxlc]+\b"
    r"|[IVXLC]{1,6}\.?$|\d{1,3}\.?$",
    re.IGNORECASE,
)
_BREAK = re.compile(r"(?:[*#~_—–=-]\s*){3,}$")
SCISSORS = re.compile(r"^={5,}[ \t]*$", re.MULTILINE)
MARK = "====="


def is_long(text: str) -> bool:
    """Whether parts would help: some can then be left out, and what is kept back to check on is not one long end."""
    return count_words(text) >= LONG_WORDS


def suggested_parts(text: str) -> list[str]:
    """The text in parts of about PART_WORDS words, none of it lost but lines that only mark a break."""
    parts: list[list[str]] = [[]]
    words = 0
    for paragraph in text.split("\n\n"):
        begins = bool(_HEADING.match(paragraph.strip().split("\n")[0])) or bool(_BREAK.match(paragraph.strip()))
        if words >= PART_WORDS or (begins and words >= PART_WORDS // 4):
            parts.append([])
            words = 0
        if not (_BREAK.match(paragraph.strip()) and not parts[-1]):
            parts[-1].append(paragraph)
        words += count_words(paragraph)
    if len(parts) > 1 and words < PART_WORDS // 4:
        parts[-2:] = [parts[-2] + parts[-1]]
    return [part for part in ("\n\n".join(paragraphs).strip() for paragraphs in parts) if part]


def marked(parts: Sequence[str]) -> str:
    """The parts as people edit them: one text, with a line of signs between two."""
    return f"\n\n{MARK}\n\n".join(parts)


def unmarked(text: str) -> list[str]:
    """Back from `marked`, empty parts left out."""
    text = text.replace("\r\n", "\n")
    return [part.strip() for part in SCISSORS.split(text) if part.strip()]


def cut_to_fit(text: str, most_chars: int) -> list[str]:
    """Pieces of at most so many characters, cut between paragraphs, else lines, else words, else anywhere."""
    pieces = []
    while len(text) > most_chars:
        ends = (text.rfind(sign, most_chars // 2, most_chars) for sign in ("\n\n", "\n", " "))
        at = next((end for end in ends if end > 0), most_chars)
        pieces.append(text[:at].strip())
        text = text[at:].strip()
    return [*pieces, text] if text else pieces
