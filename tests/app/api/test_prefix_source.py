"""Where a request's prefix comes from: counted at the database's own door, not asked of the code that reads."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import redis
from sqlalchemy import event
from sqlalchemy.engine import Engine as DatabaseEngine

from storage.config import StorageConfig
from tests.app.api.people import Api, Person, publish_random


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


def test_the_first_request_after_a_loss_reads_the_database_and_the_next_ones_the_cache(
    api: Api, ann: Person, cache: redis.Redis
) -> None:
    publish_random(api, ann)
    with prefix_reads() as reads:
        assert api.complete(ann, ann.voice_id).status_code == 200
    assert len(reads) == 0  # publishing filled the cache
    forget(cache, ann)
    with prefix_reads() as reads:
        said = api.complete(ann, ann.voice_id).json["choices"]
    assert len(reads) == 1
    with prefix_reads() as reads:
        assert api.complete(ann, ann.voice_id).json["choices"] == said
    assert len(reads) == 0


def test_another_api_processs_first_request_reads_the_cache(
    api: Api, ann: Person, cache: redis.Redis, api_on: Callable[[StorageConfig], Api]
) -> None:
    publish_random(api, ann)
    forget(cache, ann)
    said = api.complete(ann, ann.voice_id).json["choices"]
    other = api_on(api.storage.config)
    with prefix_reads() as reads:
        assert other.complete(ann, ann.voice_id).json["choices"] == said
    assert len(reads) == 0


def test_without_a_cache_the_database_answers(
    api: Api, ann: Person, tmp_path: Path, api_on: Callable[[StorageConfig], Api]
) -> None:
    publish_random(api, ann)
    said = api.complete(ann, ann.voice_id).json["choices"]
    lonely = api_on(replace(api.storage.config, cache_url=f"unix://{tmp_path}/nobody"))
    with prefix_reads() as reads:
        for _ in range(2):
            assert lonely.complete(ann, ann.voice_id).json["choices"] == said
    assert len(reads) == 2
