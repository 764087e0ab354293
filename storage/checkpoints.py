"""The newest checkpoint of a live run, sealed like the prefix. What the bytes mean is the trainer's."""

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from storage import clock, crypto, run_claims
from storage.keys import KeyStore
from storage.models import TuningCheckpoint
from storage.run_claims import Claim


def save_checkpoint(session: Session, keys: KeyStore, held: Claim, step: int, data: bytes) -> None:
    """Replace the run's checkpoint. Raises LostLease, KeyErased."""
    run_claims.hold(session, held)
    sealed = crypto.seal(keys.data_key(held.user_id), data, "checkpoint", held.user_id, held.run_id)
    session.execute(delete(TuningCheckpoint).where(TuningCheckpoint.run_id == held.run_id))
    session.add(TuningCheckpoint(run_id=held.run_id, user_id=held.user_id, step=step, sealed=sealed, at=clock.now()))
    session.flush()


def load_checkpoint(session: Session, keys: KeyStore, held: Claim) -> bytes | None:
    """What the run goes on from, None at its first start. Raises LostLease, KeyErased, IntegrityError."""
    run_claims.hold(session, held)
    sealed = session.scalar(select(TuningCheckpoint.sealed).where(TuningCheckpoint.run_id == held.run_id))
    if sealed is None:
        return None
    return crypto.unseal(keys.data_key(held.user_id), sealed, "checkpoint", held.user_id, held.run_id)
