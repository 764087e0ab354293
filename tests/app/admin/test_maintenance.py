import pytest

from storage import maintenance
from tests.app.web.browser import Person
from tests.app.web.training import begin

BEGIN, END = "/admin/workers/maintenance/begin", "/admin/workers/maintenance/end"


def is_on(person: Person) -> bool:
    with person.storage.database.reading() as session:
        return maintenance.current(session) is not None


def test_an_operator_begins_and_ends_it_and_everybody_is_told_calmly(operator: Person, ada: Person) -> None:
    ada.add(3)
    assert "Begin maintenance" in operator.browser.get("/admin/workers").text
    begun = operator.browser.post(BEGIN, {"reason": "A new disk, until noon"}, follow_redirects=True).text
    assert "No worker holds a run any more" in begun
    assert "A new disk, until noon." in operator.browser.get("/admin/").text
    told = "no training begins meanwhile: A new disk, until noon. "
    assert told + "One that you ask for now keeps its place" in ada.browser.get(ada.url).text
    run = ada.run()
    assert told + "Yours keeps its place" in ada.browser.get(ada.url).text
    assert told in ada.browser.get(f"/runs/{run.id}").text
    ended = operator.browser.post(END, follow_redirects=True).text
    assert "1 run that waits is announced" in ended
    assert told not in ada.browser.get(ada.url).text
    assert "when a worker is free" in ada.browser.get(ada.url).text


def test_runs_still_with_a_worker_are_counted(operator: Person, ada: Person) -> None:
    begin(ada)
    operator.browser.post(BEGIN, {"reason": "A new disk"})
    assert "1 run is still with a worker</a> and goes on to its end" in operator.browser.get("/admin/workers").text


@pytest.mark.parametrize("reason", ["", "  "])
def test_without_a_reason_nothing_happens(operator: Person, reason: str) -> None:
    answer = operator.browser.post(BEGIN, {"reason": reason})
    assert answer.status_code == 422
    assert "Say in a few words why" in answer.text
    assert not is_on(operator)


def test_who_comes_second_is_told_and_changes_nothing(operator: Person) -> None:
    operator.browser.post(BEGIN, {"reason": "A new disk"})
    answer = operator.browser.post(BEGIN, {"reason": "Another"}, follow_redirects=True)
    assert "Maintenance is on already" in answer.text
    assert "Another" not in operator.browser.get("/admin/workers").text


def test_a_reason_is_shown_as_text(operator: Person, ada: Person) -> None:
    ada.add(3)
    operator.browser.post(BEGIN, {"reason": "<b>bold</b>"})
    for page in (operator.browser.get("/admin/workers"), operator.browser.get("/admin/"), ada.browser.get(ada.url)):
        assert "&lt;b&gt;bold" in page.text
        assert "<b>bold" not in page.text


def test_an_auditor_sees_that_it_is_on_and_no_button(operator: Person, auditor: Person) -> None:
    assert "Off: workers take runs as they come" in auditor.browser.get("/admin/workers").text
    operator.browser.post(BEGIN, {"reason": "A new disk"})
    page = auditor.browser.get("/admin/workers").text
    assert "A new disk" in page
    assert "End maintenance" not in page
