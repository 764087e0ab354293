"""A hundred streams and the health check, with few of them and a tiny model."""

import json
from pathlib import Path

import pytest

from benchmarks import streams
from tests.tiny_model import save_tiny


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IDIOLECT_BASE_MODEL", str(save_tiny("llama", tmp_path / "tiny")))
    monkeypatch.setenv("IDIOLECT_NUM_VIRTUAL_TOKENS", "4")
    monkeypatch.setenv("IDIOLECT_DEVICE", "cpu")


@pytest.mark.usefixtures("tiny")
def test_streams_are_read_while_the_health_check_is_timed(capsys: pytest.CaptureFixture[str]) -> None:
    streams.main(["--streams", "20", "--rows", "8", "--seconds", "2", "--quiet-seconds", "0.2", "--max-tokens", "30"])
    told = capsys.readouterr()
    printed = json.loads(told.out.splitlines()[-1])
    assert printed["streams"] == 20
    assert 0 < printed["health_p50_ms"] <= printed["health_p99_ms"] <= printed["health_max_ms"]
    assert printed["probes"] > 1
    assert printed["streams_read_to_the_end"] > 20
    assert printed["tokens_per_second"] > 0
    assert printed["refused"] == {}
    assert "20 streams are open" in told.err


@pytest.mark.parametrize("wrong", [["--streams", "0"], ["--streams", "136"], ["--streams", "5", "--rows", "6"]])
def test_more_streams_than_a_process_has_threads_for_are_refused(
    wrong: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        streams.main(wrong)
    assert "--streams must be from 1 to 135" in capsys.readouterr().err
