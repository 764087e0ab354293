"""Which parts of a text are somebody else's words or boilerplate: quoted lines of a reply, forwarded parts, signatures.

Works line by line, in time that grows with the length. What is found is only marked; what becomes of it is its owner's
decision. Knows no file and no table.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby

from storage.remarks import OWN, Part

QUOTE, ATTRIBUTION, FORWARDED = "quote", "attribution", "forwarded"
SIGNATURE, NOTICE, FRONT_MATTER = "signature", "notice", "front matter"
MOST_SIGNATURE_LINES = 12
MOST_FRONT_MATTER_LINES = 60
_ATTRIBUTION_LINES = 3  # a mail program breaks "On … wrote:" over as many

_QUOTED = re.compile(r" {0,3}>")
_WROTE = re.compile(
    r"\b(?:wrote|writes|said|schrieb|schreibt|a écrit|écrit|escribió|ha scritto|scrisse|escreveu|schreef|skrev"
    r"|kirjoitti|napisał\w?|napsal|написал\w?|писал\w?)\b[^:：]{0,80}[:：]\s*$",
    re.IGNORECASE,
)
_ON_A_DAY = re.compile(r"\s*(?:On|Am|Le|El|Il|Em|Op|Den|Dne|W dniu|\d{1,4}[./-]\d)\b")
_SEPARATOR = re.compile(
    r"\s*(?:[-_—=]{2,}\s*(?:original message|forwarded message|ursprüngliche nachricht|weitergeleitete nachricht"
    r"|message d'origine|message d’origine|message transféré|mensaje original|mensaje reenviado|messaggio originale"
    r"|messaggio inoltrato|mensagem original|mensagem encaminhada|oorspronkelijk bericht|doorgestuurd bericht)"
    r"\s*[-_—=]{2,}|begin forwarded message:"
    r"|anfang der weitergeleiteten nachricht:|début du message réexpédié\s*:)\s*$",
    re.IGNORECASE,
)
_HEADERS = re.compile(
    r"\s*\*?(from|sent|date|to|cc|subject|von|gesendet|datum|an|betreff|de|envoyé|à|objet|enviado|para|asunto|assunto"
    r"|da|inviato|a|oggetto|van|verzonden|aan|onderwerp)\s*:\*?\s*\S",
    re.IGNORECASE,
)
_FIRST_HEADER = re.compile(r"\s*\*?(?:from|von|de|da|van)\s*:\*?\s*\S", re.IGNORECASE)
_SENT_FROM = re.compile(
    r"\s*(?:sent from my |sent from (?:mail|outlook|yahoo|proton)|get outlook for |von meinem .{1,30} gesendet"
    r"|envoyé de mon |enviado desde mi |inviato da |verzonden vanaf mijn )",
    re.IGNORECASE,
)
_LIST_FOOTER = re.compile(r"(?:you received this message because|to unsubscribe|_{20,}(?:\s|$))", re.IGNORECASE)
_CONFIDENTIAL = re.compile(r"confidential|vertraulich|confidentiel|confidencial|riservat", re.IGNORECASE)
_RECIPIENT = re.compile(r"recipient|addressee|empfänger|destinat", re.IGNORECASE)
_KEY_VALUE = re.compile(r"(?:[\w-]+\s*:|\s*-\s|\s+\S|#)")


def parts_of(text: str, *, mail: bool) -> tuple[Part, ...]:
    """The text as parts in order, each stripped and none empty: own words in, everything else out. mail: also look for
    what only letters have, such as signatures and disclaimers."""
    lines = text.split("\n")
    marks = [OWN] * len(lines)
    if not mail:
        _mark_front_matter(lines, marks)
    _mark_forwarded(lines, marks)
    _mark_quotes(lines, marks)
    if mail:
        _mark_unmarked_reply(lines, marks)
        _mark_signature(lines, marks)
        _mark_notices(lines, marks)
    return tuple(_grouped(lines, marks))


def _mark_front_matter(lines: Sequence[str], marks: list[str]) -> None:
    if lines[0].strip() != "---":
        return
    for number, line in enumerate(lines[1:MOST_FRONT_MATTER_LINES], start=1):
        if line.strip() in ("---", "..."):
            marks[: number + 1] = [FRONT_MATTER] * (number + 1)
            return
        if line.strip() and not _KEY_VALUE.match(line):
            return


def _mark_forwarded(lines: Sequence[str], marks: list[str]) -> None:
    """From the line on that begins another's message, everything is."""
    for number, line in enumerate(lines):
        if _SEPARATOR.match(line) or _begins_headers(lines, number):
            first = number - 1 if number and re.fullmatch(r"\s*[_-]{5,}\s*", lines[number - 1]) else number
            marks[first:] = [FORWARDED] * (len(lines) - first)
            return


def _begins_headers(lines: Sequence[str], number: int) -> bool:
    if not _FIRST_HEADER.match(lines[number]):
        return False
    names = {found.group(1).lower() for line in lines[number : number + 6] if (found := _HEADERS.match(line))}
    return len(names) >= 3


def _mark_quotes(lines: Sequence[str], marks: list[str]) -> None:
    last = None  # the last quoted line, while only blank ones came after it
    for number, line in enumerate(lines):
        if marks[number] != OWN:
            last = None
        elif _QUOTED.match(line):
            first = number if last is None else last
            marks[first : number + 1] = [QUOTE] * (number + 1 - first)
            if last is None:
                _mark_attribution(lines, marks, number)
            last = number
        elif line.strip():
            last = None


def _mark_attribution(lines: Sequence[str], marks: list[str], quote: int) -> None:
    """What stands before the quotation at `quote` and says whose it is."""
    end = quote - 1 if quote and lines[quote - 1].strip() else quote - 2
    if end < 0 or not lines[end].rstrip().endswith((":", "：")):
        return
    for first in range(end, max(-1, end - _ATTRIBUTION_LINES), -1):
        if marks[first] != OWN or not lines[first].strip():
            return
        if _WROTE.search(" ".join(lines[first : end + 1])) and (_ON_A_DAY.match(lines[first]) or first == end):
            if first and first == end and _continues(lines[first - 1]) and marks[first - 1] == OWN:
                continue
            marks[first:quote] = [ATTRIBUTION] * (quote - first)
            return


def _continues(line: str) -> bool:
    """Whether this line begins an attribution that the next one ends."""
    return bool(_ON_A_DAY.match(line)) and any(char.isdigit() for char in line)


def _mark_unmarked_reply(lines: Sequence[str], marks: list[str]) -> None:
    """Some programs put "On …, X wrote:" over a message that they do not mark line by line."""
    for number, line in enumerate(lines):
        if marks[number] != OWN or not _continues(line):
            continue
        for end in range(number, min(number + _ATTRIBUTION_LINES, len(lines))):
            if marks[end] == OWN and _WROTE.search(" ".join(lines[number : end + 1])):
                marks[number : end + 1] = [ATTRIBUTION] * (end + 1 - number)
                marks[end + 1 :] = [mark if mark != OWN else QUOTE for mark in marks[end + 1 :]]
                return


def _mark_signature(lines: Sequence[str], marks: list[str]) -> None:
    for number, line in enumerate(lines):
        if marks[number] != OWN:
            continue
        if _SENT_FROM.match(line) and len(line) < 80:
            marks[number] = SIGNATURE
        elif line.rstrip() in ("--", "—") and line.startswith(("--", "—")):
            ahead = range(number, min(len(lines), number + 2 * MOST_SIGNATURE_LINES))
            end = next((at for at in ahead if marks[at] != OWN), ahead.stop)
            whole = end < ahead.stop or end == len(lines)
            if whole and sum(bool(each.strip()) for each in lines[number + 1 : end]) <= MOST_SIGNATURE_LINES:
                marks[number:end] = [SIGNATURE] * (end - number)


def _mark_notices(lines: Sequence[str], marks: list[str]) -> None:
    for first, end in _own_paragraphs(lines, marks):
        paragraph = " ".join(lines[first:end])
        if _LIST_FOOTER.match(paragraph) or (_CONFIDENTIAL.search(paragraph) and _RECIPIENT.search(paragraph)):
            marks[first:end] = [NOTICE] * (end - first)


def _own_paragraphs(lines: Sequence[str], marks: Sequence[str]) -> Iterator[tuple[int, int]]:
    numbered = groupby(range(len(lines)), key=lambda number: marks[number] == OWN and bool(lines[number].strip()))
    for own, numbers in numbered:
        if own:
            there = list(numbers)
            yield there[0], there[-1] + 1


def _grouped(lines: Iterable[str], marks: Iterable[str]) -> Iterator[Part]:
    """Blank lines between two parts belong to neither."""
    for mark, pairs in groupby(zip(marks, lines, strict=True), key=lambda pair: pair[0]):
        text = "\n".join(line for _, line in pairs).strip("\n").rstrip()
        if text.strip():
            yield Part(mark, text, out=mark != OWN)
