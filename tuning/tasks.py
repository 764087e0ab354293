"""The one task of the queue. Holds no logic. Torch is loaded in the pool's children alone, from their beginning on."""

import logging
import threading
from collections.abc import Callable
from typing import Any

from celery.signals import worker_process_init

from tuning.celery_app import TUNE_PREFIX, celery_app

logger = logging.getLogger(__name__)


@celery_app.task(name=TUNE_PREFIX)
def tune_prefix(run_id: str) -> None:
    """Train and publish what a run asks for. Delivered twice or too late, it does nothing."""
    _load_job()(run_id)


@worker_process_init.connect
def warm_up(**_: Any) -> None:
    """Begin to load torch beside the new child's own start, so that its first run need not wait for all of it."""
    threading.Thread(target=_warm_up, name="warm-up", daemon=True).start()


def _warm_up() -> None:
    _load_job()
    logger.info("ready to train")


def _load_job() -> Callable[[str], None]:
    from tuning.tuning_job import perform

    return perform
