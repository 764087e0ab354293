"""Voices, their samples and versions over HTTP."""

from sqlalchemy import update

from storage import samples
from storage.models import PrefixVersion
from tests.app.api.people import Api, Person, add_report, publish_random, write_samples
from tests.app.api.test_errors import error_of
from tests.factories import SAMPLE_TEXTS, UNTIDY_TEXT, UNTIDY_WORDS

TEXT = SAMPLE_TEXTS[0]


def test_a_voice_from_its_making_to_its_end(api: Api, ann: Person) -> None:
    made = api.call(ann, "POST", "/v1/voices", json={"name": "  Letters "})
    assert made.status_code == 201
    voice = made.json
    assert (voice["object"], voice["name"], voice["active_version"]) == ("voice", "Letters", None)
    assert voice["readiness"]["enough"] is False
    path = f"/v1/voices/{voice['id']}"
    assert api.call(ann, "GET", path).json == voice
    assert api.call(ann, "PATCH", path, json={"name": "Notes"}).json["name"] == "Notes"
    error_of(api.call(ann, "PATCH", path, json={"name": None}), 400)
    error_of(api.call(ann, "PATCH", path, json={"active_version": 3}), 404)
    assert api.call(ann, "DELETE", path).json == {"id": voice["id"], "object": "voice", "deleted": True}
    assert error_of(api.call(ann, "GET", path), 404)["code"] == "voice_not_found"


def test_lists_come_in_pages(api: Api, ann: Person) -> None:
    for number in range(4):
        api.call(ann, "POST", "/v1/voices", json={"name": f"Voice {number}"})
    first = api.call(ann, "GET", "/v1/voices?limit=3").json
    rest = api.call(ann, "GET", f"/v1/voices?limit=3&after={first['data'][-1]['id']}").json
    assert (first["object"], first["has_more"], rest["has_more"]) == ("list", True, False)
    assert len({voice["id"] for voice in first["data"] + rest["data"]}) == 5


def test_a_sample_from_its_adding_to_its_end(api: Api, ann: Person) -> None:
    path = f"/v1/voices/{ann.voice_id}/samples"
    body = {"text": TEXT, "title": "Cups", "prompt": "Which cup?", "written_on": "2025-03-01"}
    made = api.call(ann, "POST", path, json=body)
    assert made.status_code == 201
    sample = made.json
    assert {name: sample[name] for name in body} == {**body, "text": sample["text"]}
    assert sample["text"].strip() == TEXT.strip()
    assert sample["included"] is True
    one = f"{path}/{sample['id']}"
    assert api.call(ann, "GET", one).json == sample
    assert api.call(ann, "PATCH", one, json={"included": False}).json["included"] is False
    (listed,) = api.call(ann, "GET", path).json["data"]
    assert listed["title"] == "Cups"
    assert "text" not in listed
    assert api.call(ann, "DELETE", one).json["deleted"] is True
    assert error_of(api.call(ann, "GET", one), 404)["code"] == "sample_not_found"


def test_a_sample_and_the_readiness_of_its_voice_count_words_as_the_pages_do(api: Api, ann: Person) -> None:
    voice = api.call(ann, "POST", "/v1/voices", json={"name": "Untidy"}).json["id"]
    made = api.call(ann, "POST", f"/v1/voices/{voice}/samples", json={"text": UNTIDY_TEXT}).json
    assert made["num_words"] == UNTIDY_WORDS
    assert api.call(ann, "GET", f"/v1/voices/{voice}").json["readiness"]["num_words"] == UNTIDY_WORDS


def test_a_made_prompt_is_marked_changed_and_cleared(api: Api, ann: Person) -> None:
    path = f"/v1/voices/{ann.voice_id}/samples"
    sample = api.call(ann, "POST", path, json={"text": TEXT}).json
    assert (sample["prompt"], sample["prompt_made"]) == (None, False)
    with api.storage.database.session() as session:
        assert samples.set_made_prompt(session, api.storage.keys, ann.user_id, sample["id"], "Write about cups.")
    (listed,) = api.call(ann, "GET", path).json["data"]
    assert (listed["prompt"], listed["prompt_made"]) == ("Write about cups.", True)
    one = f"{path}/{sample['id']}"
    left_out = api.call(ann, "PATCH", one, json={"included": False}).json
    assert (left_out["included"], left_out["prompt_made"]) == (False, True)
    changed = api.call(ann, "PATCH", one, json={"prompt": " Which cup? "}).json
    assert (changed["prompt"], changed["prompt_made"], changed["included"]) == ("Which cup?", False, False)
    for body in ({"prompt": 3}, {"prompt": "x" * 4001}, {"included": None}, {"prompt_made": False}, {"included": 1}):
        error_of(api.call(ann, "PATCH", one, json=body), 400)
    assert api.call(ann, "GET", one).json == changed
    cleared = api.call(ann, "PATCH", one, json={"prompt": None}).json
    assert (cleared["prompt"], cleared["prompt_made"]) == (None, False)
    assert api.call(ann, "PATCH", one, json={}).json == cleared


def test_text_that_cannot_be_kept_is_answered_with_what_to_do(api: Api, ann: Person) -> None:
    path = f"/v1/voices/{ann.voice_id}/samples"
    write_samples(api.storage, ann)
    for text in ("", "   ", "short", "x" * 300_000, TEXT):
        error = error_of(api.call(ann, "POST", path, json={"text": text}), 400)
        assert error["code"] == "invalid_sample"
        assert len(error["message"]) > 15
    for body in ({"text": TEXT, "written_on": "yesterday"}, {"text": TEXT, "written_on": "2025-13-41"}, {}):
        error_of(api.call(ann, "POST", path, json=body), 400)
    assert len(api.call(ann, "GET", path).json["data"]) == len(SAMPLE_TEXTS)  # the others are kept


def test_versions_say_which_is_in_use(api: Api, ann: Person) -> None:
    for seed in range(2):
        publish_random(api, ann, seed)
    path = f"/v1/voices/{ann.voice_id}/versions"
    listed = api.call(ann, "GET", path).json
    assert {version["version"]: version["active"] for version in listed["data"]} == {1: False, 2: True}
    assert all(version["usable"] for version in listed["data"])
    api.call(ann, "POST", f"{path}/1/use")
    assert {v["version"]: v["active"] for v in api.call(ann, "GET", path).json["data"]} == {1: True, 2: False}
    assert error_of(api.call(ann, "POST", f"{path}/9/use"), 404)["code"] == "version_not_found"
    models = {model["id"]: model for model in api.call(ann, "GET", "/v1/models").json["data"]}
    assert models[ann.voice_id]["version"] == 1


def test_a_report_is_there_once_it_was_measured_for_its_owner_alone(api: Api, ann: Person, ben: Person) -> None:
    for seed in range(2):
        publish_random(api, ann, seed)
    path = f"/v1/voices/{ann.voice_id}/versions"
    assert error_of(api.call(ann, "GET", f"{path}/1/report"), 404)["code"] == "report_not_found"
    add_report(api.storage, ann, 1, {"neutral_rise_pct": 0.5, "style": {"samples": None}})
    assert api.call(ann, "GET", f"{path}/1/report").json == {
        "object": "voice.version.report",
        "voice": ann.voice_id,
        "version": 1,
        "report": {"neutral_rise_pct": 0.5, "style": {"samples": None}},
    }
    assert error_of(api.call(ann, "GET", f"{path}/2/report"), 404)["code"] == "report_not_found"
    assert error_of(api.call(ann, "GET", f"{path}/3/report"), 404)["code"] == "version_not_found"
    for number in (1, 2):  # with and without a report, to somebody else
        assert error_of(api.call(ben, "GET", f"{path}/{number}/report"), 404)["code"] == "version_not_found"
    assert not [version for version in api.call(ann, "GET", path).json["data"] if "report" in version]


def test_a_report_that_does_not_open_is_an_error_and_the_list_is_none_the_worse(api: Api, ann: Person) -> None:
    publish_random(api, ann)
    add_report(api.storage, ann, 1, {"neutral_rise_pct": 0.5})
    with api.storage.database.session() as session:
        spoiled = update(PrefixVersion).where(PrefixVersion.user_id == ann.user_id)
        session.execute(spoiled.values(report_sealed=b"\x01" + bytes(60)))
    path = f"/v1/voices/{ann.voice_id}/versions"
    assert error_of(api.call(ann, "GET", f"{path}/1/report"), 500)["code"] == "integrity_error"
    assert len(api.call(ann, "GET", path).json["data"]) == 1
