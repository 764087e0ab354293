import os
import subprocess
import sys

import pytest
import torch

from tests.tiny_model import make_tiny
from tuning.base_model import BaseModel
from tuning.config import TuningConfig
from tuning.errors import ConfigurationError
from tuning.memory import MOST_TOKENS_AT_ONCE, MemoryPlan, bytes_per_person, bytes_per_token, free_bytes, plan_memory
from tuning.training import TrainingSettings
from tuning.training_step import StepPlan

SETTINGS = TrainingSettings(num_virtual_tokens=4, hidden=16)


@pytest.fixture(scope="module")
def base() -> BaseModel:
    return make_tiny("llama", torch.float32)


def planned(base: BaseModel, budget_bytes: float, runs_together: int = 0) -> MemoryPlan:
    config = TuningConfig(training_memory_mb=max(1, round(budget_bytes / 2**20)), runs_together=runs_together)
    return plan_memory(base, SETTINGS, config)


def pass_bytes(base: BaseModel, tokens: int, *, recompute: bool) -> float:
    return tokens * torch.get_num_threads() * bytes_per_token(base, SETTINGS, recompute=recompute)


def test_recomputation_needs_less(base: BaseModel) -> None:
    assert bytes_per_token(base, SETTINGS, recompute=True) < 0.9 * bytes_per_token(base, SETTINGS, recompute=False)


def test_with_room_enough_the_fastest_plan_is_taken(base: BaseModel) -> None:
    plan = planned(base, 4 * 2**30)
    assert plan.step.tokens_at_once == MOST_TOKENS_AT_ONCE["cpu"]
    assert not plan.step.recompute
    assert plan.runs_together == 1


def test_people_train_together_as_far_as_they_fit(base: BaseModel) -> None:
    assert planned(base, 4 * 2**30, runs_together=5).runs_together == 5
    beside = pass_bytes(base, MOST_TOKENS_AT_ONCE["cpu"], recompute=False)
    tight = planned(base, beside + 2**20, runs_together=10_000).runs_together
    assert tight == pytest.approx(2**20 / bytes_per_person(base, SETTINGS), rel=0.5)


def test_a_tight_budget_recomputes_and_a_tighter_one_is_refused_with_both_amounts(base: BaseModel) -> None:
    longest = base.context_length - SETTINGS.num_virtual_tokens
    with_room, without = (pass_bytes(base, longest, recompute=recompute) for recompute in (False, True))
    tight = planned(base, (with_room + without) / 2)
    assert tight.step.recompute
    assert tight.step.tokens_at_once >= longest
    with pytest.raises(ConfigurationError, match=r"needs about \d+ MB .* may use 1\. .*IDIOLECT_TRAINING_MEMORY_MB"):
        planned(base, 1)


def test_on_many_cores_no_room_is_asked_for_passes_that_a_step_has_not(
    base: BaseModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = MOST_TOKENS_AT_ONCE["cpu"] * bytes_per_token(base, SETTINGS, recompute=False)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 32)
    assert planned(base, 6.5 * one + 2**20).step == StepPlan(MOST_TOKENS_AT_ONCE["cpu"], recompute=False, lanes=4)
    longest = base.context_length - SETTINGS.num_virtual_tokens
    short = longest * bytes_per_token(base, SETTINGS, recompute=False)
    tight = planned(base, 3.5 * short + 2**20).step
    assert (tight.recompute, tight.lanes) == (False, 2), "fewer passes at once rather than each computed twice"


def test_weights_are_kept_cast_unless_recomputation_alone_fits(
    base: BaseModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tuning.precision.multiplies_bfloat16", lambda: True)
    monkeypatch.setattr("tuning.memory.cast_bytes", lambda _: 8 * 2**20)
    longest = base.context_length - SETTINGS.num_virtual_tokens
    fewest = {
        way: longest * bytes_per_token(base, SETTINGS, recompute=way[0], cast_once=way[1]) + 2**20
        for way in ((False, True), (True, True), (True, False))
    }
    for way, needed in fewest.items():
        step = planned(base, needed + way[1] * 8 * 2**20).step
        assert (step.recompute, step.cast_once) == way
    many = {}
    for casts in (0, 8 * 2**20):
        monkeypatch.setattr("tuning.memory.cast_bytes", lambda _, casts=casts: casts)
        many[casts] = planned(base, 64 * 2**20, runs_together=100_000).runs_together
    assert many[0] - many[8 * 2**20] == pytest.approx(8 * 2**20 / bytes_per_person(base, SETTINGS), abs=1)


@pytest.mark.parametrize(("budget_mb", "threads"), [(200, 1), (300, 1), (600, 1), (200, 2), (300, 2)])
def test_a_training_with_its_looks_and_its_judging_stays_within_the_budget(budget_mb: int, threads: int) -> None:
    command = [sys.executable, "-m", "tests.tuning.peak_memory", str(budget_mb), str(threads)]
    environment = os.environ | {"OMP_WAIT_POLICY": "PASSIVE"}  # a worker's: spinning beside other tests takes minutes
    ran = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert 50 < int(ran.stdout) < budget_mb


def test_what_is_free_is_no_more_than_the_machine_has() -> None:
    assert 2**26 < free_bytes(torch.device("cpu")) < 2**50
