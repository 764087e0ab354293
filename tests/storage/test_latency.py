"""How long answers took, as counts by hour, on both databases; and everybody's usage by day and person."""

import pytest

from storage import clock, latency, usage
from storage.latency import BEYOND_MS, Place
from storage.store import Storage
from storage.usage import Counts, Share
from tests import factories

NOON = 1_795_694_400.0  # 2026-11-26T12:00:00Z


@pytest.fixture(autouse=True)
def noon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "now", lambda: NOON)


@pytest.mark.parametrize(
    ("seconds", "upto_ms"),
    [
        (0.0, 1),
        (0.001, 1),
        (0.0011, 2),
        (0.05, 50),
        (0.051, 75),
        (60.0, 60_000),
        (60.1, BEYOND_MS),
        (9999.0, BEYOND_MS),
    ],
)
def test_an_answer_is_counted_at_the_least_bound_that_it_kept(seconds: float, upto_ms: int) -> None:
    assert latency.place_of("text", seconds) == Place("2026-11-26T12", "text", upto_ms)


def test_counts_add_up_by_hour_and_kind(storage: Storage) -> None:
    now, before = Place("2026-11-26T12", "text", 50), Place("2026-11-26T11", "text", 100)
    other, long_ago = Place("2026-11-26T12", "other", 5), Place("2026-11-24T12", "text", 1)
    for _ in range(2):
        with storage.database.session() as session:
            latency.add(session, {now: 3, before: 1, other: 2, long_ago: 1})
    with storage.database.session() as session:
        latency.add(session, {})
    with storage.database.reading() as session:
        assert latency.by_hour(session, "text", 48) == {"2026-11-26T11": {100: 2}, "2026-11-26T12": {50: 6}}
        assert latency.by_hour(session, "text", 49)["2026-11-24T12"] == {1: 2}
        assert latency.by_hour(session, "other", 1) == {"2026-11-26T12": {5: 4}}


def test_so_many_per_cent_came_within_a_bound() -> None:
    counts = latency.together([{10: 40, 20: 9}, {10: 10, 20: 35, 500: 6}])
    assert counts == {10: 50, 20: 44, 500: 6}
    assert latency.within(counts, 50) == 10
    assert latency.within(counts, 51) == 20
    assert latency.within(counts, 94) == 20
    assert latency.within(counts, 95) == 500
    assert latency.within(counts, 100) == 500
    assert latency.within({}, 50) is None


def test_old_hours_are_forgotten(storage: Storage) -> None:
    kept, gone = Place("2026-10-18T12", "text", 1), Place("2026-10-17T11", "text", 1)
    assert latency.hour_of(NOON - latency.KEPT_HOURS * latency.HOUR_S) == "2026-10-17T12"
    with storage.database.session() as session:
        latency.add(session, {kept: 1, gone: 1})
        latency.forget_old(session)
    with storage.database.reading() as session:
        assert list(latency.by_hour(session, "text", 9999)) == ["2026-10-18T12"]


def test_everybodys_usage_by_day_has_every_day_and_shares_the_greatest_first(storage: Storage) -> None:
    ada, bob = factories.make_user(storage), factories.make_user(storage)
    with storage.database.session() as session:
        counted = {
            usage.Place(ada.id, "2026-11-26", "key-a", "base"): Counts(1, 10, 5),
            usage.Place(ada.id, "2026-11-25", "key-b", "base"): Counts(2, 20, 5),
            usage.Place(bob.id, "2026-11-26", "key-c", "base"): Counts(1, 30, 15),
            usage.Place(bob.id, "2026-11-26", "key-c", ""): Counts(9),
            usage.Place(bob.id, "2026-11-23", "key-c", "base"): Counts(99, 99, 99),
        }
        usage.add(session, counted)
    with storage.database.reading() as session:
        assert usage.by_day(session, 3) == {
            "2026-11-24": Counts(),
            "2026-11-25": Counts(2, 20, 5),
            "2026-11-26": Counts(11, 40, 20),
        }
        assert usage.greatest_shares(session, 3, 9) == [
            Share(bob.id, bob.email, "base", Counts(1, 30, 15)),
            Share(ada.id, ada.email, "base", Counts(3, 30, 10)),
            Share(bob.id, bob.email, "", Counts(9)),
        ]
        assert len(usage.greatest_shares(session, 3, 1)) == 1
