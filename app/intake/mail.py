"""Letters: one message (.eml), or a whole mailbox (mbox) of which only what the person wrote is taken.

A message's own words are told from quoted ones here, where it is still known that it is a letter. Knows no table.
"""

import re
from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import date
from email import policy
from email.message import EmailMessage
from email.parser import BytesHeaderParser, BytesParser
from email.utils import getaddresses, parsedate_to_datetime

from app.intake import markup
from app.intake.errors import Unreadable
from app.intake.findings import Finding, Noted, Piece, Refused, Senders
from app.intake.own_words import parts_of
from app.intake.wrapping import reflowed, unwrapped
from storage.remarks import OWN, Part, kept_text
from storage.text_intake import MAX_SAMPLES
from storage.words import count_words

LEAST_WORDS = 20  # of a message in a mailbox; thanks and see-you-soons teach nothing
MOST_MESSAGES = 50_000
MOST_SENDERS = 8
_FROM_LINE = re.compile(rb"(?:\A|\n\r?\n)From \S+[^\n]*\d{4}[^\n]*\r?\n")
_ESCAPED_FROM = re.compile(rb"^>(>*From )", re.MULTILINE)
_REPLY = re.compile(r"^\s*(?:(?:re|fwd?|aw|wg|tr|rv|sv|antw)\s*(?:\[\d+\])?\s*:\s*)+", re.IGNORECASE)
_SUBJECT_CHARS = 300
_HEADERS = BytesHeaderParser(policy=policy.compat32)
_MESSAGES = BytesParser(policy=policy.default)


@dataclass(frozen=True)
class Letter:
    """A message's own account of itself, and its text as parts."""

    sender: str
    subject: str | None
    sent_on: str | None
    parts: tuple[Part, ...]

    @property
    def own_words(self) -> int:
        """Words that are the sender's own."""
        return count_words(kept_text(self.parts))


def looks_like_a_mailbox(data: bytes) -> bool:
    """Whether it begins as an mbox does."""
    return bool(re.match(rb"From \S+[^\n]*\d{4}", data[:400]))


def read_message(source: str, data: bytes, addresses: Collection[str]) -> Piece:
    """The letter in an .eml file; one from somebody else is marked with its sender. Raises Unreadable."""
    letter = _letter(data)
    theirs = letter.sender if letter.sender and letter.sender not in addresses else None
    if not any(part.kind == OWN for part in letter.parts):
        raise Unreadable("There is nothing in this letter but quoted or forwarded text.")
    return _piece(source, letter, sender=theirs)


def read_mailbox(source: str, data: bytes, addresses: Collection[str]) -> Iterator[Finding]:
    """The newest letters from these addresses, oldest first, then how many others were left out and why. Raises
    Unreadable when there is no message in it."""
    bounds = _bounds(data)
    senders = [_sender(data[first:end]) for first, end in bounds]
    mine = [bound for bound, sender in zip(bounds, senders, strict=True) if sender in addresses]
    if not mine:
        yield Senders(source, tuple(Counter(filter(None, senders)).most_common(MOST_SENDERS)))
        return
    letters, short, broken = _newest(data, mine)
    for letter in letters:
        yield _piece(source, letter)
    yield from _account(source, len(bounds) - len(mine), short, len(mine) - len(letters) - short - broken)
    if broken:
        yield Refused(source, f"{broken:,} of your messages in it could not be read.")


def _newest(data: bytes, mine: list[tuple[int, int]]) -> tuple[list[Letter], int, int]:
    """Letters with enough words of their own, oldest first; how many had too few, and how many could not be read."""
    letters: list[Letter] = []
    short = broken = 0
    dated = [(_day(data[first:end]), first, end) for first, end in mine]
    for _, first, end in sorted(dated, reverse=True):
        if len(letters) == MAX_SAMPLES:
            break
        try:
            letter = _letter(_ESCAPED_FROM.sub(rb"\1", data[first:end]))
        except Unreadable:
            short += 1
        except Exception:  # the email package raises all sorts on what is no message
            broken += 1
        else:
            if letter.own_words < LEAST_WORDS:
                short += 1
            else:
                letters.append(letter)
    return letters[::-1], short, broken


def _account(source: str, others: int, short: int, older: int) -> Iterator[Noted]:
    said = [
        (others, "from other people"),
        (short, f"with fewer than {LEAST_WORDS} words of your own"),
        (older, f"older than the newest {MAX_SAMPLES}, which is what a voice can hold"),
    ]
    told = [f"{count:,} {what}" for count, what in said if count]
    if told:
        yield Noted(source, f"Messages left out: {', '.join(told)}.")


def _bounds(data: bytes) -> list[tuple[int, int]]:
    found = list(_FROM_LINE.finditer(data))
    if not found:
        raise Unreadable("There is no message in this mailbox. Export one folder, such as Sent, as mbox or .eml.")
    if len(found) > MOST_MESSAGES:
        raise Unreadable(
            f"This mailbox has {len(found):,} messages, and one may have {MOST_MESSAGES:,}. Export a smaller folder."
        )
    ends = [*(each.start() for each in found[1:]), len(data)]
    return [(begun.end(), end) for begun, end in zip(found, ends, strict=True)]


def _head(data: bytes) -> bytes:
    """The header block alone, so that a thousand attachments need not be parsed to tell who sent them."""
    end = re.search(rb"\r?\n\r?\n", data[:65536])
    return data[: end.end() if end else 65536]


def _sender(data: bytes) -> str:
    return _address(str(_HEADERS.parsebytes(_head(data)).get("From", "")))


def _day(data: bytes) -> str:
    return _iso_day(str(_HEADERS.parsebytes(_head(data)).get("Date", ""))) or ""


def _address(header: str) -> str:
    found = getaddresses([header])
    return found[0][1].strip().lower() if found else ""


def _iso_day(header: str) -> str | None:
    with suppress(ValueError, TypeError, IndexError, OverflowError):
        day = parsedate_to_datetime(header).date()
        if date(1980, 1, 1) <= day:
            return day.isoformat()
    return None


def _letter(data: bytes) -> Letter:
    message = _MESSAGES.parsebytes(data)
    return Letter(
        sender=_address(str(message.get("From", ""))),
        subject=_REPLY.sub("", str(message.get("Subject", ""))[:_SUBJECT_CHARS]).strip() or None,
        sent_on=_iso_day(str(message.get("Date", ""))),
        parts=_parts(message),
    )


def _parts(message: EmailMessage) -> tuple[Part, ...]:
    body = message.get_body(("plain", "html"))
    if body is None:
        raise Unreadable("There is no text in this letter.")
    content = body.get_content()
    if not isinstance(content, str):
        raise Unreadable("There is no text in this letter.")
    text = content.replace("\r\n", "\n").replace("\r", "\n")
    if body.get_content_subtype() == "html":
        return parts_of(markup.text_of(text), mail=True)
    if str(body.get_param("format", "")).lower() == "flowed":
        return parts_of(reflowed(text, delsp=str(body.get_param("delsp", "")).lower() == "yes"), mail=True)
    parts = parts_of(text, mail=True)
    return tuple(Part(part.kind, unwrapped(part.text) if part.kind == OWN else part.text, part.out) for part in parts)


def _piece(source: str, letter: Letter, *, sender: str | None = None) -> Piece:
    return Piece(source, letter.parts, title=letter.subject, written_on=letter.sent_on, sender=sender)
