"""What a short outage of the database costs a training that is sound: nothing. What can be left out is left out, what
can't is tried again. Knows nothing of training, nor of what is written.

Logs name runs and kinds of errors, never anybody's text.
"""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from sqlalchemy.exc import SQLAlchemyError

from storage import run_claims
from storage.errors import LostLease
from storage.run_claims import Claim
from storage.store import Storage

WAITS_S = (0.5, 1.0, 2.0, 4.0)  # between tries; a database that waits for a lock takes its own seconds besides

logger = logging.getLogger(__name__)


@contextmanager
def left_out_where_away(claim: Claim) -> Iterator[None]:
    """A write that the next one makes up for. Raises all but that the database is away, LostLease among it; how long
    that may last is for the heartbeat to say."""
    try:
        yield
    except SQLAlchemyError as away:
        logger.warning("run %s: where it stands was not written (%s)", claim.run_id, type(away).__name__)


def insist(storage: Storage, claim: Claim, finish: Callable[[], object], *, holds_lease: Callable[[], bool]) -> None:
    """Call `finish`, which ends the run in one transaction under its fence; where the database is away again, a few
    times, as long as the lease holds. Its last error is raised.

    The fence lets one try alone come to pass. A commit whose answer was lost makes the next one a LostLease: a run
    that has succeeded under this very claim was finished here.
    """
    for number, wait_s in enumerate((*WAITS_S, None)):
        try:
            try:
                finish()
            except LostLease:
                if number == 0 or not _has_succeeded(storage, claim):
                    raise
        except SQLAlchemyError as away:
            if wait_s is None or not holds_lease():
                raise
            logger.warning("run %s: its end is tried again (%s)", claim.run_id, type(away).__name__)
            time.sleep(wait_s)
        else:
            return


def _has_succeeded(storage: Storage, claim: Claim) -> bool:
    with storage.database.reading() as session:
        return run_claims.has_succeeded(session, claim)
