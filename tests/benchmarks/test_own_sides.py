"""The comparisons that have no peer: going on from a version, three pieces, on a tiny model."""

import json
from pathlib import Path

import pytest

from benchmarks import few_pieces, going_on
from tests.benchmarks.test_likeness import write_authors
from tests.tiny_model import save_tiny
from tuning import training
from tuning.training import Progress, TrainingResult


@pytest.fixture
def authors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file of two authors with enough texts, and a tiny base model to measure them on."""
    for name, value in {
        "BASE_MODEL": str(save_tiny("llama", tmp_path / "tiny")),
        "NUM_VIRTUAL_TOKENS": "4",
        "MAX_STEPS": "12",
    }.items():
        monkeypatch.setenv(f"IDIOLECT_{name}", value)
    return write_authors(tmp_path / "authors.jsonl", {"ann": 60, "bob": 60})


def looked(*losses: float) -> TrainingResult:
    """A course whose looks, one every two steps from the start, saw these losses."""
    history = tuple(Progress(2 * n, 10, None, loss, 9.0, None, 0.0, 0.0) for n, loss in enumerate(losses))
    return TrainingResult(
        prefix=None, steps=10, best_step=0, base_held_out_loss=9.0, best_held_out_loss=0.0, seconds=0.0, history=history
    )  # type: ignore[arg-type]


def test_the_steps_to_a_loss_are_those_of_the_first_look_that_reaches_it() -> None:
    assert going_on.steps_to(looked(3.0, 2.0, 1.0, 2.0), 2.0) == 2
    assert going_on.steps_to(looked(3.0, 2.0), 3.5) == 0
    assert going_on.steps_to(looked(3.0, 2.0), 1.0) is None


def test_going_on_is_measured_against_training_anew(
    authors: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(SystemExit, match="of none"):  # the tiny trainings have too few steps to be shortened
        going_on.main(["--authors", str(authors), "--limit", "2"])
    monkeypatch.setattr(training, "_LEAST_STEPS_GOING_ON", 4)
    going_on.main(["--authors", str(authors), "--limit", "2"])
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert told["authors"] == 2
    assert {"steps_ratio", "reached", "loss_above_pct", "median_reduction_pct", "configuration"} <= told.keys()
    assert told["course_ratio"] == round(4 / 12, 3)
    assert all(outcome["anew_steps"] >= 2 for outcome in told["outcomes"])


def test_three_pieces_go_through_the_products_own_rule(authors: Path, capsys: pytest.CaptureFixture[str]) -> None:
    few_pieces.main(["--authors", str(authors), "--limit", "2"])
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert told["authors"] == 2
    refused = [row.get("refused", False) for row in told["rows"]]
    assert refused == [True, True], "30 words are too few"
    few_pieces.main(["--authors", str(authors), "--limit", "1", "--samples", "12"])
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert told["rows"][0]["published"] == (told["published"] == 1)
    assert "reduction_pct" in told["rows"][0]


def test_harm_is_counted_of_what_was_published_alone(
    authors: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = iter([(True, 1.0), (True, -1.0), (True, 3.0), (False, -5.0)])
    monkeypatch.setattr(few_pieces, "read_authors", lambda *given: range(4))
    monkeypatch.setattr(
        few_pieces, "measure", lambda *given: dict(zip(("published", "reduction_pct"), next(rows), strict=True))
    )
    few_pieces.main(["--authors", str(authors)])
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (told["authors"], told["published"], told["harmed"]) == (4, 3, 1)
    assert told["median_reduction_pct_of_published"] == 1.0
