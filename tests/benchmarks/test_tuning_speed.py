"""Times beside PEFT's: the crossing on made-up curves, and the whole command on a tiny model. They need PEFT, which
`make benchmarks` installs."""

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.benchmarks.test_likeness import write_authors
from tests.tiny_model import make_prefix, make_tiny, save_tiny
from tuning.base_model import BaseModel
from tuning.config import TuningConfig
from tuning.memory import MemoryPlan
from tuning.training import TrainingSettings
from tuning.training_step import StepPlan

pytest.importorskip("peft", reason="PEFT is not installed: make benchmarks")
from benchmarks import peers, time_to_loss, tuning_speed, users_per_minute
from benchmarks.authors import read_authors
from benchmarks.journal import Journal
from benchmarks.timed import Bench, Look, best, ratio, reached, train_ours, train_peft

SETTINGS = TrainingSettings(num_virtual_tokens=4, hidden=16, tokens_per_step=400, min_steps=4, max_steps=4)


@pytest.fixture(scope="module")
def base() -> BaseModel:
    return make_tiny("llama", torch.float32)


@pytest.fixture
def bench(base: BaseModel) -> Bench:
    return Bench(base, SETTINGS.looking_every(time_to_loss.EVALUATE_EVERY), StepPlan(), seed=0)


def curve(*losses: float) -> list[Look]:
    return [Look(2 * number, 3.0 * number, loss) for number, loss in enumerate(losses)]


def test_the_crossing_is_the_first_look_at_the_loss_or_below() -> None:
    theirs = curve(2.0, 1.5, 1.2, 1.2, 1.4)
    assert best(theirs) == Look(4, 6.0, 1.2)
    assert reached(curve(2.0, 1.3, 1.2, 1.1), 1.2) == Look(4, 6.0, 1.2)
    assert reached(curve(1.1, 1.5, 1.0), 1.2) == Look(0, 0.0, 1.1)
    assert reached(curve(2.0, 1.3, 1.21), 1.2) is None


def test_ratios_are_infinite_where_we_never_got_there_and_that_is_null() -> None:
    theirs = Look(4, 6.0, 1.2)
    assert ratio(Look(2, 3.0, 1.1), theirs) == 0.5
    assert ratio(Look(0, 0.0, 1.1), theirs) == 0.0
    assert ratio(None, theirs) == math.inf
    assert ratio(Look(2, 3.0, 1.1), Look(0, 0.0, 1.2)) == math.inf
    assert ratio(Look(0, 0.0, 1.1), Look(0, 0.0, 1.2)) == 1.0
    assert time_to_loss.shown(math.inf) is None


def test_a_race_is_the_median_of_its_rounds_and_counts_who_got_there() -> None:
    grid = {"setting": "MLP, 1e-3", "steps": 100}
    theirs = [Look(4, 6.0, 1.2), Look(4, 10.0, 1.2), Look(4, 8.0, 1.2)]
    near = [(Look(2, seconds, 1.1), 1.1) for seconds in (3.0, 4.0, 8.0)]
    races = [
        time_to_loss.Race(grid, theirs, [1.5, 2.5, 2.0], {"ours": near, "other": [(None, 1.3)] * 3}),
        time_to_loss.Race(grid, theirs, [1.5, 2.5, 2.0], {"ours": near, "other": near}),
    ]
    table = time_to_loss.table(races)
    assert table["ours"] == {
        "reached": 2,
        "median_ratio": 0.5,
        "ratios": [0.5, 0.5],
        "loss": [1.1, 1.1],
        "step": [2, 2],
        "seconds": [4.0, 4.0],
    }
    assert table["other"]["reached"] == 1
    assert table["other"]["median_ratio"] is None, "half of two is not reached"
    assert table["other"]["ratios"] == [None, 0.5]
    assert table["other"]["step"] == [None, 2]
    assert table["peft"]["seconds"] == [8.0, 8.0]
    assert table["peft"]["grid_seconds"] == [200.0, 200.0]


def test_both_sides_are_looked_at_often_and_ours_stops_where_it_is_told(bench: Bench, tmp_path: Path) -> None:
    (author,) = read_authors(write_authors(tmp_path / "authors.jsonl", {"ann": 60}), 1)
    split = author.split(bench.base, 10, 4)
    (first, *_) = time_to_loss.settings_of(bench)
    theirs, ours = train_peft(bench, split, first), train_ours(bench, split, make_prefix(bench.base))
    for looks in (theirs, ours):
        assert [look.step for look in looks] == [0, 2, 4]
        assert looks[0].seconds == 0 < looks[1].seconds < looks[2].seconds
    fitted = peers.fit(bench.base, [first], split.train, split.stop, peers.racing(bench.settings), 0)
    assert best(theirs).loss == fitted.stop_loss
    until = train_ours(bench, split, make_prefix(bench.base), until=ours[1].loss)
    assert [look.loss for look in until] == [look.loss for look in ours[:2]]


def test_a_peer_takes_more_epochs_than_ours_under_the_same_ceiling_of_tokens(bench: Bench, tmp_path: Path) -> None:
    (author,) = read_authors(write_authors(tmp_path / "authors.jsonl", {"ann": 60}), 1)
    split = author.split(bench.base, 10, 4)
    once = replace(bench, settings=replace(bench.settings, epochs=1, min_steps=1, tokens_per_step=10**6))
    assert train_ours(once, split, make_prefix(bench.base))[-1].step == 1
    (first, *_) = time_to_loss.settings_of(once)
    assert train_peft(once, split, first)[-1].step == 3
    short = replace(once, settings=replace(once.settings, max_steps=2))
    assert train_peft(short, split, first)[-1].step == 2
    longer = peers.allowed(once.settings)
    assert longer.max_steps * longer.tokens_per_step == once.settings.max_steps * once.settings.tokens_per_step
    assert longer.epochs == 3


def test_pefts_choice_is_the_best_of_its_grid_and_made_once(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (author,) = read_authors(write_authors(tmp_path / "authors.jsonl", {"ann": 60}), 1)
    split = author.split(bench.base, 10, 4)
    grid = time_to_loss.choose(bench, Journal(tmp_path / "journal.jsonl"), split)
    assert len(grid["losses"]) == 4
    assert grid["losses"][grid["setting"]] == min(grid["losses"].values())
    assert "seconds" not in grid
    monkeypatch.setattr(time_to_loss, "train_peft", None)
    assert time_to_loss.choose(bench, Journal(tmp_path / "journal.jsonl"), split) == grid


def test_everybody_waiting_is_trained_however_many_at_once(base: BaseModel, tmp_path: Path) -> None:
    authors = read_authors(write_authors(tmp_path / "authors.jsonl", {"ann": 60, "bob": 60}), 2)
    config = TuningConfig(num_virtual_tokens=4)
    jobs = users_per_minute.waiting(base, authors, 5, 5, None, config)
    assert [job.seed for job in jobs] == [0, 0, 1, 1, 2]
    assert jobs[0].split == jobs[2].split != jobs[1].split
    office = users_per_minute.Office(base, SETTINGS, config, peers.grids(4, None)["peft_prefix"][0])
    for at_once in (1, 2, 5):
        assert users_per_minute.seconds_of(office, jobs, MemoryPlan(StepPlan(), at_once)) > 0
    table = users_per_minute.table(office, jobs, [1, 5], peft_users=1)
    assert [table[5][key] for key in ("default_at_once", "stacked_at_once", "peft_users_timed")] == [1, 5, 4]
    assert table[5]["default"] == table[5]["solo"]
    assert table[1]["peft_users_timed"] == 1


def test_users_of_pefts_that_are_not_timed_are_reckoned_from_ours(
    base: BaseModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authors = read_authors(write_authors(tmp_path / "authors.jsonl", {"ann": 60}), 1)
    config = TuningConfig(num_virtual_tokens=4)
    jobs = users_per_minute.waiting(base, authors, 6, 5, None, config)
    office = users_per_minute.Office(base, SETTINGS, config, peers.grids(4, None)["peft_prefix"][0])
    monkeypatch.setattr(users_per_minute, "one_by_one", lambda *_: ([1.0, 1.0, 1.0, 1.0, 4.0, 4.0], [2.0] * 4))
    monkeypatch.setattr(users_per_minute, "seconds_of", lambda *_: 6.0)
    table = users_per_minute.table(office, jobs, [4, 6], peft_users=4)
    assert [table[6][way] for way in ("solo", "default", "stacked", "peft")] == [30.0, 30.0, 60.0, 15.0]
    assert table[4]["peft"] == 30.0


def test_the_command_prints_one_object_with_its_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    authors = write_authors(tmp_path / "authors.jsonl", {"ann": 60, "bob": 52, "cyn": 55})
    model = save_tiny("llama", tmp_path / "model")
    for name, value in {"BASE_MODEL": str(model), "NUM_VIRTUAL_TOKENS": "4", "MAX_STEPS": "2"}.items():
        monkeypatch.setenv(f"IDIOLECT_{name}", value)
    given = ["--authors", str(authors), "--samples", "5", "--samples-of-users", "5", "--limit", "1", "--skip", "1"]
    given += ["--state", str(tmp_path / "state"), "--population-seconds", "60"]
    tuning_speed.main([*given, "--users", "1,2"])
    printed = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert {f"users_per_minute_ratio_2_{which}" for which in ("to_solo", "to_peft", "stacked_to_solo")} < set(printed)
    assert printed["users_per_minute_ratio_2_to_solo"] == 1.0
    assert printed["time_ratio_to_peft"] is None, "this model has no population prefix"
    assert (
        printed["time_ratio_to_peft_neutral_start"]
        == printed["time_to_pefts_best"]["ours_neutral_start"]["median_ratio"]
    )
    assert set(printed["users_per_minute"]) == {"1", "2"}
    configuration = printed["configuration"]
    assert configuration["settings"]["max_steps"] == 2
    assert configuration["population_seconds"] == 60
    assert [configuration[name] for name in ("samples", "skip", "rounds", "seed")] == [5, 1, 1, 0]
    tuning_speed.main([*given, "--users", ""])
    said = capsys.readouterr()
    assert "users_per_minute" not in json.loads(said.out.splitlines()[-1])
    assert '"losses"' not in said.err, "PEFT's choice was made again"
