"""Where a run starts: anew, or from a version that its voice has already. Owns that decision, which is made once for a
run, and the split that follows from it. Reads its owner's samples and versions; knows nothing of how training goes.

A training may go on only from what it could not cheat with: of the samples that the version knows, none is judged by,
and none has been taken away since.
"""

import logging
from dataclasses import dataclass

from storage import prefixes, samples, voices
from storage.errors import IntegrityError, NoPublishedVersion, NotFound
from storage.run_claims import Claim
from tuning.dataset import Split, build_split, leaves_enough
from tuning.errors import InvalidPrefix, WrongBaseModel
from tuning.prefix import Prefix
from tuning.prefix_encoder import training_dtype
from tuning.workbench import Bench

_UNUSABLE = (IntegrityError, NoPublishedVersion, NotFound, InvalidPrefix, WrongBaseModel)

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Beginning:
    """What a run is trained on and from. version: that it goes on from, with its prefix; None: it starts anew."""

    split: Split
    version: int | None = None
    current: Prefix | None = None


@dataclass(frozen=True)
class _Version:
    number: int
    prefix: Prefix
    trained_ids: frozenset[str]


def begin(bench: Bench, claim: Claim, *, resumed: bool) -> Beginning:
    """Split the person's texts as they were when the training was asked for (what was deleted since is left out), and
    choose the start: the version in use where a training may go on from it, else anew. A resumed run keeps to what was
    chosen at its first start. Raises TooLittleText, KeyErased."""
    with bench.storage.database.reading() as session:
        writings = samples.read_samples(session, bench.storage.keys, claim.user_id, claim.sample_ids)
    length = bench.settings.num_virtual_tokens
    if not resumed or claim.continues_version is not None:
        known = _version(bench, claim, claim.continues_version if resumed else None)
        if known and leaves_enough(writings, known.trained_ids):
            split = build_split(bench.base, writings, num_virtual_tokens=length, trained_before=known.trained_ids)
            return Beginning(split, known.number, known.prefix)
    return Beginning(build_split(bench.base, writings, num_virtual_tokens=length))


def _version(bench: Bench, claim: Claim, number: int | None) -> _Version | None:
    """That version of the voice, the one in use unless told otherwise; None where there is none of this base model and
    length whose training is known."""
    try:
        loaded = prefixes.load_prefix(bench.storage, claim.user_id, claim.voice_id, number)
        with bench.storage.database.reading() as session:
            row = voices.get_version(session, claim.user_id, claim.voice_id, loaded.version)
        prefix = Prefix.from_bytes(
            loaded.data,
            bench.base.fingerprint,
            layer_shapes=bench.base.layer_shapes,
            device=bench.base.device,
            dtype=training_dtype(bench.base),
        )
    except _UNUSABLE as why:
        logger.info("run %s: starts anew (%s)", claim.run_id, type(why).__name__)
        return None
    if row.trained_sample_ids is None or prefix.num_virtual_tokens != bench.settings.num_virtual_tokens:
        return None
    return _Version(loaded.version, prefix, frozenset(row.trained_sample_ids))
