"""RunInHand: one claimed run from its preparation to its end, as it is trained alone or beside others. Owns what each
ending means; knows nothing of who else is trained.

Logs and messages name runs and kinds of errors, never anybody's text: an unexpected error's own words are not logged.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from sqlalchemy.exc import SQLAlchemyError

from storage import checkpoints, prefixes, run_claims
from storage.errors import IntegrityError, KeyErased, LostLease, NotFound
from storage.run_claims import Claim
from tuning import made_prompts
from tuning.dataset import num_tokens
from tuning.errors import (
    BaseModelRefused,
    BaseModelUnavailable,
    ConfigurationError,
    InvalidCheckpoint,
    InvalidPrefix,
    Stopped,
    TooLittleText,
    where,
)
from tuning.evaluation import Verdict, judge
from tuning.going_on import Beginning, begin
from tuning.heartbeat import Heartbeat
from tuning.outages import insist, left_out_where_away
from tuning.report_keeping import report_later
from tuning.run_diary import RunDiary
from tuning.trainer import Progress, Stack, TrainingJob, TrainingResult
from tuning.workbench import Bench

_GONE = (LostLease, KeyErased, NotFound)  # another worker has the run, it has ended, or its owner left
_UNAVAILABLE = (
    "This platform's base model can't be loaded just now, which is not your doing. Whoever runs it finds the reason in "
    "the worker's log; ask for the training again after that."
)
_MISCONFIGURED = (
    "This platform is not set up rightly for training, which is not your doing and does not mend itself. Whoever runs "
    "it finds the reason in the worker's log; ask for the training again after that."
)
_DIVERGED = "The training ended in values that can't be stored. Ask for it again; should it repeat, add more writing."
_INTERNAL = (
    "Something went wrong on our side. Ask for the training again; whoever runs this platform finds the reason in "
    "the worker's log."
)

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class _Prepared:
    """What a run starts from. checkpoint: what it goes on from."""

    beginning: Beginning
    job: TrainingJob
    checkpoint: bytes | None


class RunInHand:
    """A Listener to one run's training. Whatever happens in it ends or leaves this run alone, and is never raised,
    except that Stopped tells the training that this person leaves it."""

    def __init__(self, bench: Bench, claim: Claim) -> None:
        self._bench, self.claim = bench, claim
        self._diary = RunDiary(bench.storage, claim, checkpoint_every_s=bench.config.heartbeat_s)
        self._open = ExitStack()
        heartbeat = Heartbeat(
            bench.storage,
            claim,
            lease_s=bench.config.lease_s,
            every_s=bench.config.heartbeat_s,
            is_worker_stopping=bench.is_stopping,
        )
        self._heartbeat = self._open.enter_context(heartbeat)
        self._prepared: _Prepared | None = None
        self._went_on = False
        self._stack: Stack | None = None
        self.ended = False

    def prepare(self, meanwhile: Callable[[], None] = lambda: None) -> None:
        """Read the samples, choose the start, begin to run. meanwhile: called between two pieces of longer work; raises
        nothing."""
        with self._ending():
            self._prepared = self._prepare(meanwhile)

    def join(self, stack: Stack) -> None:
        """Train with those who are there, from the last checkpoint where there is one that fits."""
        if self.ended:
            return
        assert self._prepared is not None
        self._stack = stack
        job, checkpoint = self._prepared.job, self._prepared.checkpoint
        with self._ending():
            try:
                self._went_on = checkpoint is not None
                stack.join(job, self, checkpoint)
            except InvalidCheckpoint:
                with left_out_where_away(self.claim):
                    self._diary.note("What was reached before no longer fits your samples or the settings: began anew")
                self._went_on = False
                stack.join(job, self)

    def on_progress(self, progress: Progress) -> None:
        """Write down where it stands, where the database takes it. Raises Stopped once this run is over."""
        with self._ending():
            with left_out_where_away(self.claim):
                self._write_down(progress)
            self._heartbeat.check()
        self._leave_if_ended()

    def on_checkpoint(self, data: bytes) -> None:
        """Keep it, unless one was kept a moment ago; where the database takes none now, the next one. Raises Stopped
        once this run is over."""
        with self._ending(), left_out_where_away(self.claim):
            self._diary.checkpoint(data)
        self._leave_if_ended()

    def on_end(self, result: TrainingResult | None) -> None:
        """Judge, publish, end."""
        if result is None or self.ended:
            return
        assert self._prepared is not None
        published = False
        with self._ending():
            beginning = self._prepared.beginning
            population = self._bench.population
            verdict = judge(self._bench.base, beginning.split, result, population, beginning.current)
            self._heartbeat.check()
            self._conclude(verdict, beginning)
            published = verdict.publish
        self.close()
        if published:
            report_later(self._bench, self.claim.run_id)

    def fail(self, unexpected: Exception) -> None:
        """End it for an error that came from outside its own course, from the model."""
        with self._ending():
            raise unexpected

    def set_apart(self) -> None:
        """Back into the queue, to be trained by itself: something broke among several."""
        with self._ending(), self._bench.storage.database.session() as session:
            run_claims.set_apart(session, self.claim)
        self.close()

    def close(self) -> None:
        """No further sign of life. What was not brought to an end is left to its lease's end."""
        self.ended = True
        self._open.close()

    def _prepare(self, meanwhile: Callable[[], None]) -> _Prepared:
        bench, claim = self._bench, self.claim
        made_prompts.make_missing(
            bench.base,
            bench.storage,
            claim,
            check=self._heartbeat.check,
            note=self._diary.note,
            meanwhile=meanwhile,
        )
        checkpoint = self._load_checkpoint()
        beginning = begin(bench, claim, resumed=checkpoint is not None)
        self._heartbeat.check()
        start = bench.population if beginning.start is None else beginning.start
        job = TrainingJob(beginning.split, seed=claim.seed, start=start, goes_on=beginning.start is not None)
        steps = bench.settings.suited_to(job).steps_for(num_tokens(beginning.split.train))
        with bench.storage.database.session() as session:
            run_claims.start_running(session, claim, steps, beginning.version, bench.base.fingerprint)
        if checkpoint is None and beginning.start is not None:
            self._diary.note(f"Goes on from version {beginning.version}")
        elif checkpoint is None and beginning.why_anew is not None:
            self._diary.note(f"Begins anew: {beginning.why_anew}")
        return _Prepared(beginning, job, checkpoint)

    def _load_checkpoint(self) -> bytes | None:
        try:
            with self._bench.storage.database.session() as session:
                return checkpoints.load_checkpoint(session, self._bench.storage.keys, self.claim)
        except IntegrityError:
            logger.warning("run %s: its checkpoint can't be opened and is not used", self.claim.run_id)
            return None

    def _write_down(self, progress: Progress) -> None:
        if self._went_on:
            self._went_on = False
            self._diary.note(f"Went on from step {progress.step - 1}")
        self._diary.progress(progress)

    def _conclude(self, verdict: Verdict, beginning: Beginning) -> None:
        insist(
            self._bench.storage,
            self.claim,
            lambda: self._finish(verdict, beginning),
            holds_lease=self._heartbeat.holds_lease,
        )
        logger.info("run %s: %s", self.claim.run_id, "published" if verdict.publish else "not published")

    def _finish(self, verdict: Verdict, beginning: Beginning) -> None:
        """Publish what beats all it must, in one transaction; say why where it does not."""
        bench, claim = self._bench, self.claim
        if verdict.publish:
            prefixes.publish_prefix(
                bench.storage,
                claim,
                data=verdict.data,
                base_fingerprint=bench.base.fingerprint,
                num_virtual_tokens=bench.settings.num_virtual_tokens,
                figures=verdict.figures,
                trained_sample_ids=beginning.split.trained_ids,
            )
        else:
            with bench.storage.database.session() as session:
                run_claims.finish(session, claim, state="succeeded", published=False, figures=verdict.figures)

    @contextmanager
    def _ending(self) -> Iterator[None]:
        """What an error inside means for this run: afterwards it is over, or left alone."""
        try:
            yield
        except Exception as error:
            try:
                self._end_with(error)
            except _GONE as gone:
                logger.warning("run %s: left alone (%s)", self.claim.run_id, type(gone).__name__)
            except SQLAlchemyError as away:
                logger.error("run %s: left to its lease's end (%s)", self.claim.run_id, type(away).__name__)
            self.close()

    def _end_with(self, error: Exception) -> None:
        run_id = self.claim.run_id
        match error:
            case Stopped():
                self._stop()
            case LostLease() | KeyErased() | NotFound() | SQLAlchemyError():
                raise error
            case TooLittleText():
                self._fail("too_little_text", str(error))
            case BaseModelUnavailable() | BaseModelRefused():
                logger.error("run %s: %s", run_id, error)
                self._fail("base_model_unavailable", _UNAVAILABLE)
            case ConfigurationError():
                logger.error("run %s: %s", run_id, error)
                self._fail("misconfigured", _MISCONFIGURED)
            case InvalidPrefix():
                self._fail("diverged", _DIVERGED)
            case _:
                logger.error("run %s: %s", run_id, where(error))
                self._fail("internal", _INTERNAL)

    def _stop(self) -> None:
        """Cancelled: end it. Paused: put it aside with its checkpoint. The worker is stopping: back into the queue,
        where the next one goes on at once, and no attempt is counted. The lease was lost: write nothing."""
        logger.info("run %s: stopped (%s)", self.claim.run_id, self._heartbeat.reason)
        if self._heartbeat.reason in ("paused", "worker stopping"):
            self._keep_checkpoint()
        with self._bench.storage.database.session() as session:
            if self._heartbeat.reason in ("cancelled", "paused"):
                run_claims.stop(session, self.claim)
            elif self._heartbeat.reason == "worker stopping":
                run_claims.release(session, self.claim)

    def _keep_checkpoint(self) -> None:
        """Where it stands now, not where it stood at the last look that was kept."""
        reached = self._stack.checkpoint_of(self) if self._stack is not None else None
        if reached is not None:
            self._diary.keep(reached)

    def _fail(self, code: str, message: str) -> None:
        logger.warning("run %s: failed (%s)", self.claim.run_id, code)
        with self._bench.storage.database.session() as session:
            run_claims.finish(session, self.claim, state="failed", error_code=code, error_message=message)

    def _leave_if_ended(self) -> None:
        if self.ended:
            raise Stopped(self._heartbeat.reason or "over")
