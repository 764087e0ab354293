"""What a timed process is started with."""

import os
import sys

import pytest

from app.embedded.roles import ALLOCATOR
from benchmarks import worker_process


def test_a_worker_has_the_allocator_settings_or_none_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MALLOC_MMAP_MAX_", "9")
    assert worker_process.worker_environment().items() >= ALLOCATOR.items()
    assert not worker_process.worker_environment(allocator=False).keys() & ALLOCATOR.keys()


def test_a_command_is_started_again_once_and_only_the_allocator_differs(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[tuple[list[str], dict[str, str]]] = []
    monkeypatch.setattr(sys, "argv", ["ignored", "--limit", "2"])
    monkeypatch.setattr(os, "execve", lambda _, command, environment: started.append((command, environment)))
    monkeypatch.setenv("MALLOC_MMAP_MAX_", "9")
    before = dict(os.environ)
    worker_process.restart_under_allocator("benchmarks.tuning_speed")
    ((command, environment),) = started
    assert command == [sys.executable, "-m", "benchmarks.tuning_speed", "--limit", "2"]
    assert environment == before | ALLOCATOR
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    worker_process.restart_under_allocator("benchmarks.tuning_speed")
    assert len(started) == 1
