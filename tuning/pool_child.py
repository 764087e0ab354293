"""What a pool child owes the worker it belongs to: it ends when the worker is gone, and learns when the worker is about
to stop. Knows nothing of runs, storage or torch."""

import logging
import mmap
import os
import socket
import threading
import time
from typing import Any

from celery.signals import worker_process_init, worker_shutting_down

LOOK_EVERY_S = 0.5

logger = logging.getLogger(__name__)
# One byte shared by the worker and the children forked from it. No lock: a child killed while holding one would hang
# the worker.
_stopping = mmap.mmap(-1, 1)


def is_worker_stopping() -> bool:
    """Whether the worker was asked to end: a run stops after its present step and is left to the next worker."""
    return bool(_stopping[0])


def worker_name(main_process: int) -> str:
    """The name under which the worker whose main process has this id claims runs and is listed."""
    return f"{socket.gethostname()}:{main_process}"


@worker_shutting_down.connect
def announce_stop(**_: Any) -> None:
    """Runs in the worker's main process, in its signal handler."""
    _stopping[0] = 1


@worker_process_init.connect
def watch_parent(**_: Any) -> None:
    """Runs in each new pool child. Without it, a child whose worker was killed would train on to the end."""
    threading.Thread(target=_end_with, args=(os.getppid(),), name="parent-watch", daemon=True).start()


def _end_with(parent: int) -> None:
    while os.getppid() == parent and parent != 1:
        time.sleep(LOOK_EVERY_S)
    logger.error("the worker of this pool child is gone: ending at once")
    os._exit(1)
