"""Training voices again after a change of base model: which are in use with a version of another model, and asking for
all of them at once. What is asked for is a run like any other."""

from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from storage import audit, base_models, tuning_runs
from storage.errors import Conflict, InvalidSample, NotFound
from storage.models import LIVE_STATES, PrefixVersion, TuningRun, User, Voice
from storage.store import Storage


@dataclass(frozen=True)
class Retraining:
    """What was asked for. run_ids: their messages are in the outbox. left: voices that can't be trained, their samples
    being too few by now."""

    run_ids: tuple[str, ...]
    left: int


def outdated_voices(session: Session) -> list[str]:
    """Voices of active accounts whose version in use was trained for another model than the current one, and that no
    training is under way for, oldest first. None before any model was registered."""
    current = base_models.current(session)
    if current is None:
        return []
    live = select(TuningRun.id).where(TuningRun.voice_id == Voice.id, TuningRun.state.in_(LIVE_STATES))
    found = (
        select(Voice.id)
        .join(User, User.id == Voice.user_id)
        .join(PrefixVersion, (PrefixVersion.voice_id == Voice.id) & (PrefixVersion.version == Voice.active_version))
        .where(User.state == "active", PrefixVersion.base_fingerprint != current.fingerprint, ~live.exists())
    )
    return list(session.scalars(found.order_by(Voice.created_at, Voice.id)))


def request_retraining(storage: Storage, actor_id: str) -> Retraining:
    """Ask for a training of every outdated voice, each in a transaction of its own: nobody waits for all of them."""
    with storage.database.reading() as session:
        outdated = outdated_voices(session)
    run_ids, left = [], 0
    for voice_id in outdated:
        try:
            with storage.database.session() as session:
                run, created = tuning_runs.request_run_for(session, voice_id, actor_id)
            if created:
                run_ids.append(run.id)
        except InvalidSample:
            left += 1
        except (Conflict, NotFound):  # trained or deleted in this moment
            continue
    with storage.database.session() as session:
        audit.record(session, "voices.retraining_requested", actor_id=actor_id, queued=len(run_ids), left=left)
    return Retraining(tuple(run_ids), left)
