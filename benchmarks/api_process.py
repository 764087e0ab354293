"""The API role as it is run, on a data folder of its own: gunicorn, SQLite files, a cache server, the configured model.

Owns starting and stopping them, and what can be seen of the process from outside: its log, its memory and its processor
time. Knows nothing of what is asked of it.
"""

import json
import os
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from app.embedded.addresses import Addresses
from app.embedded.redis_servers import cache_part
from app.embedded.roles import api_part
from benchmarks.role_process import config_in, start, variables
from benchmarks.worker_process import worker_environment
from storage import schema
from storage.store import Storage

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
            config = config_in(folder, addresses.sockets / "cache.sock")
            schema.upgrade(config)
            environment = worker_environment(allocator=False) | variables(config) | self._settings
            cache = cache_part(addresses.sockets / "cache.sock", folder / "cache.log", environment)
            start(opening, cache)
            self.storage = Storage.open(config)
            opening.callback(self.storage.close)
            api = api_part(addresses, folder / "api.log", environment)
            self._log = api.log
            self._master = start(opening, api).process.pid
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


def _completions(log: bytes) -> Iterator[Seen]:
    for line in log.splitlines():
        if not line.startswith(b"{"):
            continue
        told = json.loads(line)
        if told.get("route") == "/v1/completions":
            yield Seen(told.get("voice"), told.get("prefix_from"), told["status"])
