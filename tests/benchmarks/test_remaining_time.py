"""Whether remaining times come true, with few short runs of a tiny model."""

import json
from pathlib import Path

import pytest

from benchmarks import remaining_time
from benchmarks.remaining_time import Course, told_in
from tests.tiny_model import save_tiny


def test_what_a_page_said_is_held_against_what_came() -> None:
    told = told_in(100.0, 200.0, [(110.0, 60.0), (140.0, 50.0), (170.0, 31.0)])
    assert [(one.moment, one.said_s, one.came_s) for one in told] == [
        ("first", 60.0, 90.0),
        ("0.25", 45.0, 75.0),
        ("0.5", 40.0, 50.0),
        ("0.75", 26.0, 25.0),
    ]
    assert [round(one.times_off, 2) for one in told] == [1.5, 1.67, 1.25, 1.04]
    summed = remaining_time.summary([Course("a", 3, 100.0, 20, 20, told)])
    assert (summed["within_1_5"], summed["runs_always_within_1_5"]) == (0.75, 0)
    assert summed["within_1_5_by_moment"] == {"first": 1.0, "0.25": 0.0, "0.5": 1.0, "0.75": 1.0}


def test_real_runs_are_measured_from_claim_to_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("IDIOLECT_BASE_MODEL", str(save_tiny("llama", tmp_path / "tiny")))
    for name, value in {"NUM_VIRTUAL_TOKENS": "4", "MAX_STEPS": "20", "DEVICE": "cpu"}.items():
        monkeypatch.setenv(f"IDIOLECT_{name}", value)
    monkeypatch.setattr(remaining_time, "SIZES", (5,))
    pieces = [f"Piece {number}. The lighthouse keeper counts the waves in blue ink. " * 4 for number in range(60)]
    authors = tmp_path / "authors.jsonl"
    authors.write_text(
        "".join(json.dumps({"author": f"a{n % 2}", "text": text}) + "\n" for n, text in enumerate(pieces * 2))
    )
    remaining_time.main(["--authors", str(authors), "--runs", "2"])
    printed = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert printed["runs"] == len(printed["courses"]) == 2
    assert 0 <= printed["within_1_5"] <= 1
    for course in printed["courses"]:
        assert course["told"].keys() == {"first", "0.25", "0.5", "0.75"}
        assert 0 < course["steps"] <= course["max_steps"] == 20
        assert course["seconds"] > 0
