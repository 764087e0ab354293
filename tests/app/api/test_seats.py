"""How much one person may have going on at once, over HTTP."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import httpx
import pytest

from app.api import server_sent_events
from app.api.factory import build
from app.api.services import EXTENSION, Services
from app.config import API_EVENT_STREAMS, AppConfig
from app.seats import HouseFull, NoSeat, Seats
from storage import api_keys
from tests.app.api.people import Api, Person, publish_random, write_samples
from tests.app.api.server_thread import served
from tests.app.api.test_completions import begin, eventually
from tests.app.api.test_errors import error_of

PATIENCE_S = 60.0


@pytest.fixture
def crowded(api: Api) -> Iterator[Api]:
    """An API with one seat of each kind for a person."""
    services = Services(
        AppConfig(),
        api.storage,
        api.base,
        api.engine,
        generations=Seats(1, "generations"),
        event_streams=Seats(1, "event streams"),
    )
    app = build(services)
    with served(app) as url:
        yield Api(url, app, api.storage, api.base, api.engine)


def generations(api: Api) -> Seats:
    services: Services = api.app.extensions[EXTENSION]
    return services.generations


def test_a_seat_is_given_back_however_its_holder_ends() -> None:
    seats = Seats(2, "things")
    with pytest.raises(NoSeat, match="At most 2 things"), seats.one("ann"), seats.one("ann"), seats.one("ann"):
        pass
    assert seats.taken("ann") == 0


def test_several_seats_are_taken_and_given_back_together() -> None:
    seats = Seats(3, "things", in_all=4)
    with seats.several("ann", 2):
        assert seats.taken("ann") == 2
        with pytest.raises(NoSeat), seats.several("ann", 2):
            pass
        with pytest.raises(HouseFull), seats.several("ben", 3):
            pass
        assert (seats.taken("ann"), seats.taken("ben")) == (2, 0)
    assert seats.taken("ann") == 0


def test_each_answer_of_several_takes_a_seat(crowded: Api, ann: Person) -> None:
    refused = crowded.complete(ann, crowded.base.name, n=2)
    assert error_of(refused, 429)["code"] == "too_many_requests_at_once"
    assert generations(crowded).taken(ann.user_id) == 0


def test_a_strength_that_takes_a_second_row_takes_a_second_seat(crowded: Api, ann: Person) -> None:
    publish_random(crowded, ann)
    for strength, status in ((0, 200), (0.5, 429), (1, 200)):
        assert crowded.complete(ann, ann.voice_id, voice_strength=strength).status_code == status
    assert crowded.complete(ann, crowded.base.name, voice_strength=0.5).status_code == 200
    assert generations(crowded).taken(ann.user_id) == 0


def test_one_generation_too_many_is_a_429_until_another_ends(crowded: Api, ann: Person, ben: Person) -> None:
    connection = begin(crowded, ann, stream=True)
    assert connection.recv(4000).startswith(b"HTTP/1.1 200")
    refused = crowded.complete(ann, crowded.base.name)
    error = error_of(refused, 429)
    assert (error["code"], error["type"]) == ("too_many_requests_at_once", "requests")
    assert int(refused.headers["Retry-After"]) >= 1
    assert crowded.complete(ben, crowded.base.name).status_code == 200
    connection.close()
    assert eventually(lambda: generations(crowded).taken(ann.user_id) == 0)


def test_refused_and_finished_generations_give_their_seat_back(crowded: Api, ann: Person) -> None:
    for fields, status in (({}, 200), ({"model": "nobody"}, 404), ({"stream": True}, 200), ({}, 200)):
        answer = crowded.complete(ann, **({"model": crowded.base.name} | fields))  # type: ignore[arg-type]
        assert (answer.status_code, bool(answer.get_data())) == (status, True)
        answer.close()
        assert generations(crowded).taken(ann.user_id) == 0


@pytest.fixture
def followed(crowded: Api, ann: Person, monkeypatch: pytest.MonkeyPatch) -> Callable[[], httpx.Response]:
    """Reads a live run's event stream to its end; the server looks often."""
    monkeypatch.setattr(server_sent_events, "POLL_S", 0.02)
    monkeypatch.setattr(server_sent_events, "MAX_FOLLOW_S", 5.0)
    write_samples(crowded.storage, ann)
    run = crowded.call(ann, "POST", f"/v1/voices/{ann.voice_id}/tuning_runs", json={}).json
    url = f"{crowded.url}/v1/tuning_runs/{run['id']}/events?stream=true"
    return lambda: httpx.get(url, headers=ann.headers, timeout=10)


def test_an_event_stream_ends_when_its_time_is_over(
    followed: Callable[[], httpx.Response], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_sent_events, "MAX_FOLLOW_S", 0.1)
    for _ in range(2):  # the seat was given back
        answer = followed()
        assert answer.status_code == 200
        assert "[DONE]" not in answer.text


def test_an_event_stream_ends_when_its_key_is_revoked_and_holds_a_seat_until_then(
    crowded: Api, ann: Person, followed: Callable[[], httpx.Response], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_sent_events, "PING_S", 0.1)
    monkeypatch.setattr(server_sent_events, "MAX_FOLLOW_S", 2 * PATIENCE_S)  # too long to be what ends it
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(followed)
        streams = crowded.app.extensions[EXTENSION].event_streams
        assert eventually(lambda: bool(streams.taken(ann.user_id)))
        refused = followed()
        assert (refused.status_code, refused.json()["error"]["code"]) == (429, "too_many_requests_at_once")
        with crowded.storage.database.session() as session:
            (key,) = api_keys.list_keys(session, ann.user_id)
            api_keys.revoke_key(session, ann.user_id, key.id, actor_id=ann.user_id)
        assert "[DONE]" not in first.result(PATIENCE_S).text
    assert followed().status_code == 401


def test_event_streams_have_a_total_over_all_people(api: Api, ann: Person) -> None:
    services: Services = api.app.extensions[EXTENSION]
    write_samples(api.storage, ann)
    run = api.call(ann, "POST", f"/v1/voices/{ann.voice_id}/tuning_runs", json={}).json
    with ExitStack() as others:
        for number in range(API_EVENT_STREAMS):
            others.enter_context(services.event_streams.one(f"person {number}"))
        refused = api.call(ann, "GET", f"/v1/tuning_runs/{run['id']}/events?stream=true")
        assert error_of(refused, 503)["code"] == "too_many_requests_in_all"
        assert int(refused.headers["Retry-After"]) >= 1
    api.call(ann, "GET", f"/v1/tuning_runs/{run['id']}/events?stream=true", buffered=False).close()
    assert services.event_streams.taken(ann.user_id) == 0
