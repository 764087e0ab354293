"""Asking for a training over HTTP, following it, stopping it."""

import json
import signal
from collections.abc import Callable, Iterator

import httpx
import pytest
from celery import Celery

from app.api import server_sent_events
from storage import maintenance, outbox
from storage.errors import NotFound
from tests.app.api.people import Api, Person, publish_random, write_samples
from tests.app.api.test_errors import error_of
from tests.servers import ValkeyServer
from tests.waiting import Failed, failed_calls
from tuning import celery_app


@pytest.fixture
def frozen_broker(own_valkey: ValkeyServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The queue's broker takes connections and answers nothing, until the test is over."""
    monkeypatch.setenv("IDIOLECT_BROKER_URL", f"redis+socket://{own_valkey.socket}")
    fresh = Celery("idiolect", set_as_current=False)
    fresh.add_defaults(celery_app._settings)
    monkeypatch.setattr(celery_app, "celery_app", fresh)
    own_valkey.process.send_signal(signal.SIGSTOP)
    yield
    fresh.close()


@pytest.fixture
def under_maintenance(api: Api) -> Iterator[None]:
    with api.storage.database.session() as session:
        maintenance.begin(session, "A new disk", "user-chief")
    yield
    with api.storage.database.session() as session:
        maintenance.end(session, "user-chief")


@pytest.mark.usefixtures("under_maintenance")
def test_during_maintenance_runs_are_taken_in_and_text_is_written(api: Api, ann: Person) -> None:
    write_samples(api.storage, ann)
    asked = api.call(ann, "POST", f"/v1/voices/{ann.voice_id}/tuning_runs", json={})
    assert (asked.status_code, asked.json["state"]) == (202, "queued")
    assert api.complete(ann, api.base.name, max_tokens=4).status_code == 200


@pytest.mark.usefixtures("frozen_broker")
def test_a_run_is_kept_though_the_broker_is_away_and_asked_for_once(api: Api, ann: Person) -> None:
    write_samples(api.storage, ann)
    path = f"/v1/voices/{ann.voice_id}/tuning_runs"
    with failed_calls() as failed:
        made = api.call(ann, "POST", path, json={"seed": 7})
    assert failed == [Failed(TimeoutError, 1.0)]
    assert made.status_code == 202
    run = made.json
    assert (run["object"], run["state"], run["voice"], run["seed"]) == ("tuning_run", "queued", ann.voice_id, 7)
    assert run["queue_position"] >= 1
    again = api.call(ann, "POST", path, json={})
    assert (again.status_code, again.json["id"]) == (200, run["id"])
    assert [one["id"] for one in api.call(ann, "GET", path).json["data"]] == [run["id"]]
    with api.storage.database.session() as session:
        assert run["id"] in [run_id for _, run_id in outbox.unsent(session, limit=1000)]


def test_a_run_needs_enough_text(api: Api, ann: Person) -> None:
    error = error_of(api.call(ann, "POST", f"/v1/voices/{ann.voice_id}/tuning_runs", json={}), 400)
    assert error["code"] == "invalid_sample"


def test_a_run_is_paused_and_resumed_as_often_as_asked(api: Api, ann: Person) -> None:
    write_samples(api.storage, ann)
    run = api.call(ann, "POST", f"/v1/voices/{ann.voice_id}/tuning_runs", json={}).json
    for _ in range(2):
        paused = api.call(ann, "POST", f"/v1/tuning_runs/{run['id']}/pause").json
        assert (paused["state"], paused["pause_requested"], paused["queue_position"]) == ("paused", False, None)
    for _ in range(2):
        assert api.call(ann, "POST", f"/v1/tuning_runs/{run['id']}/resume").json["state"] == "queued"
    api.call(ann, "POST", f"/v1/tuning_runs/{run['id']}/cancel")
    for what in ("pause", "resume"):
        assert error_of(api.call(ann, "POST", f"/v1/tuning_runs/{run['id']}/{what}"), 409)["code"] == "conflict"


def test_a_waiting_run_is_cancelled_at_once_and_only_once(api: Api, ann: Person) -> None:
    write_samples(api.storage, ann)
    run = api.call(ann, "POST", f"/v1/voices/{ann.voice_id}/tuning_runs", json={}).json
    cancelled = api.call(ann, "POST", f"/v1/tuning_runs/{run['id']}/cancel").json
    assert cancelled["state"] == "cancelled"
    assert cancelled["finished_at"] is not None
    assert cancelled["queue_position"] is None
    refused = api.call(ann, "POST", f"/v1/tuning_runs/{run['id']}/cancel")
    assert error_of(refused, 409)["code"] == "conflict"
    assert refused.headers["x-should-retry"] == "false"


def test_a_finished_run_shows_its_end_and_its_events(api: Api, ann: Person) -> None:
    publish_random(api, ann)
    (run,) = api.call(ann, "GET", f"/v1/voices/{ann.voice_id}/tuning_runs").json["data"]
    assert (run["state"], run["published"], run["error"]) == ("succeeded", True, None)
    assert run["continues_version"] is None
    assert api.call(ann, "GET", f"/v1/tuning_runs/{run['id']}").json == run
    path = f"/v1/tuning_runs/{run['id']}/events"
    events = api.call(ann, "GET", path).json
    assert events["data"]
    assert all(event["object"] == "tuning_run.event" for event in events["data"])
    first = api.call(ann, "GET", f"{path}?limit=1").json
    assert first["data"] == events["data"][:1]
    assert first["has_more"] is (len(events["data"]) > 1)
    rest = api.call(ann, "GET", f"{path}?after={first['data'][0]['id']}").json
    assert first["data"] + rest["data"] == events["data"]


def test_runs_come_in_pages_newest_first(api: Api, ann: Person) -> None:
    for seed in range(3):
        publish_random(api, ann, seed)
    path = f"/v1/voices/{ann.voice_id}/tuning_runs"
    first = api.call(ann, "GET", f"{path}?limit=2").json
    rest = api.call(ann, "GET", f"{path}?limit=2&after={first['data'][-1]['id']}").json
    assert (first["has_more"], rest["has_more"]) == (True, False)
    seen = first["data"] + rest["data"]
    assert len({run["id"] for run in seen}) == 3
    assert error_of(api.call(ann, "GET", f"{path}?after=run-unknown"), 404)["param"] == "after"
    assert [run["created_at"] for run in seen] == sorted((run["created_at"] for run in seen), reverse=True)


def events_of_a_new_run(api: Api, person: Person, monkeypatch: pytest.MonkeyPatch) -> str:
    """The address of a stream, of which something comes often."""
    monkeypatch.setattr(server_sent_events, "POLL_S", 0.02)
    monkeypatch.setattr(server_sent_events, "PING_S", 0.1)
    write_samples(api.storage, person)
    run = api.call(person, "POST", f"/v1/voices/{person.voice_id}/tuning_runs", json={}).json
    return f"{api.url}/v1/tuning_runs/{run['id']}/events?stream=true"


def followed(url: str, person: Person, at_first_ping: Callable[[], object]) -> tuple[httpx.Response, list[str]]:
    """A stream to its end, and its lines that are not empty; at the first ping something is done."""
    lines: list[str] = []
    with httpx.stream("GET", url, headers=person.headers, timeout=10) as answer:
        for line in filter(None, answer.iter_lines()):
            if line == ": ping" and line not in lines:
                at_first_ping()
            lines.append(line)
    return answer, lines


def test_events_are_streamed_as_they_come_until_the_run_ends(
    api: Api, ann: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = events_of_a_new_run(api, ann, monkeypatch)
    cancel = url.removeprefix(api.url).replace("/events?stream=true", "/cancel")
    answer, lines = followed(url, ann, lambda: api.call(ann, "POST", cancel))
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert ": ping" in lines
    assert lines[-1] == "data: [DONE]"
    ids = [line.removeprefix("id: ") for line in lines if line.startswith("id: ")]
    told = [json.loads(line.removeprefix("data: ")) for line in lines[:-1] if line.startswith("data: ")]
    assert ids == [event["id"] for event in told]
    listed = api.call(ann, "GET", url.removeprefix(api.url).removesuffix("?stream=true")).json["data"]
    assert ids == [event["id"] for event in listed]
    # A browser that lost the connection goes on where it was.
    assert len(ids) > 1
    for after, left_off, rest in (("", ids[0], ids[1:]), (ids[0], ids[-1], []), (ids[-1], ids[0], [])):
        asked = f"{url}&after={after}" if after else url
        with httpx.stream("GET", asked, headers=ann.headers | {"Last-Event-ID": left_off}, timeout=10) as answer:
            again = [line.removeprefix("id: ") for line in answer.iter_lines() if line.startswith("id: ")]
        assert again == rest


def test_a_voice_that_is_deleted_ends_the_stream_of_its_training_in_words(
    api: Api, ann: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = events_of_a_new_run(api, ann, monkeypatch)
    deleted = f"/v1/voices/{ann.voice_id}"
    _, lines = followed(url, ann, lambda: api.call(ann, "DELETE", deleted))
    assert api.call(ann, "GET", deleted).status_code == 404
    assert ": ping" in lines
    assert json.loads(lines[-1].removeprefix("data: "))["error"]["code"] == "run_not_found"


def test_nothing_that_is_missing_once_a_request_is_over_is_a_fault_of_ours() -> None:
    told = json.loads(server_sent_events.error_event(NotFound()).removeprefix("data: "))
    assert told["error"]["code"] == "thing_not_found"
