"""The benchmarks that ask the API over HTTP: their reckoning on made-up times, their people and processes as they are,
and both commands, whole, on a tiny model."""

import asyncio
import json
import random
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import func, select

from benchmarks import latency, users
from benchmarks.api_process import ApiProcess
from benchmarks.long_prompts import split
from benchmarks.open_loop import COLD_DATABASE, COLD_REDIS, WARM, Load, run
from benchmarks.registered_users import Person, Stored, register, shared_prefix
from benchmarks.statistics import percentile, percentile_difference
from benchmarks.timed_stream import Answered, Unanswered, ask
from storage import prefixes
from storage.models import ApiKey, PrefixVersion, TuningRun, User, Voice
from storage.prefixes import load_prefix
from tests.tiny_model import NUM_VIRTUAL_TOKENS, save_tiny
from tuning.base_model import load_base_model
from tuning.config import TuningConfig

REGISTERED, SPEAKING = 23, 5


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The environment's base model is a tiny one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("IDIOLECT_BASE_MODEL", str(save_tiny("llama", tmp_path_factory.mktemp("model") / "tiny")))
        patch.setenv("IDIOLECT_NUM_VIRTUAL_TOKENS", str(NUM_VIRTUAL_TOKENS))
        patch.setenv("OMP_NUM_THREADS", "1")
        yield


@pytest.fixture(scope="module")
def stored(tiny: None) -> Stored:
    config = TuningConfig.from_env()
    return shared_prefix(load_base_model(config), config)


@pytest.fixture(scope="module")
def api(tiny: None) -> Iterator[ApiProcess]:
    with ApiProcess() as api:
        yield api


@pytest.fixture(scope="module")
def people(api: ApiProcess, stored: Stored) -> list[Person]:
    return register(api.storage, stored, REGISTERED, SPEAKING)


def answer(asked_at: float, *token_at: float) -> Answered:
    return Answered(asked_at, token_at)


def test_a_cold_start_is_told_from_the_warm_median_on_in_steps_of_its_load() -> None:
    warm = [answer(0, 3, 5, 7), answer(10, 14, 16, 18), answer(20, 25, 27)]
    load = Load(1.0, {WARM: warm, COLD_REDIS: [answer(0, 5, 7)], COLD_DATABASE: [answer(0, 8)]})
    assert load.step_s == 2
    assert load.steps(WARM) == [-0.5, 0, 0.5]
    assert load.steps(COLD_REDIS) == [0.5]
    assert load.steps(COLD_DATABASE) == [2]


def test_what_cold_adds_is_the_difference_of_the_same_percentiles_over_all_loads() -> None:
    def load(step: float, cold: float) -> Load:
        warm = [answer(0, first, first + step) for first in (4 * step, 5 * step, 6 * step)]
        return Load(1.0, {WARM: warm, COLD_REDIS: [answer(0, cold, cold + step)], COLD_DATABASE: warm})

    gaps = split([answer(0, 1, 2, 3, 8, 9)], [answer(3.5, 7.5)], 0, 10)
    told = latency.headline([load(1, 7), load(10, 80)], gaps)
    assert told["cold_redis_steps_p50"] == 2.5  # two steps at the one load, three at the other
    assert told["cold_database_steps_p99"] == 0
    assert told["warm_steps_p50"] == 0
    assert told["warm_steps_p99"] == pytest.approx(percentile([-1, 0, 1] * 2, 99))
    assert told["gap_ratio_long_prompt_p99"] == 5


def test_a_difference_of_percentiles_has_an_interval_around_it() -> None:
    drawn = random.Random(0)
    theirs, ours = ([drawn.gauss(mean, 1) for _ in range(400)] for mean in (0, 3))
    difference, low, high = percentile_difference(ours, theirs, 50)
    assert low < difference < high
    assert 2.5 < low < 3 < high < 3.5
    assert percentile_difference([2, 2], [1, 1], 99) == (1, 1, 1)


def test_gaps_are_sorted_by_whether_a_long_prompt_was_being_read() -> None:
    steady = [answer(0, 1, 2, 3, 7, 8), answer(0, 2.5, 6.5, 20, 21), answer(0, 1, 5.5, 6.75)]
    gaps = split(steady, [answer(2.2, 4), answer(7.5, 9)], 1.5, 20.5)
    assert sorted(gaps.reading) == [1, 1, 4, 4, 4.5, 13.5]
    assert gaps.usual == [1.25]  # what begins before or ends after the time that was looked at is left out
    assert gaps.first_token_s == [pytest.approx(1.8), 1.5]


def test_everybody_is_registered_in_rows_and_some_can_speak(
    api: ApiProcess, people: list[Person], stored: Stored
) -> None:
    with api.storage.database.reading() as session:
        for table in (User, Voice, ApiKey, TuningRun, PrefixVersion):
            assert session.scalar(select(func.count()).select_from(table)) == REGISTERED
        assert session.scalar(select(func.count()).where(Voice.active_version == 1)) == REGISTERED
    assert len(api.storage.keys.owners()) == REGISTERED
    assert len({person.user_id for person in people}) == SPEAKING
    for person in people:
        assert load_prefix(api.storage, person.user_id, person.voice_id).data == stored.data
        prefixes.wipe_cached(api.storage, person.user_id)


def test_arrivals_are_answered_and_the_log_proves_where_their_prefixes_lay(
    api: ApiProcess, people: list[Person]
) -> None:
    first, second, *_ = people
    prefixes.wipe_cached(api.storage, first.user_id)
    prefixes.warm_cache(api.storage, second.user_id)

    def arrive(*arrivals: tuple[str, Person]) -> Load:
        return asyncio.run(run(api, arrivals, 20.0, 4, random.Random(0)))

    load = arrive((COLD_DATABASE, first), (COLD_REDIS, second))
    assert [len(load.answers[kind]) for kind in (WARM, COLD_REDIS, COLD_DATABASE)] == [0, 1, 1]
    (answered,) = load.answers[COLD_REDIS]
    assert answered.asked_at < answered.token_at[0] <= answered.token_at[-1]
    assert len(arrive((WARM, first)).answers[WARM]) == 1
    with pytest.raises(ValueError, match="1 prefixes were not found"):
        arrive((COLD_REDIS, first), (WARM, second))


def test_a_refusal_is_not_timed(api: ApiProcess, people: list[Person]) -> None:
    stranger = Person(people[0].user_id, people[1].voice_id, people[0].key)
    with pytest.raises(Unanswered, match="404"):
        asyncio.run(ask((api.host, api.port), stranger, "x", 1))


def test_the_process_is_seen_from_outside(api: ApiProcess) -> None:
    assert 20 < api.memory_mb() < 5000
    assert api.cpu_seconds() > 0


@pytest.mark.usefixtures("tiny")
def test_latency_ends_with_one_json_object(capsys: pytest.CaptureFixture[str]) -> None:
    small = "--cold 2 --warm 3 --tokens 4 --batch 3 --streams 2 --long-prompts 2 --loads 0.2,0.3"
    latency.main(small.split())
    told = last_line(capsys)
    for kind in ("cold_redis", "cold_database"):
        assert {f"{kind}_steps_p50", f"{kind}_steps_p95", f"{kind}_steps_p99"} <= told.keys()
    assert told["gap_ratio_long_prompt_p99"] > 0
    assert told["loads"].keys() == {"0.2", "0.3"}
    for load in told["loads"].values():
        assert load["answers"] == {"warm": 4, "cold_redis": 2, "cold_database": 2}
        assert load["first_token_ms"]["cold_redis"].keys() == {"p50", "p95", "p99"}
    assert told["configuration"]["tokens"] == 4


@pytest.mark.usefixtures("tiny")
def test_users_ends_with_one_json_object(capsys: pytest.CaptureFixture[str]) -> None:
    small = "--few 2 --many 30 --working-set 6 --rounds 2 --requests 6 --first 12 --at-once 2 --tokens 3"
    users.main([*small.split(), "--prefix-memory-mb", "0"])
    told = last_line(capsys)
    assert told["cost_ratio_100k_to_10"] > 0
    assert told["few"]["tokens"] == told["many"]["tokens"]
    assert (told["few"]["working_set"], told["many"]["working_set"]) == (2, 6)
    assert "memory" not in told["many"]["prefix_from_share"]  # it was given no room
    assert len(told["many"]["memory_mb"]) == 3
    assert told["configuration"]["prefix_memory_mb"] == 0


def test_the_popular_are_asked_for_by_zipfs_law() -> None:
    assert users.popularity(4, 1.0) == [1, 1 / 2, 1 / 3, 1 / 4]
    assert users.popularity(3, 0.0) == [1, 1, 1]


def last_line(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(capsys.readouterr().out.splitlines()[-1])
    return told
