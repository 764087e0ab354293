"""What was noticed about a sample, as a considerate reader would say it. Knows no request."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from flask import url_for
from sqlalchemy.orm import Session

from app.intake.languages import name_of
from app.intake.own_words import ATTRIBUTION, FORWARDED, FRONT_MATTER, NOTICE, QUOTE, SIGNATURE
from app.web import words
from app.web.formats import preview
from app.web.words import gettext, marked, ngettext
from storage import samples
from storage.keys import KeyStore
from storage.models import Voice
from storage.remarks import Part, Remarks
from storage.sample_rows import Sample

KINDS = {
    QUOTE: marked("quoted lines"),
    ATTRIBUTION: marked("who is quoted"),
    FORWARDED: marked("a forwarded or earlier message"),
    SIGNATURE: marked("a signature"),
    NOTICE: marked("a notice below"),
    FRONT_MATTER: marked("the file's own notes on top"),
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
        line = gettext(
            "%(percent)s of it stands in another piece too:",
            percent=f"{remarks.share:.0%}".replace("%", "\N{NO-BREAK SPACE}%"),
        )
        lines.append(RemarkLine(f"{line} ", url, preview(other.title, other.text)))
    if remarks.sender:
        lines.append(
            RemarkLine(gettext("By %(sender)s, as the file has it. Use it only if that is you.", sender=remarks.sender))
        )
    if remarks.language and remarks.expected:
        lines.append(RemarkLine(_language(remarks, remarks.language, remarks.expected)))
    return lines


def _taken_out(parts: Sequence[Part]) -> str:
    counts: Counter[str] = Counter()
    for part in parts:
        counts[gettext(KINDS.get(part.kind, part.kind))] += part.num_words
    parts_told = ", ".join(
        ngettext("%(kind)s (%(num)s word)", "%(kind)s (%(num)s words)", count, kind=kind)
        for kind, count in counts.items()
    )
    return gettext("Taken out as not your own words: %(parts)s. You can put it back.", parts=parts_told)


def _name_of(code: str) -> str:
    """A language by its name in the reader's."""
    return words.current().locale.languages.get(code) or name_of(code)


def _language(remarks: Remarks, language: str, expected: str) -> str:
    if remarks.expected_by == "base":
        return gettext(
            "Looks to be in %(language)s. The base model reads %(expected)s and learns little from it.",
            language=_name_of(language),
            expected=_name_of(expected),
        )
    return gettext(
        "Looks to be in %(language)s, while most of your pieces are in %(expected)s.",
        language=_name_of(language),
        expected=_name_of(expected),
    )
