"""The Makefile and the script that makes the environment, and what they say when something is in the way.

Installs nothing.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.source_tree import ROOT

NEEDED = ("Makefile", "requirements.txt", "requirements-dev.txt", "constraints.txt")
TOOLS = ("sh", "make", "cat", "cmp", "df", "awk", "id", "date", "mkdir", "rm", "grep", "tail", "sleep", "touch")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A checkout with a space in its path and no environment yet."""
    place = tmp_path / "a project"
    (place / ".ci").mkdir(parents=True)
    for name in NEEDED:
        shutil.copy(ROOT / name, place / name)
    shutil.copy(ROOT / ".ci" / "environment", place / ".ci" / "environment")
    return place


@pytest.fixture
def tools(tmp_path: Path) -> Path:
    """A PATH with the ordinary tools and no Python."""
    folder = tmp_path / "tools"
    folder.mkdir()
    for name in TOOLS:
        found = shutil.which(name)
        assert found, name
        (folder / name).symlink_to(found)
    return folder


def _write_tool(folder: Path, name: str, script: str) -> Path:
    path = folder / name
    path.unlink(missing_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


def _make(project: Path, path: Path | str, *arguments: str) -> subprocess.CompletedProcess[str]:
    env = {"PATH": str(path), "HOME": str(project), "LANG": "C.UTF-8"}
    return subprocess.run(
        ["make", *arguments], cwd=project, env=env, capture_output=True, text=True, timeout=60, check=False
    )


def _sentence(refused: subprocess.CompletedProcess[str]) -> str:
    """The one line that says what is wrong; the rest of stderr is make's own."""
    assert refused.returncode == 2
    assert not refused.stdout
    said = [line for line in refused.stderr.splitlines() if not line.startswith("make")]
    assert len(said) == 1, refused.stderr
    return said[0]


def _ready(project: Path, kind: str, interpreter: str) -> None:
    """An environment that is up to date, whose interpreter is this script."""
    (project / ".venv" / "bin").mkdir(parents=True)
    _write_tool(project / ".venv" / "bin", "python", interpreter)
    files = ("requirements.txt", "constraints.txt", *(["requirements-dev.txt"] if kind == "development" else []))
    stamp = b"".join((project / name).read_bytes() for name in files)
    (project / ".venv" / f"idiolect-{kind}").write_bytes(stamp)


def test_help_lists_every_target_a_person_uses(project: Path) -> None:
    shown = _make(project, os.environ["PATH"], "help")
    assert shown.returncode == 0
    for target in ("demo", "test", "run", "check", "format", "clean", "help"):
        assert f"make {target} " in shown.stdout


def test_no_python_is_one_plain_line(project: Path, tools: Path) -> None:
    assert "there is no python3 here; install one" in _sentence(_make(project, tools, "demo"))


def test_a_python_too_old_is_one_plain_line_before_anything_is_made(project: Path, tools: Path) -> None:
    _write_tool(tools, "python3", 'if [ "$1" = -V ]; then echo Python 3.9.2; else exit 1; fi')
    assert "3.11, 3.12 or 3.13 is needed, and python3 here is Python 3.9.2" in _sentence(_make(project, tools, "run"))
    assert not (project / ".venv").exists()


def test_a_newer_python_beside_an_old_one_is_found(project: Path, tools: Path) -> None:
    _write_tool(tools, "python3", "exit 1")
    _write_tool(tools, "python3.12", 'case "$2" in *ensurepip*) exit 1;; esac; exit 0')
    assert "python3.12 comes without its venv module" in _sentence(_make(project, tools, "run"))


def test_a_named_python_that_is_not_there_is_one_plain_line(project: Path, tools: Path) -> None:
    refused = _make(project, tools, "run", "PYTHON=/opt/no such/python")
    assert "PYTHON=/opt/no such/python is not a program" in _sentence(refused)


def test_a_full_disk_is_one_plain_line_before_anything_is_made(project: Path, tools: Path) -> None:
    _write_tool(tools, "df", "echo Filesystem; echo /dev/x 1000000 900000 102400 90% /")
    refused = _make(project, tools, "run", f"PYTHON={sys.executable}")
    assert "the disk is too full for the environment: 100 MB are free here and about 4096 MB are needed" in _sentence(
        refused
    )
    assert not (project / ".venv").exists()


def test_an_environment_that_is_up_to_date_is_left_alone(project: Path, tools: Path) -> None:
    _ready(project, "runtime", "exit 0")
    assert _make(project, tools, "runtime").stderr == ""


def test_changed_requirements_are_noticed(project: Path, tools: Path) -> None:
    _ready(project, "runtime", "exit 0")
    with (project / "constraints.txt").open("a") as constraints:
        constraints.write("something==1\n")
    assert "there is no python3" in _sentence(_make(project, tools, "runtime"))


def test_values_with_spaces_and_quotes_reach_the_programs_whole(project: Path, tools: Path) -> None:
    _ready(project, "runtime", '[ "$1" = -c ] || for given in "$@"; do echo "<$given>"; done')
    shown = _make(project, tools, "demo", "SAMPLES=my texts/it's.jsonl", "AUTHOR=Ana O'Neil")
    assert shown.stdout.splitlines() == [
        "<-m>",
        "<app.demo>",
        "<--samples>",
        "<my texts/it's.jsonl>",
        "<--author>",
        "<Ana O'Neil>",
    ]
    assert _make(project, tools, "run", "PORT=8010", "DATA=my data").stdout.split("\n")[2:6] == [
        "<--data>",
        "<my data>",
        "<--port>",
        "<8010>",
    ]


def test_the_exit_status_of_a_program_fails_make(project: Path, tools: Path) -> None:
    _ready(project, "runtime", 'case "$1" in -c) exit 0;; esac; exit 3')
    assert _make(project, tools, "demo").returncode == 2


def test_a_second_make_waits_for_the_one_that_is_setting_up(project: Path, tools: Path) -> None:
    with (project / ".ci" / "environment").open() as held:
        lock = "import fcntl, sys; fcntl.flock(0, fcntl.LOCK_EX)"
        subprocess.run([sys.executable, "-c", lock], stdin=held, check=True)
        waiting = subprocess.Popen(
            ["make", "runtime", f"PYTHON={sys.executable}"],
            cwd=project,
            env={"PATH": str(tools), "HOME": str(project)},
            stderr=subprocess.PIPE,
            text=True,
        )
        assert waiting.stderr is not None
        assert "another make is setting up .venv; waiting for it" in waiting.stderr.readline()
        _ready(project, "runtime", "exit 0")
    assert waiting.wait(30) == 0
    assert waiting.stderr.read() == ""
    waiting.stderr.close()
