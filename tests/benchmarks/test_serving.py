"""Serving beside its peers, for real on tiny models; it needs PEFT, which `make benchmarks` installs."""

import json
from itertools import pairwise, permutations
from pathlib import Path

import pytest
import torch

from tests.tiny_model import make_tiny, save_tiny

pytest.importorskip("peft", reason="PEFT is not installed: make benchmarks")
from app.generation.engine import Engine
from benchmarks import serving
from benchmarks.serving_load import Load, make_load
from benchmarks.serving_ways import Answers, Continuous, LoraMixed, Ours, PeftPrefix, Static, Way, plain_copy
from tuning.base_model import BaseModel

SMALL = [
    "--users",
    "3",
    "--requests",
    "2",
    "--longest-prompt",
    "40",
    "--max-tokens",
    "5",
    "--rounds",
    "2",
    "--least-seconds",
    "0",
]


@pytest.fixture(scope="module")
def base() -> BaseModel:
    return make_tiny("llama", torch.float64)


@pytest.fixture(scope="module")
def load(base: BaseModel) -> Load:
    return make_load(base, users=3, requests=2, prompt_tokens=(3, 30), max_tokens=6, num_virtual_tokens=4, seed=0)


def test_whoever_has_prefixes_gives_the_same_answers(base: BaseModel, load: Load) -> None:
    engine = Engine(base, max_num_seqs=4, max_waiting=20)
    engine.start()
    ours = Ours(engine, 1.0).serve(load)
    peers: list[Way] = [Static(plain_copy(base), [4]), PeftPrefix(base, load, 2), PeftPrefix(base, load, 1)]
    assert [peer.serve(load) for peer in peers] == [ours] * 3
    plain = Ours(engine, None).serve(load)
    assert plain != ours
    assert Ours(engine, 0.0).serve(load) == plain
    assert Ours(engine, 0.5).serve(load) not in (plain, ours)
    engine.close()


def test_loras_that_change_nothing_and_continuous_batching_answer_as_the_base_model(
    base: BaseModel, load: Load
) -> None:
    engine = Engine(base, max_num_seqs=4, max_waiting=20)
    engine.start()
    plain: Answers = Ours(engine, None).serve(load)
    engine.close()
    for rows in (2, 6):
        assert LoraMixed(base, 3, [rows]).serve(load) == plain
    assert Continuous(base, load).serve(load) == plain


def test_a_setting_is_chosen_by_time_and_stays(base: BaseModel, load: Load) -> None:
    lora = LoraMixed(base, 3, [2, 6])
    assert len(lora.candidates) == 4
    lora.choose(load)
    assert lora.setting in lora.candidates


class Recorded(Way):
    """Writes down whose turn it was, and with how much."""

    def __init__(self, name: str, turns: list[tuple[str, int, int]]) -> None:
        self.name, self.turns = name, turns

    def serve(self, load: Load) -> Answers:
        self.turns.append((self.name, len(load.requests), load.max_tokens))
        return [[0] * load.max_tokens for _ in load.requests]


def test_no_way_is_timed_right_behind_another(load: Load) -> None:
    turns: list[tuple[str, int, int]] = []
    measured = serving.measure({name: Recorded(name, turns) for name in "abcd"}, load, 4, 0)
    names = [name for number in range(4) for name in serving.balanced("abcd", number) for _ in range(2)]
    assert turns == list(zip(names, [2, 6] * 16, [1, 6] * 16, strict=True))
    assert [len(seconds) for seconds in measured.seconds.values()] == [4] * 4


@pytest.mark.parametrize(("names", "times"), [("ab", 1), ("abcd", 1), ("abcdefgh", 1), ("abc", 2), ("abcdefg", 2)])
def test_each_way_comes_right_behind_each_other_one_equally_often(names: str, times: int) -> None:
    rounds = [serving.balanced(names, number) for number in range(times * len(names))]
    assert all(sorted(order) == list(names) for order in rounds)
    assert sorted(pair for order in rounds for pair in pairwise(order)) == sorted([*permutations(names, 2)] * times)


class Slow(Way):
    """Takes three seconds of a clock of its own."""

    def __init__(self) -> None:
        self.now = 0.0

    def serve(self, load: Load) -> Answers:
        self.now += 3
        return [[0] * (load.max_tokens if self.now < 20 else 1) for _ in load.requests]


def test_a_fast_way_is_timed_over_several_loads(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    way = Slow()
    monkeypatch.setattr(serving.time, "perf_counter", lambda: way.now)
    assert serving.timed("slow", way, load, 0)[0] == 3
    assert (serving.timed("slow", way, load, 7)[0], way.now) == (3, 12)
    with pytest.raises(RuntimeError, match="slow did not give"):
        serving.timed("slow", way, load, 20)


@pytest.mark.parametrize("shape", [[], ["--shape", "tiny"]])
def test_everything_is_timed_in_one_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], shape: list[str]
) -> None:
    monkeypatch.setenv("IDIOLECT_BASE_MODEL", str(save_tiny("llama", tmp_path / "model")))
    monkeypatch.setenv("IDIOLECT_NUM_VIRTUAL_TOKENS", "4")
    serving.main([*SMALL, "--device", "cpu", *shape])
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert all(told[ratio] > 0 for ratio in (*serving.RATIOS, "cost_of_strength"))
    assert set(told["answers_like_ours"].values()) == {1.0}
    assert set(told["seconds"]) == {"ours", "strength", *serving.RATIOS.values()}
    assert told["configuration"]["num_virtual_tokens"] == 4
    assert told["configuration"]["base_model"] == ("random-tiny" if shape else "model")


def test_ways_can_be_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("IDIOLECT_BASE_MODEL", str(save_tiny("llama", tmp_path / "model")))
    monkeypatch.setenv("IDIOLECT_NUM_VIRTUAL_TOKENS", "4")
    peers = [name for name in serving.RATIOS.values() if name != "no_prefix"]
    serving.main([*SMALL, "--without", *peers])
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert set(told["seconds"]) == {"ours", "no_prefix", "strength"}
    assert "ratio_to_static" not in told
