import pytest

from app.web.votes import count_of, interval, rival_of, says_of
from storage.trials import Tally


@pytest.mark.parametrize(
    ("hits", "count", "low", "high"),
    [(0, 10, 0.0, 0.2775), (5, 10, 0.2366, 0.7634), (9, 10, 0.5958, 0.9821), (81, 263, 0.2553, 0.3662)],
)
def test_the_interval_is_wilsons(hits: int, count: int, low: float, high: float) -> None:
    assert interval(hits, count) == pytest.approx((low, high), abs=5e-4)


@pytest.mark.parametrize(
    ("version", "other", "says"),
    [
        (4, 0, "Too few to say anything: 1 more choice"),
        (0, 0, "Too few to say anything: 5 more choices"),
        (5, 3, "can still be chance"),
        (3, 5, "can still be chance"),
        (9, 1, "between 60 and 98 in 100: you choose it more often than chance"),
        (1, 9, "between 2 and 40 in 100: you choose it less often than chance"),
    ],
)
def test_no_more_is_said_than_the_numbers_bear(version: int, other: int, says: str) -> None:
    assert says in says_of(Tally(None, own_strength=True, version=version, other=other, neither=50))


def test_the_count_leaves_nothing_out() -> None:
    assert count_of(Tally(None, True, 7, 3, 2)) == "7 for this version, 3 for the base model, 2 without a difference."
    assert count_of(Tally(1, True, 7, 3)) == "7 for this version, 3 for version 1."
    assert count_of(Tally(None, True, neither=2)) == "2 trials, each without a difference."
    assert rival_of(Tally(None, True)) == "the base model"
    assert rival_of(Tally(4, False)) == "version 4, at other strengths than 1"
