"""How often one key may call: a fixed window of a minute, counted in Redis, in memory while Redis is away.

Every answer to a known caller carries what is left: x-ratelimit-limit-requests, x-ratelimit-remaining-requests and
x-ratelimit-reset-requests (a duration such as "7s"); a refusal also carries Retry-After. A dead or frozen Redis costs
a request less than half a second, once; it is asked again after 1, 2, 4 … 32 seconds. Others that were waiting for it
at that moment are answered uncounted.
"""

import math
import time
from contextlib import suppress

from flask import Flask, Response, g
from flask_limiter import Limiter
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from app.config import AppConfig

SOCKET_TIMEOUT_S = 0.2


def register_limits(app: Flask, config: AppConfig) -> None:
    """Count and refuse before the view runs; must stand behind the gate, which says whose request it is."""
    limiter = Limiter(
        key_func=_credential,
        app=app,
        application_limits=[f"{config.rate_limit_per_minute} per minute"],
        application_limits_exempt_when=lambda: "caller" not in g,
        in_memory_fallback_enabled=True,
        swallow_errors=True,  # of requests that wait for a Redis that goes away, only the first one falls back
        storage_uri=_storage_uri(config.rate_limit_url),
        storage_options=_storage_options(config.rate_limit_url),
        strategy="fixed-window",
    )

    def show(response: Response) -> Response:
        state = limiter.current_limit
        with suppress(RedisError):  # went away since this request was counted: this one answer shows no figures
            if state is None:
                return response
            reset_s = max(1, math.floor(state.reset_at - time.time()))  # it says a second later than it is
            response.headers["x-ratelimit-limit-requests"] = str(state.limit.amount)
            response.headers["x-ratelimit-remaining-requests"] = str(state.remaining)
            response.headers["x-ratelimit-reset-requests"] = f"{reset_s}s"
            if state.breached:
                response.headers["Retry-After"] = str(reset_s)
        return response

    app.after_request(show)


def _credential() -> str:
    return str(g.caller.credential)


def _storage_uri(url: str) -> str:
    if not url:
        return "memory://"
    return f"redis+{url}" if url.startswith("unix://") else url


def _storage_options(url: str) -> dict[str, object]:
    if not url:
        return {}
    return {
        "socket_timeout": SOCKET_TIMEOUT_S,
        "socket_connect_timeout": SOCKET_TIMEOUT_S,
        "retry": Retry(NoBackoff(), 0),
    }
