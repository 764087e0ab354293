import pytest

from app.web.usage_chart import draw
from storage.usage import Counts

DAYS = ["2026-11-24", "2026-11-25", "2026-11-26"]


def test_every_day_has_its_place_with_what_was_read_below_what_was_written() -> None:
    chart = draw(
        DAYS, {"2026-11-24": Counts(1, 30, 10), "2026-11-26": Counts(2, 20, 60), "2026-01-01": Counts(9, 9, 9)}
    )
    assert chart is not None
    assert [bar.label for bar in chart.drawn.bars] == DAYS
    assert [bar.values for bar in chart.drawn.bars] == [(30, 10), (0, 0), (20, 60)]
    assert (chart.busiest_day, chart.busiest_tokens, chart.total) == ("2026-11-26", 80, Counts(3, 50, 70))
    assert (chart.first_day, chart.last_day) == (DAYS[0], DAYS[-1])


@pytest.mark.parametrize("counted", [{}, {"2026-11-25": Counts(5)}])
def test_nothing_used_is_no_chart(counted: dict[str, Counts]) -> None:
    assert draw(DAYS, counted) is None
