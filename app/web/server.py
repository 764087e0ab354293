"""gunicorn's settings for the web role: python -m gunicorn -c python:app.web.server "app.web.factory:create_app()".

Few processes with many threads, since every relayed request and every page that watches a training holds one; how many
of each stands in app.config. What had better be mended is said once, before anything listens.
"""

import sys
from typing import Any

from app.config import WEB_PROCESSES, WEB_THREADS, AppConfig
from app.errors import AppError

CANNOT_START = 2

worker_class = "app.connections.Worker"
sendfile = False  # it would wait by the kernel's clock, not by ours
workers = WEB_PROCESSES
threads = WEB_THREADS
control_socket_disable = True


def on_starting(_server: Any) -> None:
    """In the master: refuse what can't work, warn of what works and is not safe."""
    try:
        caution = AppConfig.from_env().caution
    except AppError as wrong:
        print(f"idiolect web: {wrong}", file=sys.stderr, flush=True)
        raise SystemExit(CANNOT_START) from None
    if caution:
        print(f"idiolect web: warning: {caution}", file=sys.stderr, flush=True)
