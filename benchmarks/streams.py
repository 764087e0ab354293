"""`python -m benchmarks.streams`: how long the health check takes while one API process serves a hundred open streams.

The API role as it is run, with the base model of IDIOLECT_BASE_MODEL and a hundred people with a voice each. A hundred
readers in a process of their own ask for a long answer in one of the voices each, read it to its end and ask again.
Meanwhile GET /healthz is asked for on a new connection every --every seconds, as a watchdog does, and before that for a
while with nobody else there. By default all streams decode at once (--rows); with fewer rows the rest wait, open.

The readers, and whatever else runs, take their share of the same cores: run it on a quiet machine. Progress on stderr;
the last line on stdout is one JSON object.
"""

import argparse
import http.client
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch

from app.config import API_EVENT_STREAMS, API_THREADS
from benchmarks.api_process import ApiProcess
from benchmarks.registered_users import register, shared_prefix
from benchmarks.statistics import percentile
from benchmarks.stream_readers import BEGUN
from tuning.base_model import load_base_model
from tuning.config import TuningConfig

READERS = (sys.executable, "-m", "benchmarks.stream_readers")
MOST = API_THREADS - API_EVENT_STREAMS - 1  # answers that a process may have open


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and print one JSON object."""
    options = _options(arguments)
    config = TuningConfig.from_env()
    base = load_base_model(config)
    name, stored = base.name, shared_prefix(base, config)
    configuration = {"base_model": name, "device": str(base.device), "num_virtual_tokens": stored.num_virtual_tokens}
    del base
    torch.cuda.empty_cache()
    rows = options.rows or options.streams
    settings = {"IDIOLECT_MAX_NUM_SEQS": str(rows), "IDIOLECT_MAX_WAITING": str(MOST - rows)}
    with ApiProcess(settings) as api:
        people = register(api.storage, stored, options.streams, options.streams)
        alone = _probe(api, options.quiet_seconds, options.every)
        body = {"prompt": options.prompt, "max_tokens": options.max_tokens, "stream": True}
        asked = [{"key": person.key, "body": body | {"model": person.voice_id}} for person in people]
        with _readers({"host": api.host, "port": api.port, "asked": asked}) as readers:
            print(f"{options.streams} streams are open; measuring", file=sys.stderr, flush=True)
            busy = _probe(api, options.seconds, options.every)
            readings = _stopped(readers)
    printed = {f"health_p{rank}_ms": round(percentile(busy, rank), 2) for rank in (50, 95, 99)} | {
        "health_max_ms": round(max(busy), 2),
        "health_alone_p99_ms": round(percentile(alone, 99), 2),
        "streams": options.streams,
        "rows": rows,
        "probes": len(busy),
        "tokens_per_second": round(readings["chunks"] / options.seconds, 1),
        "streams_read_to_the_end": readings["ended_well"],
        "refused": readings["refused"],
        "load_average": os.getloadavg()[0],
        "configuration": configuration | {"cores": os.cpu_count(), **vars(options)},
    }
    print(json.dumps(printed))


def _ask_for_health(api: ApiProcess) -> None:
    connection = http.client.HTTPConnection(api.host, api.port, timeout=60)
    try:
        connection.request("GET", "/healthz")
        answer = connection.getresponse()
        answer.read()
    finally:
        connection.close()
    if answer.status != http.client.OK:
        raise SystemExit(f"the health check answered {answer.status}")


def _probe(api: ApiProcess, seconds: float, every: float) -> list[float]:
    """Milliseconds of each look at the health check."""
    until, took = time.monotonic() + seconds, []
    while (began := time.monotonic()) < until:
        _ask_for_health(api)
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
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--streams", type=int, default=100, help=f"open at once; {MOST} at most")
    parser.add_argument("--rows", type=int, default=0, help="of them decode at once; 0: all")
    parser.add_argument("--seconds", type=float, default=30.0, help="of measuring")
    parser.add_argument("--quiet-seconds", type=float, default=3.0, help="of measuring before, with no stream")
    parser.add_argument("--every", type=float, default=0.05, help="seconds between two looks")
    parser.add_argument("--max-tokens", type=int, default=512, help="of one answer")
    parser.add_argument("--prompt", default="On the way home")
    options = parser.parse_args(arguments)
    if not 1 <= options.streams <= MOST or not 0 <= options.rows <= options.streams:
        parser.error(f"--streams must be from 1 to {MOST}, --rows no more than they")
    return options


if __name__ == "__main__":
    main()
