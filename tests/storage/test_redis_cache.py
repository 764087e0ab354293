"""The cache against real servers: alive, frozen, dead and back again."""

import os
import signal
from pathlib import Path
from types import SimpleNamespace

import pytest

from storage import redis_cache
from storage.errors import CacheUnavailable, ConfigurationError
from storage.redis_cache import CacheFigures, RedisCache
from tests.servers import Valkey, short_folder, start_valkey
from tests.waiting import Failed, failed_calls


@pytest.fixture
def cache(valkey: Valkey) -> RedisCache:
    valkey.cache.flush()
    return RedisCache(valkey.cache_url)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """The cache's clock, which stands still at `now` until the test moves it."""
    held: SimpleNamespace = SimpleNamespace(now=1000.0, monotonic=lambda: held.now)
    monkeypatch.setattr(redis_cache, "time", held)
    return held


def test_bytes_come_back_as_they_were(cache: RedisCache) -> None:
    value = bytes(range(256)) * 1000
    cache.put("prefix:a", value, 60)
    assert cache.get("prefix:a") == value
    assert cache.get("prefix:b") is None
    cache.delete("prefix:a")
    assert cache.get("prefix:a") is None


def test_entries_have_an_end(cache: RedisCache, valkey: Valkey) -> None:
    cache.put("prefix:a", b"x", 60)
    with valkey.cache.client() as client:
        assert 0 < client.ttl("prefix:a") <= 60


def test_an_entry_that_is_there_can_begin_its_time_again(cache: RedisCache, valkey: Valkey) -> None:
    cache.put("prefix:a", b"x", 5)
    assert cache.renew("prefix:a", 60)
    assert not cache.renew("prefix:b", 60)
    with valkey.cache.client() as client:
        assert 5 < client.ttl("prefix:a") <= 60
        assert not client.exists("prefix:b")


def test_deleting_by_prefix_takes_names_literally(cache: RedisCache) -> None:
    for name in ("prefix:a*:1", "prefix:ab:1", "prefix:a[b]:1", "prefix:a*:2"):
        cache.put(name, b"x", 60)
    assert cache.delete_matching("prefix:a*:") == 2
    assert cache.delete_matching("prefix:a[b]:") == 1
    assert cache.get("prefix:ab:1") == b"x"


def test_deleting_by_prefix_reaches_more_than_one_batch(cache: RedisCache, valkey: Valkey) -> None:
    with valkey.cache.client() as client:
        client.mset({f"prefix:many:{number}": b"x" for number in range(1300)})
    assert cache.delete_matching("prefix:many:") == 1300


def test_figures_count(cache: RedisCache) -> None:
    cache.put("prefix:a", b"x", 60)
    cache.put("other:a", b"x", 60)
    for name in ("hits", "hits", "misses", "warmed", "warmed", "warmed"):
        cache.count(name)
    figures = cache.figures()
    assert (figures.hits, figures.misses, figures.warmed) == (2, 1, 3)
    assert (figures.entries, figures.reachable) == (1, True)
    assert 0 < figures.used_bytes < figures.max_bytes == 64 * 1024 * 1024


def test_an_unusable_url_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="IDIOLECT_CACHE_URL"):
        RedisCache("http://localhost")


@pytest.mark.usefixtures("clock")
def test_a_dead_server_costs_one_attempt_and_figures_say_so(tmp_path: Path) -> None:
    cache = RedisCache(f"unix://{tmp_path}/nobody.sock")
    with failed_calls() as failed:
        for _ in range(100):
            with pytest.raises(CacheUnavailable):
                cache.get("prefix:a")
        assert cache.figures() == CacheFigures(reachable=False)
    assert failed == [Failed(FileNotFoundError, 0.25)]


def test_a_frozen_server_is_given_up_within_its_time_out_and_asked_again_later(
    clock: SimpleNamespace,
) -> None:
    with short_folder() as folder:
        server = start_valkey(folder / "frozen.sock")
        cache = RedisCache(f"unix://{server.socket}")
        cache.put("prefix:a", b"x", 60)
        os.kill(server.process.pid, signal.SIGSTOP)
        with failed_calls() as failed:
            with pytest.raises(CacheUnavailable, match="in time"):
                cache.get("prefix:a")
            clock.now += 4.9
            with pytest.raises(CacheUnavailable, match="a moment ago"):
                cache.get("prefix:a")
        assert failed == [Failed(TimeoutError, 0.25)]
        os.kill(server.process.pid, signal.SIGCONT)
        with server.client() as client:
            client.ping()
        clock.now += 0.2
        assert cache.get("prefix:a") == b"x"
        cache.close()
        server.stop()
