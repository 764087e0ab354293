"""Starts the whole platform on one machine, keeps it alive and ends it. Loads no torch, holds no request.

One thread: the caller starts, then calls `tend()` now and then, then stops. Processes are children of that thread,
because the kernel's parent-death signal is bound to it.
"""

import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from app.config import AppConfig
from app.embedded.addresses import Addresses
from app.embedded.config import EmbeddedConfig
from app.embedded.data_folder import DataFolder
from app.embedded.errors import CannotStart
from app.embedded.kept_part import KeptPart, stop_all
from app.embedded.part import Part
from app.embedded.redis_servers import broker_part, cache_part
from app.embedded.roles import api_part, role_environment, web_part, worker_part
from app.embedded.stored_state import StoredState
from storage.errors import WrongMasterKey
from tuning.config import PostConfig, TuningConfig

ROLE_PATIENCE_S = 5.0  # to end requests and the step of a run
SERVER_PATIENCE_S = 2.0  # to write the queue to disk
NOTE_EVERY_S = 20.0  # what a slow start is waiting for


class Supervisor:
    """The platform of one data folder, as a context manager: leaving it stops everything.

    report: takes one sentence of progress at a time. After `start()`, `url` is its address on this machine and
    `public_url` where people reach it: the same, unless IDIOLECT_PUBLIC_URL names a proxy.
    """

    def __init__(self, config: EmbeddedConfig, report: Callable[[str], None]) -> None:
        self._config = config
        self._report = report
        self._folder: DataFolder | None = None
        self._addresses: Addresses | None = None
        self._state: StoredState | None = None
        self._servers: list[KeptPart] = []
        self._roles: list[KeptPart] = []
        self.url = self.public_url = ""
        self.new_keys: Path | None = None  # the folder of the keys, when this start made the master key

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Check everything, then start everything and wait until all of it answers.

        Raises CannotStart, or a package's ConfigurationError or WrongMasterKey, before any process is started;
        PlatformFailed when a part ends instead of answering. What was begun stays for `stop()` to undo.
        """
        if caution := AppConfig.from_env(self._config.environment).caution:
            self._report(f"warning: {caution}")
        TuningConfig.from_env(self._config.environment)
        PostConfig.from_env(self._config.environment)
        folder = self._folder = DataFolder.open(self._config.data_dir)
        addresses = self._addresses = Addresses(self._config.port)
        environment = role_environment(self._config, folder, addresses)
        if environment.get("IDIOLECT_MASTER_KEY_FILE") == str(folder.master_key) and folder.ensure_master_key():
            self.new_keys = folder.keys
        state = self._state = _prepared_state(environment, folder)
        logs = folder.logs
        broker_socket, cache_socket = addresses.sockets / "broker.sock", addresses.sockets / "cache.sock"
        self._launch(
            self._servers,
            broker_part(broker_socket, folder.broker, logs / "broker.log", folder.lock, environment),
            cache_part(cache_socket, logs / "cache.log", environment),
        )
        self._launch(
            self._roles,
            api_part(addresses, logs / "api.log", environment),
            web_part(addresses, logs / "web.log", environment),
            worker_part(logs / "worker.log", environment, state.a_worker_has_reported),
        )
        self.url, self.public_url = addresses.web_url, environment["IDIOLECT_PUBLIC_URL"]

    def tend(self) -> None:
        """Start again what has died and whose pause is over. Raises PlatformFailed when a part keeps dying."""
        now = time.monotonic()
        for part in (*self._servers, *self._roles):
            if sentence := part.tend(now):
                self._report(sentence)

    def stop(self) -> None:
        """End every part in order, roles before servers, and give back ports, sockets and the data folder."""
        stop_all(self._roles, ROLE_PATIENCE_S)
        stop_all(self._servers, SERVER_PATIENCE_S)
        self._roles, self._servers = [], []
        if self._state:
            self._state.close()
        if self._addresses:
            self._addresses.close()
        if self._folder:
            self._folder.close()
        self._state = self._addresses = self._folder = None

    def sign_in_advice(self) -> str:
        """How the first administrator signs in, or where everybody does once there is one."""
        if self._state is None:
            raise RuntimeError("the platform has not been started")
        return self._state.sign_in_advice(self.public_url)

    def logs(self) -> list[Path]:
        """The log file of every part that was started."""
        return [kept.part.log for kept in (*self._servers, *self._roles)]

    def _launch(self, kept: list[KeptPart], *parts: Part) -> None:
        for part in parts:
            kept.append(KeptPart(part))
        self._await_health(kept)

    def _await_health(self, started: Iterable[KeptPart]) -> None:
        waiting = list(started)
        note_at = time.monotonic() + NOTE_EVERY_S
        while waiting:
            for kept in waiting:
                if kept.has_ended():
                    raise kept.ended_too_early()
            waiting = [kept for kept in waiting if not kept.part.is_healthy()]
            if waiting and time.monotonic() > note_at:
                self._report(
                    "still starting: " + ", ".join(f"{kept.part.name} (log: {kept.part.log})" for kept in waiting)
                )
                note_at = time.monotonic() + NOTE_EVERY_S
            time.sleep(0.1)


def _prepared_state(environment: Mapping[str, str], folder: DataFolder) -> StoredState:
    try:
        return StoredState.prepare(environment)
    except WrongMasterKey as wrong:
        if environment.get("IDIOLECT_MASTER_KEY_FILE") != str(folder.master_key):
            raise
        raise CannotStart(
            f"{folder.master_key} is not the key that {folder.key_store} was made with; nothing was touched. "
            "Put the right key back from your backup"
        ) from wrong
