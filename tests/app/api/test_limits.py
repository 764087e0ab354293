"""How often one key may call, and what a lost Redis does to that."""

import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from app.config import AppConfig
from tests.app.api.people import Api, Person
from tests.app.api.test_errors import error_of
from tests.servers import ValkeyServer
from tests.waiting import Failed, failed_calls

ApiWith = Callable[[AppConfig], Api]
LEFT = "x-ratelimit-remaining-requests"
FAULTS = {signal.SIGKILL: ConnectionRefusedError, signal.SIGSTOP: TimeoutError}  # and how a call on the socket fails


def test_keys_are_counted_apart_and_together_over_processes(
    api: Api, api_with: ApiWith, ann: Person, ben: Person
) -> None:
    config = AppConfig(rate_limit_url=api.storage.config.cache_url, rate_limit_per_minute=3)
    one, two = api_with(config), api_with(config)
    left = [app.call(ann, "GET", path).headers[LEFT] for app, path in ((one, "/v1/models"), (two, "/v1/voices"))]
    assert left == ["2", "1"]
    assert one.call(ben, "GET", "/v1/models").headers[LEFT] == "2"
    assert two.call(ann, "GET", "/v1/voices/none").headers[LEFT] == "0"  # a 404 counts, too, and says so
    refused = one.call(ann, "GET", "/v1/models")
    assert error_of(refused, 429)["code"] == "rate_limit_exceeded"
    assert refused.headers[LEFT] == "0"
    assert one.call(ben, "GET", "/v1/models").status_code == 200


def test_public_pages_and_strangers_are_not_counted(api_with: ApiWith) -> None:
    app = api_with(AppConfig(rate_limit_per_minute=1))
    for _ in range(3):
        assert app.client().get("/healthz").status_code == 200
        assert app.client().get("/v1/models").status_code == 401


@pytest.mark.parametrize("fault", FAULTS)
def test_a_dead_or_frozen_redis_costs_one_short_wait_and_limits_stay(
    api_with: ApiWith, own_valkey: ValkeyServer, ann: Person, fault: signal.Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now)  # within the second before it is asked again
    app = api_with(AppConfig(rate_limit_url=f"unix://{own_valkey.socket}", rate_limit_per_minute=5))
    assert app.call(ann, "GET", "/v1/models").headers[LEFT] == "4"
    own_valkey.process.send_signal(fault)
    if fault == signal.SIGKILL:
        own_valkey.process.wait()
    with failed_calls() as failed:
        answers = [app.call(ann, "GET", "/v1/models") for _ in range(6)]
    assert failed == [Failed(FAULTS[fault], 0.2)]
    assert [answer.status_code for answer in answers] == [200] * 5 + [429]
    assert [answer.headers[LEFT] for answer in answers[:5]] == ["4", "3", "2", "1", "0"]


def test_requests_that_wait_for_a_redis_that_goes_away_are_answered(
    api_with: ApiWith, own_valkey: ValkeyServer, ann: Person
) -> None:
    app = api_with(AppConfig(rate_limit_url=f"unix://{own_valkey.socket}"))
    assert app.call(ann, "GET", "/v1/models").status_code == 200
    own_valkey.process.send_signal(signal.SIGSTOP)
    with ThreadPoolExecutor(4) as threads:
        answers = list(threads.map(lambda _: app.call(ann, "GET", "/v1/models"), range(4)))
    assert [answer.status_code for answer in answers] == [200] * 4
