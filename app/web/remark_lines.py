"""What was noticed about a sample, as a considerate reader would say it. Knows no request."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from flask import url_for
from sqlalchemy.orm import Session

from app.intake.languages import name_of
from app.intake.own_words import ATTRIBUTION, FORWARDED, FRONT_MATTER, NOTICE, QUOTE, SIGNATURE
from app.web.formats import plural, preview
from storage import samples
from storage.keys import KeyStore
from storage.models import Voice
from storage.remarks import Part, Remarks
from storage.sample_rows import Sample

KINDS = {
    QUOTE: "quoted lines",
    ATTRIBUTION: "who is quoted",
    FORWARDED: "a forwarded or earlier message",
    SIGNATURE: "a signature",
    NOTICE: "a notice below",
    FRONT_MATTER: "the file's own notes on top",
}


@dataclass(frozen=True)
class RemarkLine:
    """One sentence, and the sample it speaks of, where it speaks of another."""

    sentence: str
    url: str | None = None
    name: str | None = None


def of(
    session: Session, keys: KeyStore, voice: Voice, shown: Sequence[Sample], *, doubts_only: bool = False
) -> dict[str, list[RemarkLine]]:
    """The lines of each of these samples of one voice, by id. doubts_only: not what was taken out, which is settled."""
    repeated = {sample.remarks.repeats for sample in shown if sample.remarks.repeats}
    others = samples.find_by_text(session, keys, voice.user_id, voice.id, repeated) if repeated else {}
    return {sample.id: _lines(sample, others, voice.id, doubts_only) for sample in shown}


def _lines(sample: Sample, others: Mapping[str, Sample], voice_id: str, doubts_only: bool) -> list[RemarkLine]:
    remarks = sample.remarks
    lines = []
    if remarks.taken_out and not doubts_only:
        lines.append(RemarkLine(_taken_out(remarks.taken_out)))
    other = others.get(remarks.repeats or "")
    if other is not None:  # it may have been changed or deleted since
        url = url_for("samples.show", voice_id=voice_id, sample_id=other.id)
        line = f"{remarks.share:.0%} of it stands in another piece too: "
        lines.append(RemarkLine(line.replace("%", "\N{NO-BREAK SPACE}%"), url, preview(other.title, other.text)))
    if remarks.sender:
        lines.append(RemarkLine(f"By {remarks.sender}, as the file has it. Use it only if that is you."))
    if remarks.language and remarks.expected:
        lines.append(RemarkLine(_language(remarks, remarks.language, remarks.expected)))
    return lines


def _taken_out(parts: Sequence[Part]) -> str:
    words: Counter[str] = Counter()
    for part in parts:
        words[KINDS.get(part.kind, part.kind)] += part.num_words
    told = ", ".join(f"{kind} ({plural(count, 'word')})" for kind, count in words.items())
    return f"Taken out as not your own words: {told}. You can put it back."


def _language(remarks: Remarks, language: str, expected: str) -> str:
    if remarks.expected_by == "base":
        return (
            f"Looks to be in {name_of(language)}. The base model reads {name_of(expected)} and learns little from it."
        )
    return f"Looks to be in {name_of(language)}, while most of your pieces are in {name_of(expected)}."
