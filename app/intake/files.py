"""One uploaded file -> what comes out of it. By its ending, and by how it begins where that says more.

Each file fails alone, and in an archive or mailbox each thing in it: the rest is still read. Runs in the child process
(reader.py) and nowhere else: what is read here was made by anybody.
"""

from collections.abc import Collection, Iterator
from pathlib import PurePosixPath

from app.intake import archive, feed, mail, pdf, word_document
from app.intake.errors import Unreadable
from app.intake.findings import Finding, Piece, Refused
from app.intake.own_words import parts_of
from app.intake.tidying import tidied
from storage.errors import InvalidSample, InvalidUpload
from storage.remarks import OWN, Part
from storage.text_intake import TEXT_SUFFIXES, decode_upload
from storage.training_file import read_training_file

MOST_TEXT_BYTES = 20 * 1024 * 1024
MAILBOXES = (".mbox", ".mbx")
FEEDS = (".xml", ".rss", ".atom", ".rdf")
READABLE = ".txt, .md, .docx, .pdf, .eml, .mbox, .jsonl, a feed (.xml) or a .zip of these"
BROKEN = "This file could not be read: it seems to be damaged. Open it and save it again, or paste its text."


def read_file(name: str, data: bytes, addresses: Collection[str], *, skip: int = 0) -> Iterator[Finding | str]:
    """Everything in it. addresses: the person's own, lower case. Of an archive, the name of each file comes before what
    is in it, as a plain string; the first `skip` are passed over (they have been read, or could not be)."""
    if PurePosixPath(name).suffix.lower() != ".zip":
        yield from _alone(name, data, addresses)
        return
    try:
        for number, (inner, content) in enumerate(archive.entries(data)):
            if number < skip:
                continue
            source = f"{name} › {inner}"
            yield source
            if isinstance(content, Unreadable):
                yield Refused(source, str(content))
            else:
                yield from _alone(source, content, addresses)
    except Unreadable as wrong:
        yield Refused(name, str(wrong))
    except Exception:  # as below
        yield Refused(name, BROKEN)


def _alone(source: str, data: bytes, addresses: Collection[str]) -> Iterator[Finding]:
    try:
        for found in _read(source, data, addresses):
            yield from _tidied_or_refused(found) if isinstance(found, Piece) else (found,)
    except (Unreadable, InvalidSample, InvalidUpload) as wrong:
        yield Refused(source, str(wrong))
    except Exception:  # a hostile or broken file makes a parser raise anything at all
        yield Refused(source, BROKEN)


def _read(source: str, data: bytes, addresses: Collection[str]) -> Iterator[Finding]:
    path = PurePosixPath(source)
    ending = path.suffix.lower()
    if not data.strip():
        raise Unreadable("This file is empty. Choose one with some of your writing in it.")
    if ending == ".docx":
        yield _text(source, word_document.text_of(data))
    elif ending == ".pdf":
        yield _text(source, pdf.text_of(data))
    elif ending == ".eml":
        yield mail.read_message(source, data, addresses)
    elif ending in MAILBOXES or (ending not in TEXT_SUFFIXES and mail.looks_like_a_mailbox(data)):
        yield from mail.read_mailbox(source, data, addresses)
    elif ending in FEEDS:
        yield from feed.read_feed(source, data)
    elif ending == ".jsonl":
        for number, line in enumerate(read_training_file(data), start=1):
            yield Piece(source, (Part(OWN, line.text, out=False),), f"{path.stem} {number}", line.prompt)
    elif ending in TEXT_SUFFIXES:
        yield _text(source, decode_upload(data, path.name, MOST_TEXT_BYTES))
    elif not ending:
        raise Unreadable(f"Files without an ending can't be read here. What can: {READABLE}.")
    else:
        raise Unreadable(f"Files of the kind “{ending}” can't be read here. What can: {READABLE}.")


def _text(source: str, text: str) -> Piece:
    name = PurePosixPath(source.rpartition(" › ")[2])
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    return Piece(source, parts_of(text, mail=False), title=name.stem)


def _tidied_or_refused(piece: Piece) -> Iterator[Finding]:
    """One bad piece of many costs none of the others."""
    try:
        yield from tidied(piece)
    except (Unreadable, InvalidSample) as wrong:
        yield Refused(piece.source, str(wrong))
