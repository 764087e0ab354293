"""The report of a version that has been published: measured for its owner and kept with the version. It comes after the
run's end and after the runs that wait, so that nobody waits for it; whatever becomes of it the version stays as it is.

Logs name runs and kinds of errors, never anybody's text.
"""

import logging
import math
from collections.abc import Mapping
from typing import Any

from storage import prefixes, reports, samples, tuning_runs, voices
from storage.errors import KeyErased, NotFound
from tuning.celery_app import celery_app, enqueue_report
from tuning.errors import Stopped, where
from tuning.evaluation import bits_per_char
from tuning.going_on import split_of
from tuning.voice_report import report
from tuning.workbench import Bench

_SAME = 1e-6  # between two measurements of one text on one machine

logger = logging.getLogger(__name__)


def report_later(bench: Bench, run_id: str) -> None:
    """Put the report of what this run published behind what waits in the queue; where no queue is set, measure now.
    With the broker away there will be none. Never raises."""
    if not enqueue_report(run_id) and not celery_app.conf.broker_url:
        keep_report(bench, run_id)


def keep_report(bench: Bench, run_id: str) -> None:
    """Measure the prefix that the run published and add the report to its version. Never raises: it is left out where
    the worker is stopping, the version or its owner is gone or has its report, or something fails."""
    try:
        _keep(bench, run_id)
    except (Stopped, NotFound, KeyErased) as why:
        logger.info("run %s: no report (%s)", run_id, type(why).__name__)
    except Exception as unexpected:
        logger.error("run %s: no report: %s", run_id, where(unexpected))


def _keep(bench: Bench, run_id: str) -> None:
    def check() -> None:
        if bench.is_stopping():
            raise Stopped("worker stopping")

    check()
    storage, base = bench.storage, bench.base
    with storage.database.reading() as session:
        run = tuning_runs.get_run(session, None, run_id)
        version = voices.published_by(session, run.user_id, run_id)
        given = samples.read_samples(session, storage.keys, run.user_id, run.sample_ids)
    split = split_of(bench, run, version.num_virtual_tokens)
    _require_the_same(bits_per_char(base, None, split.test), version.figures)
    check()
    loaded = prefixes.load_prefix(storage, run.user_id, run.voice_id, version.version)
    stored = base.read_prefix(loaded.data)
    measured = report(base, stored, split, [sample.text for sample in given], seed=run.seed, check=check)
    with storage.database.session() as session:
        reports.add_report(session, storage.keys, run.user_id, run_id, measured)


def _require_the_same(base_loss: float, figures: Mapping[str, Any]) -> None:
    """Samples may have been deleted, or their prompts changed, since the run was judged: a report of another text would
    stand beside the run's figures as if it were of the same."""
    if not math.isclose(base_loss, figures.get("base_bits_per_char", math.nan), rel_tol=_SAME):
        raise Stopped("the samples are not what the version was judged on any more")
