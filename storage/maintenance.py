"""Maintenance: while it is on, no worker takes a run up. What is asked for is kept in the queue, what a worker holds
already goes on to its end, and text is written as ever.

One row of the database says so, which every claim reads (storage.run_claims): no process has to be told.
"""

from sqlalchemy import delete, select
from sqlalchemy.exc import IntegrityError as RowExists
from sqlalchemy.orm import Session

from storage import audit, clock, outbox
from storage.errors import Conflict
from storage.models import Maintenance, OutboxMessage, TuningRun
from storage.text_intake import clean_name

MAX_REASON_CHARS = 200
_THE_ROW = 1


def current(session: Session) -> Maintenance | None:
    """Since when and why; None while it is off."""
    return session.get(Maintenance, _THE_ROW)


def begin(session: Session, reason: str, actor_id: str) -> Maintenance:
    """Switch it on. reason: one line that everybody may read. Raises Conflict without one, and when it is on."""
    reason = clean_name(reason, MAX_REASON_CHARS)
    if not reason:
        raise Conflict("Say in a few words why: whoever waits for a training reads it. Nothing was changed.")
    begun = Maintenance(id=_THE_ROW, since=clock.now(), reason=reason, actor_id=actor_id)
    try:
        with session.begin_nested():
            session.add(begun)
    except RowExists:
        raise Conflict("Maintenance is on already. Nothing was changed.") from None
    audit.record(session, "maintenance.begun", actor_id=actor_id, reason=reason)
    return begun


def end(session: Session, actor_id: str) -> int:
    """Switch it off, and announce every run that was kept waiting: how many, 0 also when it was off. Workers took their
    messages meanwhile and did nothing."""
    ended = session.execute(delete(Maintenance).where(Maintenance.id == _THE_ROW).returning(Maintenance.id)).all()
    if not ended:
        return 0
    announced = select(OutboxMessage.id).where(OutboxMessage.run_id == TuningRun.id, OutboxMessage.sent_at.is_(None))
    waiting = select(TuningRun.id).where(TuningRun.state == "queued")
    for run_id in session.scalars(waiting.where(~announced.exists()).order_by(TuningRun.created_at)).all():
        outbox.add(session, run_id)
    held = len(session.scalars(waiting).all())
    audit.record(session, "maintenance.ended", actor_id=actor_id, waiting=held)
    return held
