"""The peers, fitted for real on a tiny model; they need PEFT, which `make benchmarks` installs."""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.tiny_model import make_prefix, make_tiny, save_tiny
from tests.tuning.texts import CANARIES, written
from tuning.base_model import BaseModel
from tuning.dataset import Block, Split, WrittenText, split_before
from tuning.evaluation import bits_per_char
from tuning.neutral import neutral_blocks
from tuning.population import population_blocks
from tuning.training import TrainingSettings

pytest.importorskip("peft", reason="PEFT is not installed: make benchmarks")
from benchmarks import likeness, methods, peers
from benchmarks.methods import METHODS, Workshop, measure

SETTINGS = TrainingSettings(num_virtual_tokens=4, hidden=16, tokens_per_step=400, max_steps=4, evaluate_every=2)


@pytest.fixture(scope="module")
def base() -> BaseModel:
    return make_tiny("llama", torch.float32)


@pytest.fixture(scope="module")
def split(base: BaseModel) -> Split:
    texts = [WrittenText(writing.text) for writing in written(CANARIES[0], 10)]
    return split_before(base, texts[:7], texts[7:], num_virtual_tokens=4)


def shop_of(base: BaseModel) -> Workshop:
    settings = replace(SETTINGS, num_virtual_tokens=4)
    start = make_prefix(base)
    lora = peers.fit(base, [peers.Setting("1e-3", 1e-3, peers.lora)], *two_blocks(base), settings, 0).state
    return Workshop(base, settings, start, lora, neutral_blocks(base, 4)[:1], seed=0)


def two_blocks(base: BaseModel) -> tuple[list[peers.Block], list[peers.Block]]:
    blocks = neutral_blocks(base, 4)
    return blocks[:1], blocks[1:2]


def test_every_method_is_measured_on_the_same_texts(
    base: BaseModel, split: Split, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop, scored = shop_of(base), list[tuple[Sequence[Block], float]]()

    def watched(score: Callable[..., float]) -> Callable[..., float]:
        def watching(*given: Any) -> float:
            scored.append((given[-1], score(*given)))
            return scored[-1][1]

        return watching

    for module, name in (
        (methods, "bits_per_char"),
        (methods, "in_context_bits_per_char"),
        (peers, "bits_per_char"),
    ):
        monkeypatch.setattr(module, name, watched(getattr(module, name)))
    outcomes = {}
    for method in METHODS:
        outcomes[method] = measure(shop, method, split)
        assert (split.test, outcomes[method].bits_per_char) in scored, method
        assert (shop.neutral, outcomes[method].neutral_bits_per_char) in scored, method
        scored.clear()
    assert all(0 < outcome.bits_per_char < 20 for outcome in outcomes.values())
    assert len({outcome.bits_per_char for outcome in outcomes.values()}) == len(METHODS)
    assert outcomes["peft_prefix"].prefix is not None
    assert outcomes["full"].num_bytes > outcomes["lora"].num_bytes > 0


def test_a_peer_starts_at_the_base_model_and_learns(base: BaseModel, split: Split) -> None:
    fitted = peers.fit(base, [peers.Setting("5e-3", 5e-3, peers.lora)], split.train, split.stop, SETTINGS, 0)
    assert fitted.stop_loss < bits_per_char(base, None, split.stop)
    assert peers.bits_per_char(peers.lora(base, split.train), split.test) == pytest.approx(
        bits_per_char(base, None, split.test), abs=1e-5
    )
    assert peers.bits_per_char(fitted.model(base, split.train), split.stop) == pytest.approx(fitted.stop_loss, abs=1e-9)


def test_pefts_prefix_in_our_form_scores_as_in_its_own(base: BaseModel, split: Split) -> None:
    grid = peers.grids(4, None)["peft_prefix"]
    for setting in grid:
        fitted = peers.fit(base, [setting], split.train, split.stop, SETTINGS, 0)
        model = fitted.model(base, split.train)
        ours = bits_per_char(base, peers.as_prefix(model, base), split.test)
        assert ours == pytest.approx(peers.bits_per_char(model, split.test), abs=1e-5), setting.name


def test_the_command_measures_once_and_goes_on_where_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [
        {"author": author, "text": f"{author} writes for the day number {number}, and a little more of the same kind."}
        for author in CANARIES
        for number in range(52)
    ]
    (tmp_path / "authors.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    model = save_tiny("llama", tmp_path / "model")
    for name, value in {"BASE_MODEL": str(model), "NUM_VIRTUAL_TOKENS": "4", "MAX_STEPS": "2"}.items():
        monkeypatch.setenv(f"IDIOLECT_{name}", value)
    given = ["--authors", str(tmp_path / "authors.jsonl"), "--samples", "5,10", "--limit", "2"]
    given += ["--methods", "ours,in_context", "--state", str(tmp_path / "state")]
    tables = []
    for _ in range(2):
        likeness.main(given)
        said = capsys.readouterr()
        tables.append(json.loads(said.out.splitlines()[-1]))
    assert "ours:" not in said.err, "measured again"
    assert tables[0] == tables[1]
    assert tables[0]["5"]["authors"] == 2
    assert set(tables[0]["10"]["median_reduction_pct"]) == {"ours", "in_context"}
    assert 0 <= tables[0]["5"]["rank1"]["ours"] <= 1


def test_only_what_stands_there_by_default_is_left_out_and_a_slip_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    authors = ["--authors", str(tmp_path / "authors.jsonl")]
    assert likeness._methods(likeness._options(authors), None) == [
        method for method in METHODS if "population" not in method
    ]
    said = capsys.readouterr().err
    assert "population is left out: this base model has no population prefix" in said
    assert "lora_population is left out: --population-texts names no texts" in said
    for asked, why in (("ours,lora_population", "names no texts"), ("ours,looora", "no method is called looora")):
        with pytest.raises(SystemExit, match=why):
            likeness._methods(likeness._options([*authors, "--methods", asked]), None)


def test_what_touches_ours_alone_leaves_the_peers_rows_as_they_are() -> None:
    assert peers.recipe(replace(SETTINGS, offset_kept=0.5)) == peers.recipe(SETTINGS)
    assert peers.recipe(replace(SETTINGS, epochs=SETTINGS.epochs + 1)) != peers.recipe(SETTINGS)


def test_a_populations_lora_is_made_once_a_rate_and_is_the_better(
    base: BaseModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = [f"The {number}th of many public texts, of which nobody is the writer." for number in range(140)]
    fit, asked = peers.fit, list[str]()

    def fit_until_cut_off(base: BaseModel, grid: Sequence[peers.Setting], *given: Any, **named: Any) -> peers.Fitted:
        if len(asked) == 1:
            asked.append("cut off")
            raise KeyboardInterrupt
        asked.append(grid[0].name)
        return fit(base, grid, *given, **named)

    monkeypatch.setattr(peers, "fit", fit_until_cut_off)
    with pytest.raises(KeyboardInterrupt):
        peers.population_lora(base, texts, SETTINGS, tmp_path)
    made = peers.population_lora(base, texts, SETTINGS, tmp_path)
    again = peers.population_lora(base, texts, SETTINGS, tmp_path)
    assert asked == ["1e-3", "cut off", "5e-3"]
    train, held_out = population_blocks(base, texts, SETTINGS.num_virtual_tokens)
    grid = [peers.Setting(name, rate, peers.lora) for name, rate in peers.LORA_RATES.items()]
    best = fit(base, grid, train, held_out, SETTINGS, seed=0)
    for state in (made, again):
        assert state.keys() == best.state.keys()
        assert all(torch.equal(state[name], best.state[name]) for name in state)
