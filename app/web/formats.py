"""How figures, times and words are put on a page, in the reader's language. Knows no view and no storage."""

from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import Any

from babel.dates import format_date, format_datetime
from flask import Flask
from markupsafe import Markup

from app.web import words
from app.web.words import figures, gettext, marked

ORDINALS = (
    marked("first"),
    marked("second"),
    marked("third"),
    marked("fourth"),
    marked("fifth"),
    marked("sixth"),
    marked("seventh"),
    marked("eighth"),
    marked("ninth"),
    marked("tenth"),
)
DAY, MOMENT, SECOND = "d MMM y", "d MMM y, HH:mm 'UTC'", "d MMM y, HH:mm:ss 'UTC'"
PREVIEW_CHARS = 70
EXCERPT_CHARS = 240
EXCERPT_END_CHARS = 80
MINUTE_S = 60
FEW_MINUTES_S = 300  # below that, a minute more or less is too much
HOUR_S = 3600


def number(value: float) -> str:
    """1840 -> '1,840'."""
    return figures(f"{value:,.0f}")


def amount(value: float) -> str:
    """1840 -> '1,840', 0.25 -> '0.25': as many places as tell something."""
    return figures(f"{value:,.2f}".rstrip("0").rstrip(".") if value < 10 else f"{value:,.1f}".removesuffix(".0"))


def bits(value: float | None) -> str:
    """A loss in bits per character, to three places; a dash when it was not measured."""
    return "–" if value is None else figures(f"{value:.3f}")


def percent(value: float | None) -> str:
    """A percentage to one place; whole from ten up."""
    if value is None:
        return "–"
    return figures(f"{value:.0f}" if abs(value) >= 10 else f"{value:.1f}") + "\N{NO-BREAK SPACE}%"


def ordinal(position: int) -> str:
    """1 -> 'first', 11 -> 'number 11'."""
    if 1 <= position <= len(ORDINALS):
        return gettext(ORDINALS[position - 1])
    return gettext("number %(position)s", position=position)


def duration(seconds: float | None) -> str:
    """Seconds as people say them: '40 s', '1 min 30 s', '7 min', '1 h', '1 h 20 min'."""
    whole = max(1, round(seconds or 0))
    if whole < MINUTE_S:
        return gettext("%(seconds)s s", seconds=whole)
    if whole < FEW_MINUTES_S:
        minutes, rest = divmod(round(whole, -1), MINUTE_S)
        return (
            _minutes(minutes) if not rest else gettext("%(minutes)s min %(seconds)s s", minutes=minutes, seconds=rest)
        )
    if whole < HOUR_S:
        return _minutes(round(whole / MINUTE_S))
    hours, minutes = whole // HOUR_S, whole % HOUR_S // MINUTE_S
    return gettext("%(hours)s h %(minutes)s min", hours=hours, minutes=minutes) if minutes else _hours(hours)


def _minutes(minutes: int) -> str:
    return gettext("%(minutes)s min", minutes=minutes)


def _hours(hours: int) -> str:
    return gettext("%(hours)s h", hours=hours)


def when(at: float | None, *, seconds: bool = False) -> Markup:
    """A <time> element in UTC, to the minute or the second; times.js puts it in the reader's own zone and manner."""
    if at is None:
        return Markup("–")
    moment = datetime.fromtimestamp(at, UTC)
    return Markup('<time datetime="{}"{}>{}</time>').format(
        moment.strftime("%Y-%m-%dT%H:%M:%SZ"),
        Markup(" data-seconds") if seconds else "",
        format_datetime(moment, SECOND if seconds else MOMENT, locale=words.current().locale),
    )


def day(iso: str) -> Markup:
    """A <time> element for an ISO date, which has no zone; times.js puts it in the reader's own manner."""
    given = date.fromisoformat(iso)
    return Markup('<time datetime="{}">{}</time>').format(iso, format_date(given, DAY, locale=words.current().locale))


def size(num_bytes: int) -> str:
    """Bytes as people say them: '4 KiB', '4 MiB', '4.5 MiB'."""
    if num_bytes < 1024**2:
        return gettext("%(number)s KiB", number=figures(f"{num_bytes / 1024:,.0f}"))
    return gettext("%(number)s MiB", number=figures(f"{num_bytes / 1024**2:,.1f}".removesuffix(".0")))


def preview(title: str | None, text: str) -> str:
    """What a sample is called in a list: its title, or its first words where that has no letter in it, as the names of
    files that are only numbered."""
    if title and any(char.isalpha() for char in title):
        return " ".join(title.split())
    words = " ".join(text[: PREVIEW_CHARS * 2].split())
    return words if len(words) <= PREVIEW_CHARS else words[:PREVIEW_CHARS].rsplit(" ", 1)[0] + " …"


def capital(text: str) -> str:
    """With a capital at its beginning, and else as it is."""
    return text[:1].upper() + text[1:]


def sentence(text: str) -> str:
    """A line that somebody typed, with a stop at its end."""
    return text if text.endswith((".", "!", "?", "…")) else f"{text}."


def excerpt(text: str) -> str:
    """The beginning of a text and its end, on one line; a short text whole."""
    if len(text) <= 2 * EXCERPT_CHARS:
        return " ".join(text.split())
    begins, ends = " ".join(text[:EXCERPT_CHARS].split()), " ".join(text[-EXCERPT_END_CHARS:].split())
    return f"{begins.rpartition(' ')[0] or begins} … {ends.partition(' ')[2] or ends}"


def figure(figures: Mapping[str, Any], name: str) -> float | None:
    """One measured figure of a run or version, None when it is missing."""
    value = figures.get(name)
    return float(value) if isinstance(value, int | float) else None


def install(app: Flask) -> None:
    """Give templates these as filters and functions."""
    for show in (number, amount, bits, percent, ordinal, duration, when, day, size, sentence, capital, figures):
        app.add_template_filter(show)
    for make in (preview, excerpt, figure):
        app.add_template_global(make)
