"""The API role as it is run: gunicorn, its settings, its start and its end."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from storage.config import StorageConfig
from storage.schema import upgrade
from storage.store import Storage
from tests.app.api.people import Person, join
from tests.app.api.test_completions import eventually
from tests.conftest import sqlite_config
from tests.tiny_model import save_tiny

ROOT = Path(__file__).parents[3]
PATIENCE_S = 60
COMMAND = (sys.executable, "-m", "gunicorn", "-c", "python:app.api.server", "app.api.factory:create_app()")


@pytest.fixture(scope="module")
def model_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny("llama", tmp_path_factory.mktemp("model") / "tiny")


@pytest.fixture
def config(tmp_path: Path, master_key: bytes) -> StorageConfig:
    return sqlite_config(tmp_path, f"unix://{tmp_path}/nobody", master_key)


def environment(config: StorageConfig, model_path: Path | str) -> dict[str, str]:
    return {
        "PATH": os.environ["PATH"],
        "HOME": os.environ.get("HOME", "/"),
        "OMP_NUM_THREADS": "1",
        "IDIOLECT_DATABASE_URL": config.database_url,
        "IDIOLECT_KEY_STORE_URL": config.key_store_url,
        "IDIOLECT_CACHE_URL": config.cache_url,
        "IDIOLECT_MASTER_KEY": config.master_key.hex(),
        "IDIOLECT_BASE_MODEL": str(model_path),
        "IDIOLECT_NUM_VIRTUAL_TOKENS": "4",
    }


def run(config: StorageConfig, model_path: Path | str, port: int = 0, *options: str) -> "subprocess.Popen[str]":
    command = [*COMMAND, "--bind", f"127.0.0.1:{port}", *options]
    env = environment(config, model_path)
    return subprocess.Popen(command, cwd=ROOT, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def test_a_database_that_is_not_migrated_is_one_line_and_an_exit_status(
    config: StorageConfig, model_path: Path
) -> None:
    _, told = (started := run(config, model_path)).communicate(timeout=60)
    assert started.returncode == 2
    assert told.count("\n") == 1
    assert told.startswith("idiolect api: ")
    assert "storage.schema upgrade" in told


def test_a_wrong_master_key_is_one_line_and_an_exit_status(config: StorageConfig, model_path: Path) -> None:
    upgrade(config)
    Storage.open(config).close()
    before = Path(config.key_store_url.removeprefix("sqlite:///")).read_bytes()
    _, told = (started := run(replace(config, master_key=b"x" * 32), model_path)).communicate(timeout=60)
    assert started.returncode == 2
    assert told.count("\n") == 1
    assert "IDIOLECT_MASTER_KEY" in told
    assert Path(config.key_store_url.removeprefix("sqlite:///")).read_bytes() == before


def test_a_base_model_that_cannot_be_loaded_ends_the_server_with_its_reason(config: StorageConfig) -> None:
    upgrade(config)
    _, told = (started := run(config, "/nowhere/at/all")).communicate(timeout=120)
    assert started.returncode == 4
    (reason,) = [line for line in told.splitlines() if line.startswith("idiolect api: ")]
    assert "/nowhere/at/all" in reason
    assert "Traceback" not in told


@pytest.fixture
def running(config: StorageConfig, model_path: Path) -> Iterator[tuple[str, Person, "subprocess.Popen[str]"]]:
    upgrade(config)
    storage = Storage.open(config)
    person = join(storage)
    storage.close()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    # A server that holds its end up until the graceful time-out outlasts the patience of the test.
    process = run(config, model_path, port, "--graceful-timeout", str(2 * PATIENCE_S))
    url = f"http://127.0.0.1:{port}"
    assert eventually(lambda: process.poll() is None and _answers(url), 90)
    yield url, person, process
    process.kill()
    process.communicate()


def _answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/healthz").status_code == 200
    except httpx.TransportError:
        return False


def _busy(url: str) -> Callable[[], bool]:
    return lambda: httpx.get(f"{url}/healthz").json()["running"] == 1


def test_a_hang_up_frees_the_row_and_sigterm_ends_open_streams_at_once(
    running: tuple[str, Person, "subprocess.Popen[str]"],
) -> None:
    url, person, process = running
    body = {"model": "tiny", "prompt": "x", "max_tokens": 250, "temperature": 1, "stream": True}
    answer = httpx.post(f"{url}/v1/completions", json=body | {"stream": False, "max_tokens": 4}, headers=person.headers)
    assert answer.status_code == 200
    with httpx.stream("POST", f"{url}/v1/completions", json=body, headers=person.headers) as cut:
        next(cut.iter_lines())
    assert eventually(lambda: not _busy(url)(), 3)
    oversized = httpx.post(f"{url}/v1/completions", content=b"x" * (5 << 20), headers=person.headers)
    assert oversized.status_code == 413
    with httpx.stream("POST", f"{url}/v1/completions", json=body, headers=person.headers, timeout=PATIENCE_S) as cut:
        lines = (line for line in cut.iter_lines() if line)
        next(lines)
        process.send_signal(signal.SIGTERM)
        *_, last = lines
    told = json.loads(last.removeprefix("data: "))
    out, _ = process.communicate(timeout=PATIENCE_S)
    assert told["error"]["code"] == "server_stopping"
    assert process.returncode == 0
    assert all(json.loads(line)["event"] for line in out.splitlines())
