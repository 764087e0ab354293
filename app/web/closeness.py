"""How close a version is to its person, as a page says it: bars and plain words, from the version's figures and report,
and how much text that rests on. Knows no HTML and no storage."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from app.web.formats import figure, number
from app.web.words import gettext, ngettext
from storage import clock
from storage.models import PrefixVersion

MEASURED_WITHIN_S = 3600  # no report by then: it failed, or its worker was stopped
SAME_DISTANCE = 0.15  # of the base model's; measured again with another seed, distances differ by less
SAME_ABILITY_PCT = 0.5
LEAST_WHOLE = 5  # of fewer samples the ends are kept back, of more the newest whole ones
FEW_JUDGING = 2


@dataclass(frozen=True)
class Bar:
    """One figure in bits per character, and its width in percent of the longest bar."""

    label: str
    bits: float
    width: float
    mine: bool = False


@dataclass(frozen=True)
class Closeness:
    """What is known of a version. bars: what it was published for, at the least. being_measured: the rest will come,
    after so many trainings as `behind` says, None where there is no worker to measure it. style: "nearer", "as near" or
    "farther" than the base model writes, None where it can't be said. repeated_words: the longest run repeated from the
    samples. ability: "kept", "better", or "worse"; ability_pct: by how many percent a neutral text is harder."""

    being_measured: bool
    behind: int | None = None
    bars: tuple[Bar, ...] = ()
    style: str | None = None
    base_distance: float | None = None
    voice_distance: float | None = None
    repeated_words: int | None = None
    ability: str | None = None
    ability_pct: float | None = None

    @property
    def mark(self) -> str:
        """What changes when there is something new to say of a report that is waited for; empty: none is."""
        return f"behind-{self.behind}" if self.being_measured else ""


def closeness_of(version: PrefixVersion, report: Mapping[str, Any] | None, behind: int | None = None) -> Closeness:
    """What to say of this version, by its figures and its report, where there is one (yet): it is measured after so
    many trainings as `behind` says."""
    if report is None:
        soon = clock.now() - version.created_at < MEASURED_WITHIN_S
        return Closeness(being_measured=soon, behind=behind, bars=_bars(version.figures, {}))
    distances = _part(report, "style_distance")
    base, voice = figure(distances, "base"), figure(distances, "voice")
    repeated = figure(_part(report, "longest_overlap"), "words")
    rise = figure(report, "neutral_rise_pct")
    return Closeness(
        being_measured=False,
        bars=_bars(version.figures, report),
        style=_style(base, voice),
        base_distance=base,
        voice_distance=voice,
        repeated_words=None if repeated is None else int(repeated),
        ability=_ability(rise),
        ability_pct=rise,
    )


def rests_on(figures: Mapping[str, Any]) -> str:
    """How much of the person's writing a version's figures were measured on, and what that makes of them; empty where a
    release before did not note it."""
    judging, given, tokens = (figure(figures, name) for name in ("test_samples", "samples", "test_tokens"))
    if judging is None or given is None:
        return ""
    on = _judged_on(int(given), int(judging))
    if tokens:
        on = gettext("%(pieces)s, about %(tokens)s tokens in all", pieces=on, tokens=number(tokens))
    if given < LEAST_WHOLE:
        return gettext("It was judged on %(pieces)s. That is little: take the figure for a hint.", pieces=on)
    if judging == 1:
        return gettext("It was judged on %(pieces)s: on another piece the figure could be quite another.", pieces=on)
    if judging <= FEW_JUDGING:
        return gettext("It was judged on %(pieces)s. That is few: take the figure for a hint.", pieces=on)
    return gettext("It was judged on %(pieces)s.", pieces=on)


def _judged_on(given: int, judging: int) -> str:
    if given < LEAST_WHOLE:
        return ngettext("the end of the one piece", "the ends of all %(num)s pieces", given)
    return gettext("one piece") if judging == 1 else ngettext("%(num)s piece", "%(num)s pieces", judging)


def _part(report: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    part = report.get(name)
    return part if isinstance(part, dict) else {}


def _bars(figures: Mapping[str, Any], report: Mapping[str, Any]) -> tuple[Bar, ...]:
    measured = (
        (gettext("Base model"), figure(figures, "base_bits_per_char"), False),
        (gettext("Base model, shown your samples first"), figure(report, "in_context_bits_per_char"), False),
        (gettext("Your voice"), figure(figures, "voice_bits_per_char"), True),
    )
    known = [(label, bits, mine) for label, bits, mine in measured if bits is not None]
    longest = max((bits for _, bits, _ in known), default=0.0) or 1.0
    return tuple(Bar(label, bits, round(100 * bits / longest, 1), mine) for label, bits, mine in known)


def _style(base: float | None, voice: float | None) -> str | None:
    if base is None or voice is None:
        return None
    if abs(voice - base) <= SAME_DISTANCE * base:
        return "as near"
    return "nearer" if voice < base else "farther"


def _ability(rise_pct: float | None) -> str | None:
    if rise_pct is None:
        return None
    if abs(rise_pct) < SAME_ABILITY_PCT:
        return "kept"
    return "worse" if rise_pct > 0 else "better"
