"""How often one may try a password. Counted in Redis where there is one, in this process while it does not answer.

A try is counted before the password is looked at, so that many at once are no more than one after the other, and given
back unless it failed. What stays counted are wrong tries: against an address and e-mail together, so that nobody locks
out a person elsewhere, and against the address alone, so that nobody tries one password on everyone. Behind a reverse
proxy every request comes from the proxy's address unless IDIOLECT_TRUSTED_PROXIES says how many there are.
"""

import hashlib
import time
from contextlib import suppress

from flask import Flask, Response, current_app, request
from flask_limiter import Limiter
from redis.backoff import NoBackoff
from redis.retry import Retry
from werkzeug.exceptions import TooManyRequests

from app.web.session import app_config, find_me

FAILED_SIGN_INS = "8 per 5 minutes"
FAILED_FROM_ADDRESS = "60 per 5 minutes"
SIGN_UPS = "30 per minute"
VISITS = "12 per hour"
CHANGES = "8 per 5 minutes"
LINKS_ASKED_FOR = "20 per hour"
SIGN_INS_ELSEWHERE = "60 per 5 minutes"
REDIS_TIMEOUT_S = 0.25
A_WHILE_S = 60


def address() -> str:
    """Where the request comes from."""
    return request.remote_addr or "unknown"


def address_and_email() -> str:
    """Where from, and for whom; hashed, so that no address of a person is kept in Redis."""
    email = request.form.get("email", "").strip().lower()
    return hashlib.sha256(f"{address()} {email}".encode()).hexdigest()


def person() -> str:
    """The signed-in person, or where the request comes from."""
    user = find_me()
    return user.id if user else address()


def install(app: Flask) -> None:
    """Limit the views that check a password or make an account. Call when the blueprints are registered."""
    url = app_config_url(app)
    redis_options = {
        "socket_timeout": REDIS_TIMEOUT_S,
        "socket_connect_timeout": REDIS_TIMEOUT_S,
        "retry": Retry(NoBackoff(), 0),
    }
    limiter = Limiter(
        address,
        app=app,
        storage_uri=url or "memory://",
        storage_options=redis_options if url else {},
        in_memory_fallback_enabled=True,
        key_prefix="web",
    )
    app.extensions["throttle"] = limiter
    forgiving: set[str] = set()
    for endpoint, rate, key, failures_only in (
        ("identity.leave", SIGN_INS_ELSEWHERE, address, False),
        ("identity.come_back", SIGN_INS_ELSEWHERE, address, False),
        ("accounts.sign_in", FAILED_SIGN_INS, address_and_email, True),
        ("accounts.sign_in", FAILED_FROM_ADDRESS, address, True),
        ("accounts.set_up", FAILED_SIGN_INS, address, True),
        ("accounts.sign_up", SIGN_UPS, address, False),
        ("guests.come_in", VISITS, address, False),
        ("guests.keep", SIGN_UPS, address, False),
        ("access.change_password", CHANGES, person, False),
        ("passwords.forgotten", LINKS_ASKED_FOR, address, False),
        ("passwords.choose", FAILED_SIGN_INS, address, True),
    ):
        methods = ["GET"] if endpoint.startswith("identity.") else ["POST"]
        limited = limiter.limit(rate, key_func=key, methods=methods)
        app.view_functions[endpoint] = limited(app.view_functions[endpoint])
        if failures_only:
            forgiving.add(endpoint)

    def settle(response: Response) -> Response:
        if request.endpoint in forgiving and not is_failure(response):
            give_back(limiter)
        return response

    app.after_request(settle)


def wait_s() -> int:
    """How long until what was refused in this request is taken again; what Retry-After says, in seconds."""
    limiter = current_app.extensions["throttle"]
    limit = limiter.current_limit
    if limit is None:  # refused by something else
        return A_WHILE_S
    with suppress(limiter.limiter.storage.base_exceptions):
        return max(1, int(limit.reset_at - time.time()))
    return int(limit.limit.get_expiry())


def app_config_url(app: Flask) -> str:
    """The limiter's own spelling of the configured Redis URL."""
    with app.app_context():
        url = app_config().rate_limit_url
    return f"redis+{url}" if url.startswith("unix:") else url


def is_failure(response: Response) -> bool:
    """Whether a wrong try was made: not where it was right, nor where it was refused unseen."""
    return response.status_code >= 400 and response.status_code != TooManyRequests.code


def give_back(limiter: Limiter) -> None:
    """Uncount the try of this request wherever it was counted."""
    counters = limiter.limiter.storage
    for counted in limiter.current_limits:
        with suppress(counters.base_exceptions):  # Redis went away meanwhile, and the counts with it
            if counters.get(counted.key) > 0:  # else its time is over already
                counters.incr(counted.key, counted.limit.get_expiry(), amount=-1)
