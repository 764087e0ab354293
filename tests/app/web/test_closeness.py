"""How close a version is: in short on the voice's page, in whole on its report's."""

import re
from typing import Any

import pytest
from sqlalchemy import update

from app.web.closeness import closeness_of
from storage import clock, samples, tuning_runs, voices, workers
from storage.models import PrefixVersion
from tests.app.web.browser import Person
from tests.app.web.training import FIGURES, add_report, publish

TITLE = "How close it is"


def text_of(person: Person, path: str = "") -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", "", person.browser.get(person.url + path).text))


def report_of(person: Person, version: int = 1) -> str:
    return text_of(person, f"/versions/{version}")


def test_three_bars_and_three_plain_sentences(ada: Person) -> None:
    publish(ada)
    add_report(ada)
    for path in ("", "/versions/1"):
        page = ada.browser.get(ada.url + path).text
        assert TITLE in page
        assert re.findall(r'<rect width="([\d.]+)" height="1"/></svg><span>([\d.]+)', page) == [
            ("100.0", "2.500"),
            ("96.0", "2.400"),
            ("88.0", "2.200"),
        ]
    said = report_of(ada)
    assert "12 % closer to you than the base model" in said
    assert "nearer to your samples than what the base model writes (distance 0.40 against 0.60)" in said
    assert "The longest run of words it repeated from your samples, of all it wrote for this check: 5." in said
    assert "it needs 1.2 % more bits than the base model does" in said


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"style_distance": {"base": 0.6, "voice": 0.55}}, "about as near to your samples as"),
        ({"style_distance": {"base": 0.6, "voice": 0.75}}, "farther from your samples than"),
        ({"neutral_rise_pct": 0.1}, "as good at plain text by somebody else as the base model"),
        ({"neutral_rise_pct": -2.0}, "a little better at plain text by somebody else"),
    ],
)
def test_what_is_not_so_good_is_said_as_plainly(ada: Person, changes: dict[str, Any], says: str) -> None:
    publish(ada)
    add_report(ada, **changes)
    assert says in report_of(ada)


def test_what_could_not_be_measured_is_not_spoken_of(ada: Person) -> None:
    publish(ada)
    add_report(ada, style_distance={"base": None, "voice": None}, neutral_rise_pct=None, longest_overlap=None)
    said = report_of(ada)
    assert TITLE in said
    assert "small words" not in said
    assert "longest run" not in said
    assert "somebody else" not in said


def test_a_new_version_is_being_measured_and_an_old_one_without_a_report_has_its_figures(ada: Person) -> None:
    assert TITLE not in text_of(ada)
    publish(ada)
    for said in (text_of(ada), report_of(ada)):
        assert "The rest of the report is measured as soon as a worker is there" in said
    with ada.storage.database.session() as session:
        session.execute(update(PrefixVersion).values(created_at=clock.now() - 3601))
    for said in (text_of(ada), report_of(ada)):
        assert "2.200" in said
        assert "The rest of the report" not in said
    assert "There is no picture of its style" in report_of(ada)


def test_a_page_that_waits_for_the_report_says_what_for_and_is_told_only_what_is_new(ada: Person, bob: Person) -> None:
    bob.add(3)
    bob.run()
    publish(ada)
    with ada.storage.database.session() as session:
        workers.beat(session, "hand")
    for path, part in (("", "#closeness"), ("/versions/1", "#measured")):
        page = ada.browser.get(ada.url + path).text
        assert "is measured after 1 training that was asked for before" in page
        asks = re.search(rf'hx-get="([^"]+)" hx-trigger="every 4s" hx-target="{part}"', page)
        assert asks is not None
        assert ada.browser.get(asks[1]).status_code == 204
    with bob.storage.database.session() as session:
        tuning_runs.cancel_run(session, user_id=bob.user.id, run_id=bob.newest_run_id(session), actor_id=None)
    for path in ("", "/versions/1"):
        assert "is being measured now" in ada.browser.get(f"{ada.url}{path}?seen=behind-1").text
        assert ada.browser.get(f"{ada.url}{path}?seen=behind-0").status_code == 204
    add_report(ada)
    for path in ("", "/versions/1"):
        page = ada.browser.get(f"{ada.url}{path}?seen=behind-0")
        assert page.status_code == 200
        assert "The rest of the report" not in page.text
        assert "every 4s" not in page.text


def test_a_page_that_asks_by_itself_and_is_signed_out_meanwhile_keeps_what_it_shows(ada: Person) -> None:
    ada.browser.client.delete_cookie("idiolect_session")
    assert ada.browser.get(ada.url, headers={"HX-Request": "true"}).status_code == 401
    assert ada.browser.get(ada.url).status_code == 302


def test_only_the_version_in_use_is_spoken_of(ada: Person) -> None:
    publish(ada)
    add_report(ada)
    with ada.storage.database.session() as session:
        voices.use_version(session, ada.user.id, ada.voice.id, None)
    assert TITLE not in text_of(ada)


def spoil_report(person: Person, version: int) -> None:
    with person.storage.database.session() as session:
        spoiled = update(PrefixVersion).where(PrefixVersion.version == version, PrefixVersion.user_id == person.user.id)
        session.execute(spoiled.values(report_sealed=b"\x01" + bytes(60)))


def test_of_a_report_that_does_not_open_the_pages_say_nothing_and_the_log_a_line(
    ada: Person, caplog: pytest.LogCaptureFixture
) -> None:
    publish(ada)
    add_report(ada)
    spoil_report(ada, 1)
    for path in ("", "/versions/1"):
        shown = ada.browser.get(ada.url + path)
        assert shown.status_code == 200
        assert "2.200" in shown.text
        assert "2.400" not in shown.text
    assert f"{ada.voice.id}: the report of version 1 did not open (IntegrityError)" in caplog.text


def test_with_the_key_erased_the_page_says_nothing_of_it_either(ada: Person, caplog: pytest.LogCaptureFixture) -> None:
    publish(ada)
    add_report(ada)
    with ada.storage.database.session() as session:
        for sample_id in ada.sample_ids(session):
            samples.delete_sample(session, ada.user.id, ada.voice.id, sample_id)
    ada.storage.keys.erase(ada.user.id)
    shown = ada.browser.get(ada.url)
    assert shown.status_code == 200
    assert "2.400" not in shown.text
    assert "(KeyErased)" in caplog.text


def test_only_the_report_of_the_version_in_use_is_opened(ada: Person, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(2):
        publish(ada)
        add_report(ada)
    spoil_report(ada, 1)
    assert TITLE in text_of(ada)
    assert "did not open" not in caplog.text


def test_a_report_of_another_shape_breaks_no_page() -> None:
    version = PrefixVersion(figures=FIGURES, created_at=0.0)
    shown = closeness_of(version, {"style_distance": 3, "longest_overlap": []})
    assert [bar.label for bar in shown.bars] == ["Base model", "Your voice"]
    assert (shown.style, shown.repeated_words, shown.ability) == (None, None, None)


@pytest.mark.parametrize(
    ("samples", "judging", "says"),
    [
        (1, 1, "judged on the end of the one piece, about 240 tokens in all. That is little"),
        (3, 3, "judged on the ends of all 3 pieces, about 240 tokens in all. That is little"),
        (6, 1, "judged on one piece, about 240 tokens in all: on another piece"),
        (8, 2, "judged on 2 pieces, about 240 tokens in all. That is few"),
        (40, 8, "judged on 8 pieces, about 240 tokens in all."),
    ],
)
def test_how_little_a_figure_rests_on_is_said_beside_it(ada: Person, samples: int, judging: int, says: str) -> None:
    publish(ada, samples=samples, test_samples=judging)
    said = report_of(ada)
    assert says in said
    assert says in text_of(ada)  # beside the training's outcome
    assert ("take the figure for a hint" in said) is (samples < 5 or judging == 2)


def test_of_a_version_of_an_earlier_release_it_is_not_said(ada: Person) -> None:
    publish(ada, test_samples=None)
    assert "judged on" not in report_of(ada)
