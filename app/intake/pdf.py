"""The text of a PDF: page by page, without what stands on every page, its lines made whole. Knows no other file.

A picture of a page has no text, and a PDF does not say where a paragraph ends: its owner should look at what came out.
"""

import re
from collections import Counter
from collections.abc import Sequence
from io import BytesIO

from pypdf import PdfReader
from pypdf.errors import PdfReadError

from app.intake.errors import Unreadable
from app.intake.wrapping import unwrapped

MOST_PAGES = 500
_LETTERS_VARY = 0.18  # how much narrower than the widest a full line may be
_LEAST_PAGES = 3  # from which on a line at the edge of most is not the text's
_PAGE_NUMBER = re.compile(r"\W*(?:page\s*)?(?:\d{1,4}|[ivxlc]{1,6})(?:\s*(?:/|of|von)\s*\d{1,4})?\W*", re.IGNORECASE)


def text_of(data: bytes) -> str:
    """The text of all pages. Raises Unreadable."""
    try:
        reader = PdfReader(BytesIO(data))
        if reader.is_encrypted and not reader.decrypt(""):
            raise Unreadable("This PDF is locked with a password. Save it without one, and add it again.")
        if len(reader.pages) > MOST_PAGES:
            raise Unreadable(
                f"This PDF has {len(reader.pages):,} pages, and one may have {MOST_PAGES}. Split it and add the parts."
            )
        pages = [page.extract_text().split("\n") for page in reader.pages]
    except PdfReadError:
        raise Unreadable("This is not a PDF that can be read. Save it again as PDF, or paste its text.") from None
    pages = [[line.rstrip() for line in page if line.strip()] for page in pages]
    if not any(pages):
        raise Unreadable("There is no text in this PDF, only pictures of pages. Paste the text itself.")
    lines = [line for page in _without_edges(pages) for line in page]
    return unwrapped("\n".join(lines), slack=_LETTERS_VARY, hyphens=True)


def _without_edges(pages: Sequence[Sequence[str]]) -> list[Sequence[str]]:
    """Pages without the number, and without a first or last line that most of them share but for a number."""
    seen = Counter(_shape(line) for page in pages for line in {*page[:1], *page[-1:]})
    often = {shape for shape, count in seen.items() if count > len(pages) / 2 and len(pages) >= _LEAST_PAGES}

    def is_edge(line: str) -> bool:
        return _shape(line) in often or bool(_PAGE_NUMBER.fullmatch(line))

    kept = []
    for page in pages:
        first = 1 if page and is_edge(page[0]) else 0
        last = len(page) - 1 if len(page) > first and is_edge(page[-1]) else len(page)
        kept.append(page[first:last])
    return kept


def _shape(line: str) -> str:
    return re.sub(r"\d+", "#", line.strip().casefold())
