"""How many tokens one account may take, and what a lost Redis does to that."""

import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import openai
import pytest

from app.api import spoken, token_limits
from app.api.completion_schemas import CompletionRequest
from app.api.services import EXTENSION
from app.api.token_limits import TokenLimit
from app.config import AppConfig
from app.generation.engine import Engine
from tests.app.api.people import Api, Person, with_key
from tests.app.api.server_thread import served
from tests.app.api.test_completions import begin, eventually
from tests.app.api.test_errors import error_of
from tests.app.api.test_limits import FAULTS
from tests.servers import ValkeyServer
from tests.waiting import Failed, failed_calls
from tuning.base_model import BaseModel

ApiWith = Callable[[AppConfig], Api]
LIMIT, LEFT, RESET = (f"x-ratelimit-{name}-tokens" for name in ("limit", "remaining", "reset"))


@pytest.fixture
def still(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """No time passes for buckets in memory but what is asked for, in seconds."""
    now = [time.monotonic()]
    monkeypatch.setattr(token_limits, "monotonic", lambda: now[0])

    def pass_(seconds: float) -> None:
        now[0] += seconds

    return pass_


@pytest.fixture(params=["memory", "redis"])
def limit(request: pytest.FixtureRequest, own_valkey: ValkeyServer) -> Iterator[TokenLimit]:
    """A bucket of 1,000 tokens, in each place."""
    made = TokenLimit(1000, f"unix://{own_valkey.socket}" if request.param == "redis" else "")
    yield made
    made.close()


def test_what_is_not_there_is_not_taken_and_what_is_given_back_is(limit: TokenLimit) -> None:
    assert limit.take("ann", 900).is_taken
    refused = limit.take("ann", 300)
    assert not refused.is_taken
    assert 100 <= refused.level < 300
    assert limit.seconds_until(refused, 300) in range(1, 13)
    assert limit.take("ben", 1000).is_taken, "an account of its own"
    assert limit.take("ann", -800).level >= 900
    assert limit.take("ann", -800).level == 1000, "never more than it holds"


def test_what_is_owed_is_paid_by_what_comes(limit: TokenLimit) -> None:
    owing = limit.take("ann", 1500, on_credit=True)
    assert owing.is_taken
    assert -500 <= owing.level < -300
    refused = limit.take("ann", 1)
    assert not refused.is_taken
    assert limit.seconds_until(refused, 0) in range(15, 31)


def test_many_at_once_never_take_more_than_there_is(limit: TokenLimit) -> None:
    begun = time.monotonic()
    with ThreadPoolExecutor(8) as pool:
        taken = [standing.is_taken for standing in pool.map(lambda _: limit.take("ann", 100), range(40))]
    came_meanwhile = (time.monotonic() - begun) * 1000 / 60
    assert 10 <= sum(taken) <= 10 + came_meanwhile / 100


def test_a_bucket_fills_evenly_over_a_minute(still: Callable[[float], None]) -> None:
    limit = TokenLimit(1000)
    limit.take("ann", 1000)
    assert not limit.take("ann", 100).is_taken
    still(6)
    assert limit.take("ann", 100).level == pytest.approx(0, abs=1e-6)
    still(3600)
    assert limit.take("ann", 0).level == 1000


def test_accounts_that_have_everything_again_are_forgotten(
    still: Callable[[float], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(token_limits, "_MANY", 3)
    limit = TokenLimit(1000)
    for number in range(4):
        limit.take(f"person {number}", 10)
        still(60)
    assert len(limit._levels) == 1


def test_a_request_takes_the_most_it_may_use_and_gives_back_the_rest(
    api_with: ApiWith, ann: Person, still: Callable[[float], None]
) -> None:
    app = api_with(AppConfig(token_limit_per_minute=100))
    prompt = len(app.base.encode("My day"))
    answer = app.complete(ann, app.base.name, max_tokens=20, n=2)
    used = answer.json["usage"]["total_tokens"]
    assert used == prompt + 2 * 20
    assert (answer.headers[LIMIT], answer.headers[LEFT]) == ("100", str(100 - used))
    assert answer.headers[RESET] == f"{-(-used * 60 // 100)}s"
    stopped = app.complete(ann, app.base.name, max_tokens=40, stop=answer.json["choices"][0]["text"][:1])
    written = stopped.json["usage"]["completion_tokens"]
    assert written < 40
    assert stopped.headers[LEFT] == str(100 - used - prompt - written)


def test_what_is_beyond_the_limit_is_refused_before_the_model_is_touched(
    api_with: ApiWith, ann: Person, ben: Person, still: Callable[[float], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    app = api_with(AppConfig(token_limit_per_minute=60))
    other = with_key(app.storage, ann, "generate")
    prompt = len(app.base.encode("My day"))
    left = 60 - app.complete(ann, app.base.name, max_tokens=40).json["usage"]["total_tokens"]
    more = left - prompt + 10
    with monkeypatch.context() as patch:
        patch.setattr(Engine, "submit", None)
        for person in (ann, other):  # whichever key
            refused = app.complete(person, app.base.name, max_tokens=more)
            error = error_of(refused, 429)
            assert (error["type"], error["code"]) == ("tokens", "rate_limit_exceeded")
            assert refused.headers[LEFT] == str(left)
            assert int(refused.headers["Retry-After"]) == 10, "one token comes every second"
        too_much = app.complete(ben, app.base.name, max_tokens=100)
        assert error_of(too_much, 429)["type"] == "tokens"
        assert too_much.headers["x-should-retry"] == "false"
        assert too_much.headers[LEFT] == "60"
    assert app.complete(ben, app.base.name, max_tokens=20).status_code == 200
    still(int(refused.headers["Retry-After"]))
    assert app.complete(other, app.base.name, max_tokens=more).status_code == 200


def test_a_refused_request_keeps_nothing(api_with: ApiWith, ann: Person, still: Callable[[float], None]) -> None:
    app = api_with(AppConfig(token_limit_per_minute=1000))
    refused = app.complete(ann, "voice-unknown", max_tokens=50)
    assert (refused.status_code, refused.headers[LEFT]) == (404, "1000")
    too_long = app.complete(ann, app.base.name, "x" * 300)
    assert (too_long.status_code, too_long.json["error"]["code"]) == (400, "context_length_exceeded")
    assert app.complete(ann, app.base.name, max_tokens=1).headers[LEFT] == str(
        1000 - len(app.base.encode("My day")) - 1
    )


def test_a_stream_holds_the_most_it_may_use_until_it_ends(api_with: ApiWith, api: Api, ann: Person) -> None:
    app = api_with(AppConfig(token_limit_per_minute=10_000)).app
    bucket: TokenLimit = app.extensions[EXTENSION].token_limit
    with served(app) as url:
        connection = begin(Api(url, app, api.storage, api.base, api.engine), ann, stream=True, max_tokens=200)
        head = connection.recv(4000).decode().lower()
        left = 10_000 - len(api.base.encode("x")) - 200
        assert f"{LEFT}: {left}" in head
        connection.close()
        assert eventually(lambda: bucket.take(ann.user_id, 0).level > left)


def test_the_official_client_meets_the_refusal(api: Api, api_with: ApiWith, ann: Person) -> None:
    strict = api_with(AppConfig(rate_limit_url=api.storage.config.cache_url, token_limit_per_minute=30))
    with served(strict.app) as url, openai.OpenAI(base_url=f"{url}/v1", api_key=ann.key, max_retries=0) as client:
        raw = client.completions.with_raw_response.create(model=api.base.name, prompt="My day", max_tokens=20)
        assert raw.headers[LIMIT] == "30"
        with pytest.raises(openai.RateLimitError) as refused:
            client.completions.create(model=api.base.name, prompt="My day", max_tokens=20)
    assert refused.value.type == "tokens"
    assert 1 <= int(refused.value.response.headers["Retry-After"]) <= 60


@pytest.mark.parametrize("fault", FAULTS)
def test_a_dead_or_frozen_redis_costs_one_short_wait_and_the_limit_stays(
    own_valkey: ValkeyServer, fault: signal.Signals, still: Callable[[float], None]
) -> None:
    limit = TokenLimit(100, f"unix://{own_valkey.socket}")
    assert limit.take("ann", 60).is_taken
    own_valkey.process.send_signal(fault)
    if fault == signal.SIGKILL:
        own_valkey.process.wait()
    with failed_calls() as failed:
        taken = [limit.take("ann", 30).is_taken for _ in range(5)]
        assert failed == [Failed(FAULTS[fault], 0.2)]
        still(token_limits.BREAKER_OPEN_S)
        limit.take("ann", 0)
        assert len(failed) == 2
    assert taken == [True] * 3 + [False] * 2
    limit.close()


def test_what_nobody_said_a_ceiling_of_takes_at_most_a_minutes_tokens(
    api_with: ApiWith, base: BaseModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = api_with(AppConfig(token_limit_per_minute=100)).app
    wish = CompletionRequest(model=base.name, n=2)
    with app.app_context():
        assert base.context_length > 100
        assert spoken._most_tokens(base, 10, wish, 20) == 10 + 2 * 20
        assert spoken._most_tokens(base, 10, wish, 1000) == 10 + 2 * (base.context_length - 10)
        assert spoken._most_tokens(base, 10, wish, None) == 100
        assert spoken._most_tokens(base, 120, wish, None) == 120
