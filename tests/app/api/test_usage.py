"""What a caller used, as the API counts and tells it."""

from pathlib import Path
from typing import Any, get_args

import pytest

from app.api import usage_meter
from app.api.factory import build, create_app
from app.api.services import Services
from app.api.usage_meter import Tally, UsageMeter
from app.auth import Caller, issue_gateway_token
from app.config import AppConfig
from app.generation.engine import Engine
from storage import latency, usage, web_sessions
from storage.database import Database
from storage.schema import upgrade
from storage.store import Storage
from tests import factories
from tests.app.api.people import Api, Person, join, publish_random, with_key
from tests.app.api.test_completions import begin, eventually
from tests.app.api.test_errors import error_of
from tests.conftest import sqlite_config
from tests.servers import Valkey
from tuning.base_model import BaseModel


def used(api: Api, person: Person, query: str = "") -> list[dict[str, Any]]:
    """Lines without their ids. Asking is counted itself, the next time."""
    data: list[dict[str, Any]] = api.call(person, "GET", f"/v1/usage{query}", buffered=True).json["data"]
    return data


def figures(lines: list[dict[str, Any]], model: str | None, key: str | None) -> tuple[int, int, int]:
    (found,) = [line for line in lines if line["model"] == model and line["key"] == key]
    assert found["date"] == usage.today()
    return found["requests"], found["prompt_tokens"], found["completion_tokens"]


def write(api: Api, person: Person, model: str, **fields: Any) -> Any:
    """A completion that is read to its end: then it is counted."""
    answer = api.complete(person, model, **fields)
    answer.get_data()
    answer.close()
    return answer


def test_requests_and_tokens_are_counted_by_key_and_model(api: Api, ann: Person, ben: Person) -> None:
    publish_random(api, ann)
    other = with_key(api.storage, ann, "generate")
    for person, model, fields in (
        (ann, ann.voice_id, {"max_tokens": 5}),
        (ann, ann.voice_id, {"max_tokens": 3, "n": 2, "seed": 1, "stream": True}),
        (ann, api.base.name, {"max_tokens": 4}),
        (other, api.base.name, {"max_tokens": 2}),
    ):
        answer = write(api, person, model, **fields)  # type: ignore[arg-type]
        assert answer.status_code == 200
    error_of(write(api, ann, "voice-unknown"), 404)
    lines = used(api, ann)
    mine = next(line["key"] for line in lines if line["model"] == ann.voice_id)
    prompt = len(api.base.encode("My day"))
    assert figures(lines, ann.voice_id, mine) == (2, 2 * prompt, 5 + 2 * 3)
    assert figures(lines, api.base.name, mine) == (1, prompt, 4)
    assert figures(lines, None, mine) == (1, 0, 0), "the refused one"
    (others,) = [line for line in lines if line["key"] != mine]
    assert (others["model"], others["requests"], others["completion_tokens"]) == (api.base.name, 1, 2)
    assert used(api, ben) == []


def test_a_stream_that_is_left_counts_what_was_written_until_then(api: Api, ann: Person) -> None:
    connection = begin(api, ann, stream=True, max_tokens=200)
    assert connection.recv(4000).startswith(b"HTTP/1.1 200")
    connection.close()
    assert eventually(lambda: any(line["model"] == api.base.name for line in used(api, ann)))
    (line,) = [line for line in used(api, ann) if line["model"]]
    assert line["requests"] == 1
    assert 0 < line["completion_tokens"] <= 200


def test_the_writing_page_counts_apart_from_every_key(api: Api, ann: Person) -> None:
    with api.storage.database.session() as session:
        signed_in = web_sessions.start(session, ann.user_id)
    token = issue_gateway_token(api.storage, user_id=ann.user_id, session_token=signed_in)
    body = {"model": api.base.name, "prompt": "My day", "max_tokens": 2}
    headers = {"Authorization": f"Bearer {token}"}
    assert api.client().post("/v1/completions", json=body, headers=headers, buffered=True).status_code == 200
    assert figures(used(api, ann), api.base.name, None)[0] == 1


def test_the_list_has_pages(api: Api, ann: Person) -> None:
    write(api, ann, api.base.name)
    api.call(ann, "GET", "/v1/models", buffered=True)
    whole = used(api, ann)
    assert len(whole) == 2
    first = api.call(ann, "GET", "/v1/usage?limit=1").json
    assert (first["data"][0]["id"], first["has_more"]) == (whole[0]["id"], True)
    second = api.call(ann, "GET", "/v1/usage", query_string={"after": whole[0]["id"]}).json
    assert ([line["id"] for line in second["data"]], second["has_more"]) == ([whole[1]["id"]], False)
    assert error_of(api.call(ann, "GET", "/v1/usage?after=nothing"), 404)["code"] == "after_not_found"
    error_of(api.call(ann, "GET", "/v1/usage?days=0"), 400)


def test_counts_are_written_down_by_themselves_and_when_the_process_ends(
    api: Api, ann: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    def kept() -> int:
        with api.storage.database.reading() as session:
            return sum(row.requests for row in usage.list_usage(session, ann.user_id, days=1))

    monkeypatch.setattr(usage_meter, "FLUSH_EVERY_S", 0.05)
    services = Services(AppConfig(), api.storage, api.base, api.engine)
    app = build(services)
    app.test_client().get("/v1/models", headers=ann.headers, buffered=True)
    assert eventually(lambda: kept() == 1)
    monkeypatch.setattr(usage_meter, "FLUSH_EVERY_S", 3600.0)
    app.test_client().get("/v1/models", headers=ann.headers, buffered=True)
    assert kept() == 1
    services.meter.flush()
    assert kept() == 2


def test_counts_outlast_a_database_that_is_away(tmp_path: Any, master_key: bytes) -> None:
    config = sqlite_config(tmp_path, "redis://127.0.0.1:1", master_key)
    upgrade(config)
    storage = Storage.open(config)
    user_id = factories.make_user(storage).id
    meter = UsageMeter(Database(config.database_url))
    meter.count(Caller(user_id, "key-1", "key", ("read",)), Tally("m", 1, 2))
    (tmp_path / "data.db").rename(tmp_path / "elsewhere")
    (tmp_path / "data.db").mkdir()
    meter.flush()
    (tmp_path / "data.db").rmdir()
    (tmp_path / "elsewhere").rename(tmp_path / "data.db")
    meter.flush()
    with storage.database.reading() as session:
        (row,) = usage.list_usage(session, user_id, days=1)
        assert (row.requests, row.prompt_tokens, row.completion_tokens) == (1, 1, 2)
    storage.close()


def test_how_long_it_took_is_counted_to_the_first_token_or_the_whole_answer(
    tmp_path: Path, master_key: bytes, valkey: Valkey, base: BaseModel, engine: Engine
) -> None:
    config = sqlite_config(tmp_path, valkey.cache_url, master_key)  # nobody else's answers are counted in it
    upgrade(config)
    storage = Storage.open(config)
    ann = join(storage)
    api = Api("", create_app(AppConfig(), storage, base, engine), storage, base, engine)
    write(api, ann, base.name, max_tokens=3)
    write(api, ann, base.name, max_tokens=3, stream=True)
    error_of(write(api, ann, "voice-unknown"), 404)
    api.call(ann, "GET", "/v1/models", buffered=True)
    api.services.meter.flush()
    with storage.database.reading() as session:
        counted = {
            kind: latency.together(latency.by_hour(session, kind, 2).values()) for kind in get_args(latency.Kind)
        }
    storage.close()
    assert {kind: sum(counts.values()) for kind, counts in counted.items()} == {"text": 2, "other": 1}
