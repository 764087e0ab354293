"""Reading somebody's writing as an administrator: only with a reason, and never before it is in the audit trail, which
the person whose writing it is can read too.

What the model writes is kept nowhere, so samples are all there is to read.
"""

from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from storage import audit
from storage.errors import Conflict, NotFound
from storage.models import AuditEvent, User, WritingSample
from storage.sample_rows import Sample, opened
from storage.store import Storage
from storage.text_intake import clean_name

READ = "text.read"
MIN_REASON_CHARS = 10
MAX_REASON_CHARS = 300
MOST_LISTED = 200


@dataclass(frozen=True)
class Reading:
    """One time that a sample was read. reader: the address, while that account exists."""

    at: float
    reader: str | None
    sample_id: str
    voice_id: str
    reason: str


def list_readable(session: Session, user_id: str) -> list[WritingSample]:
    """What could be read of a person, newest first, all of it sealed."""
    mine = select(WritingSample).where(WritingSample.user_id == user_id)
    return list(session.scalars(mine.order_by(WritingSample.created_at.desc(), WritingSample.id).limit(MOST_LISTED)))


def read_sample(storage: Storage, *, actor_id: str, user_id: str, sample_id: str, reason: str) -> Sample:
    """One sample in clear, once this reading is written down for good. Raises Conflict without a reason, NotFound (with
    nothing written down), KeyErased."""
    reason = clean_name(reason, MAX_REASON_CHARS)
    if len(reason) < MIN_REASON_CHARS:
        raise Conflict("Say in a sentence why you have to read this. The person whose writing it is will see it.")
    with storage.database.session() as session:
        row = _row(session, user_id, sample_id)
        detail = {"sample_id": sample_id, "voice_id": row.voice_id, "reason": reason}
        audit.record(session, READ, actor_id=actor_id, subject_id=user_id, **detail)
    return opened(storage.keys, [row])[0]


def list_readings(session: Session, user_id: str) -> list[Reading]:
    """Every time that an administrator read this person's writing, newest first."""
    events = audit.list_events(session, action=READ, subject_id=user_id, limit=MOST_LISTED)
    return [_reading(session, event) for event in events]


def _reading(session: Session, event: AuditEvent) -> Reading:
    reader = session.get(User, event.actor_id)
    told = event.detail
    return Reading(event.at, reader.email if reader else None, told["sample_id"], told["voice_id"], told["reason"])


def _row(session: Session, user_id: str, sample_id: str) -> WritingSample:
    row = session.scalar(select(WritingSample).where(WritingSample.id == sample_id, WritingSample.user_id == user_id))
    if row is None:
        raise NotFound("no such sample")
    return row
