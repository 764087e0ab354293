"""The queue: the Celery app and the two messages that are sent through it, each a run's id.

Importing it reads no setting, opens no connection and never loads torch: the web role imports it too. Knows nothing of
what a run does; the database has the truth, and a message lost or sent twice changes nothing (see tuning.sweeper).
"""

import logging
from typing import Any

from celery import Celery
from kombu.exceptions import OperationalError
from redis import RedisError

from tuning.config import TuningConfig

TUNE_PREFIX = "tuning.tune_prefix"
REPORT_VOICE = "tuning.report_voice"
QUEUE = "tuning"
_BROKER_TIMEOUT_S = 1.0

logger = logging.getLogger(__name__)


def _settings() -> dict[str, Any]:
    """Celery's settings, read from the environment at the first use of the queue."""
    config = TuningConfig.from_env()
    return {
        "broker_url": _celery_url(config.broker_url),
        "broker_connection_timeout": _BROKER_TIMEOUT_S,
        "broker_connection_retry_on_startup": True,
        "broker_connection_max_retries": None,  # a worker waits for its broker for ever
        "broker_transport_options": _transport_options(config),
        "task_default_queue": QUEUE,
        "task_serializer": "json",
        "accept_content": ["json"],
        "task_ignore_result": True,
        "task_publish_retry": False,
        "task_acks_late": True,
        "task_reject_on_worker_lost": True,
        "worker_prefetch_multiplier": 1,
        "worker_concurrency": 1,
        # Off: after a lost connection it can leave an idle worker with nothing allowed to be fetched.
        "worker_enable_prefetch_count_reduction": False,
        "worker_enable_remote_control": False,
    }


def _transport_options(config: TuningConfig) -> dict[str, Any]:
    """A message whose worker went silent comes back after one lease; should the run still be alive, its claim refuses
    the second delivery."""
    return {
        "visibility_timeout": max(1, int(config.lease_s)),
        "unacked_restore_interval": min(2.0, config.heartbeat_s),
        "unacked_restore_throttle": 1,
        "socket_timeout": _BROKER_TIMEOUT_S,
        "socket_connect_timeout": _BROKER_TIMEOUT_S,
        "health_check_interval": 10,
        "max_retries": 0,
    }


def _celery_url(url: str) -> str:
    """Celery's name for a unix socket is redis+socket."""
    return f"redis+socket://{url.removeprefix('unix://')}" if url.startswith("unix://") else url


celery_app = Celery("idiolect", include=["tuning.tasks", "tuning.sweeper", "tuning.postman", "tuning.pool_child"])
celery_app.add_defaults(_settings)


def enqueue_tuning(run_id: str) -> bool:
    """Send a run's id to the workers; the task carries the same id. False when no broker took it within about a second
    or none is set: the run's outbox row keeps it, and the sweeper sends it later."""
    if sent := _send(TUNE_PREFIX, run_id, task_id=run_id):
        return sent
    if celery_app.conf.broker_url:
        logger.warning("run %s waits in the outbox", run_id)
    return False


def enqueue_report(run_id: str) -> bool:
    """Ask for the report of what a run has published, behind all that waits now. False as above; nothing keeps it."""
    return _send(REPORT_VOICE, run_id, task_id=f"report-{run_id}")


def _send(task: str, run_id: str, *, task_id: str) -> bool:
    if not celery_app.conf.broker_url:
        return False
    try:
        celery_app.send_task(task, args=[run_id], task_id=task_id, retry=False)
    except (OperationalError, OSError) as unreachable:
        logger.warning("run %s: the broker can't be reached (%s)", run_id, type(unreachable).__name__)
        return False
    return True


def queue_length() -> int | None:
    """Messages that wait for a worker; None where the broker does not answer."""
    try:
        with celery_app.connection_for_read() as connection:
            channel: Any = connection.default_channel
            return int(channel.queue_declare(queue=QUEUE).message_count)
    except (OperationalError, RedisError, OSError):
        return None
