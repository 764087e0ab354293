"""The report of one version, as its owner sees it."""

import re

from storage import trials
from tests.app.web.browser import Person
from tests.app.web.training import STYLES, add_report, publish


def report_of(person: Person, version: int) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", person.browser.get(f"{person.url}/versions/{version}").text))


def choose(person: Person, times: int, *, against: int | None = None, mine: bool = True) -> None:
    for _ in range(times):
        with person.storage.database.session() as session:
            trial = trials.begin_trial(session, person.user.id, person.voice.id, against=against)
            side = "first" if trials.is_version(trial, "first") is mine else "second"
            trials.choose(session, person.user.id, trial.id, "first" if side == "first" else "second")


def test_every_version_has_a_report_and_the_one_before_can_be_taken_back_from_it(ada: Person) -> None:
    for _ in range(2):
        publish(ada)
    listed = ada.browser.get(ada.url).text
    for version in (1, 2):
        assert f'href="{ada.url}/versions/{version}"' in listed
    assert f'href="{ada.url}/write?against=1"' in listed
    assert f'href="{ada.url}/write?against=2"' not in listed
    assert "Write with it" in report_of(ada, 2)
    before = ada.browser.get(f"{ada.url}/versions/1").text
    assert "Use this version instead of version 2" in before
    assert f'href="{ada.url}/write?against=1"' in before
    ada.browser.post(f"{ada.url}/versions/use", {"version": "1"})
    assert "Write with it" in report_of(ada, 1)


def test_the_style_of_all_three_is_drawn_and_written_out(ada: Person) -> None:
    publish(ada)
    add_report(ada, style=STYLES)
    page = ada.browser.get(f"{ada.url}/versions/1").text
    assert page.count('<line class="voice"') == page.count('<td class="picture">') - 1  # one opening was not counted
    assert 'x1="95.2" x2="95.2" y1="0" y2="100"' in page
    said = report_of(ada, 1)
    assert "words in a sentence 21.4 12.9 18.2" in said
    assert "semicolon 1.2 0.10 0.80" in said
    assert "Counted in your samples ( 4,210 words made of letters)" in said


def test_choices_are_counted_and_what_they_do_not_bear_is_not_said(ada: Person) -> None:
    for _ in range(2):
        publish(ada)
    assert "Nothing yet." in report_of(ada, 2)
    choose(ada, 2)
    assert "2 for this version, 0 for the base model. Too few to say anything" in report_of(ada, 2)
    choose(ada, 7)
    choose(ada, 1, mine=False)
    choose(ada, 1, against=1)
    said = report_of(ada, 2)
    assert "Against the base model: 9 for this version, 1 for the base model." in said
    assert "more often than chance" in said
    assert "Against version 1: 1 for this version, 0 for version 1." in said
    assert "Nothing yet." in report_of(ada, 1)


def test_advice_follows_what_has_changed_since(ada: Person) -> None:
    publish(ada)
    assert "Your samples are others" not in report_of(ada, 1)
    ada.add(1, text="Something new that was not there before. ")
    assert "Your samples are others than at the last training" in report_of(ada, 1)


def test_its_limits_are_always_said(ada: Person) -> None:
    publish(ada)
    assert "It has your manner, not your knowledge." in report_of(ada, 1)


def test_anothers_version_and_one_that_is_not_there_look_the_same(ada: Person, bob: Person) -> None:
    publish(bob)
    pages = [
        ada.browser.get(f"{url}/versions/{version}") for url, version in ((bob.url, 1), (ada.url, 7), (ada.url, 0))
    ]
    assert [page.status_code for page in pages] == [404, 404, 404]
    assert len({page.text for page in pages}) == 1


def test_the_list_of_voices_says_how_close_each_is(ada: Person) -> None:
    assert "not trained yet" in ada.browser.get("/voices").text
    publish(ada)
    assert "version 1 · 12\N{NO-BREAK SPACE}% closer to you" in ada.browser.get("/voices").text
