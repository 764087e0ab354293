"""Counts of what was asked of the API."""

import threading
from datetime import UTC, datetime, timedelta

import pytest

from storage import clock, usage, users
from storage.models import ApiUsage
from storage.store import Storage
from storage.usage import Counts, Place
from tests import factories


def listed(storage: Storage, user_id: str, days: int = 30) -> list[tuple[str, str, str, int, int, int]]:
    with storage.database.reading() as session:
        return [
            (row.day, row.key_id, row.model, row.requests, row.prompt_tokens, row.completion_tokens)
            for row in usage.list_usage(session, user_id, days=days)
        ]


def count(storage: Storage, *places: Place) -> None:
    with storage.database.session() as session:
        usage.add(session, {place: Counts(1, 10, 100) for place in places})


def days_ago(days: int) -> str:
    return (datetime.now(UTC).date() - timedelta(days=days)).isoformat()


def test_counts_add_up_by_day_key_and_model_and_are_their_owners(storage: Storage) -> None:
    ann, ben = factories.make_user(storage).id, factories.make_user(storage).id
    day = usage.today()
    count(storage, Place(ann, day, "key-1", ""), Place(ann, day, "key-1", "voice-1"), Place(ben, day, "key-2", ""))
    count(storage, Place(ann, day, "key-1", "voice-1"), Place(ann, days_ago(1), "key-3", "voice-1"))
    assert listed(storage, ann) == [
        (day, "key-1", "", 1, 10, 100),
        (day, "key-1", "voice-1", 2, 20, 200),
        (days_ago(1), "key-3", "voice-1", 1, 10, 100),
    ]
    assert listed(storage, ben) == [(day, "key-2", "", 1, 10, 100)]
    assert len(listed(storage, ann, days=1)) == 2


def test_a_list_is_read_in_pages(storage: Storage) -> None:
    user_id, day, before = factories.make_user(storage).id, usage.today(), days_ago(1)
    places = [
        Place(user_id, day, "key-1", ""),
        Place(user_id, day, "key-1", "voice-1"),
        Place(user_id, day, "key-2", ""),
        Place(user_id, before, "key-1", "voice-2"),
        Place(user_id, before, "key-9", ""),
    ]
    count(storage, *places)
    read: list[Place] = []
    while True:
        with storage.database.reading() as session:
            page = usage.list_usage(session, user_id, days=2, after=read[-1] if read else None, limit=2)
        if not page:
            break
        read += [Place(row.user_id, row.day, row.key_id, row.model) for row in page]
    assert read == places


def test_a_day_is_a_day_in_utc(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "now", lambda: datetime(2026, 3, 1, 23, 59, 59, tzinfo=UTC).timestamp())
    assert usage.today() == "2026-03-01"


def test_what_is_older_than_thirteen_months_is_deleted(storage: Storage) -> None:
    user_id = factories.make_user(storage).id
    kept, old = days_ago(usage.KEPT_DAYS - 1), days_ago(usage.KEPT_DAYS)
    count(storage, Place(user_id, kept, "key-1", ""), Place(user_id, old, "key-1", ""))
    with storage.database.session() as session:
        usage.forget_old(session)
    with storage.database.reading() as session:
        assert [row.day for row in session.query(ApiUsage)] == [kept]


def test_what_was_counted_of_somebody_erased_meanwhile_is_left_out(storage: Storage) -> None:
    gone, there = factories.make_user(storage).id, factories.make_user(storage).id
    users.erase_user(storage, gone, gone)
    count(storage, Place(gone, usage.today(), "key-1", ""), Place(there, usage.today(), "key-2", ""))
    assert listed(storage, gone) == []
    assert len(listed(storage, there)) == 1


def test_processes_that_write_down_at_once_lose_nothing(storage: Storage) -> None:
    people = [factories.make_user(storage).id for _ in range(4)]
    places = [Place(user_id, usage.today(), "key-1", "") for user_id in people]

    def work(turned: bool) -> None:
        for _ in range(10):
            count(storage, *(places[::-1] if turned else places))

    threads = [threading.Thread(target=work, args=(turned,)) for turned in (False, True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [listed(storage, user_id)[0][3] for user_id in people] == [20] * 4


def test_sums_by_day_key_and_model_are_ones_own_and_of_these_days(storage: Storage) -> None:
    ann, ben = factories.make_user(storage).id, factories.make_user(storage).id
    day = usage.today()
    count(
        storage, Place(ann, day, "key-1", "voice-1"), Place(ann, day, "key-2", "voice-1"), Place(ben, day, "key-1", "x")
    )
    count(storage, Place(ann, days_ago(2), "key-2", ""), Place(ann, days_ago(9), "key-9", "old"))
    with storage.database.reading() as session:
        found = [usage.totals(session, ann, days=3, by=by) for by in ("day", "key_id", "model")]
    one, two = Counts(1, 10, 100), Counts(2, 20, 200)
    assert found == [{day: two, days_ago(2): one}, {"key-2": two, "key-1": one}, {"voice-1": two, "": one}]
    assert [list(sums) for sums in found][1] == ["key-2", "key-1"]
    assert usage.days_until_today(3) == [days_ago(2), days_ago(1), day]
