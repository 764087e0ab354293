"""A bounded cache of bytes on a Redis-protocol server that may vanish at any time.

Knows nothing of what it keeps: values arrive sealed. Every call answers within a quarter of a second or raises
CacheUnavailable, and after a failure nothing is asked for 5 seconds.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import TypeVar

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from storage.errors import CacheUnavailable, ConfigurationError

SOCKET_TIMEOUT_S = 0.25
BREAKER_OPEN_S = 5.0
_BATCH = 500
_COUNTERS = "count:"

Answer = TypeVar("Answer")


@dataclass(frozen=True)
class CacheFigures:
    """How the cache does. Bytes are the server's, entries are the cached prefixes. warmed: prefixes that were brought
    there ahead of a request."""

    hits: int = 0
    misses: int = 0
    warmed: int = 0
    entries: int = 0
    used_bytes: int = 0
    max_bytes: int = 0
    reachable: bool = False


class RedisCache:
    """Bytes by name, with a time to live. Safe to share between threads."""

    def __init__(self, url: str, *, breaker_open_s: float = BREAKER_OPEN_S) -> None:
        """url: redis://… or unix://…. Connects at the first call. Raises ConfigurationError for any other URL."""
        try:
            self._client = redis.Redis.from_url(
                url,
                socket_timeout=SOCKET_TIMEOUT_S,
                socket_connect_timeout=SOCKET_TIMEOUT_S,
                retry=Retry(NoBackoff(), 0),
            )
        except ValueError:
            raise ConfigurationError("IDIOLECT_CACHE_URL must start with redis://, rediss:// or unix://") from None
        self._breaker_open_s = breaker_open_s
        self._closed_from = 0.0

    def get(self, key: str) -> bytes | None:
        """The value, or None. Raises CacheUnavailable."""
        value = self._ask(lambda: self._client.get(key))
        return value if isinstance(value, bytes) else None

    def put(self, key: str, value: bytes, ttl_s: int) -> None:
        """Keep a value for at most ttl_s seconds. Raises CacheUnavailable."""
        self._ask(lambda: self._client.set(key, value, ex=ttl_s))

    def renew(self, key: str, ttl_s: int) -> bool:
        """Let an entry that is there stay for ttl_s seconds from now; whether it is. Raises CacheUnavailable."""
        return self._ask(lambda: bool(self._client.expire(key, ttl_s)))

    def delete(self, key: str) -> None:
        """Remove one entry. Raises CacheUnavailable."""
        self._ask(lambda: self._client.delete(key))

    def delete_matching(self, prefix: str) -> int:
        """Remove every entry whose name begins so; how many there were. Raises CacheUnavailable."""
        return self._ask(lambda: sum(self._client.delete(*names) for names in self._batches(prefix)))

    def count(self, name: str) -> None:
        """Add one to a counter ("hits", "misses", "warmed"). Raises CacheUnavailable."""
        self._ask(lambda: self._client.incr(_COUNTERS + name))

    def figures(self) -> CacheFigures:
        """Figures for the console; never raises, `reachable` tells."""
        try:
            return self._ask(self._read_figures)
        except CacheUnavailable:
            return CacheFigures()

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _read_figures(self) -> CacheFigures:
        memory = self._client.info("memory")
        names = [_COUNTERS + name for name in ("hits", "misses", "warmed")]
        hits, misses, warmed = (int(value or 0) for value in self._client.mget(names))
        return CacheFigures(
            hits=hits,
            misses=misses,
            warmed=warmed,
            entries=sum(len(names) for names in self._batches("prefix:")),
            used_bytes=int(memory["used_memory"]),
            max_bytes=int(memory["maxmemory"]),
            reachable=True,
        )

    def _batches(self, prefix: str) -> Iterator[list[bytes]]:
        literal = "".join(f"\\{char}" if char in "*?[]\\" else char for char in prefix)
        names = iter(set(self._client.scan_iter(match=f"{literal}*", count=_BATCH)))
        while batch := list(islice(names, _BATCH)):
            yield batch

    def _ask(self, question: Callable[[], Answer]) -> Answer:
        if time.monotonic() < self._closed_from:
            raise CacheUnavailable("the cache failed a moment ago; it is asked again in a few seconds")
        try:
            return question()
        except redis.RedisError as wrong:
            self._closed_from = time.monotonic() + self._breaker_open_s
            raise CacheUnavailable("the cache did not answer in time") from wrong
