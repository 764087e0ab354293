"""The API role as it is run, on a data folder of its own: gunicorn, SQLite files, a cache server, the configured model.

Owns starting and stopping them, and what can be seen of the process from outside: its log, its memory and its processor
time. Knows nothing of what is asked of it.
"""

import json
import os
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from app.embedded.addresses import Addresses
from app.embedded.log_files import last_lines
from app.embedded.part import Part, RunningPart
from app.embedded.redis_servers import cache_part
from app.embedded.roles import api_part
from benchmarks.worker_process import worker_environment
from storage import schema
from storage.config import StorageConfig
from storage.store import Storage

START_S, STOP_S = 300.0, 15.0
UNLIMITED = "1000000"  # requests of one key in a minute, and tokens of one account
_KIB = 1024


@dataclass(frozen=True)
class Seen:
    """One request in the log. voice: None for the base model; prefix_from: memory, cache or database."""

    voice: str | None
    prefix_from: str | None
    status: int


class ApiProcess:
    """A context manager: the API answers at `host` and `port`, and `storage` is opened here on the same data.

    settings: further environment variables of the role.
    """

    def __init__(self, settings: dict[str, str] | None = None) -> None:
        self._settings = settings or {}
        self._open = ExitStack()
        self._log_read = 0

    def __enter__(self) -> Self:
        with ExitStack() as opening:
            folder = Path(tempfile.mkdtemp(prefix="idiolect-benchmark-"))
            opening.callback(shutil.rmtree, folder, ignore_errors=True)
            addresses = Addresses(0)
            opening.callback(addresses.close)
            self.host, self.port = addresses.api.getsockname()
            config = _config(folder, addresses.sockets / "cache.sock")
            schema.upgrade(config)
            environment = worker_environment(allocator=False) | _variables(config) | self._settings
            cache = cache_part(addresses.sockets / "cache.sock", folder / "cache.log", environment)
            _start(opening, cache)
            self.storage = Storage.open(config)
            opening.callback(self.storage.close)
            api = api_part(addresses, folder / "api.log", environment)
            self._log = api.log
            self._master = _start(opening, api).process.pid
            self._open = opening.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            failures = [line for line in self._log.read_text(encoding="utf-8").splitlines() if '"failure"' in line]
            print("\n".join(failures[-3:]), file=sys.stderr)
        self._open.close()

    def seen(self) -> list[Seen]:
        """The completions in the log since this was last asked."""
        with self._log.open("rb") as log:
            log.seek(self._log_read)
            lines = log.read()
        whole = lines[: lines.rfind(b"\n") + 1]
        self._log_read += len(whole)
        return list(_completions(whole))

    def origins(self) -> Counter[str]:
        """How many of those found their prefix where."""
        return Counter(one.prefix_from for one in self.seen() if one.prefix_from is not None)

    def memory_mb(self) -> float:
        """Resident, of the process that has the model."""
        status = Path(f"/proc/{self._worker}/status").read_text(encoding="ascii")
        (resident,) = (line.split()[1] for line in status.splitlines() if line.startswith("VmRSS:"))
        return round(int(resident) / _KIB, 1)

    def cpu_seconds(self) -> float:
        """Of the process that has the model, since its start."""
        fields = Path(f"/proc/{self._worker}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    @property
    def _worker(self) -> int:
        (child,) = Path(f"/proc/{self._master}/task/{self._master}/children").read_text(encoding="ascii").split()
        return int(child)


def _config(folder: Path, cache: Path) -> StorageConfig:
    return StorageConfig(
        database_url=f"sqlite:///{folder / 'data.db'}",
        key_store_url=f"sqlite:///{folder / 'keys.db'}",
        cache_url=f"unix://{cache}",
        master_key=os.urandom(32),
    )


def _variables(config: StorageConfig) -> dict[str, str]:
    return {
        "IDIOLECT_DATABASE_URL": config.database_url,
        "IDIOLECT_KEY_STORE_URL": config.key_store_url,
        "IDIOLECT_CACHE_URL": config.cache_url,
        "IDIOLECT_RATE_LIMIT_URL": config.cache_url,
        "IDIOLECT_RATE_LIMIT_PER_MINUTE": UNLIMITED,
        "IDIOLECT_TOKEN_LIMIT_PER_MINUTE": UNLIMITED,
        "IDIOLECT_MASTER_KEY": config.master_key.hex(),
        "PYTHONUNBUFFERED": "1",
    }


def _start(opening: ExitStack, part: Part) -> RunningPart:
    """Start it, wait until it answers, and stop it at the end."""
    running = RunningPart(part)
    opening.callback(_stop, running)
    until = time.monotonic() + START_S
    while not part.is_healthy():
        if running.has_ended() or time.monotonic() > until:
            print(last_lines(part.log), file=sys.stderr)
            raise SystemExit(f"the {part.name} did not start; the end of its log is above")
        time.sleep(0.1)
    return running


def _stop(running: RunningPart) -> None:
    running.ask_to_stop()
    until = time.monotonic() + STOP_S
    while not running.has_ended() and time.monotonic() < until:
        time.sleep(0.05)
    running.sweep()


def _completions(log: bytes) -> Iterator[Seen]:
    for line in log.splitlines():
        if not line.startswith(b"{"):
            continue
        told = json.loads(line)
        if told.get("route") == "/v1/completions":
            yield Seen(told.get("voice"), told.get("prefix_from"), told["status"])
