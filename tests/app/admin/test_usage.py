import re

from storage import clock, latency, usage
from storage.latency import Place
from storage.usage import Counts
from tests.app.web.browser import Person


def test_nothing_asked_is_said_in_words(auditor: Person) -> None:
    page = auditor.browser.get("/admin/usage").text
    for said in ("Nobody has asked the API for anything in these 30 days", "No text was written", "Nothing else was"):
        assert said in page


def test_usage_and_waiting_are_drawn_and_lead_to_who_asked(auditor: Person, ada: Person) -> None:
    hour = latency.hour_of(clock.now())
    with ada.storage.database.session() as session:
        usage.add(session, {usage.Place(ada.user.id, usage.today(), "key-a", "base"): Counts(3, 4321, 1234)})
        latency.add(session, {Place(hour, "text", 50): 9, Place(hour, "text", 2000): 1, Place(hour, "other", 5): 1})
    page = auditor.browser.get("/admin/usage?days=7").text
    assert 'href="/admin/usage?days=7" aria-current="true"' in page
    for said in ("4,321", "1,234", f'href="/admin/users/{ada.user.id}"', "The highest bar is 5,555 tokens"):
        assert said in page, said
    text = " ".join(re.sub("<[^>]+>", "", page).split())
    assert "Of 10 answers, half came within 50 ms and 95 in 100 within 2 s." in text
    assert "Of 1 answer, half came within 5 ms and 95 in 100 within 5 ms." in text
    assert page.count("<svg") == 4
    assert not re.search(r"NaN|inf|None", page)


def test_another_span_is_as_good_as_none(auditor: Person) -> None:
    for query in ("days=8", "days=x", "days=-1"):
        assert 'days=30" aria-current="true"' in auditor.browser.get(f"/admin/usage?{query}").text
