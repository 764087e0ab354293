"""How much of the machine others used."""

import time
from pathlib import Path

import pytest

from benchmarks import other_load


def test_others_busy_cores_leave_out_this_process_and_what_was_idle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counters = tmp_path / "stat"
    monkeypatch.setattr(other_load, "_COUNTERS", counters)
    clock = {"wall": 100.0, "own": 10.0}
    monkeypatch.setattr(time, "monotonic", lambda: clock["wall"])
    monkeypatch.setattr(time, "process_time", lambda: clock["own"])
    monkeypatch.setattr("os.sysconf", lambda _: 100)
    counters.write_text("cpu 1000 0 1000 7000 50 0 0 0 0 0\ncpu0 1 2 3\n")
    load = other_load.OtherLoad()
    clock.update(wall=110.0, own=25.0)
    counters.write_text("cpu 2700 300 1000 7900 60 0 0 0 0 0\ncpu0 1 2 3\n")
    assert load.cores() == 0.5  # 20 seconds of work in 10, 15 of them this process's
    counters.unlink()
    assert load.cores() is None
