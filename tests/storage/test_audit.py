"""The trail on both databases: it grows, and nothing takes a line of it back."""

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from storage import audit, clock
from storage.models import AuditEvent
from storage.store import Storage


def remember(storage: Storage, monkeypatch: pytest.MonkeyPatch, *moments: float) -> None:
    for at in moments:
        monkeypatch.setattr(clock, "now", lambda at=at: at)
        with storage.database.session() as session:
            audit.record(session, "user.suspended", actor_id="user-chief", subject_id=f"user-{at:.0f}")


@pytest.mark.parametrize(
    "deed", ["UPDATE audit_events SET actor_id = 'user-other'", "DELETE FROM audit_events", "TRUNCATE audit_events"]
)
def test_the_database_refuses_to_change_or_delete_a_line(
    storage: Storage, deed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if storage.database.is_sqlite and deed.startswith("TRUNCATE"):
        pytest.skip("SQLite has no such statement")
    remember(storage, monkeypatch, 1.0, 2.0)
    with pytest.raises(DBAPIError, match="append only"), storage.database.session() as session:
        session.execute(text(deed))
    with storage.database.reading() as session:
        assert [event.actor_id for event in audit.list_events(session)] == ["user-chief", "user-chief"]


def test_a_loaded_event_that_is_changed_is_refused_too(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    remember(storage, monkeypatch, 1.0)
    with pytest.raises(DBAPIError, match="append only"), storage.database.session() as session:
        session.query(AuditEvent).one().detail = {"nothing": "happened"}


def test_a_span_begins_at_its_first_moment_and_ends_before_its_last(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    remember(storage, monkeypatch, 10.0, 20.0, 30.0)
    with storage.database.reading() as session:
        found = audit.list_events(session, since=10.0, until=30.0)
        assert [event.at for event in found] == [20.0, 10.0]
        assert [event.at for event in audit.list_events(session, since=20.0)] == [30.0, 20.0]
