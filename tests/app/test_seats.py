"""Seats for one person and for everybody together."""

from contextlib import ExitStack

import pytest

from app.seats import HouseFull, NoSeat, Seats


def test_all_together_are_held_to_the_total_and_a_refusal_takes_no_seat() -> None:
    seats = Seats(2, "things", in_all=3)
    with ExitStack() as held:
        for person in ("ann", "ann", "ben"):
            held.enter_context(seats.one(person))
        with pytest.raises(HouseFull, match="Too many things"), seats.one("cleo"):
            pass
        with pytest.raises(NoSeat, match="At most 2 things"), seats.one("ann"):
            pass
        assert seats.taken("cleo") == 0
    with seats.one("cleo"):
        assert seats.taken("cleo") == 1


def test_without_a_total_only_the_person_counts() -> None:
    seats = Seats(1, "things")
    with ExitStack() as held:
        for number in range(100):
            held.enter_context(seats.one(f"person {number}"))
