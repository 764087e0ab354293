"""How often one may try a password. Counted in Redis where there is one, in this process while it does not answer.

Only failed tries are counted: against an address and e-mail together, so that nobody locks out a person elsewhere, and
against the address alone, so that nobody tries one password on everyone. Behind a reverse proxy every request comes
from the proxy's address unless IDIOLECT_TRUSTED_PROXIES says how many there are.
"""

import hashlib

from flask import Flask, Response, request
from flask_limiter import Limiter
from redis.backoff import NoBackoff
from redis.retry import Retry

from app.web.session import app_config, find_me

FAILED_SIGN_INS = "8 per 5 minutes"
FAILED_FROM_ADDRESS = "60 per 5 minutes"
SIGN_UPS = "30 per minute"
VISITS = "12 per hour"
CHANGES = "8 per 5 minutes"
LINKS_ASKED_FOR = "20 per hour"
SIGN_INS_ELSEWHERE = "60 per 5 minutes"
REDIS_TIMEOUT_S = 0.25


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
        headers_enabled=True,  # Retry-After
    )
    for endpoint, rate, key, counted in (
        ("identity.leave", SIGN_INS_ELSEWHERE, address, None),
        ("identity.come_back", SIGN_INS_ELSEWHERE, address, None),
        ("accounts.sign_in", FAILED_SIGN_INS, address_and_email, is_failure),
        ("accounts.sign_in", FAILED_FROM_ADDRESS, address, is_failure),
        ("accounts.set_up", FAILED_SIGN_INS, address, is_failure),
        ("accounts.sign_up", SIGN_UPS, address, None),
        ("guests.come_in", VISITS, address, None),
        ("guests.keep", SIGN_UPS, address, None),
        ("access.change_password", CHANGES, person, None),
        ("passwords.forgotten", LINKS_ASKED_FOR, address, None),
        ("passwords.choose", FAILED_SIGN_INS, address, is_failure),
    ):
        methods = ["GET"] if endpoint.startswith("identity.") else ["POST"]
        limited = limiter.limit(rate, key_func=key, methods=methods, deduct_when=counted)
        app.view_functions[endpoint] = limited(app.view_functions[endpoint])


def app_config_url(app: Flask) -> str:
    """The limiter's own spelling of the configured Redis URL."""
    with app.app_context():
        url = app_config().rate_limit_url
    return f"redis+{url}" if url.startswith("unix:") else url


def is_failure(response: Response) -> bool:
    """Whether this try was a wrong one."""
    return response.status_code >= 400
