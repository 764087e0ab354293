"""The page where no script runs."""

import pytest

from tests.app.web.browser import Person
from tests.app.web.upstream import Upstream
from tests.app.web.write.wishes import DRAFT, asked


def test_without_a_script_both_columns_come_whole_and_the_text_stays(old_hand: Person, upstream: Upstream) -> None:
    form = {"text": "Dear all,", "task": "continue", "length": "long", "strength": "1.5", "drafts": "2"}
    page = old_hand.browser.post(f"{old_hand.url}/write", form)
    assert page.status_code == 200
    assert page.text.count('name="take" value="Dear all, hello.') == 4
    assert "Dear all,</textarea>" in page.text
    assert '<option value="long" selected>' in page.text
    assert [body["model"] for body in asked(upstream)] == ["tiny-base", old_hand.voice.id]
    assert [body["stream"] for body in asked(upstream)] == [False, False]


@pytest.mark.parametrize(
    ("strength", "said"),
    [("1", "version 3."), ("1.5", "version 3, strength 1.5."), ("0", "version 3, strength 0: that is what the base")],
)
def test_without_a_script_too_each_column_says_who_wrote_it(old_hand: Person, strength: str, said: str) -> None:
    assert "Made with" not in old_hand.browser.get(f"{old_hand.url}/write").text
    form = {"text": "Dear all,", "task": "continue", "strength": strength}
    page = old_hand.browser.post(f"{old_hand.url}/write", form).text
    assert page.count("Made with") == 2
    assert "Made with the base model tiny-base." in page
    assert f"Made with your voice “{old_hand.voice.name}”, {said}" in page


def test_without_a_script_a_draft_is_put_into_the_text_and_remembered_as_the_models(old_hand: Person) -> None:
    page = old_hand.browser.post(f"{old_hand.url}/write", {"text": "It rained,", "take": DRAFT, "accepted": "earlier"})
    assert f"It rained,{DRAFT}</textarea>" in page.text
    assert [f'name="accepted" value="{value}"' in page.text for value in ("earlier", DRAFT)] == [True, True]


def test_without_a_script_what_is_wrong_is_said_beside_the_text(old_hand: Person, upstream: Upstream) -> None:
    for form, says in (
        ({"text": " ", "task": "continue"}, "a few words to begin"),
        ({"text": "Dear all,", "task": "brief", "brief": "A letter."}, "no chat template"),
        ({"text": "Dear all,", "task": "continue", "strength": "7"}, "from 0 to 2"),
    ):
        page = old_hand.browser.post(f"{old_hand.url}/write", form)
        assert page.status_code == 422
        assert says in page.text
        assert f"{form['text']}</textarea>" in page.text
    assert upstream.seen == []
