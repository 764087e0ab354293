"""From a run's id to its end: claimed, trained — with others that wait, where that pays — judged, published. Runs in a
pool child, which is the only process of a worker that loads torch. Owns who is trained together; what becomes of each
is a RunInHand's."""

import logging
import time

from sqlalchemy.exc import SQLAlchemyError

from storage import run_claims
from storage.run_claims import Claim
from tuning.errors import where
from tuning.report_keeping import keep_report
from tuning.run_in_hand import RunInHand
from tuning.trainer import Stack
from tuning.workbench import Bench, bench_of_process

LOOK_FOR_MORE_EVERY_S = 1.0
GROWS_FOR_S = 600.0

logger = logging.getLogger(__name__)


def perform(run_id: str) -> None:
    """Claim the run and bring it to its end in this process, configured by the environment."""
    tune(bench_of_process(), run_id)


def perform_report(run_id: str) -> None:
    """Measure what the run has published, likewise."""
    keep_report(bench_of_process(), run_id)


def tune(bench: Bench, run_id: str) -> None:
    """Claim the run and bring it to its end, and with it as many that wait as the bench has room for. Does nothing
    where there is nothing to claim: the message came twice, the run was cancelled or another worker has it."""
    claim = _claim(bench, run_id)
    if claim is None:
        logger.info("run %s: nothing to claim", run_id)
        return
    table = _Table(bench)
    broken = None
    try:
        table.take(claim)
        table.train()
    except Exception as unexpected:
        broken = _without_frames(unexpected) if table.is_shared else unexpected
    try:
        if broken is not None:
            table.end(broken)
    finally:
        table.close()


class _Table:
    """The runs that are trained together. Whoever waits takes a seat as soon as there is one."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self._runs: list[RunInHand] = []
        self._stack: Stack | None = None
        self._broken: Exception | None = None
        self._began_at = self._looked_at = time.monotonic()

    @property
    def is_shared(self) -> bool:
        """Whether more than one run goes on."""
        return len(self._live()) > 1

    def take(self, claim: Claim) -> None:
        """One more run, from the next step on. What its preparation makes of the model's is made in turns with the
        steps of those who train: they are not kept waiting, and can be cancelled."""
        run = RunInHand(self._bench, claim)
        self._runs = [*self._live(), run]
        run.prepare(meanwhile=self._step_of_others)
        if self._broken is not None:
            raise self._broken
        if not run.ended:
            if self._stack is None:
                self._stack = Stack(self._bench.base, self._bench.settings, self._bench.plan.step)
            run.join(self._stack)

    def train(self) -> None:
        """Until nobody is left."""
        self._fill_seats()
        while self._stack:
            self._stack.step()
            if time.monotonic() - self._looked_at > LOOK_FOR_MORE_EVERY_S:
                self._fill_seats()

    def _step_of_others(self) -> None:
        """What breaks in it is not the fault of the run that is being prepared: it is raised when that is done."""
        if not self._stack or self._broken is not None:
            return
        try:
            self._stack.step()
        except Exception as broken:
            self._broken = broken

    def end(self, broken: Exception) -> None:
        """Something broke outside anybody's own course. Among several nobody knows whose fault it was: they go back
        into the queue, to be trained each by itself. One alone fails."""
        logger.error("%d runs in hand: %s", len(self._live()), type(broken).__name__)
        self._stack = None  # and with it what a step that ran out of memory holds
        shared = self.is_shared
        for run in self._live():
            if shared:
                run.set_apart()
            else:
                run.fail(broken)

    def close(self) -> None:
        """No run keeps its lease for nothing."""
        for run in self._runs:
            run.close()

    def _fill_seats(self) -> None:
        """Not beside a run that was interrupted before, and not for ever: reports wait in the queue too."""
        while self._stack and len(self._stack) < self._bench.plan.runs_together and self._may_grow():
            claim = _claim_next(self._bench, {run.claim.user_id for run in self._live()})
            if claim is None:
                break
            self.take(claim)
        self._looked_at = time.monotonic()

    def _may_grow(self) -> bool:
        sound = all(run.claim.attempts == 1 for run in self._live())
        return sound and not self._bench.is_stopping() and time.monotonic() - self._began_at < GROWS_FOR_S

    def _live(self) -> list[RunInHand]:
        return [run for run in self._runs if not run.ended]


def _without_frames(error: Exception) -> Exception:
    """Its frames hold the step that broke, which may be what ran out of memory. Logged here, where they are known."""
    logger.error("a step that several shared: %s", where(error))
    return error.with_traceback(None)


def _claim(bench: Bench, run_id: str) -> Claim | None:
    lease_s, max_attempts = bench.config.lease_s, bench.config.max_attempts
    try:
        with bench.storage.database.session() as session:
            return run_claims.claim(session, run_id, worker=bench.worker, lease_s=lease_s, max_attempts=max_attempts)
    except SQLAlchemyError as away:
        logger.error("run %s: left to the sweeper (%s)", run_id, type(away).__name__)
        return None


def _claim_next(bench: Bench, beside: set[str]) -> Claim | None:
    lease_s, max_attempts = bench.config.lease_s, bench.config.max_attempts
    try:
        with bench.storage.database.session() as session:
            return run_claims.claim_next(
                session, worker=bench.worker, lease_s=lease_s, max_attempts=max_attempts, beside=beside
            )
    except SQLAlchemyError as away:
        logger.warning("no further run was taken (%s)", type(away).__name__)
        return None
