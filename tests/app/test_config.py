"""What the web and API roles refuse to start with."""

from typing import Any

import pytest

from app.api import server
from app.config import API_EVENT_STREAMS, API_THREADS, WEB_EVENT_STREAMS, WEB_RELAYS, WEB_THREADS, AppConfig
from app.errors import ConfigurationError
from app.web import server as web_server


@pytest.mark.parametrize(
    ("env", "named"),
    [
        ({"IDIOLECT_MAX_WAITING": "-1"}, "IDIOLECT_MAX_WAITING must be 0 or more"),
        ({"IDIOLECT_KV_CACHE_MB": "-1"}, "IDIOLECT_KV_CACHE_MB must be 0 or more"),
        ({"IDIOLECT_MAX_WAITING": "72"}, "less than 136 together .* 24 for event streams"),
        ({"IDIOLECT_MAX_NUM_SEQS": "72"}, "less than 136 together"),
        ({"IDIOLECT_MAX_NUM_SEQS": "0"}, "IDIOLECT_MAX_NUM_SEQS must be at least 1"),
        ({"IDIOLECT_PREFIX_MEMORY_MB": "-1"}, "IDIOLECT_PREFIX_MEMORY_MB must be 0 or more"),
    ],
)
def test_what_cannot_be_run_is_refused(env: dict[str, str], named: str) -> None:
    with pytest.raises(ConfigurationError, match=named):
        AppConfig.from_env(env)


@pytest.mark.parametrize("name", ["IDIOLECT_RATE_LIMIT_PER_MINUTE", "IDIOLECT_TOKEN_LIMIT_PER_MINUTE"])
def test_a_limit_that_nobody_could_keep_is_refused(name: str) -> None:
    for wrong in ("0", "-5"):
        with pytest.raises(ConfigurationError, match=f"{name} must be at least 1"):
            AppConfig.from_env({name: wrong})
    assert AppConfig.from_env({name: "7"}) != AppConfig()


def test_the_server_has_the_threads_that_are_counted_on() -> None:
    assert server.threads == API_THREADS
    assert AppConfig.from_env({"IDIOLECT_MAX_WAITING": "0"}).max_waiting == 0
    assert AppConfig.from_env({"IDIOLECT_MAX_WAITING": "71"}).max_waiting == 71


def test_in_every_process_threads_are_left_over_for_what_ends_quickly() -> None:
    defaults = AppConfig()
    assert API_THREADS - defaults.max_num_seqs - defaults.max_waiting - API_EVENT_STREAMS >= 8
    assert web_server.threads == WEB_THREADS
    assert WEB_THREADS - WEB_RELAYS - WEB_EVENT_STREAMS >= 16


def test_the_web_role_relays_more_than_the_api_admits() -> None:
    defaults = AppConfig()
    relays = web_server.workers * WEB_RELAYS
    assert WEB_RELAYS >= 100  # open streams a process
    assert relays > defaults.max_num_seqs + defaults.max_waiting + API_EVENT_STREAMS


@pytest.mark.parametrize(
    ("settings", "cautioned"),
    [
        ({"public_url": "https://idiolect.example"}, True),
        ({"public_url": "https://idiolect.example", "trusted_proxies": 1}, False),
        ({"public_url": "http://127.0.0.1:8000"}, False),
    ],
)
def test_https_without_a_trusted_proxy_is_cautioned_against(settings: dict[str, Any], cautioned: bool) -> None:
    caution = AppConfig(**settings).caution
    assert (caution is not None) is cautioned
    assert caution is None or "IDIOLECT_TRUSTED_PROXIES" in caution
