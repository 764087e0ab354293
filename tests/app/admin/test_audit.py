import csv
import io
import json
import re
from datetime import UTC, datetime
from functools import partial

import pytest

from storage import api_keys, audit, clock
from tests.app.web.browser import Person


def at(day: str) -> float:
    """A moment in the last minute of this day."""
    return datetime.fromisoformat(f"{day}T23:59:30+00:00").astimezone(UTC).timestamp()


@pytest.fixture
def eventful(chief: Person, ada: Person, monkeypatch: pytest.MonkeyPatch) -> Person:
    """Three days in March on which Ada was suspended, once each."""
    for day in ("2026-03-01", "2026-03-02", "2026-03-03"):
        monkeypatch.setattr(clock, "now", partial(at, day))
        with chief.storage.database.session() as session:
            audit.record(session, "user.suspended", actor_id=chief.user.id, subject_id=ada.user.id, day=day)
    monkeypatch.undo()
    return chief


def days(page: str) -> list[str]:
    return re.findall(r"day: <span class=\"id\">2026-03-0(\d)", page)


def test_days_are_chosen_in_the_address_the_last_one_included(eventful: Person) -> None:
    def shown(query: str) -> list[str]:
        return days(eventful.browser.get(f"/admin/audit?action=user.suspended&{query}").text)

    assert shown("") == ["3", "2", "1"]
    assert shown("from=2026-03-02") == ["3", "2"]
    assert shown("to=2026-03-02") == ["2", "1"]
    assert shown("from=2026-03-02&to=2026-03-02") == ["2"]
    assert shown("from=yesterday&to=9999-12-31") == ["3", "2", "1"]


def test_people_are_found_by_their_address_too(eventful: Person, ada: Person) -> None:
    assert days(eventful.browser.get("/admin/audit?action=user.suspended&on=Ada@example.org").text) == ["3", "2", "1"]
    assert days(eventful.browser.get("/admin/audit?by=chief@example.org&on=ada@example.org").text) == ["3", "2", "1"]
    assert "Nothing like that" in eventful.browser.get("/admin/audit?by=nobody@example.org").text


def test_the_next_page_and_the_export_keep_the_filter(eventful: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.admin.audit.PAGE", 1)
    page = eventful.browser.get("/admin/audit?action=user.suspended&to=2026-03-02").text
    following = re.search(r'rel="next" href="([^"]+)"', page)
    assert following
    assert days(eventful.browser.get(following.group(1).replace("&amp;", "&")).text) == ["1"]
    export = re.search(r'href="(/admin/audit/export\.jsonl[^"]+)"', page)
    assert export
    taken = eventful.browser.get(export.group(1).replace("&amp;", "&"))
    assert [json.loads(line)["detail"]["day"] for line in taken.text.splitlines()] == ["2026-03-02", "2026-03-01"]


def test_everything_is_taken_along_however_many_pages_it_is(
    eventful: Person, auditor: Person, ada: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.admin.audit.EXPORT_PAGE", 2)
    with eventful.storage.database.reading() as session:
        kept = audit.list_events(session)
    as_csv, as_lines = (auditor.browser.get(f"/admin/audit/export.{form}") for form in ("csv", "jsonl"))
    rows = list(csv.DictReader(io.StringIO(as_csv.text)))
    lines = [json.loads(line) for line in as_lines.text.splitlines()]
    assert [int(row["id"]) for row in rows] == [line["id"] for line in lines] == [event.id for event in kept]
    suspended = next(line for line in lines if line["action"] == "user.suspended")
    assert suspended == {
        "id": suspended["id"],
        "at": "2026-03-03T23:59:30.000+00:00",
        "actor": eventful.user.id,
        "action": "user.suspended",
        "subject": ada.user.id,
        "detail": {"day": "2026-03-03"},
    }
    assert json.loads(next(row for row in rows if row["action"] == "user.suspended")["detail"]) == {"day": "2026-03-03"}
    assert "attachment" in as_csv.headers["Content-Disposition"]
    assert as_csv.mimetype == "text/csv"


def test_what_is_several_things_is_told_as_a_list(auditor: Person, ada: Person) -> None:
    with ada.storage.database.session() as session:
        api_keys.create_key(session, ada.user.id, "laptop", ("generate", "read"))
    page = auditor.browser.get("/admin/audit?action=key.created").text
    assert 'scopes: <span class="id">generate, read</span>' in page


def test_another_form_of_export_is_not_there(chief: Person) -> None:
    assert chief.browser.get("/admin/audit/export.xml").status_code == 404
