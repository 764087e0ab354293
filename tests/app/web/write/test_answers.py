"""What the columns ask of the API and what comes back, by script."""

import json

import pytest

from app import auth
from storage.store import Storage
from tests.app.web.browser import Person
from tests.app.web.upstream import Upstream
from tests.app.web.write.wishes import asked, complaint, register, wish


@pytest.mark.parametrize(
    ("column", "against", "model"), [("other", "base", "tiny-base"), ("other", "1", "{}@1"), ("mine", "base", "{}")]
)
def test_each_column_is_asked_of_its_own_writer_and_streams_back(
    old_hand: Person, upstream: Upstream, column: str, against: str, model: str
) -> None:
    answer = old_hand.browser.post("/write/stream", wish(old_hand, column=column, against=against))
    assert answer.status_code == 200
    events = [json.loads(event[5:]) for event in answer.text.split("\n\n") if event]
    assert "".join(event.get("text", "") for event in events) == "Dear all, hello."
    assert events[-1] == {"done": True, "version": None if model == "tiny-base" else 3, "strength": None}
    assert asked(upstream) == [
        {
            "model": model.format(old_hand.voice.id),
            "prompt": "Dear all,",
            "max_tokens": 40,
            "temperature": 0.7,
            "seed": 5,
            "stream": True,
        }
    ]


@pytest.mark.parametrize("against", ["3", "0", "two", "\u0661"])
def test_the_base_model_never_stands_in_for_a_version_that_is_not_there(
    old_hand: Person, upstream: Upstream, against: str
) -> None:
    for path, fields in (
        ("/write/stream", wish(old_hand, column="other", against=against)),
        ("/write/trials", {"voice_id": old_hand.voice.id, "against": against}),
        (f"{old_hand.url}/write", {"text": "Dear all,", "task": "continue", "against": against}),
    ):
        assert old_hand.browser.post(path, fields).status_code == 404
    assert old_hand.browser.get(f"{old_hand.url}/write?against={against}").status_code == 404
    assert upstream.seen == []


def test_a_version_that_has_come_into_use_meanwhile_still_speaks_for_itself(
    old_hand: Person, upstream: Upstream
) -> None:
    old_hand.browser.post(f"{old_hand.url}/versions/use", {"version": "1"})
    old_hand.browser.post("/write/stream", wish(old_hand, column="other", against="1"))
    assert [body["model"] for body in asked(upstream)] == [f"{old_hand.voice.id}@1"]


def test_strength_goes_to_voices_only(old_hand: Person, upstream: Upstream) -> None:
    for column, against in (("mine", "base"), ("other", "1"), ("other", "base")):
        old_hand.browser.post("/write/stream", wish(old_hand, column=column, against=against, strength="1.5"))
    assert [body.get("voice_strength") for body in asked(upstream)] == [1.5, 1.5, None]


def test_a_brief_is_put_in_the_base_models_own_form(writer: Person, storage: Storage, upstream: Upstream) -> None:
    register(storage, chat=True)
    answer = writer.browser.post(
        "/write/stream", wish(writer, column="other", task="brief", before="", brief="A letter.", drafts="2")
    )
    assert answer.status_code == 200
    assert upstream.seen[0].path == "/v1/chat/completions"
    (body,) = asked(upstream)
    assert (body["messages"], body["n"]) == ([{"role": "user", "content": "A letter."}], 2)


def test_the_api_is_reached_with_a_short_token_that_proves_who_is_signed_in(
    writer: Person, upstream: Upstream, storage: Storage
) -> None:
    writer.browser.post("/write/stream", wish(writer))
    bearer = upstream.seen[0].headers["authorization"]
    caller = auth.authenticate(storage, bearer)
    assert caller is not None
    assert (caller.user_id, caller.kind) == (writer.user.id, "gateway")
    assert "cookie" not in upstream.seen[0].headers
    writer.browser.post("/signout")
    assert auth.authenticate(storage, bearer) is None


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"before": " \n"}, "a few words to begin"),
        ({"task": "brief", "brief": "A letter."}, "no chat template"),
        ({"column": "theirs"}, "mine, other, first or second"),
        ({"strength": "3"}, "from 0 to 2"),
    ],
)
def test_a_bad_wish_is_answered_with_a_sentence(
    writer: Person, upstream: Upstream, changes: dict[str, str], says: str
) -> None:
    answer = writer.browser.post("/write/stream", wish(writer, **changes))
    assert answer.status_code == 400
    assert says in complaint(answer)
    assert upstream.seen == []


def test_a_platform_without_a_base_model_says_so(ada: Person) -> None:
    answer = ada.browser.post("/write/stream", wish(ada, column="other"))
    assert answer.status_code == 503
    assert "has not started yet" in answer.text
    without_script = ada.browser.post(f"{ada.url}/write", {"text": "Dear all,", "task": "continue"})
    assert without_script.status_code == 503
    assert "Dear all,</textarea>" in without_script.text


def test_an_api_that_is_down_is_said_in_the_column(ada: Person, storage: Storage) -> None:
    register(storage)
    answer = ada.browser.post("/write/stream", wish(ada))
    assert answer.status_code == 503
    assert "not answering" in answer.text


def test_what_a_draft_changes_is_marked_word_by_word_and_nothing_runs(writer: Person) -> None:
    shown = writer.browser.post("/write/changes", {"old": "The roof leaks.", "new": "The <b>roof</b> leaks."}).text
    assert "<del>roof</del> <ins>&lt;b&gt;roof&lt;/b&gt;</ins> leaks." in shown
    assert "It changes nothing" in writer.browser.post("/write/changes", {"old": "Same.", "new": "Same."}).text
    refused = writer.browser.post("/write/changes", {"old": "x" * 8001, "new": "y"})
    assert refused.status_code == 400


def test_an_untrained_voice_is_never_asked(writer: Person, upstream: Upstream) -> None:
    page = writer.browser.post(f"{writer.url}/write", {"text": "Dear all,", "task": "continue"})
    assert page.status_code == 200
    assert [body["model"] for body in asked(upstream)] == ["tiny-base"]
