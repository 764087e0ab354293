"""The report of a version that has just been published: measured for its owner and kept with the version. It comes
after the run's end, so that nobody waits for it, and whatever becomes of it the version stays as it is.

Logs name runs and kinds of errors, never anybody's text.
"""

import logging
from collections.abc import Callable

from storage import prefixes, samples
from storage.errors import KeyErased, NotFound
from storage.run_claims import Claim
from storage.store import Storage
from tuning.base_model import BaseModel
from tuning.dataset import Split
from tuning.errors import Stopped
from tuning.prefix import Prefix
from tuning.voice_report import report

logger = logging.getLogger(__name__)


def keep_report(
    storage: Storage, base: BaseModel, claim: Claim, split: Split, data: bytes, *, is_stopping: Callable[[], bool]
) -> None:
    """Measure the prefix that the run published as `data` and add the report to its version. split: what the run was
    trained and judged on. Never raises: it is left out where the worker is stopping, the version or its owner is gone,
    or something fails."""
    try:
        _keep(storage, base, claim, split, data, is_stopping)
    except (Stopped, NotFound, KeyErased) as why:
        logger.info("run %s: no report (%s)", claim.run_id, type(why).__name__)
    except Exception as unexpected:
        logger.error("run %s: no report (%s)", claim.run_id, type(unexpected).__name__)


def _keep(
    storage: Storage, base: BaseModel, claim: Claim, split: Split, data: bytes, is_stopping: Callable[[], bool]
) -> None:
    def check() -> None:
        if is_stopping():
            raise Stopped("worker stopping")

    check()
    with storage.database.reading() as session:
        given = samples.read_samples(session, storage.keys, claim.user_id, claim.sample_ids)
    stored = Prefix.from_bytes(data, base.fingerprint, device=base.device, dtype=base.dtype)
    measured = report(base, stored, split, [sample.text for sample in given], seed=claim.seed, check=check)
    with storage.database.session() as session:
        prefixes.add_report(session, storage.keys, claim.user_id, claim.run_id, measured)
