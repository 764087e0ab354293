import re

import pytest

from storage import audit, clock, password_links
from tests.app.web.browser import Browser, Person

REASON = "A complaint says that this is copied from a book"
WORDS = "how many spoons one owns"


def sample_id(person: Person) -> str:
    person.add(1)
    with person.storage.database.session() as session:
        return person.sample_ids(session)[0]


def test_an_owner_reads_with_a_reason_and_the_writer_sees_it(chief: Person, ada: Person) -> None:
    sample, page = sample_id(ada), f"/admin/users/{ada.user.id}/reading"
    assert "No administrator." in ada.browser.get("/account").text
    assert WORDS not in chief.browser.get(page).text
    opened = chief.browser.post(f"{page}/open", {"sample": sample, "reason": REASON})
    assert opened.status_code == 200
    assert WORDS in opened.text
    assert opened.headers["Cache-Control"] == "no-store"
    assert WORDS not in chief.browser.get(page).text  # opened once, not unlocked
    assert "An administrator has read a sample of yours" in ada.browser.get("/account").text
    told = ada.browser.get("/account/readings").text
    for seen in (REASON, chief.user.email, f"/voices/{ada.voice.id}/samples/{sample}"):
        assert seen in told, seen
    assert REASON in chief.browser.get(f"/admin/audit?action=text.read&on={ada.user.id}").text


@pytest.mark.parametrize("given", [{"reason": ""}, {"reason": "why not"}])
def test_without_a_reason_the_text_stays_closed(chief: Person, ada: Person, given: dict[str, str]) -> None:
    sample = sample_id(ada)
    answer = chief.browser.post(f"/admin/users/{ada.user.id}/reading/open", {"sample": sample, **given})
    assert answer.status_code == 422
    assert WORDS not in answer.text
    assert "Say in a sentence why" in answer.text
    with chief.storage.database.reading() as session:
        assert audit.list_events(session, action="text.read") == []


def test_another_persons_sample_is_not_there(chief: Person, ada: Person, bob: Person) -> None:
    given = {"sample": sample_id(ada), "reason": REASON}
    answer = chief.browser.post(f"/admin/users/{bob.user.id}/reading/open", given)
    assert answer.status_code == 404
    assert WORDS not in answer.text


def test_operators_and_auditors_open_nothing(operator: Person, auditor: Person, ada: Person) -> None:
    given = {"sample": sample_id(ada), "reason": REASON}
    for person in (operator, auditor):
        answer = person.browser.post(f"/admin/users/{ada.user.id}/reading/open", given)
        assert answer.status_code == 403
        assert WORDS not in answer.text
        assert "/reading" not in person.browser.get(f"/admin/users/{ada.user.id}").text
    assert (
        "No administrator has opened a sample of yours, and none has made a link"
        in ada.browser.get("/account/readings").text
    )


def test_nobody_sees_what_is_told_to_another(chief: Person, ada: Person, bob: Person) -> None:
    given = {"sample": sample_id(ada), "reason": REASON}
    chief.browser.post(f"/admin/users/{ada.user.id}/reading/open", given)
    assert REASON not in bob.browser.get("/account/readings").text


def test_who_has_given_nothing_has_nothing_to_read(chief: Person, ada: Person) -> None:
    assert "there is nothing to read" in chief.browser.get(f"/admin/users/{ada.user.id}/reading").text


def test_a_writer_sees_who_made_a_link_into_their_account_and_whether_it_was_used(
    chief: Person, ada: Person, bob: Person
) -> None:
    page = chief.browser.post(f"/admin/users/{ada.user.id}/password-link").text
    assert "stands in their account" in page
    assert "No administrator." not in ada.browser.get("/account").text
    assert "An administrator made a link" in ada.browser.get("/account").text
    told = ada.browser.get("/account/readings").text
    assert chief.user.email in told
    assert "Not used so far. It works for a day" in told
    assert "Nobody but you" not in told
    found = re.search(r"token=([\w-]+)", page)
    assert found
    done = Browser.of(chief.browser.app).post("/password/new", {"token": found[1], "password": "another plum jam"})
    assert done.status_code == 302
    entered = Browser.of(chief.browser.app)
    entered.post("/signin", {"email": ada.user.email, "password": "another plum jam"})
    assert "a password was chosen with it" in entered.get("/account/readings").text
    assert "none has made a link" in bob.browser.get("/account/readings").text


def test_a_link_that_was_never_used_is_told_as_over_after_its_day(
    chief: Person, ada: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    chief.browser.post(f"/admin/users/{ada.user.id}/password-link")
    later = clock.now() + password_links.BY_HAND_S + 1
    monkeypatch.setattr("app.web.readings.clock.now", lambda: later)
    assert "Never used; it works no longer" in ada.browser.get("/account/readings").text
