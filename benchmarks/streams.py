"""`python -m benchmarks.streams`: how long the health check takes while one API process serves a hundred open streams.

A real API process (gunicorn, SQLite, the base model of IDIOLECT_BASE_MODEL) with a hundred readers in a process of
their own, each of which asks for a long answer, reads it to its end and asks again. Meanwhile GET /healthz is asked for
on a new connection every --every seconds, as a watchdog does, and before that for a while with nobody else there. By
default all streams decode at once (--rows); with fewer rows the rest wait, open.

The readers, and whatever else runs, take their share of the same cores: run it on a quiet machine. Progress on stderr;
the last line on stdout is one JSON object.
"""

import argparse
import http.client
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from app.config import API_EVENT_STREAMS, API_THREADS
from app.seats import MAX_GENERATIONS
from benchmarks.stream_readers import BEGUN
from benchmarks.worker_process import worker_environment
from storage import api_keys, schema, users
from storage.config import MASTER_KEY_BYTES, StorageConfig
from storage.store import Storage

SERVER = (sys.executable, "-m", "gunicorn", "--config", "python:app.api.server", "app.api.factory:create_app()")
READERS = (sys.executable, "-m", "benchmarks.stream_readers")
HOST = "127.0.0.1"
A_PERSONS_STREAMS = MAX_GENERATIONS - 1  # one seat to spare: a stream that has ended gives its seat back a moment later
START_S = 600.0
NO_LIMIT = "1000000000"


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and print one JSON object."""
    options = _options(arguments)
    with tempfile.TemporaryDirectory() as folder:
        config = _storage(Path(folder))
        keys = _keys(config, -(-options.streams // A_PERSONS_STREAMS))
        with _server(config, options) as port:
            model = _health(port)["model"]
            quiet = _probe(port, options.quiet_seconds, options.every)
            asked = {
                "host": HOST,
                "port": port,
                "keys": [keys[number // A_PERSONS_STREAMS] for number in range(options.streams)],
                "body": {"model": model, "prompt": options.prompt, "max_tokens": options.max_tokens, "stream": True},
            }
            with _readers(asked) as readers:
                print(f"{options.streams} streams are open; measuring", file=sys.stderr, flush=True)
                busy = _probe(port, options.seconds, options.every)
                readings = _stopped(readers)
    percentiles = {f"health_p{rank}_ms": round(float(np.percentile(busy, rank)), 2) for rank in (50, 95, 99)}
    printed = percentiles | {
        "health_max_ms": round(max(busy), 2),
        "health_alone_p99_ms": round(float(np.percentile(quiet, 99)), 2),
        "streams": options.streams,
        "rows": options.rows or options.streams,
        "probes": len(busy),
        "tokens_per_second": round(readings["chunks"] / options.seconds, 1),
        "streams_read_to_the_end": readings["ended_well"],
        "refused": readings["refused"],
        "load_average": os.getloadavg()[0],
        "configuration": {"base_model": model, "cores": os.cpu_count(), **vars(options)},
    }
    print(json.dumps(printed))


def _storage(folder: Path) -> StorageConfig:
    """Databases of their own, and a cache that nobody serves."""
    config = StorageConfig(
        database_url=f"sqlite:///{folder}/data.db",
        key_store_url=f"sqlite:///{folder}/keys.db",
        cache_url=f"unix://{folder}/nobody.sock",
        master_key=os.urandom(MASTER_KEY_BYTES),
    )
    schema.upgrade(config)
    return config


def _keys(config: StorageConfig, count: int) -> list[str]:
    """One key each of so many people."""
    storage, keys = Storage.open(config), []
    for number in range(count):
        with storage.database.session() as session:
            email, password = f"reader{number}@example.org", os.urandom(16).hex()
            user = users.sign_up(session, storage.keys, email=email, password=password)
            keys.append(api_keys.create_key(session, user.id, "streams", ["generate"])[1])
    storage.close()
    return keys


@contextmanager
def _server(config: StorageConfig, options: argparse.Namespace) -> Iterator[int]:
    """The port of an API process, until the block ends."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port = int(probe.getsockname()[1])
    rows = options.rows or options.streams
    environment = worker_environment(allocator=False) | {  # its threads wait as every role's do
        "IDIOLECT_DATABASE_URL": config.database_url,
        "IDIOLECT_KEY_STORE_URL": config.key_store_url,
        "IDIOLECT_CACHE_URL": config.cache_url,
        "IDIOLECT_MASTER_KEY": config.master_key.hex(),
        "IDIOLECT_MAX_NUM_SEQS": str(rows),
        "IDIOLECT_MAX_WAITING": str(API_THREADS - API_EVENT_STREAMS - 1 - rows),
        "IDIOLECT_RATE_LIMIT_PER_MINUTE": NO_LIMIT,
        "IDIOLECT_TOKEN_LIMIT_PER_MINUTE": NO_LIMIT,
    }
    command = (*SERVER, "--bind", f"{HOST}:{port}")
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    try:
        _await_health(port, process)
        yield port
    finally:
        process.terminate()
        process.wait()


def _await_health(port: int, process: "subprocess.Popen[bytes]") -> None:
    until = time.monotonic() + START_S
    while time.monotonic() < until and process.poll() is None:
        try:
            _health(port)
            return
        except OSError:
            time.sleep(0.2)
    raise SystemExit("the API process did not start; its reason stands above")


def _health(port: int) -> dict[str, Any]:
    connection = http.client.HTTPConnection(HOST, port, timeout=60)
    try:
        connection.request("GET", "/healthz")
        answer = connection.getresponse()
        told = answer.read()
    finally:
        connection.close()
    if answer.status != http.client.OK:
        raise SystemExit(f"the health check answered {answer.status}")
    health: dict[str, Any] = json.loads(told)
    return health


def _probe(port: int, seconds: float, every: float) -> list[float]:
    """Milliseconds of each look at the health check."""
    until, took = time.monotonic() + seconds, []
    while (began := time.monotonic()) < until:
        _health(port)
        took.append((time.monotonic() - began) * 1000)
        time.sleep(max(0.0, began + every - time.monotonic()))
    return took


@contextmanager
def _readers(asked: dict[str, Any]) -> Iterator["subprocess.Popen[str]"]:
    """The readers' process, once every stream has had its first chunk."""
    process = subprocess.Popen(READERS, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdin.write(json.dumps(asked) + "\n")
        process.stdin.flush()
        if process.stdout.readline().strip() != BEGUN:
            raise SystemExit("the readers could not open their streams")
        yield process
    finally:
        process.kill()
        process.wait()


def _stopped(readers: "subprocess.Popen[str]") -> dict[str, Any]:
    told, _ = readers.communicate("stop\n", timeout=60)
    readings: dict[str, Any] = json.loads(told)
    return readings


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    most = API_THREADS - API_EVENT_STREAMS - 1
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--streams", type=int, default=100, help=f"open at once; {most} at most")
    parser.add_argument("--rows", type=int, default=0, help="of them decode at once; 0: all")
    parser.add_argument("--seconds", type=float, default=30.0, help="of measuring")
    parser.add_argument("--quiet-seconds", type=float, default=3.0, help="of measuring before, with no stream")
    parser.add_argument("--every", type=float, default=0.05, help="seconds between two looks")
    parser.add_argument("--max-tokens", type=int, default=512, help="of one answer")
    parser.add_argument("--prompt", default="On the way home")
    options = parser.parse_args(arguments)
    if not 1 <= options.streams <= most or not 0 <= options.rows <= options.streams:
        parser.error(f"--streams must be from 1 to {most}, --rows no more than they")
    return options


if __name__ == "__main__":
    main()
