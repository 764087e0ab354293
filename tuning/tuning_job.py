"""One run from claim to end: samples -> dataset -> training -> judgement -> publication. Runs in a pool child, which is
the only process of a worker that loads torch, and owns what each ending means.

Logs and messages name runs and kinds of errors, never anybody's text: an unexpected error's own words are not logged.
"""

import logging
import os
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, cached_property

from sqlalchemy.exc import SQLAlchemyError

from storage import checkpoints, prefixes, run_claims, samples
from storage.config import StorageConfig
from storage.errors import IntegrityError, KeyErased, LostLease, NotFound
from storage.run_claims import Claim
from storage.store import Storage
from tuning import made_prompts
from tuning.base_model import BaseModel, load_base_model
from tuning.config import TuningConfig
from tuning.dataset import Split, build_split, num_tokens
from tuning.errors import (
    BaseModelRefused,
    BaseModelUnavailable,
    ConfigurationError,
    InvalidCheckpoint,
    InvalidPrefix,
    Stopped,
    TooLittleText,
)
from tuning.evaluation import Verdict, judge
from tuning.heartbeat import Heartbeat
from tuning.pool_child import is_worker_stopping, worker_name
from tuning.population import load_population
from tuning.prefix import Prefix
from tuning.registration import register
from tuning.report_keeping import keep_report
from tuning.run_diary import RunDiary
from tuning.trainer import Progress, TrainingJob, TrainingResult, TrainingSettings, train_prefixes

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


@dataclass(frozen=True)
class Bench:
    """What a pool child keeps from run to run. worker: the name under which it claims runs."""

    storage: Storage
    config: TuningConfig
    settings: TrainingSettings
    worker: str
    is_stopping: Callable[[], bool] = is_worker_stopping

    @cached_property
    def base(self) -> BaseModel:
        """The frozen model: loaded, probed and registered at its first use, once per process."""
        base = load_base_model(self.config)
        register(self.storage, base)
        return base

    @cached_property
    def population(self) -> Prefix | None:
        """Where every voice starts from; None: from the person's own text."""
        return load_population(self.config, self.base)


@cache
def _bench() -> Bench:
    config = TuningConfig.from_env()
    storage = Storage.open(StorageConfig.from_env())
    return Bench(storage, config, TrainingSettings.from_config(config), worker_name(os.getppid()))


def perform(run_id: str) -> None:
    """Claim the run and bring it to its end in this process, configured by the environment."""
    tune(_bench(), run_id)


def tune(bench: Bench, run_id: str) -> None:
    """Claim the run and bring it to its end. Does nothing where there is nothing to claim: the message came twice, the
    run was cancelled or another worker has it."""
    try:
        claim = _claim(bench, run_id)
        if claim is None:
            logger.info("run %s: nothing to claim", run_id)
            return
        with Heartbeat(
            bench.storage,
            claim,
            lease_s=bench.config.lease_s,
            every_s=bench.config.heartbeat_s,
            is_worker_stopping=bench.is_stopping,
        ) as heartbeat:
            _bring_to_end(bench, claim, heartbeat)
    except _GONE as gone:
        logger.warning("run %s: left alone (%s)", run_id, type(gone).__name__)
    except SQLAlchemyError as away:
        logger.error("run %s: left to its lease's end (%s)", run_id, type(away).__name__)


def _claim(bench: Bench, run_id: str) -> Claim | None:
    lease_s, max_attempts = bench.config.lease_s, bench.config.max_attempts
    with bench.storage.database.session() as session:
        return run_claims.claim(session, run_id, worker=bench.worker, lease_s=lease_s, max_attempts=max_attempts)


def _bring_to_end(bench: Bench, claim: Claim, heartbeat: Heartbeat) -> None:
    try:
        split, verdict = _train_and_judge(bench, claim, heartbeat)
        heartbeat.check()
        _conclude(bench, claim, verdict)
        if verdict.publish:
            keep_report(bench.storage, bench.base, claim, split, verdict.data, is_stopping=bench.is_stopping)
    except Stopped:
        _stop(bench, claim, heartbeat)
    except (*_GONE, SQLAlchemyError):
        raise
    except TooLittleText as too_little:
        _fail(bench, claim, "too_little_text", str(too_little))
    except (BaseModelUnavailable, BaseModelRefused) as unusable:
        logger.error("run %s: %s", claim.run_id, unusable)
        _fail(bench, claim, "base_model_unavailable", _UNAVAILABLE)
    except ConfigurationError as wrong:
        logger.error("run %s: %s", claim.run_id, wrong)
        _fail(bench, claim, "misconfigured", _MISCONFIGURED)
    except InvalidPrefix:
        _fail(bench, claim, "diverged", _DIVERGED)
    except Exception as unexpected:
        frames = "".join(traceback.format_tb(unexpected.__traceback__))
        logger.error("run %s: %s at\n%s", claim.run_id, type(unexpected).__name__, frames)
        _fail(bench, claim, "internal", _INTERNAL)


def _train_and_judge(bench: Bench, claim: Claim, heartbeat: Heartbeat) -> tuple[Split, Verdict]:
    base = bench.base
    note = RunDiary(bench.storage, claim, checkpoint_every_s=bench.config.heartbeat_s).note
    made_prompts.make_missing(base, bench.storage, claim, check=heartbeat.check, note=note)
    split = load_split(bench, claim)
    heartbeat.check()
    with bench.storage.database.session() as session:
        run_claims.start_running(session, claim, bench.settings.steps_for(num_tokens(split.train)))
    return split, judge(base, split, _train(bench, claim, split, heartbeat), bench.population)


def load_split(bench: Bench, claim: Claim) -> Split:
    """The person's texts as they were when the training was asked for; what was deleted since is left out."""
    with bench.storage.database.reading() as session:
        writings = samples.read_samples(session, bench.storage.keys, claim.user_id, claim.sample_ids)
    return build_split(bench.base, writings, num_virtual_tokens=bench.settings.num_virtual_tokens)


def _train(bench: Bench, claim: Claim, split: Split, heartbeat: Heartbeat) -> TrainingResult:
    """Go on from the last checkpoint where there is one that fits, else begin."""
    diary = RunDiary(bench.storage, claim, checkpoint_every_s=bench.config.heartbeat_s)
    checkpoint = _load_checkpoint(bench, claim)
    if checkpoint is None:
        return _train_from(bench, claim, split, heartbeat, diary, None)
    try:
        return _train_from(bench, claim, split, heartbeat, diary, checkpoint)
    except InvalidCheckpoint:
        diary.note("What was reached before no longer fits your samples or the settings: began anew")
        return _train_from(bench, claim, split, heartbeat, diary, None)


def _load_checkpoint(bench: Bench, claim: Claim) -> bytes | None:
    try:
        with bench.storage.database.session() as session:
            return checkpoints.load_checkpoint(session, bench.storage.keys, claim)
    except IntegrityError:
        logger.warning("run %s: its checkpoint can't be opened and is not used", claim.run_id)
        return None


def _train_from(
    bench: Bench, claim: Claim, split: Split, heartbeat: Heartbeat, diary: RunDiary, checkpoint: bytes | None
) -> TrainingResult:
    resumed = checkpoint is not None

    def on_progress(_: int, progress: Progress) -> None:
        nonlocal resumed
        heartbeat.check()
        if resumed:
            diary.note(f"Went on from step {progress.step - 1}")
            resumed = False
        diary.progress(progress)

    (result,) = train_prefixes(
        bench.base,
        [TrainingJob(split, seed=claim.seed, start=bench.population)],
        bench.settings,
        on_progress=on_progress,
        on_checkpoint=lambda _, data: diary.checkpoint(data),
        resume_from=[checkpoint],
    )
    assert result is not None  # the only job: where it was stopped, Stopped was raised
    return result


def _conclude(bench: Bench, claim: Claim, verdict: Verdict) -> None:
    """Publish what beats the base model and its starting point, in one transaction; say why where it does not."""
    if verdict.publish:
        prefixes.publish_prefix(
            bench.storage,
            claim,
            data=verdict.data,
            base_fingerprint=bench.base.fingerprint,
            num_virtual_tokens=bench.settings.num_virtual_tokens,
            figures=verdict.figures,
        )
    else:
        with bench.storage.database.session() as session:
            run_claims.finish(session, claim, state="succeeded", published=False, figures=verdict.figures)
    logger.info("run %s: %s", claim.run_id, "published" if verdict.publish else "not published")


def _stop(bench: Bench, claim: Claim, heartbeat: Heartbeat) -> None:
    """Cancelled: end it. The worker is stopping: back into the queue, where the next worker goes on at once, and no
    attempt is counted. The lease was lost: write nothing."""
    logger.info("run %s: stopped (%s)", claim.run_id, heartbeat.reason)
    with bench.storage.database.session() as session:
        if heartbeat.reason == "cancelled":
            run_claims.finish(session, claim, state="cancelled")
        elif heartbeat.reason == "worker stopping":
            run_claims.release(session, claim)


def _fail(bench: Bench, claim: Claim, code: str, message: str) -> None:
    logger.warning("run %s: failed (%s)", claim.run_id, code)
    with bench.storage.database.session() as session:
        run_claims.finish(session, claim, state="failed", error_code=code, error_message=message)
