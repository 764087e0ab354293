"""What was used, day by day: read below, written on top of it, and the figures of the caption. Knows no HTML."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from app.web.stacked_bars import Chart, stack
from storage.usage import Counts


@dataclass(frozen=True)
class UsageChart:
    """The bars, and the figures that their caption names."""

    drawn: Chart
    first_day: str
    last_day: str
    busiest_day: str
    total: Counts

    @property
    def busiest_tokens(self) -> int:
        """Read and written on the busiest day."""
        return int(self.drawn.top)


def draw(days: Sequence[str], counted: Mapping[str, Counts]) -> UsageChart | None:
    """The chart of these days in their order; None where no token was used."""
    counts = [counted.get(day, Counts()) for day in days]
    drawn = stack([(day, _parts(count)) for day, count in zip(days, counts, strict=True)])
    if drawn.is_empty:
        return None
    return UsageChart(
        drawn=drawn,
        first_day=days[0],
        last_day=days[-1],
        busiest_day=next(bar.label for bar in drawn.bars if sum(bar.values) == drawn.top),
        total=sum(counts, Counts()),
    )


def _parts(count: Counts) -> tuple[int, int]:
    return count.prompt_tokens, count.completion_tokens
