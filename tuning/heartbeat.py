"""Heartbeat: a thread that keeps a run's lease while its training holds the main thread, and learns whether it should
stop. Knows nothing of training."""

import logging
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Literal, Self

from sqlalchemy.exc import SQLAlchemyError

from storage import run_claims
from storage.errors import LostLease
from storage.run_claims import Asked, Claim
from storage.store import Storage
from tuning.errors import Stopped

CANCEL_WITHIN_S = 2.0  # or pause

StopReason = Literal["cancelled", "paused", "lease lost", "worker stopping"]
_REASONS: dict[Asked | None, StopReason | None] = {"cancel": "cancelled", "pause": "paused", None: None}
logger = logging.getLogger(__name__)


class Heartbeat:
    """Context manager around one claimed run. A sign of life goes out every `every_s` seconds at most, and often
    enough to hear of a cancellation or a pause within CANCEL_WITHIN_S.

    reason: why the run must stop, None while it may go on.
    """

    def __init__(
        self,
        storage: Storage,
        claim: Claim,
        *,
        lease_s: float,
        every_s: float,
        is_worker_stopping: Callable[[], bool] = lambda: False,
    ) -> None:
        self._storage, self._claim, self._lease_s = storage, claim, lease_s
        self._every_s = min(every_s, CANCEL_WITHIN_S)
        self._is_worker_stopping = is_worker_stopping
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"heartbeat-{claim.run_id}", daemon=True)
        self._renewed_at = time.monotonic()
        self.reason: StopReason | None = None

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()

    def holds_lease(self) -> bool:
        """Whether the lease is held, as far as can be known here."""
        return self.reason != "lease lost"

    def check(self) -> None:
        """Raise Stopped when the run must stop; called between two steps. A worker that is stopping is seen here at
        once, the rest at the next sign of life."""
        if self.reason is None and self._is_worker_stopping():
            self.reason = "worker stopping"
        if self.reason:
            raise Stopped(self.reason)

    def _run(self) -> None:
        while self.reason is None and not self._ended.wait(self._every_s):
            if reason := self._beat():
                self.reason = reason

    def _beat(self) -> StopReason | None:
        try:
            with self._storage.database.session() as session:
                asked = run_claims.heartbeat(session, self._claim, self._lease_s)
        except LostLease:
            return "lease lost"
        except SQLAlchemyError as unreachable:
            logger.warning("run %s: no sign of life was written (%s)", self._claim.run_id, type(unreachable).__name__)
            return "lease lost" if time.monotonic() - self._renewed_at > self._lease_s else None
        self._renewed_at = time.monotonic()
        return _REASONS[asked]
