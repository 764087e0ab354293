"""Fine-tuning jobs: a training asked for with a file, in one transaction. A job is its tuning run; what was asked for
is sealed beside it. Reading, pausing and cancelling it is storage.tuning_runs'."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

from sqlalchemy import select
from sqlalchemy.orm import Session

from storage import crypto, samples, tuning_runs, uploads, voices
from storage.errors import Conflict
from storage.keys import KeyStore
from storage.models import LIVE_STATES, TuningRun, Voice
from storage.samples import Draft
from storage.users import FIRST_VOICE


@dataclass(frozen=True)
class JobRequest:
    """What was asked for, and how many of the file's samples were new to the voice. model: as it was named, a voice by
    its id. suffix: the name wanted for a new voice."""

    training_file: str
    model: str
    suffix: str | None = None
    metadata: dict[str, str] | None = None
    samples_added: int = 0
    samples_skipped: int = 0

    def is_twin_of(self, other: "JobRequest") -> bool:
        """Whether the two ask for the same."""
        return replace(self, samples_added=0, samples_skipped=0) == replace(other, samples_added=0, samples_skipped=0)


def request_job(
    session: Session,
    keys: KeyStore,
    *,
    user_id: str,
    voice_id: str | None,
    asked: JobRequest,
    drafts: Sequence[Draft],
    seed: int,
) -> tuple[TuningRun, bool]:
    """Add the file's samples to the voice, or to a new one (None), and ask for its training: (the run, whether it is
    new). While a job that was asked for in the same words is live, that one is the answer, so that whoever asks again
    for want of an answer gets no second voice. The new run's message is in the outbox: send it after the commit.

    Raises NotFound, LimitReached, InvalidSample (not enough text), Conflict (the name is taken, or another training of
    the voice is live), with nothing changed once the transaction is rolled back.
    """
    key = keys.data_key(user_id)
    uploads.hold_upload(session, user_id, asked.training_file)  # the same job asked for twice at once takes turns
    twin = _live_twin(session, key, user_id, asked, seed)
    if twin is not None:
        return twin, False
    if voice_id is None:
        voice_id = voices.create_voice(session, user_id, asked.suffix or _free_name(session, user_id)).id
    added = samples.add_drafts(session, keys, user_id=user_id, voice_id=voice_id, drafts=drafts)
    run, created = tuning_runs.request_run(session, user_id=user_id, voice_id=voice_id, seed=seed)
    if not created:
        raise Conflict(f"Another training of this voice is going on ({run.id}): wait for its end, or cancel it first.")
    asked = replace(asked, samples_added=added, samples_skipped=len(drafts) - added)
    run.job_sealed = crypto.seal(key, json.dumps(asdict(asked)).encode(), "job", user_id, run.id)
    tuning_runs.tell(session, run, _counted(added, len(drafts) - added))
    return run, True


def read_job(keys: KeyStore, run: TuningRun) -> JobRequest | None:
    """What was asked for, None where the training was asked for otherwise. Raises KeyErased, IntegrityError."""
    return None if run.job_sealed is None else _opened(keys.data_key(run.user_id), run.job_sealed, run)


def find_voice(session: Session, user_id: str, name: str) -> Voice:
    """The person's voice of this id or name. Raises NotFound."""
    named = (voice for voice in voices.list_voices(session, user_id) if voice.name == name)
    return next(named, None) or voices.get_voice(session, user_id, name)


def _live_twin(session: Session, key: bytes, user_id: str, asked: JobRequest, seed: int) -> TuningRun | None:
    live = select(TuningRun).where(
        TuningRun.user_id == user_id,
        TuningRun.state.in_(LIVE_STATES),
        TuningRun.seed == seed,
        TuningRun.job_sealed.is_not(None),
    )
    for run in session.scalars(live):
        if run.job_sealed is not None and _opened(key, run.job_sealed, run).is_twin_of(asked):
            return run
    return None


def _opened(key: bytes, sealed: bytes, run: TuningRun) -> JobRequest:
    return JobRequest(**json.loads(crypto.unseal(key, sealed, "job", run.user_id, run.id)))


def _free_name(session: Session, user_id: str) -> str:
    taken = {voice.name for voice in voices.list_voices(session, user_id)}
    return next(name for number in range(2, len(taken) + 3) if (name := f"{FIRST_VOICE} {number}") not in taken)


def _counted(added: int, skipped: int) -> str:
    said = "1 sample of the file was added." if added == 1 else f"{added} samples of the file were added."
    if not skipped:
        return said
    if skipped == 1:
        return f"{said} 1 stood there already and was skipped."
    return f"{said} {skipped} stood there already and were skipped."
