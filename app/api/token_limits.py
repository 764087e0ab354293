"""How many tokens one account may have read and written: a bucket that fills evenly over a minute, kept in Redis, in
memory while Redis is away.

A request takes the most that it may use before the model is touched, and gives back what it did not use when it ends,
so that many at once can't overdraw together. What can't be covered is refused with the time after which it can. Every
answer with text says what is left: x-ratelimit-limit-tokens, x-ratelimit-remaining-tokens, x-ratelimit-reset-tokens
(until the bucket is full). A dead or frozen Redis costs a request a fifth of a second, once in five seconds.
"""

import math
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from time import monotonic
from typing import Any, cast

import redis
from flask import Flask, Response, g
from redis.backoff import NoBackoff
from redis.retry import Retry

from app.api.errors import NO_RETRY, ApiError
from app.api.usage_meter import Tally

WINDOW_S = 60
SOCKET_TIMEOUT_S = 0.2
BREAKER_OPEN_S = 5.0
_MANY = 10_000  # accounts in memory, from which on those whose bucket is full again are forgotten

# A bucket that is not there is full. KEYS: the bucket. ARGV: its size, what is taken (less than 0: given back), and
# whether more may be taken than is there. Answers whether it was taken, and what is in the bucket now.
_TAKE = """
local size, taken = tonumber(ARGV[1]), tonumber(ARGV[2])
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
local kept = redis.call('HMGET', KEYS[1], 'level', 'at')
local level = size
if kept[1] then level = math.min(size, kept[1] + math.max(0, now - kept[2]) * size / 60) end
if taken > level and ARGV[3] == '0' then return {0, tostring(level)} end
level = math.min(size, level - taken)
redis.call('HSET', KEYS[1], 'level', tostring(level), 'at', string.format('%.3f', now))
redis.call('EXPIRE', KEYS[1], math.ceil((size - level) * 60 / size) + 1)
return {1, tostring(level)}
"""


@dataclass(frozen=True)
class Standing:
    """What is in an account's bucket. is_taken: False where what was asked for is not there."""

    is_taken: bool
    level: float


class TokenLimit:
    """Every account's bucket. Safe to share between threads, and over Redis between processes."""

    def __init__(self, size: int, url: str = "") -> None:
        """size: tokens a minute. url: of the Redis server; empty: in memory."""
        self.size = size
        self._client = _client(url) if url else None
        self._take = self._client.register_script(_TAKE) if self._client else None
        self._asked_again_at = 0.0
        self._levels: dict[str, tuple[float, float]] = {}  # account -> (level, at), while there is no Redis
        self._lock = threading.Lock()

    def take(self, account: str, tokens: int, *, on_credit: bool = False) -> Standing:
        """Take so many tokens, or none if they are not there. tokens below 0 gives back. on_credit: take them even if
        the bucket then holds less than nothing."""
        if self._take is not None and monotonic() >= self._asked_again_at:
            try:
                asked: Any = self._take([f"tokens:{account}"], [self.size, tokens, int(on_credit)])
                is_taken, level = cast("list[Any]", asked)
                return Standing(bool(is_taken), float(level))
            except redis.RedisError:
                self._asked_again_at = monotonic() + BREAKER_OPEN_S
        with self._lock:
            return self._take_here(account, tokens, on_credit)

    def seconds_until(self, standing: Standing, level: float) -> int:
        """How long until the bucket holds so much, if nothing is taken; 0 when it does."""
        return max(0, math.ceil((level - standing.level) * WINDOW_S / self.size))

    def close(self) -> None:
        """Close the connections."""
        if self._client is not None:
            self._client.close()

    def _take_here(self, account: str, tokens: int, on_credit: bool) -> Standing:
        now = monotonic()
        level = self._level(self._levels.get(account), now)
        if tokens > level and not on_credit:
            return Standing(False, level)
        level = min(float(self.size), level - tokens)
        self._levels[account] = (level, now)
        if len(self._levels) > _MANY:
            self._levels = {name: kept for name, kept in self._levels.items() if self._level(kept, now) < self.size}
        return Standing(True, level)

    def _level(self, kept: tuple[float, float] | None, now: float) -> float:
        if kept is None:
            return float(self.size)
        return min(float(self.size), kept[0] + (now - kept[1]) * self.size / WINDOW_S)


@dataclass
class Spending:
    """One request's dealings with its account's bucket."""

    limit: TokenLimit
    standing: Standing


@contextmanager
def tokens_for(limit: TokenLimit, account: str, most: int, tally: Tally) -> Iterator[None]:
    """Take at most so many tokens for one request while this is open; at its end, what the tally does not show is given
    back, and what it shows beyond that is owed. Raises ApiError where they are not there."""
    g.spending = spending = Spending(limit, limit.take(account, most))
    if not spending.standing.is_taken:
        raise _refused(limit, spending.standing, most)
    try:
        yield
    finally:
        unused = most - tally.prompt_tokens - tally.completion_tokens
        spending.standing = limit.take(account, -unused, on_credit=True)


def register_token_limits(app: Flask) -> None:
    """Show what is left on every answer that took tokens or was refused them."""

    def show(response: Response) -> Response:
        if "spending" in g:
            limit, standing = g.spending.limit, g.spending.standing
            response.headers["x-ratelimit-limit-tokens"] = str(limit.size)
            response.headers["x-ratelimit-remaining-tokens"] = str(max(0, math.floor(standing.level)))
            response.headers["x-ratelimit-reset-tokens"] = f"{limit.seconds_until(standing, limit.size)}s"
        return response

    app.after_request(show)


def _refused(limit: TokenLimit, standing: Standing, most: int) -> ApiError:
    if most > limit.size:
        message = (
            f"This request may take {most} tokens with its prompt, and one account may take {limit.size} in a minute. "
            "Shorten the prompt, or ask for fewer tokens or answers."
        )
        return ApiError(429, message, code="rate_limit_exceeded", kind="tokens", headers=NO_RETRY)
    message = (
        f"Rate limit reached: {limit.size} tokens a minute for one account, prompts and answers together, and this "
        f"request may take {most}. Try again shortly, or ask for less."
    )
    headers = {"Retry-After": str(max(1, limit.seconds_until(standing, most)))}
    return ApiError(429, message, code="rate_limit_exceeded", kind="tokens", headers=headers)


def _client(url: str) -> redis.Redis:
    return redis.Redis.from_url(
        url,
        socket_timeout=SOCKET_TIMEOUT_S,
        socket_connect_timeout=SOCKET_TIMEOUT_S,
        retry=Retry(NoBackoff(), 0),
    )
