"""The text of a Word document (.docx), read as a stream: memory grows with the text and not with the file's tags.

What was deleted while changes were tracked, comments, headers and footers are not the text; what was inserted is.
Knows no table and no other kind of file.
"""

import zipfile
import zlib
from io import BytesIO
from typing import IO
from xml.parsers import expat

from app.intake.errors import Unreadable

MOST_XML_BYTES = 64 * 1024 * 1024
_CHUNK = 256 * 1024
_BODY = "word/document.xml"
_WORD = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
_STRICT = "http://purl.oclc.org/ooxml/wordprocessingml/main"
_SKIPPED = {"del", "moveFrom", "instrText", "rPr", "pPr", "sectPr", "Fallback", "footnotePr", "object"}
NOT_WORD = "This is not a Word document. Open it in your word processor and save it as .docx or .txt."
LOCKED = "This file is locked with a password. Save it without one, and add it again."


def text_of(data: bytes) -> str:
    """The paragraphs, one a line, those of the body alone. Raises Unreadable."""
    try:
        with zipfile.ZipFile(BytesIO(data)) as package, package.open(_BODY) as body:
            return _Reader().read(body)
    except KeyError:
        raise Unreadable(NOT_WORD) from None
    except RuntimeError:  # zipfile's word for a missing password
        raise Unreadable(LOCKED) from None
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError, expat.ExpatError):
        if data.startswith(b"\xd0\xcf\x11\xe0"):  # the envelope of the old .doc, and of a .docx with a password
            raise Unreadable(
                "This is an old or a locked Word file. Save it as .docx without a password, and add it again."
            ) from None
        raise Unreadable(NOT_WORD) from None


class _Reader:
    """Follows the tags of document.xml. `_skipping`: how deep inside something that is not text."""

    def __init__(self) -> None:
        self._paragraphs: list[str] = []
        self._runs: list[str] = []
        self._skipping = 0
        self._in_text = False
        self._parser = expat.ParserCreate(namespace_separator=" ")
        self._parser.buffer_text = True
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._parser.CharacterDataHandler = self._data
        self._parser.StartDoctypeDeclHandler = self._refuse_doctype

    def read(self, body: IO[bytes]) -> str:
        """The whole text, its blank lines at most two in a row."""
        size = 0
        while chunk := body.read(_CHUNK):
            size += len(chunk)
            if size > MOST_XML_BYTES:
                raise Unreadable("This document is too large to be read. Split it into several and add those.")
            self._parser.Parse(chunk, False)
        self._parser.Parse(b"", True)
        return "\n".join(self._paragraphs)

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        space, _, tag = name.rpartition(" ")
        if self._skipping or tag in _SKIPPED:
            self._skipping += 1
        elif space in (_WORD, _STRICT):
            if tag == "t":
                self._in_text = True
            elif tag in ("br", "cr"):
                self._runs.append("\n")
            elif tag == "tab":
                self._runs.append("\t")
            elif tag == "noBreakHyphen":
                self._runs.append("-")

    def _end(self, name: str) -> None:
        if self._skipping:
            self._skipping -= 1
            return
        space, _, tag = name.rpartition(" ")
        if space not in (_WORD, _STRICT):
            return
        if tag == "t":
            self._in_text = False
        elif tag == "p":
            self._paragraphs.append("".join(self._runs).rstrip())
            self._runs.clear()

    def _data(self, data: str) -> None:
        if self._in_text and not self._skipping:
            self._runs.append(data)

    def _refuse_doctype(self, *_: object) -> None:
        raise Unreadable(NOT_WORD)  # a Word document has none, and entities can be made to explode
