import pytest

from app.web.usage_chart import draw
from storage.usage import Counts

DAYS = ["2026-11-24", "2026-11-25", "2026-11-26"]


def test_bars_stand_on_the_floor_read_below_written_and_the_busiest_fills_the_box() -> None:
    chart = draw(
        DAYS, {"2026-11-24": Counts(1, 30, 10), "2026-11-26": Counts(2, 20, 60), "2026-01-01": Counts(9, 9, 9)}
    )
    assert chart is not None
    first, last = chart.bars
    assert (first.x, last.x) == (0.0, pytest.approx(66.67))
    assert (last.written_y, last.written_height, last.read_y, last.read_height) == (0.0, 75.0, 75.0, 25.0)
    assert (first.read_y + first.read_height, first.written_y + first.written_height) == (100.0, first.read_y)
    assert first.read_height + first.written_height == 50.0
    assert last.x + chart.width < 100
    assert (chart.busiest_day, chart.busiest_tokens, chart.total) == ("2026-11-26", 80, Counts(3, 50, 70))
    assert (chart.first_day, chart.last_day) == (DAYS[0], DAYS[-1])


@pytest.mark.parametrize("counted", [{}, {"2026-11-25": Counts(5)}])
def test_nothing_used_is_no_chart(counted: dict[str, Counts]) -> None:
    assert draw(DAYS, counted) is None
