"""The whole loop with nothing but the official client: a real API server, a real broker, a real worker, a real (tiny)
model with a chat template. From a file on to text in the voice, and what is asked twice is done once."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from storage import schema
from storage.store import Storage
from tests.app.api.people import join
from tests.conftest import sqlite_config
from tests.end_to_end.test_worker import COMMAND, OPTIONS, wait_until
from tests.end_to_end.test_worker import pieces as pieces_about
from tests.servers import Valkey
from tests.tiny_model import save_tiny

pytestmark = pytest.mark.timeout(240)

SERVER = (sys.executable, "-m", "gunicorn", "-c", "python:app.api.server", "app.api.factory:create_app()")
MODEL = "tiny"
TRAINING = "".join(
    json.dumps({"messages": [{"role": "user", "content": "Go on."}, {"role": "assistant", "content": piece}]}) + "\n"
    for piece in pieces_about("sealing wax")
).encode()


@dataclass(frozen=True)
class Installation:
    """Where a client finds it, and a key of somebody's."""

    url: str
    key: str
    logs: Path


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory, valkey: Valkey, master_key: bytes) -> Iterator[Installation]:
    """One API process and one worker on a database, a key store, a broker and a cache."""
    folder = tmp_path_factory.mktemp("installation")
    config = sqlite_config(folder, valkey.cache_url, master_key)
    schema.upgrade(config)
    storage = Storage.open(config)
    key = join(storage).key
    storage.close()
    environment = os.environ | {
        "IDIOLECT_DATABASE_URL": config.database_url,
        "IDIOLECT_KEY_STORE_URL": config.key_store_url,
        "IDIOLECT_CACHE_URL": config.cache_url,
        "IDIOLECT_RATE_LIMIT_URL": config.cache_url,
        "IDIOLECT_MASTER_KEY": config.master_key.hex(),
        "IDIOLECT_BROKER_URL": valkey.broker_url,
        "IDIOLECT_BASE_MODEL": str(save_tiny("llama", folder / MODEL, chat=True)),
        "IDIOLECT_DEVICE": "cpu",
        "IDIOLECT_NUM_THREADS": "1",
        "IDIOLECT_NUM_VIRTUAL_TOKENS": "8",
        "IDIOLECT_MAX_STEPS": "400",
    }
    port = free_port()
    commands = {"api": (*SERVER, "--bind", f"127.0.0.1:{port}"), "worker": (*COMMAND, *OPTIONS)}
    running = []
    for name, command in commands.items():
        with (folder / f"{name}.log").open("wb") as log:
            running.append(subprocess.Popen(command, env=environment, stdout=log, stderr=log))
    try:
        url = f"http://127.0.0.1:{port}"
        wait_until(lambda: is_up(url), "the API's start")
        yield Installation(url, key, folder)
    finally:
        for process in running:
            process.terminate()
        for process in running:
            process.wait(30)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def is_up(url: str) -> bool:
    try:
        return httpx.get(f"{url}/healthz").status_code == 200
    except httpx.TransportError:
        return False


def test_from_a_file_to_text_in_the_voice(installation: Installation) -> None:
    with openai.OpenAI(base_url=f"{installation.url}/v1", api_key=installation.key) as client:
        assert [model.id for model in client.models.list() if not model.id.startswith("voice-")] == [MODEL]
        once: dict[str, Any] = {"extra_headers": {"Idempotency-Key": "letters"}}
        file = client.files.create(file=("letters.jsonl", TRAINING), purpose="fine-tune")
        job = client.fine_tuning.jobs.create(training_file=file.id, model=MODEL, suffix="Letters", **once)
        assert client.fine_tuning.jobs.create(training_file=file.id, model=MODEL, suffix="Letters", **once) == job
        jobs = client.fine_tuning.jobs
        wait_until(lambda: jobs.retrieve(job.id).status not in ("queued", "running"), "the job's end", seconds=180)
        done = jobs.retrieve(job.id)
        assert (done.status, done.error) == ("succeeded", None)
        assert [event.message for event in jobs.list_events(job.id, limit=1).data] == ["Published."]
        (checkpoint,) = jobs.checkpoints.list(job.id)
        voice = done.fine_tuned_model
        assert voice is not None
        assert checkpoint.fine_tuned_model_checkpoint == f"{voice}@1"
        assert voice in [model.id for model in client.models.list()]
        said = client.completions.create(model=voice, prompt="Piece 7 of ", max_tokens=40, temperature=0)
        assert said.to_dict()["idiolect"] == {"voice": voice, "version": 1, "strength": 1.0}
        plain = client.completions.create(model=MODEL, prompt="Piece 7 of ", max_tokens=40, temperature=0)
        assert said.choices[0].text != plain.choices[0].text
        asked: Any = {"model": voice, "messages": [{"role": "user", "content": "Go on."}], "temperature": 0}
        answered = client.chat.completions.create(**asked, max_completion_tokens=20)
        pieces = client.chat.completions.create(**asked, max_completion_tokens=20, stream=True)
        streamed = "".join(piece.choices[0].delta.content or "" for piece in pieces)
        assert streamed == answered.choices[0].message.content
        assert answered.to_dict()["idiolect"] == {"voice": voice, "version": 1, "strength": 1.0}
        again = jobs.create(training_file=file.id, model=voice)
        assert jobs.cancel(again.id).status in ("queued", "running", "cancelled")
        wait_until(lambda: jobs.retrieve(again.id).status == "cancelled", "the cancel")
        assert [one.id for one in jobs.list()] == [again.id, job.id]
        client.files.delete(file.id)


def test_no_log_holds_a_word_of_it(installation: Installation) -> None:
    for name in ("api.log", "worker.log"):
        told = (installation.logs / name).read_text(errors="replace").lower()
        assert told
        assert [word for word in ("sealing wax", "go on.", "letters", installation.key) if word in told] == []
        assert "traceback" not in told
