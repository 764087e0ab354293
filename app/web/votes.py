"""Blind choices as a page says them: an honest count, how sure it is, and no more than it bears. Knows no HTML and no
storage but the count."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from app.web.formats import plural
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
    names = [f"version {trial.version}", _rival(trial.against)]
    first, second = names if trial.version_first else reversed(names)
    like = [t for t in tallies if t.against == trial.against and t.own_strength == (trial.strength == 1)]
    so_far = " ".join(f"So far: {count_of(tally)} {says_of(tally)}" for tally in like)
    return f"Noted. The first was {first}, the second {second}. {so_far}"


def rival_of(tally: Tally) -> str:
    """What the version was tried against."""
    rival = _rival(tally.against)
    return rival if tally.own_strength else f"{rival}, at other strengths than 1"


def count_of(tally: Tally) -> str:
    """The numbers, all of them."""
    decided = tally.version + tally.other
    if not decided:
        return f"{plural(tally.neither, 'trial')}, each without a difference."
    without = f", {tally.neither:,} without a difference" if tally.neither else ""
    rival = _rival(tally.against)
    return f"{tally.version:,} for this version, {tally.other:,} for {rival}{without}."


def says_of(tally: Tally) -> str:
    """How sure the numbers are, by the interval of a proportion at 95 %."""
    decided = tally.version + tally.other
    if decided < LEAST_DECIDED:
        return f"Too few to say anything: {plural(LEAST_DECIDED - decided, 'more choice')} would be a beginning."
    low, high = interval(tally.version, decided)
    range_ = f"between {100 * low:.0f} and {100 * high:.0f} in 100"
    if low <= 0.5 <= high:
        return f"Over many trials that may be anything {range_}, so it can still be chance."
    chosen = "more" if low > 0.5 else "less"
    return f"Over many trials that would be {range_}: you choose it {chosen} often than chance would."


def interval(hits: int, count: int) -> tuple[float, float]:
    """Where a proportion lies with 95 % confidence (Wilson 1927), which holds for small counts too."""
    share, spread = hits / count, _Z * _Z / count
    middle = (share + spread / 2) / (1 + spread)
    reach = _Z * math.sqrt(share * (1 - share) / count + spread / (4 * count)) / (1 + spread)
    return max(0.0, middle - reach), min(1.0, middle + reach)


def _rival(against: int | None) -> str:
    return "the base model" if against is None else f"version {against}"
