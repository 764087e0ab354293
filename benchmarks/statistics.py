"""Medians with intervals and paired wins. Knows nothing of where the figures come from."""

from collections.abc import Sequence

import numpy as np

_RESAMPLES = 10_000


def median(figures: Sequence[float]) -> float:
    """The median, rounded to what a reader can use."""
    return round(float(np.median(figures)), 3)


def interval(figures: Sequence[float], seed: int = 0) -> tuple[float, float]:
    """95 % percentile bootstrap interval of the median (Efron 1979)."""
    drawn = np.random.default_rng(seed).choice(np.asarray(figures), (_RESAMPLES, len(figures)))
    low, high = np.percentile(np.median(drawn, axis=1), [2.5, 97.5])
    return round(float(low), 3), round(float(high), 3)


def wins(ours: Sequence[float], theirs: Sequence[float]) -> int:
    """How many of our figures are the higher ones, pair by pair."""
    return sum(one > other for one, other in zip(ours, theirs, strict=True))
