"""The tasks of the queue. They hold no logic. Torch is loaded in the pool's children alone, from their beginning on."""

import logging
import threading
from types import ModuleType
from typing import Any

from celery.signals import worker_process_init

from tuning.celery_app import REPORT_VOICE, TUNE_PREFIX, celery_app

logger = logging.getLogger(__name__)


@celery_app.task(name=TUNE_PREFIX)
def tune_prefix(run_id: str) -> None:
    """Train and publish what a run asks for. Delivered twice or too late, it does nothing."""
    _load_job().perform(run_id)


@celery_app.task(name=REPORT_VOICE, acks_late=False)
def report_voice(run_id: str) -> None:
    """Measure what a run has published. Delivered once at most: a report that ends its worker must not end the next."""
    _load_job().perform_report(run_id)


@worker_process_init.connect
def warm_up(**_: Any) -> None:
    """Begin to load torch beside the new child's own start, so that its first run need not wait for all of it."""
    threading.Thread(target=_warm_up, name="warm-up", daemon=True).start()


def _warm_up() -> None:
    _load_job()
    logger.info("ready to train")


def _load_job() -> ModuleType:
    from tuning import tuning_job

    return tuning_job
