"""gunicorn's settings for the API role: python -m gunicorn -c python:app.api.server "app.api.factory:create_app()".

One process (one model copy, one engine) with many threads, since every open stream holds one. What is wrong with the
settings, the keys or the database is said in one line before any worker starts. On SIGTERM and SIGINT open streams end
at once, with an error event, instead of holding the server up for the graceful timeout. A process whose engine broke
ends itself, and the master starts another.
"""

import os
import signal
import sys
from threading import Thread
from types import FrameType
from typing import TYPE_CHECKING, Any

from app.config import API_THREADS, AppConfig
from app.errors import AppError
from storage.config import StorageConfig
from storage.errors import StorageError
from storage.schema import require_current
from storage.store import Storage
from tuning.config import TuningConfig
from tuning.errors import TuningError

if TYPE_CHECKING:  # the master, which reads these settings, forks: it must not load torch
    from app.api.services import Services

CANNOT_START = 2

worker_class = "app.connections.Worker"
sendfile = False  # it would wait by the kernel's clock, not by ours
workers = 1
threads = API_THREADS
timeout = 900  # a large model may take minutes to load, and a worker that loads gives no sign of life
graceful_timeout = 10
keepalive = 5
loglevel = "warning"
control_socket_disable = True


def on_starting(_server: Any) -> None:
    """In the master, before anything listens: check all that can be checked without the model."""
    try:
        AppConfig.from_env()
        TuningConfig.from_env()
        config = StorageConfig.from_env()
        require_current(config)
        Storage.open(config).close()
    except (AppError, StorageError, TuningError) as wrong:
        print(f"idiolect api: {' '.join(str(wrong).split())}", file=sys.stderr, flush=True)
        raise SystemExit(CANNOT_START) from None


def post_worker_init(worker: Any) -> None:
    """The app is loaded: from now on SIGTERM also ends the open streams."""

    def stop(number: int, frame: FrameType | None) -> None:
        worker.handle_exit(number, frame)
        _end_streams(worker)

    signal.signal(signal.SIGTERM, stop)
    services: Services = worker.wsgi.extensions["idiolect"]
    services.engine.when_broken(lambda: os.kill(os.getpid(), signal.SIGTERM))


def worker_int(worker: Any) -> None:
    """SIGINT or SIGQUIT: the same."""
    _end_streams(worker)


def _end_streams(worker: Any) -> None:
    """Not in the signal handler itself, which must not wait for the engine's step in hand."""
    services: Services = worker.wsgi.extensions["idiolect"]
    services.stopping.set()
    Thread(target=services.engine.close, name="stopping").start()
