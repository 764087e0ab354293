import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask

from app import auth
from app.config import AppConfig
from app.web.factory import create_app
from storage import base_models, prefixes, samples, trials, users, voices, web_sessions
from storage.models import BlindTrial
from storage.store import Storage
from tests.app.web.browser import TEXT, Browser, Person, join
from tests.app.web.training import publish
from tests.app.web.upstream import Upstream, serve

WISH = {"column": "mine", "before": "Dear all,", "length": "short", "temperature": "0.7", "seed": "5"}
DRAFT = " and by evening the bowl was full and we were not, so we drank his tea and went home"


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with serve() as running:
        yield running


def register(storage: Storage, *, chat: bool = False) -> None:
    with storage.database.session() as session:
        base_models.register(
            session,
            fingerprint="f" * 64,
            name="tiny-base",
            num_parameters=1,
            context_length=256,
            probe={},
            has_chat_template=chat,
        )


@pytest.fixture
def web(storage: Storage, upstream: Upstream) -> Flask:
    register(storage)
    return create_app(AppConfig(api_url=upstream.url), storage)


@pytest.fixture
def writer(web: Flask, storage: Storage) -> Person:
    """With nothing published yet."""
    return join(web, storage, "writer@example.org")


@pytest.fixture
def old_hand(writer: Person) -> Person:
    """With two versions, the second in use."""
    for _ in range(2):
        publish(writer)
    return writer


def wish(person: Person, **changes: str) -> dict[str, str]:
    return {**WISH, "voice_id": person.voice.id, **changes}


def asked(upstream: Upstream) -> list[Any]:
    return [json.loads(seen.body) for seen in upstream.seen]


def complaint(answer: Any) -> str:
    return str(answer.json["error"]["message"])


def begin_trial(person: Person, **fields: str) -> str:
    answer = person.browser.post("/write/trials", {"voice_id": person.voice.id, **fields})
    assert answer.status_code == 200
    assert answer.json.keys() == {"trial"}
    return str(answer.json["trial"])


def kept(person: Person, trial_id: str) -> BlindTrial:
    with person.storage.database.reading() as session:
        return trials.get_trial(session, person.user.id, trial_id)


# the page


def test_opening_the_page_brings_the_prefix_into_the_cache(old_hand: Person) -> None:
    prefixes.wipe_cached(old_hand.storage, old_hand.user.id)
    old_hand.browser.get(f"{old_hand.url}/write")
    loaded = prefixes.load_prefix(old_hand.storage, old_hand.user.id, old_hand.voice.id)
    assert (loaded.version, loaded.source) == (2, "cache")


def test_before_training_the_voice_column_says_so_and_asks_for_nothing(writer: Person) -> None:
    page = writer.browser.get(f"{writer.url}/write").text
    assert "never shown as yours" in page
    assert page.count("data-place=") == 1
    assert 'data-writer="base"' in page
    assert 'id="strength"' not in page
    assert 'id="blind"' not in page


def test_with_versions_there_are_two_columns_and_what_may_stand_beside(old_hand: Person) -> None:
    page = old_hand.browser.get(f"{old_hand.url}/write").text
    assert page.count("data-place=") == 2
    assert "version 2 in use" in page
    assert "tiny-base" in page
    assert '<option value="1" data-title="Version 1">' in page
    assert '<option value="2"' not in page
    beside = old_hand.browser.get(f"{old_hand.url}/write?against=1").text
    assert '<option value="1" data-title="Version 1" selected>' in beside
    assert '<h2 id="first-title">Version 1</h2>' in beside


def test_a_voice_that_is_switched_off_is_not_offered(old_hand: Person) -> None:
    old_hand.browser.post(f"{old_hand.url}/versions/use", {"version": ""})
    page = old_hand.browser.get(f"{old_hand.url}/write").text
    assert 'data-writer="mine"' not in page
    assert "this voice is switched off" in page
    assert f'href="{old_hand.url}#versions">Choose a version</a>' in page
    assert "none in use yet" not in page
    assert "Train this voice" not in page


def test_a_brief_is_offered_only_where_the_base_model_follows_one(writer: Person, storage: Storage) -> None:
    page = writer.browser.get(f"{writer.url}/write").text
    assert 'value="brief"' not in page
    assert 'id="brief"' not in page
    register(storage, chat=True)
    page = writer.browser.get(f"{writer.url}/write").text
    assert 'value="brief"' in page
    assert 'id="brief"' in page


def test_before_any_base_model_the_page_is_there_all_the_same(ada: Person) -> None:
    page = ada.browser.get(f"{ada.url}/write")
    assert page.status_code == 200
    assert "has not started yet" in page.text


def test_strangers_are_sent_to_sign_in(web: Flask, writer: Person) -> None:
    assert Browser.of(web).get(f"{writer.url}/write").status_code == 302


# streams


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


def test_anothers_voice_and_trial_are_not_there(
    old_hand: Person, web: Flask, storage: Storage, upstream: Upstream
) -> None:
    trial, stranger = begin_trial(old_hand), join(web, storage, "other@example.org").browser
    for answer in (
        stranger.post("/write/stream", wish(old_hand)),
        stranger.post("/write/stream", wish(old_hand, column="first", trial=trial)),
        stranger.post("/write/trials", {"voice_id": old_hand.voice.id}),
        stranger.post(f"/write/trials/{trial}/choice", {"side": "first"}),
    ):
        assert answer.status_code == 404
        assert "nothing here" in complaint(answer)
    for answer in (
        stranger.post(f"{old_hand.url}/write", {"text": "Mine."}),
        stranger.post(f"{old_hand.url}/write/keep"),
    ):
        assert answer.status_code == 404
    assert upstream.seen == []
    assert kept(old_hand, trial).choice is None


def test_a_page_without_a_form_token_streams_nothing(writer: Person, upstream: Upstream) -> None:
    answer = writer.browser.client.post("/write/stream", data=wish(writer))
    assert answer.status_code == 400
    assert "stale" in complaint(answer)
    assert upstream.seen == []


def test_the_token_may_come_in_a_header(writer: Person) -> None:
    answer = writer.browser.client.post(
        "/write/stream", data=wish(writer), headers={"X-CSRFToken": writer.browser.token()}
    )
    assert answer.status_code == 200


def test_a_script_of_somebody_signed_out_is_told_so(writer: Person, storage: Storage) -> None:
    data = {**wish(writer), "csrf_token": writer.browser.token()}
    with storage.database.session() as session:
        users.set_state(session, writer.user.id, "suspended")
    for path in ("/write/stream", "/write/trials", "/write/trials/trial-x/choice", "/write/changes"):
        answer = writer.browser.client.post(path, data=data)
        assert answer.status_code == 401
        assert "signed out" in complaint(answer)


def test_who_keeps_a_text_by_script_while_signed_out_is_told_so_and_others_see_a_page(
    writer: Person, storage: Storage
) -> None:
    token = writer.browser.token()
    with storage.database.session() as session:
        web_sessions.end_all(session, writer.user.id)
    keep = f"{writer.url}/write/keep"
    by_script = writer.browser.client.post(keep, data={"text": TEXT}, headers={"X-CSRFToken": token})
    assert by_script.status_code == 401
    assert "your text is still here" in complaint(by_script)
    by_hand = writer.browser.client.post(keep, data={"text": TEXT, "csrf_token": token})
    assert by_hand.status_code == 401
    assert by_hand.mimetype == "text/html"


def test_a_form_token_is_renewed_for_whoever_opened_the_page_and_for_nobody_else(
    writer: Person, bob: Person, browser: Browser
) -> None:
    page = writer.browser.get(f"{writer.url}/write").text
    (path,) = re.findall(r'data-token="([^"]+)"', page)
    given = writer.browser.get(path)
    assert given.headers["Cache-Control"] == "no-store"
    assert given.json is not None
    form = {**wish(writer), "csrf_token": given.json["token"]}
    assert writer.browser.client.post("/write/stream", data=form).status_code == 200
    for other, status in ((bob.browser, 403), (browser, 401)):
        refused = other.get(path)
        assert refused.status_code == status
        assert "your text is still here" in complaint(refused)
    assert writer.browser.get("/write/token").status_code == 403


def test_a_stale_form_is_known_to_a_script_by_its_code(writer: Person) -> None:
    for path in ("/write/stream", f"{writer.url}/write/keep"):
        answer = writer.browser.client.post(path, data={"text": TEXT}, headers={"X-CSRFToken": "old"})
        assert answer.status_code == 400
        assert answer.json is not None
        assert answer.json["error"]["code"] == "stale_form"


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


# blind trials


def test_a_blind_trial_is_asked_of_both_and_tells_nobody_who_is_who(old_hand: Person, upstream: Upstream) -> None:
    trial = begin_trial(old_hand, against="1", strength="1.5")
    for side in ("first", "second"):
        fields = wish(old_hand, column=side, trial=trial, strength="0.2")  # the trial's own strength counts
        answer = old_hand.browser.post("/write/stream", fields)
        assert json.loads(answer.text.split("\n\n")[-2][5:]) == {"done": True, "version": None, "strength": None}
        shown = answer.text + str(answer.headers)
        assert old_hand.voice.id not in shown
        assert "version-" not in shown.lower()
        assert "x-idiolect" not in shown.lower()
    models = [f"{old_hand.voice.id}@2", f"{old_hand.voice.id}@1"]
    assert [body["model"] for body in asked(upstream)] == (
        models if kept(old_hand, trial).version_first else models[::-1]
    )
    assert {body["voice_strength"] for body in asked(upstream)} == {1.5}


@pytest.mark.parametrize("side", ["first", "second", "neither"])
def test_only_the_choice_reveals_and_it_is_noted_once(old_hand: Person, side: str) -> None:
    trial = begin_trial(old_hand)
    mine = "first" if kept(old_hand, trial).version_first else "second"
    answer = old_hand.browser.post(f"/write/trials/{trial}/choice", {"side": side})
    assert answer.json is not None
    assert answer.json["titles"] == {
        name: "Version 2" if name == mine else "Base model" for name in ("first", "second")
    }
    assert answer.json["writers"] == {name: "mine" if name == mine else "base" for name in ("first", "second")}
    assert "Too few to say anything" in answer.json["said"] or side == "neither"
    assert kept(old_hand, trial).choice == (
        "neither" if side == "neither" else "version" if side == mine else "against"
    )
    again = old_hand.browser.post(f"/write/trials/{trial}/choice", {"side": "first" if side != "first" else "second"})
    assert again.status_code == 409
    assert "has been decided" in complaint(again)


@pytest.mark.parametrize(
    ("fields", "status", "says"),
    [({"strength": "0"}, 409, "both sides would be the base model"), ({"strength": "9"}, 400, "from 0 to 2")],
)
def test_a_trial_that_could_show_nothing_is_not_begun(
    old_hand: Person, fields: dict[str, str], status: int, says: str
) -> None:
    answer = old_hand.browser.post("/write/trials", {"voice_id": old_hand.voice.id, **fields})
    assert answer.status_code == status
    assert says in complaint(answer)


def test_an_untrained_voice_has_no_trials_and_no_side_is_no_choice(writer: Person) -> None:
    answer = writer.browser.post("/write/trials", {"voice_id": writer.voice.id})
    assert answer.status_code == 409
    assert "no version in use" in complaint(answer)
    publish(writer)
    trial = begin_trial(writer)
    assert writer.browser.post(f"/write/trials/{trial}/choice", {"side": "both"}).status_code == 400
    assert kept(writer, trial).choice is None


def test_no_trial_holds_a_word_of_what_was_written(old_hand: Person, storage: Storage) -> None:
    trial = begin_trial(old_hand, before="quokka", passage="quokka", brief="quokka")
    old_hand.browser.post(f"/write/trials/{trial}/choice", {"side": "first", "before": "quokka"})
    noted = kept(old_hand, trial)
    assert noted.choice is not None
    assert "quokka" not in repr([getattr(noted, column.name) for column in BlindTrial.__table__.columns])


# changes


def test_what_a_draft_changes_is_marked_word_by_word_and_nothing_runs(writer: Person) -> None:
    shown = writer.browser.post("/write/changes", {"old": "The roof leaks.", "new": "The <b>roof</b> leaks."}).text
    assert "<del>roof</del> <ins>&lt;b&gt;roof&lt;/b&gt;</ins> leaks." in shown
    assert "It changes nothing" in writer.browser.post("/write/changes", {"old": "Same.", "new": "Same."}).text
    refused = writer.browser.post("/write/changes", {"old": "x" * 8001, "new": "y"})
    assert refused.status_code == 400


# without JavaScript


def test_without_a_script_both_columns_come_whole_and_the_text_stays(old_hand: Person, upstream: Upstream) -> None:
    form = {"text": "Dear all,", "task": "continue", "length": "long", "strength": "1.5", "drafts": "2"}
    page = old_hand.browser.post(f"{old_hand.url}/write", form)
    assert page.status_code == 200
    assert page.text.count('name="take" value="Dear all, hello.') == 4
    assert "Dear all,</textarea>" in page.text
    assert '<option value="long" selected>' in page.text
    assert [body["model"] for body in asked(upstream)] == ["tiny-base", old_hand.voice.id]
    assert [body["stream"] for body in asked(upstream)] == [False, False]


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


def test_the_text_goes_along_to_another_voice_and_its_rival_does_not(old_hand: Person, storage: Storage) -> None:
    with storage.database.session() as session:
        other = voices.create_voice(session, old_hand.user.id, "Reports")
    form = {"text": "Dear all,", "accepted": DRAFT, "against": "1", "task": "voice", "other_voice": other.id}
    moved = old_hand.browser.post(f"{old_hand.url}/write", form)
    assert (moved.status_code, moved.headers["Location"]) == (307, f"/voices/{other.id}/write")
    page = old_hand.browser.post(moved.headers["Location"], form)
    assert page.status_code == 200
    assert '<h1 class="theirs">Reports</h1>' in page.text
    assert "Dear all,</textarea>" in page.text
    assert f'name="accepted" value="{DRAFT}"' in page.text


def test_an_untrained_voice_is_never_asked(writer: Person, upstream: Upstream) -> None:
    page = writer.browser.post(f"{writer.url}/write", {"text": "Dear all,", "task": "continue"})
    assert page.status_code == 200
    assert [body["model"] for body in asked(upstream)] == ["tiny-base"]


# keeping


def keep(person: Person, text: str, *accepted: str, title: str = "") -> Any:
    return person.browser.post(f"{person.url}/write/keep", {"text": text, "accepted": list(accepted), "title": title})


def test_a_text_that_is_ones_own_is_kept_as_a_sample_only_when_asked(old_hand: Person, storage: Storage) -> None:
    before = old_hand.num_samples()
    old_hand.browser.post(f"{old_hand.url}/write", {"text": TEXT, "take": DRAFT})
    assert old_hand.num_samples() == before
    page = keep(old_hand, TEXT + DRAFT, DRAFT, title="Spoons")
    assert page.status_code == 200
    assert "Kept as a sample of 39 words, 20 of them yours." in page.text
    with storage.database.reading() as session:
        newest = samples.list_samples(session, storage.keys, old_hand.user.id, old_hand.voice.id)[-1]
    assert (newest.title, newest.text) == ("Spoons", (TEXT + DRAFT).strip())


def test_what_was_only_accepted_is_not_kept_and_the_page_says_why(old_hand: Person) -> None:
    before = old_hand.num_samples()
    page = keep(old_hand, f"It rained,{DRAFT}", DRAFT)
    assert page.status_code == 422
    assert "Not kept: of 21 words, 19 stand as the model wrote them." in page.text
    assert f"It rained,{DRAFT}</textarea>" in page.text
    assert f'name="accepted" value="{DRAFT}"' in page.text
    assert old_hand.num_samples() == before


@pytest.mark.parametrize(("text", "says"), [("", "no text here yet"), ("Too short.", "too short to learn from")])
def test_what_is_no_sample_is_not_kept_either(old_hand: Person, text: str, says: str) -> None:
    page = keep(old_hand, text)
    assert page.status_code == 422
    assert says in page.text
