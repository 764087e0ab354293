"""Blind choices as a page says them: an honest count, how sure it is, and no more than it bears. Knows no HTML and no
storage but the count."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from app.web.formats import number
from app.web.words import gettext, ngettext
from storage.models import BlindTrial
from storage.trials import Tally

LEAST_DECIDED = 5  # of fewer, nothing can be said
_Z = 1.96  # 95 %


@dataclass(frozen=True)
class Verdict:
    """What trials against one thing come to. rival: what it was; count: the numbers; says: how sure they are."""

    rival: str
    count: str
    says: str


def verdicts(tallies: Sequence[Tally]) -> tuple[Verdict, ...]:
    """One for each thing that the version was tried against, and each manner of following it."""
    return tuple(Verdict(rival_of(tally), count_of(tally), says_of(tally)) for tally in tallies)


def revealed(trial: BlindTrial, tallies: Sequence[Tally]) -> str:
    """Who wrote which side of a trial that has just been decided, and what it and those like it come to."""
    names = [_rival(trial.version), _rival(trial.against)]
    first, second = names if trial.version_first else reversed(names)
    like = [t for t in tallies if t.against == trial.against and t.own_strength == (trial.strength == 1)]
    noted = gettext("Noted. The first was %(first)s, the second %(second)s.", first=first, second=second)
    so_far = (gettext("So far: %(count)s", count=f"{count_of(tally)} {says_of(tally)}") for tally in like)
    return f"{noted} {' '.join(so_far)}"


def rival_of(tally: Tally) -> str:
    """What the version was tried against."""
    rival = _rival(tally.against)
    return rival if tally.own_strength else gettext("%(rival)s, at other strengths than 1", rival=rival)


def count_of(tally: Tally) -> str:
    """The numbers, all of them."""
    decided = tally.version + tally.other
    if not decided:
        return ngettext(
            "%(num)s trial, each without a difference.", "%(num)s trials, each without a difference.", tally.neither
        )
    counts = {"mine": number(tally.version), "other": number(tally.other), "rival": _rival(tally.against)}
    if not tally.neither:
        return gettext("%(mine)s for this version, %(other)s for %(rival)s.", **counts)
    return gettext(
        "%(mine)s for this version, %(other)s for %(rival)s, %(neither)s without a difference.",
        neither=number(tally.neither),
        **counts,
    )


def says_of(tally: Tally) -> str:
    """How sure the numbers are, by the interval of a proportion at 95 %."""
    decided = tally.version + tally.other
    if decided < LEAST_DECIDED:
        return ngettext(
            "Too few to say anything: %(num)s more choice would be a beginning.",
            "Too few to say anything: %(num)s more choices would be a beginning.",
            LEAST_DECIDED - decided,
        )
    low, high = interval(tally.version, decided)
    bounds = {"low": f"{100 * low:.0f}", "high": f"{100 * high:.0f}"}
    if low <= 0.5 <= high:
        return gettext(
            "Over many trials that may be anything between %(low)s and %(high)s in 100, so it can still be chance.",
            **bounds,
        )
    if low > 0.5:
        return gettext(
            "Over many trials that would be between %(low)s and %(high)s in 100: you choose it more often than chance "
            "would.",
            **bounds,
        )
    return gettext(
        "Over many trials that would be between %(low)s and %(high)s in 100: you choose it less often than chance "
        "would.",
        **bounds,
    )


def interval(hits: int, count: int) -> tuple[float, float]:
    """Where a proportion lies with 95 % confidence (Wilson 1927), which holds for small counts too."""
    share, spread = hits / count, _Z * _Z / count
    middle = (share + spread / 2) / (1 + spread)
    reach = _Z * math.sqrt(share * (1 - share) / count + spread / (4 * count)) / (1 + spread)
    return max(0.0, middle - reach), min(1.0, middle + reach)


def _rival(against: int | None) -> str:
    return gettext("the base model") if against is None else gettext("version %(version)s", version=against)
