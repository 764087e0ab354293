"""Figures over time as bars: from numbers to rectangles in a 100 by 100 box. Knows no HTML."""

from collections.abc import Sequence
from dataclasses import dataclass

BOX = 100.0
FILLED = 0.8  # of the room that one bar has


@dataclass(frozen=True)
class Bar:
    """One place on the axis. parts: (y, height) of each figure, the first at the bottom."""

    label: str
    x: float
    width: float
    parts: tuple[tuple[float, float], ...]
    values: tuple[float, ...]


@dataclass(frozen=True)
class Chart:
    """Bars, oldest first. top: what the full height stands for."""

    bars: tuple[Bar, ...]
    top: float

    @property
    def is_empty(self) -> bool:
        """Nothing stands out of the axis."""
        return self.top == 0


def stack(places: Sequence[tuple[str, Sequence[float]]]) -> Chart:
    """Bars of figures that lie on one another: (label, figures) of each place, oldest first."""
    top = max((sum(values) for _, values in places), default=0.0)
    room = BOX / max(1, len(places))
    return Chart(tuple(_bar(number, room, label, values, top) for number, (label, values) in enumerate(places)), top)


def _bar(number: int, room: float, label: str, values: Sequence[float], top: float) -> Bar:
    parts, below = [], BOX
    for value in values:
        height = BOX * value / top if top else 0.0
        below -= height
        parts.append((round(below, 2), round(height, 2)))
    x = room * number + room * (1 - FILLED) / 2
    return Bar(label, round(x, 2), round(room * FILLED, 2), tuple(parts), tuple(values))
