"""Sweeper: the timer that makes the queue's forgetfulness harmless. In every worker's main process it re-queues runs
whose worker went silent, sends what the outbox holds, gives the worker's own sign of life, deletes what was to be kept
for a while only, finishes erasures that were cut short, and ends a worker that has gone deaf. Loads no torch; knows
nothing of training."""

import logging
import os
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NoReturn

from celery import bootsteps
from celery.signals import celeryd_init
from celery.worker import state
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from storage import (
    clock,
    deliveries,
    guests,
    idempotency,
    latency,
    maintenance,
    outbox,
    password_links,
    run_claims,
    schema,
    tuning_runs,
    usage,
    users,
    workers,
)
from storage.config import StorageConfig
from storage.errors import NotFound, StorageError
from storage.models import CLAIMED_STATES
from storage.store import Storage
from tuning.celery_app import celery_app, enqueue_tuning, queue_length
from tuning.config import PostConfig, TuningConfig
from tuning.errors import ConfigurationError
from tuning.pool_child import worker_name

BATCH = 50
FORGOTTEN_AFTER_S = 3600.0
LONGEST_INTERVAL_S = 10.0
TIDY_EVERY_S = 600.0
DEAF_AFTER_LEASES = 2
_CANNOT = 2
_DEAF = 70

logger = logging.getLogger(__name__)


class Sweeper:
    """One worker's timer. `sweep` is one turn; `start` begins a turn every `every_s` seconds, until `stop`.

    on_deaf: called when messages wait, this worker has no run, and that has lasted for DEAF_AFTER_LEASES leases.
    """

    def __init__(self, storage: Storage, config: TuningConfig, worker: str, on_deaf: Callable[[], None]) -> None:
        self._storage, self._config, self._worker, self._on_deaf = storage, config, worker, on_deaf
        self.every_s = min(LONGEST_INTERVAL_S, config.lease_s / 12)
        self._tidied_at = -TIDY_EVERY_S
        self._idle_since: float | None = None  # since when messages have waited while this worker had no run
        self._ended = threading.Event()
        # Held during a turn and taken before a fork: no child begins life with a lock of this thread's held for ever.
        self._turn = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="sweeper", daemon=True)

    def start(self) -> None:
        """Begin the turns."""
        os.register_at_fork(
            before=self._turn.acquire, after_in_parent=self._turn.release, after_in_child=self._turn.release
        )
        self._thread.start()

    def stop(self) -> None:
        """End the turns and take the worker off the list."""
        self._ended.set()
        self._thread.join()
        with self._storage.database.session() as session:
            workers.forget(session, self._worker)
        self._storage.close()

    def sweep(self) -> None:
        """One turn. Storage that is away is logged, and met again at the next turn."""
        with self._turn:
            try:
                run_id, waiting = self._beat(), queue_length()
                self._expire_leases()
                if not self._is_maintained():
                    if waiting == 0:
                        self._remind()
                    self._empty_outbox()
                self._watch(waiting, run_id)
                self._tidy()
            except (SQLAlchemyError, StorageError) as away:
                logger.warning("a sweep was cut short (%s)", type(away).__name__)

    def _run(self) -> None:
        while not self._ended.is_set():
            self.sweep()
            self._ended.wait(self.every_s)

    def _beat(self) -> str | None:
        """Give the worker's sign of life and strike long dead ones off the list; the id of the run it is on."""
        with self._storage.database.session() as session:
            run_id = _claimed_by(session, self._worker)
            workers.beat(session, self._worker, run_id=run_id)
            for known in workers.list_workers(session):
                if clock.now() - known.last_seen_at > FORGOTTEN_AFTER_S:
                    workers.forget(session, known.name)
        return run_id

    def _expire_leases(self) -> None:
        with self._storage.database.session() as session:
            expired = run_claims.expire_leases(session)
        for run_id in expired:
            logger.warning("run %s: its worker went silent, so it is queued again", run_id)

    def _is_maintained(self) -> bool:
        """Whether no run may be taken up, so that none need be announced; the end of maintenance announces them all."""
        with self._storage.database.reading() as session:
            return maintenance.current(session) is not None

    def _remind(self) -> None:
        with self._storage.database.session() as session:
            forgotten = outbox.remind(session)
        for run_id in forgotten:
            logger.warning("run %s: it waits and the queue is empty, so it is sent again", run_id)

    def _empty_outbox(self) -> None:
        with self._storage.database.reading() as session:
            waiting = outbox.unsent(session, BATCH)
        sent = []
        for outbox_id, run_id in waiting:
            if not enqueue_tuning(run_id):
                break
            sent.append(outbox_id)
        if sent:
            with self._storage.database.session() as session:
                outbox.mark_sent(session, sent)

    def _tidy(self) -> None:
        """Delete, from time to time, what is kept for a while only, and what an erasure that was cut short has left."""
        if time.monotonic() - self._tidied_at < TIDY_EVERY_S:
            return
        users.finish_erasures(self._storage)
        with self._storage.database.session() as session:
            idempotency.forget_expired(session)
            usage.forget_old(session)
            password_links.forget_expired(session)
            deliveries.forget_old(session)
            latency.forget_old(session)
            gone = guests.expired(session)
        for user_id in gone:
            with suppress(NotFound):  # kept in this moment, or erased by another worker
                users.erase_user(self._storage, user_id, None, guest_until=clock.now())
        self._tidied_at = time.monotonic()

    def _watch(self, waiting: int | None, run_id: str | None) -> None:
        """Busy is who has a run by the database, or has taken a message: its child may still be loading torch. After a
        lost connection Celery forgets the messages it has taken, the database does not."""
        if run_id or state.reserved_requests or not waiting:
            self._idle_since = None
        elif self._idle_since is None:
            self._idle_since = time.monotonic()
        elif time.monotonic() - self._idle_since > DEAF_AFTER_LEASES * self._config.lease_s:
            self._on_deaf()


class SweeperStep(bootsteps.StartStopStep):
    """Starts the sweeper with the worker, after its pool was forked, and stops it with the worker."""

    requires = ("celery.worker.components:Pool",)

    def __init__(self, parent: Any, **options: Any) -> None:
        super().__init__(parent, **options)
        self._sweeper: Sweeper | None = None

    def start(self, parent: Any) -> None:
        """Begin sweeping."""
        storage, config = Storage.open(StorageConfig.from_env()), TuningConfig.from_env()
        self._sweeper = Sweeper(storage, config, worker_name(os.getpid()), _end_deaf_worker)
        self._sweeper.start()

    def stop(self, parent: Any) -> None:
        """End sweeping."""
        if self._sweeper:
            self._sweeper.stop()
            self._sweeper = None

    def terminate(self, parent: Any) -> None:
        """End sweeping; the run under way is left to its lease's end."""
        self.stop(parent)


@celeryd_init.connect
def require_usable_settings(**_: Any) -> None:
    """Before anything is forked: one line and exit code 2 where this worker could never work."""
    try:
        PostConfig.from_env()
        if not TuningConfig.from_env().broker_url:
            raise ConfigurationError("IDIOLECT_BROKER_URL is not set; `make run` sets it for the embedded default")
        storage_config = StorageConfig.from_env()
        schema.require_current(storage_config)
        Storage.open(storage_config).close()
    except (ConfigurationError, StorageError) as wrong:
        _refuse(str(wrong))
    except SQLAlchemyError as away:
        _refuse(f"a database does not answer ({type(away).__name__})")


def _refuse(reason: str) -> NoReturn:
    print(f"idiolect: the worker can't start: {reason}", file=sys.stderr)
    sys.exit(_CANNOT)


def _claimed_by(session: Session, worker: str) -> str | None:
    for claimed in CLAIMED_STATES:
        for run in tuning_runs.list_all_runs(session, state=claimed, limit=BATCH):
            if run.worker == worker:
                return run.id
    return None


def _end_deaf_worker() -> NoReturn:
    logger.critical("messages wait and this worker hears none of them: it ends, to be started again")
    os._exit(_DEAF)


celery_app.steps["worker"].add(SweeperStep)
