import sys
import time
from pathlib import Path

import pytest

from app.embedded.errors import PlatformFailed
from app.embedded.kept_part import KeptPart, stop_all
from app.embedded.log_files import ROTATE_AT_BYTES, last_lines, open_log
from app.embedded.part import Part
from app.embedded.restarts import FAST_DEATHS, WINDOW_S, Restarts

STUBBORN = """
import signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
print("child", child.pid, flush=True)
time.sleep(60)
"""


def _part(tmp_path: Path, code: str) -> Part:
    return Part("sleeper", (sys.executable, "-c", code), tmp_path / "sleeper.log", lambda: True)


def _await_end(kept: KeptPart) -> None:
    deadline = time.monotonic() + 10
    while not kept.has_ended() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert kept.has_ended()


def _tend_for_ever(kept: KeptPart) -> None:
    for step in range(4 * FAST_DEATHS):
        _await_end(kept)
        kept.tend(now=step * 10.0)


def test_a_dead_part_starts_again_after_its_pause(tmp_path: Path) -> None:
    kept = KeptPart(_part(tmp_path, "raise SystemExit(7)"))
    first = kept.pid
    _await_end(kept)
    assert kept.tend(now=100.0).startswith("the sleeper ended with status 7; it is started again")
    assert kept.tend(now=100.1) == ""
    assert kept.pid == first
    kept.tend(now=101.0)
    assert kept.pid != first
    kept.sweep()


def test_a_part_that_keeps_dying_is_given_up_with_the_end_of_its_log(tmp_path: Path) -> None:
    kept = KeptPart(_part(tmp_path, "print('no such model'); raise SystemExit(4)"))
    with pytest.raises(PlatformFailed, match=r"the sleeper ended with status 4 again and again(?s:.*)no such model"):
        _tend_for_ever(kept)


def test_deaths_far_apart_are_never_hopeless_and_pause_briefly() -> None:
    restarts = Restarts()
    for number in range(20):
        restarts.note_death(number * WINDOW_S)
        assert not restarts.are_hopeless
        assert restarts.due_at() == pytest.approx(number * WINDOW_S + 0.5)


def test_a_part_that_ignores_the_signal_is_killed_with_its_children(tmp_path: Path) -> None:
    kept = KeptPart(_part(tmp_path, STUBBORN))
    log = tmp_path / "sleeper.log"
    deadline = time.monotonic() + 10
    while "child" not in log.read_text() and time.monotonic() < deadline:
        time.sleep(0.02)
    child = int(log.read_text().split()[1])
    stop_all([kept], patience_s=0.2)
    assert kept.has_ended()
    stat = Path(f"/proc/{child}/stat")
    time.sleep(0.1)
    assert not stat.exists() or ") Z " in stat.read_text()


def test_a_grown_log_is_put_aside_and_a_small_one_is_continued(tmp_path: Path) -> None:
    log = tmp_path / "web.log"
    log.write_bytes(b"x" * (ROTATE_AT_BYTES + 1))
    with open_log(log) as file:
        file.write(b"new\n")
    with open_log(log) as file:
        file.write(b"more\n")
    assert log.read_text() == "new\nmore\n"
    assert (tmp_path / "web.log.1").stat().st_size == ROTATE_AT_BYTES + 1


def test_the_end_of_a_log_is_shown_even_if_there_is_none(tmp_path: Path) -> None:
    log = tmp_path / "api.log"
    assert "no log" in last_lines(log)
    log.write_text("\n".join(str(number) for number in range(100)))
    assert last_lines(log, count=2) == "    98\n    99"
