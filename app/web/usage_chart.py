"""What was used, day by day, as bars in a 100 by 100 box: read below, written on top of it. Knows no HTML."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from storage.usage import Counts

BOX = 100.0
GAP = 0.25  # of a bar's place


@dataclass(frozen=True)
class Bar:
    """One day: left edge, and where its two parts begin (y downwards) and how high they are."""

    x: float
    read_y: float
    read_height: float
    written_y: float
    written_height: float


@dataclass(frozen=True)
class UsageChart:
    """Bars ready for SVG rectangles, and the figures its caption names."""

    bars: Sequence[Bar]
    width: float
    first_day: str
    last_day: str
    busiest_day: str
    busiest_tokens: int
    total: Counts


def draw(days: Sequence[str], counted: Mapping[str, Counts]) -> UsageChart | None:
    """The chart of these days in their order; None where no token was used."""
    counts = [counted.get(day, Counts()) for day in days]
    most = max((count.prompt_tokens + count.completion_tokens for count in counts), default=0)
    if not most:
        return None
    step = BOX / len(days)
    busiest = next(day for day, count in zip(days, counts, strict=True) if _tokens(count) == most)
    return UsageChart(
        bars=[_bar(number * step, count, most) for number, count in enumerate(counts) if _tokens(count)],
        width=round(step * (1 - GAP), 2),
        first_day=days[0],
        last_day=days[-1],
        busiest_day=busiest,
        busiest_tokens=most,
        total=sum(counts, Counts()),
    )


def _bar(x: float, count: Counts, most: int) -> Bar:
    read, written = (BOX * tokens / most for tokens in (count.prompt_tokens, count.completion_tokens))
    return Bar(
        x=round(x, 2),
        read_y=round(BOX - read, 2),
        read_height=round(read, 2),
        written_y=round(BOX - read - written, 2),
        written_height=round(written, 2),
    )


def _tokens(count: Counts) -> int:
    return count.prompt_tokens + count.completion_tokens
