"""Where a request's prefix comes from, counted at the database's own door, and what is not used any more."""

import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import redis
from sqlalchemy import event, text
from sqlalchemy.engine import Engine as DatabaseEngine

from app.api.factory import create_app
from app.api.forgetting import forget_unused, start_forgetting
from app.config import AppConfig
from app.generation.engine import Engine
from storage import users, voices
from storage.config import StorageConfig
from storage.store import Storage
from tests.app.api.people import Api, Person, join, publish_random
from tests.app.api.test_completions import eventually
from tests.app.api.test_errors import error_of
from tuning.base_model import BaseModel

ApiOn = Callable[[StorageConfig], Api]


@contextmanager
def prefix_reads() -> Iterator[list[str]]:
    """Every statement, of any database of this process, that reads the sealed column of prefix_versions."""
    seen: list[str] = []

    def look(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        if statement.lstrip().upper().startswith("SELECT") and "prefix_versions.sealed" in statement:
            seen.append(statement)

    event.listen(DatabaseEngine, "before_cursor_execute", look)
    try:
        yield seen
    finally:
        event.remove(DatabaseEngine, "before_cursor_execute", look)


@pytest.fixture
def cache(api: Api) -> Iterator[redis.Redis]:
    client = redis.Redis.from_url(api.storage.config.cache_url)
    yield client
    client.close()


def forget(cache: redis.Redis, person: Person) -> None:
    """Drop the cached prefix of this person's voice."""
    assert cache.delete(*cache.scan_iter(match=f"*{person.voice_id}*", count=10_000)) == 1


def origins(capsys: pytest.CaptureFixture[str]) -> list[str]:
    """Where the log says that the prefixes came from, of the requests since it was last asked."""
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    return [line.get("prefix_from") for line in lines if line.get("route") == "/v1/completions"]


def choices(api: Api, person: Person, model: str) -> Any:
    """Of a whole answer, which is closed, and so logged."""
    with api.complete(person, model) as answer:
        assert answer.status_code == 200
        return answer.json["choices"]


def test_the_first_request_after_a_loss_reads_the_database_and_the_next_ones_nothing(
    api: Api, ann: Person, cache: redis.Redis, capsys: pytest.CaptureFixture[str]
) -> None:
    publish_random(api, ann)
    forget(cache, ann)
    with prefix_reads() as reads:
        said = choices(api, ann, ann.voice_id)
    assert len(reads) == 1
    forget(cache, ann)  # it was put back there
    with prefix_reads() as reads:
        assert choices(api, ann, ann.voice_id) == said
    assert len(reads) == 0
    assert choices(api, ann, api.base.name)
    assert origins(capsys) == ["database", "memory", None]


def test_the_first_request_after_a_publication_reads_the_cache(
    api: Api, ann: Person, capsys: pytest.CaptureFixture[str]
) -> None:
    publish_random(api, ann)
    with prefix_reads() as reads:
        for _ in range(2):
            assert choices(api, ann, ann.voice_id)
    assert len(reads) == 0
    assert origins(capsys) == ["cache", "memory"]


def test_another_api_processs_first_request_reads_the_cache(
    api: Api, ann: Person, cache: redis.Redis, api_on: ApiOn
) -> None:
    publish_random(api, ann)
    forget(cache, ann)
    said = api.complete(ann, ann.voice_id).json["choices"]
    other = api_on(api.storage.config)
    with prefix_reads() as reads:
        assert other.complete(ann, ann.voice_id).json["choices"] == said
    assert len(reads) == 0


def test_without_a_cache_the_database_answers_the_first_request(
    api: Api, ann: Person, tmp_path: Path, api_on: ApiOn
) -> None:
    publish_random(api, ann)
    said = api.complete(ann, ann.voice_id).json["choices"]
    lonely = api_on(replace(api.storage.config, cache_url=f"unix://{tmp_path}/nobody"))
    with prefix_reads() as reads:
        for _ in range(2):
            assert lonely.complete(ann, ann.voice_id).json["choices"] == said
    assert len(reads) == 1


def test_many_at_once_for_the_same_cold_prefix_read_it_once(
    api: Api, ann: Person, ben: Person, tmp_path: Path, api_on: ApiOn
) -> None:
    for seed, person in enumerate((ann, ben)):
        publish_random(api, person, seed)
    said = {person: api.complete(person, person.voice_id).json["choices"][0]["text"] for person in (ann, ben)}
    assert said[ann] != said[ben]
    lonely = api_on(replace(api.storage.config, cache_url=f"unix://{tmp_path}/nobody"))
    askers = [ann, ben] * 8
    barrier = threading.Barrier(len(askers))

    def ask(person: Person) -> str:
        barrier.wait()
        text: str = lonely.complete(person, person.voice_id).json["choices"][0]["text"]
        return text

    with prefix_reads() as reads, ThreadPoolExecutor(len(askers)) as pool:
        assert list(pool.map(ask, askers)) == [said[person] for person in askers]
    assert len(reads) == 2


def test_every_api_process_follows_the_version_in_use_with_the_next_request(
    api: Api, ann: Person, api_on: ApiOn
) -> None:
    processes = [api, api_on(api.storage.config)]

    def versions() -> list[int]:
        return [process.complete(ann, ann.voice_id).json["idiolect"]["version"] for process in processes]

    def choose(version: int | None) -> None:
        with api.storage.database.session() as session:
            voices.use_version(session, ann.user_id, ann.voice_id, version)

    for seed in (1, 2):
        publish_random(api, ann, seed)
        assert versions() == [seed, seed]
    choose(1)
    assert versions() == [1, 1]
    choose(None)
    for process in processes:
        assert error_of(process.complete(ann, ann.voice_id), 409)["code"] == "voice_not_trained"


@pytest.mark.parametrize("lost", ["suspended", "erased", "deleted", "switched off", "replaced"])
def test_what_nobody_may_use_leaves_the_memory_of_every_api_process(
    api: Api, ann: Person, ben: Person, api_on: ApiOn, lost: str
) -> None:
    storage, processes = api.storage, [api, api_on(api.storage.config)]
    for person in (ann, ben):
        publish_random(api, person)
        for process in processes:
            assert process.complete(person, person.voice_id).status_code == 200
    match lost:
        case "erased":
            users.erase_user(storage, ann.user_id, actor_id=ann.user_id)
        case "deleted":
            voices.delete_voice(storage, ann.user_id, ann.voice_id)
        case "replaced":
            publish_random(api, ann, seed=1)
        case _:
            with storage.database.session() as session:
                if lost == "suspended":
                    users.set_state(session, ann.user_id, "suspended")
                else:
                    voices.use_version(session, ann.user_id, ann.voice_id, None)
    expected = {"erased": 401, "suspended": 401, "deleted": 404, "switched off": 409, "replaced": 200}
    for process in processes:
        held = process.services.prefixes.num_bytes
        forget_unused(process.services)
        owners = {address.user_id for address in process.services.prefixes.addresses()}
        assert ann.user_id not in owners
        assert ben.user_id in owners
        assert process.services.prefixes.num_bytes < held
        assert process.complete(ann, ann.voice_id).status_code == expected[lost]


def test_it_is_looked_again_and_again_and_a_look_that_fails_is_not_the_last(
    storage: Storage, base: BaseModel, engine: Engine, capsys: pytest.CaptureFixture[str]
) -> None:
    person = join(storage)
    api = Api("", create_app(AppConfig(), storage, base, engine), storage, base, engine)
    publish_random(api, person)
    assert api.complete(person, person.voice_id).status_code == 200
    with storage.database.session() as session:
        session.execute(text("ALTER TABLE voices RENAME TO hidden"))
    thread = start_forgetting(api.services, every_s=0.01)
    failed: list[str] = []
    assert eventually(lambda: failed.append(capsys.readouterr().out) or '"failure"' in "".join(failed))
    assert api.services.prefixes.num_bytes
    with storage.database.session() as session:
        session.execute(text("ALTER TABLE hidden RENAME TO voices"))
        voices.use_version(session, person.user_id, person.voice_id, None)
    assert eventually(lambda: not api.services.prefixes.num_bytes)
    api.services.stopping.set()
    thread.join(5)
    assert not thread.is_alive()
