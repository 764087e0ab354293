"""The style of a person's samples beside that of the base model and of their voice, as rows of a picture: from a
report's numbers to places on a scale of 0 to 100. Knows no HTML and no text."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from app.web.formats import figure
from app.web.words import gettext, marked

WRITERS = ("samples", "base", "voice")
MARK_NAMES = {
    ",": marked("comma"),
    ".": marked("full stop"),
    ";": marked("semicolon"),
    ":": marked("colon"),
    "!": marked("exclamation mark"),
    "?": marked("question mark"),
    "—": marked("dash"),
    "…": marked("ellipsis"),
    "(": marked("bracket"),
    '"': marked("quotation mark"),
}
MOST_WORDS = 10  # those in which the person differs most from the base model are shown at once
_SMOOTHING = 0.5  # as in the distance between styles: a word that somebody happens not to use is no infinite difference
_SEEN = 0.05  # in 100 words: what nobody uses more often than that is not drawn
_MARGIN = 1.05


@dataclass(frozen=True)
class Row:
    """One feature: its value in the samples, from the base model and in the voice, and where on the scale each stands;
    None where it was not counted."""

    label: str
    values: tuple[float | None, ...]
    places: tuple[float | None, ...]


@dataclass(frozen=True)
class Group:
    """Rows of one kind. unit: what their numbers count."""

    title: str
    unit: str
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class StylePicture:
    """What is drawn, and `rest`, the words in which the person is much like the base model. num_words: how many were
    counted, of each writer."""

    groups: tuple[Group, ...]
    rest: Group | None
    num_words: tuple[int, ...]


def picture_of(report: Mapping[str, Any]) -> StylePicture | None:
    """The picture of a report; None where there is no style of all three: too little text, or none in English."""
    found = report.get("style")
    styles = [found.get(writer) for writer in WRITERS] if isinstance(found, dict) else []
    known = [style for style in styles if isinstance(style, dict)]
    if len(known) != len(WRITERS):
        return None
    words = sorted(_rows(known, "function_words_per_100"), key=_difference, reverse=True)
    drawn = (
        Group(gettext("Sentences and words"), gettext("on average"), _lengths(known)),
        Group(gettext("Punctuation"), gettext("in 100 words"), _rows(known, "punctuation_per_100", _mark)),
        Group(
            gettext("Small words in which you differ most from the base model"),
            gettext("in 100 words"),
            tuple(words[:MOST_WORDS]),
        ),
        Group(
            gettext("How sentences begin"),
            gettext("%% of sentences (–: not among the five commonest)"),
            _rows(known, "openings_pct", least=0.0),
        ),
    )
    rest = Group(gettext("All other small words"), gettext("in 100 words"), tuple(words[MOST_WORDS:]))
    return StylePicture(
        groups=tuple(group for group in drawn if group.rows),
        rest=rest if rest.rows else None,
        num_words=tuple(int(figure(style, "num_words") or 0) for style in known),
    )


def _lengths(styles: list[dict[str, Any]]) -> tuple[Row, ...]:
    named = ((gettext("words in a sentence"), "sentence_words"), (gettext("letters in a word"), "word_chars"))
    return tuple(_row(label, [figure(style, name) for style in styles]) for label, name in named)


def _rows(
    styles: list[dict[str, Any]], part: str, label: Callable[[str], str] = str, *, least: float = _SEEN
) -> tuple[Row, ...]:
    """A row for each name that any of the three has, in the order in which they come."""
    rates = [style.get(part) for style in styles]
    given = [each if isinstance(each, dict) else {} for each in rates]
    names = dict.fromkeys(name for each in given for name in each)
    rows = [_row(label(name), [figure(each, name) for each in given]) for name in names]
    return tuple(row for row in rows if max((value or 0.0) for value in row.values) > least)


def _row(label: str, values: list[float | None]) -> Row:
    most = max((value for value in values if value is not None), default=0.0) * _MARGIN or 1.0
    return Row(label, tuple(values), tuple(None if value is None else round(100 * value / most, 1) for value in values))


def _mark(mark: str) -> str:
    return gettext(MARK_NAMES[mark]) if mark in MARK_NAMES else mark


def _difference(row: Row) -> float:
    samples, base = (value or 0.0 for value in row.values[:2])
    return abs(math.log((samples + _SMOOTHING) / (base + _SMOOTHING)))
