from app.web.stacked_bars import stack


def test_bars_stand_on_one_another_and_the_highest_reaches_the_top() -> None:
    chart = stack([("a", (1, 3)), ("b", (2, 0)), ("c", (0, 0))])
    assert chart.top == 4
    first, second, third = chart.bars
    assert first.parts == ((75.0, 25.0), (0.0, 75.0))
    assert second.parts == ((50.0, 50.0), (50.0, 0.0))
    assert third.parts == ((100.0, 0.0), (100.0, 0.0))
    assert [bar.x for bar in chart.bars] == [3.33, 36.67, 70.0]
    assert stack([]).is_empty
    assert stack([("a", (0,))]).is_empty
