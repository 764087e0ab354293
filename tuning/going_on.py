"""Where a run starts: anew, or from a version that its voice has already. Owns that decision, which is made once for a
run, and the split that follows from it. Reads its owner's samples and versions; knows nothing of how training goes.

A training may go on only from what it could not cheat with: it is judged by samples that the version never knew, and
none that the version was trained on has been taken away since.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace

from sqlalchemy.orm import Session

from storage import prefixes, samples, tuning_runs, voices
from storage.errors import IntegrityError, NoPublishedVersion, NotFound
from storage.models import PrefixVersion, TuningRun
from storage.run_claims import Claim
from storage.samples import Sample
from tuning.dataset import Earlier, Split, build_split, leaves_enough
from tuning.errors import InvalidPrefix, WrongBaseModel
from tuning.prefix import Prefix
from tuning.prefix_encoder import training_dtype
from tuning.workbench import Bench

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Beginning:
    """What a run is trained on and from. version: whose texts do not judge it and whose prefix, `current`, is to be
    beaten; None: it starts anew. start: `current` where that has the length to be trained and what it knows is a head
    start, else None. why_anew: for its owner, where they would have expected it to go on."""

    split: Split
    version: int | None = None
    current: Prefix | None = None
    start: Prefix | None = None
    why_anew: str | None = None


@dataclass(frozen=True, eq=False)
class _Version:
    number: int
    prefix: Prefix
    earlier: Earlier


def begin(bench: Bench, claim: Claim, *, resumed: bool) -> Beginning:
    """Split the person's texts as they were when the training was asked for (what was deleted since is left out), and
    choose the start: the version in use where a training may go on from it, else anew. A resumed run keeps to what was
    chosen at its first start. Raises TooLittleText, KeyErased."""
    version, why_none = None, None
    if not resumed or claim.continues_version is not None:
        number = claim.continues_version if resumed else None
        version, why_none = _version(bench, claim.user_id, claim.voice_id, number)
    writings = _writings(bench, claim.user_id, claim.sample_ids)
    beginning = _beginning(bench, writings, version, bench.settings.num_virtual_tokens)
    if version is None:
        return replace(beginning, why_anew=why_none)
    if beginning.start is None or bench.settings.gains_by_going_on(beginning.split):
        return beginning
    why = f"too little text to gain by going on from version {beginning.version}, which it has to beat"
    return replace(beginning, start=None, why_anew=why)


def split_of(bench: Bench, run: TuningRun, num_virtual_tokens: int) -> Split:
    """What an ended run, which published so many virtual tokens, was trained and judged on, if its samples are as they
    were. Raises TooLittleText, KeyErased."""
    version = None
    if run.continues_version is not None:
        version, _ = _version(bench, run.user_id, run.voice_id, run.continues_version)
    return _beginning(bench, _writings(bench, run.user_id, run.sample_ids), version, num_virtual_tokens).split


def _writings(bench: Bench, user_id: str, sample_ids: Sequence[str]) -> list[Sample]:
    with bench.storage.database.reading() as session:
        return samples.read_samples(session, bench.storage.keys, user_id, sample_ids)


def _beginning(bench: Bench, writings: Sequence[Sample], version: _Version | None, length: int) -> Beginning:
    if version is None:
        return Beginning(build_split(bench.base, writings, num_virtual_tokens=length))
    if not leaves_enough(writings, version.earlier):
        split = build_split(bench.base, writings, num_virtual_tokens=length)
        return Beginning(split, why_anew=_why_anew(writings, version))
    longer = max(length, version.prefix.num_virtual_tokens)  # both must fit beside a block
    split = build_split(bench.base, writings, num_virtual_tokens=longer, earlier=version.earlier)
    if version.prefix.num_virtual_tokens != length:
        why = f"version {version.number}, which it has to beat, is of another length"
        return Beginning(split, version.number, version.prefix, why_anew=why)
    return Beginning(split, version.number, version.prefix, version.prefix)


def _why_anew(writings: Sequence[Sample], version: _Version) -> str:
    if version.earlier.trained - {writing.id for writing in writings}:
        return f"writing that version {version.number} learned from was deleted or left out"
    return f"too little is new since version {version.number}"


def _version(
    bench: Bench, user_id: str, voice_id: str, number: int | None
) -> tuple[_Version, None] | tuple[None, str | None]:
    """That version of the voice, the one in use unless told otherwise; where there is one that can't be gone on from,
    why it can't."""
    base = bench.base
    try:
        loaded = prefixes.load_prefix(bench.storage, user_id, voice_id, number)
        with bench.storage.database.reading() as session:
            row = voices.get_version(session, user_id, voice_id, loaded.version)
            known = _known(session, row)
        prefix = base.read_prefix(loaded.data, training_dtype(base))
    except (NoPublishedVersion, NotFound):
        return None, None
    except WrongBaseModel:
        return None, "the version in use belongs to another base model"
    except (IntegrityError, InvalidPrefix) as damage:
        logger.warning("voice %s: the version in use can't be read (%s)", voice_id, type(damage).__name__)
        return None, "the version in use can't be read"
    if row.trained_sample_ids is None:
        return None, f"what version {loaded.version} was trained on is not on record"
    trained = frozenset(row.trained_sample_ids)
    return _Version(loaded.version, prefix, Earlier(trained, trained | known)), None


def _known(session: Session, version: PrefixVersion) -> frozenset[str]:
    """All samples that took part in making a version, or one of those that it and its like had to beat."""
    run = tuning_runs.get_run(session, version.user_id, version.run_id)
    known = frozenset(run.sample_ids)
    if run.continues_version is None:
        return known
    try:
        before = voices.get_version(session, version.user_id, version.voice_id, run.continues_version)
    except NotFound:
        return known
    return known | _known(session, before)
