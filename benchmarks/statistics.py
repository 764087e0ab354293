"""Medians and percentiles, intervals and paired wins. Knows nothing of where the figures come from."""

from collections.abc import Sequence

import numpy as np

_RESAMPLES = 10_000
_AT_ONCE = 1000  # resamples, which would fill the memory otherwise


def median(figures: Sequence[float], digits: int = 3) -> float:
    """The median, rounded to what a reader can use."""
    return round(float(np.median(figures)), digits)


def percentile(figures: Sequence[float], part: float) -> float:
    """The figure that `part` of a hundred do not exceed, interpolated between neighbours; not rounded."""
    return float(np.percentile(figures, part))


def interval(figures: Sequence[float], seed: int = 0) -> tuple[float, float]:
    """95 % percentile bootstrap interval of the median (Efron 1979)."""
    drawn = np.random.default_rng(seed).choice(np.asarray(figures), (_RESAMPLES, len(figures)))
    low, high = np.percentile(np.median(drawn, axis=1), [2.5, 97.5])
    return round(float(low), 3), round(float(high), 3)


def percentile_difference(
    ours: Sequence[float], theirs: Sequence[float], part: float, seed: int = 0
) -> tuple[float, float, float]:
    """Our percentile less theirs, and the 95 % percentile bootstrap interval of that, the two drawn independently."""
    drawing, differences = np.random.default_rng(seed), np.zeros(_RESAMPLES)
    for sign, figures in ((1, ours), (-1, theirs)):
        for start in range(0, _RESAMPLES, _AT_ONCE):
            drawn = drawing.choice(np.asarray(figures), (_AT_ONCE, len(figures)))
            differences[start : start + _AT_ONCE] += sign * np.percentile(drawn, part, axis=1)
    low, high = np.percentile(differences, [2.5, 97.5])
    return round(percentile(ours, part) - percentile(theirs, part), 3), round(float(low), 3), round(float(high), 3)


def wins(ours: Sequence[float], theirs: Sequence[float]) -> int:
    """How many of our figures are the higher ones, pair by pair."""
    return sum(one > other for one, other in zip(ours, theirs, strict=True))
