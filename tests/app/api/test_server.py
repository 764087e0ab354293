"""The API role as it is run: gunicorn, its settings, its start and its end."""

import asyncio
import json
import os
import signal
import socket
import string
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.seats import MAX_GENERATIONS
from storage.config import StorageConfig
from storage.schema import upgrade
from storage.store import Storage
from tests.app.api.people import Person, join
from tests.app.api.test_completions import eventually
from tests.conftest import sqlite_config
from tests.tiny_model import save_tiny

ROOT = Path(__file__).parents[3]
PATIENCE_S = 60
LONG = 4096  # positions
COMMAND = (sys.executable, "-m", "gunicorn", "-c", "python:app.api.server")


@pytest.fixture(scope="module")
def model_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny("llama", tmp_path_factory.mktemp("model") / "tiny")


@pytest.fixture(scope="module")
def ring_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that goes round in a ring, and has a context that no stream comes to the end of."""
    path = save_tiny("llama", tmp_path_factory.mktemp("model") / "tiny", seed=9)
    described = json.loads((path / "config.json").read_text())
    (path / "config.json").write_text(json.dumps(described | {"max_position_embeddings": LONG}))
    return path


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


def run(
    config: StorageConfig,
    model_path: Path | str,
    port: int = 0,
    *options: str,
    app: str = "app.api.factory:create_app()",
    **settings: str,
) -> "subprocess.Popen[str]":
    command = [*COMMAND, app, "--bind", f"127.0.0.1:{port}", *options]
    env = environment(config, model_path) | settings
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


@contextmanager
def serving(
    config: StorageConfig, model_path: Path, num_people: int, *options: str, **settings: str
) -> Iterator[tuple[str, list[Person], "subprocess.Popen[str]"]]:
    """A server that answers, and people who may ask it; settings: as `run` takes them."""
    upgrade(config)
    storage = Storage.open(config)
    people = [join(storage) for _ in range(num_people)]
    storage.close()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = run(config, model_path, port, *options, **settings)
    url = f"http://127.0.0.1:{port}"
    try:
        assert eventually(lambda: process.poll() is None and _answers(url), 90)
        yield url, people, process
    finally:
        process.kill()
        process.communicate()


@pytest.fixture
def running(config: StorageConfig, ring_path: Path) -> Iterator[tuple[str, Person, "subprocess.Popen[str]"]]:
    # A server that holds its end up until the graceful time-out outlasts the patience of the test.
    options = ("--graceful-timeout", str(2 * PATIENCE_S))
    with serving(config, ring_path, 1, *options, IDIOLECT_MAX_CONTEXT=str(LONG)) as (url, (person,), process):
        yield url, person, process


def test_a_server_whose_engine_broke_says_so_and_is_soon_there_again(
    config: StorageConfig, model_path: Path, tmp_path: Path
) -> None:
    broken = tmp_path / "broken"
    settings = {"app": "tests.app.api.breaking:create_app()", "BROKEN": str(broken)}
    with serving(config, model_path, 1, **settings) as (url, (person,), process):
        body = {"model": "tiny", "prompt": "Stop!", "max_tokens": 4}
        refused = httpx.post(f"{url}/v1/completions", json=body, headers=person.headers, timeout=PATIENCE_S)
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "engine_failed")
        assert broken.exists()
        assert eventually(lambda: process.poll() is None and _answers(url), 90), "the broken one says 503 for ever"
        again = httpx.post(f"{url}/v1/completions", json=body, headers=person.headers, timeout=PATIENCE_S)
        assert again.status_code == 200
        process.terminate()
        assert process.wait(timeout=PATIENCE_S) == 0


STREAMS = 100


@pytest.fixture
def crowd(config: StorageConfig, ring_path: Path) -> Iterator[tuple[str, list[Person]]]:
    """A server with a row for each of a hundred streams, and the people to ask for them."""
    settings = {"IDIOLECT_MAX_NUM_SEQS": str(STREAMS), "IDIOLECT_MAX_WAITING": "0", "IDIOLECT_MAX_CONTEXT": str(LONG)}
    with serving(config, ring_path, -(-STREAMS // MAX_GENERATIONS), **settings) as (url, people, _):
        yield url, people


def test_a_hundred_streams_go_on_at_once_while_the_health_check_answers(crowd: tuple[str, list[Person]]) -> None:
    url, people = crowd
    prompt = next(letter for letter in string.ascii_lowercase if _goes_on(url, people[0], letter))
    body = {"model": "tiny", "prompt": prompt, "temperature": 0, "max_tokens": 4000, "stream": True}

    async def read() -> tuple[dict[str, Any], list[str]]:
        limits = httpx.Limits(max_connections=None)
        async with (
            httpx.AsyncClient(base_url=url, limits=limits, timeout=PATIENCE_S) as client,
            AsyncExitStack() as held,
        ):
            asked = [
                client.build_request("POST", "/v1/completions", json=body, headers=people[n // MAX_GENERATIONS].headers)
                for n in range(STREAMS)
            ]
            answers = await asyncio.gather(*(client.send(request, stream=True) for request in asked))
            for answer in answers:
                held.push_async_callback(answer.aclose)
            assert [answer.status_code for answer in answers] == [200] * STREAMS
            lines = [answer.aiter_lines() for answer in answers]
            await asyncio.gather(*(anext(one) for one in lines))
            health = (await client.get("/healthz")).json()
            refused = await client.post("/v1/completions", json=body, headers=people[-1].headers)
            assert refused.json()["error"]["code"] == "engine_full"
            told = await asyncio.gather(*(_next_text(one) for one in lines))
            assert (await client.get("/healthz")).json()["running"] == STREAMS
            return health, told

    health, told = asyncio.run(read())
    assert (health["status"], health["running"]) == ("ok", STREAMS)
    assert len(told) == STREAMS
    assert len(set(told)) == 1, "the same was asked of all"
    assert eventually(lambda: not httpx.get(f"{url}/healthz").json()["running"], PATIENCE_S)


def _goes_on(url: str, person: Person, prompt: str) -> bool:
    """Whether what the model says to this does not end soon: greedily, it then goes round in a ring."""
    body = {"model": "tiny", "prompt": prompt, "temperature": 0, "max_tokens": 600}
    answer = httpx.post(f"{url}/v1/completions", json=body, headers=person.headers, timeout=PATIENCE_S)
    return bool(answer.json()["choices"][0]["finish_reason"] == "length")


async def _next_text(lines: AsyncIterator[str]) -> str:
    """The next piece that has any."""
    async for line in lines:
        if line and (text := json.loads(line.removeprefix("data: "))["choices"][0]["text"]):
            return str(text)
    raise AssertionError("the stream has ended")


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
    prompt = next(letter for letter in string.ascii_lowercase if _goes_on(url, person, letter))
    body = {"model": "tiny", "prompt": prompt, "max_tokens": LONG // 2, "temperature": 0, "stream": True}
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
