"""Blind trials."""

import json

import pytest

from storage.models import BlindTrial
from storage.store import Storage
from tests.app.web.browser import Person
from tests.app.web.training import publish
from tests.app.web.upstream import Upstream
from tests.app.web.write.wishes import asked, begin_trial, complaint, kept, wish


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
