"""The text of an HTML page, as letters and feeds carry it: paragraphs, line ends, and quotations marked by ">".

Knows no file and no table.
"""

import re
from html.parser import HTMLParser

_BLOCKS = re.compile(
    r"address|article|aside|blockquote|d[dlt]|div|fieldset|fig(?:ure|caption)|footer|form|h[1-6r]|header|li|main|nav|[ou]l"
    r"|p|pre|section|table|tr"
)
_PARAGRAPHS = re.compile(r"p|h[1-6r]|blockquote|[ou]l|pre|table|figure")
_UNSEEN = re.compile(r"script|style|head|title|noscript|template|iframe|object|svg|math|select|textarea|button")
_VOID = re.compile(r"area|base|br|col|embed|hr|img|input|link|meta|source|track|wbr")
_QUOTES = re.compile(r"\b(?:gmail_quote|yahoo_quoted|protonmail_quote|moz-cite-prefix)\b")
_SPACES = re.compile(r"[ \t\r\n\f\v\u200b]+")
_MOST_DEPTH = 500


def text_of(html: str) -> str:
    """The readable text. Never fails: what is not HTML is taken as text."""
    reader = _Reader()
    reader.feed(html)
    reader.close()
    return reader.text()


class _Reader(HTMLParser):
    """Collects lines. `_open`: the elements that are open, each with whether it is a quotation and whether unseen."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self._open: list[tuple[str, bool, bool]] = []
        self._lines: list[str] = []
        self._line = ""
        self._quotes = 0
        self._unseen = 0
        self._pre = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "br":
            self._end_line(always=True)
            return
        if _BLOCKS.fullmatch(tag):
            self._end_line(blank=bool(_PARAGRAPHS.fullmatch(tag)))
        if _VOID.fullmatch(tag) or len(self._open) >= _MOST_DEPTH:
            return
        quotes = tag == "blockquote" or any(name == "class" and _QUOTES.search(value or "") for name, value in attrs)
        unseen = bool(_UNSEEN.fullmatch(tag))
        self._enter(tag, quotes, unseen, 1)
        self._open.append((tag, quotes, unseen))

    def handle_endtag(self, tag: str) -> None:
        if not any(name == tag for name, _, _ in self._open):
            return
        while self._open:
            name, quotes, unseen = self._open.pop()
            if _BLOCKS.fullmatch(name):
                self._end_line(blank=bool(_PARAGRAPHS.fullmatch(name)))
            self._enter(name, quotes, unseen, -1)
            if name == tag:
                return

    def handle_data(self, data: str) -> None:
        if self._unseen:
            return
        if self._pre:
            *whole, rest = data.split("\n")
            for line in whole:
                self._line += line
                self._end_line(always=True)
            self._line += rest
        else:
            spaced = _SPACES.sub(" ", data)
            self._line += spaced.lstrip() if not self._line or self._line.endswith(" ") else spaced

    def text(self) -> str:
        """What was collected."""
        self._end_line()
        return re.sub(r"\n{3,}", "\n\n", "\n".join(self._lines)).strip("\n").replace("\N{NO-BREAK SPACE}", " ")

    def _enter(self, tag: str, quotes: bool, unseen: bool, by: int) -> None:
        self._quotes += by * quotes
        self._unseen += by * unseen
        self._pre += by * (tag == "pre")

    def _end_line(self, *, always: bool = False, blank: bool = False) -> None:
        if self._line.strip() or always:
            self._lines.append("> " * bool(self._quotes) + self._line.rstrip())
        self._line = ""
        if blank and self._lines and self._lines[-1]:
            self._lines.append("")
