"""`python -m app.demo` as a person runs it: what it refuses, and the whole main job on a platform of its own."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from app.pieces.reading import BUNDLED
from tests.source_tree import ROOT

FIGURES = [
    "samples",
    "train_tokens",
    "base_bits_per_char",
    "voice_bits_per_char",
    "reduction_pct",
    "published",
    "train_seconds",
    "prefix_bytes",
    "time_to_first_token_ms",
]


def _demo(temporary: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    told = {"IDIOLECT_MAX_STEPS": "3", "IDIOLECT_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "TMPDIR": str(temporary)}
    return subprocess.run(
        [sys.executable, "-m", "app.demo", *arguments],
        cwd=ROOT,
        env=os.environ | told,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--samples", "no/such/folder"], "there is no such file or folder"),
        (["--author", "ana"], "AUTHOR=ana goes with a .jsonl file"),
    ],
)
def test_unusable_samples_are_one_line_before_anything_is_started(
    tmp_path: Path, arguments: list[str], sentence: str
) -> None:
    refused = _demo(tmp_path, *arguments)
    assert refused.returncode == 2
    assert refused.stdout == ""
    assert sentence in refused.stderr
    assert refused.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_too_little_writing_is_one_sentence_without_logs(tmp_path: Path) -> None:
    samples = tmp_path / "texts"
    samples.mkdir()
    (samples / "only.txt").write_text("A short piece about the harbour, and about nothing else.", encoding="utf-8")
    refused = _demo(tmp_path, "--samples", str(samples))
    assert refused.returncode == 2
    *_, said = refused.stderr.splitlines()  # a slow start says so before
    assert said.startswith("idiolect: A little more: 2 more pieces")
    assert "The ends of the logs" not in refused.stderr


def test_the_main_job_runs_from_sign_up_to_the_last_line_and_leaves_nothing_behind(tmp_path: Path) -> None:
    place = tmp_path / "t"
    place.mkdir()
    samples = tmp_path / "some texts"
    samples.mkdir()
    for number, piece in enumerate(sorted(BUNDLED.glob("*.md"))[:4]):
        (samples / f"{number}.txt").write_text(piece.read_text(encoding="utf-8"), encoding="utf-8")
    (samples / "9.txt").write_text("hm", encoding="utf-8")
    done = _demo(place, "--samples", str(samples))
    assert done.returncode == 0, done.stdout + done.stderr
    figures = json.loads(done.stdout.splitlines()[-1])
    assert list(figures) == FIGURES
    assert figures["samples"] == 4
    assert figures["base_bits_per_char"] > 0
    assert (figures["time_to_first_token_ms"] is not None) == figures["published"]
    assert "piece 5 is left out: " in done.stdout
    assert "the base model" in done.stdout
    assert ("Published." if figures["published"] else "Not published: ") in done.stdout
    assert "held-out" in done.stderr
    assert not list(place.glob("idiolect-*"))
