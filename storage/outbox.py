"""Queue messages still to be sent, written in the transaction of what they announce. Knows no queue.

A message sent twice does no harm (the second claim finds nothing), one never sent would leave a run waiting for good.
"""

from collections.abc import Sequence

from sqlalchemy import exists, func, select, update
from sqlalchemy.orm import Session

from storage import clock
from storage.models import OutboxMessage, TuningRun

FORGOTTEN_AFTER_S = 120.0  # from the queue to a claim: the worker may have to load its model first


def add(session: Session, run_id: str) -> None:
    """Announce a queued run."""
    session.add(OutboxMessage(run_id=run_id, created_at=clock.now()))
    session.flush()


def unsent(session: Session, limit: int = 100) -> list[tuple[int, str]]:
    """(outbox id, run id) of messages still to be sent, oldest first."""
    waiting = select(OutboxMessage.id, OutboxMessage.run_id).where(OutboxMessage.sent_at.is_(None))
    return [(row.id, row.run_id) for row in session.execute(waiting.order_by(OutboxMessage.id).limit(limit))]


def mark_sent(session: Session, outbox_ids: Sequence[int]) -> None:
    """These are with the queue now."""
    session.execute(update(OutboxMessage).where(OutboxMessage.id.in_(outbox_ids)).values(sent_at=clock.now()))


def settle(session: Session, run_id: str) -> None:
    """The run needs no message any more: it is in a worker's hands, or over."""
    mine = update(OutboxMessage).where(OutboxMessage.run_id == run_id, OutboxMessage.sent_at.is_(None))
    session.execute(mine.values(sent_at=clock.now()).execution_options(synchronize_session=False))


def remind(session: Session) -> list[str]:
    """Announce again what the queue has forgotten (its server lost its data): runs that wait though every message was
    sent FORGOTTEN_AFTER_S ago or more. Their ids. Only for a queue that was seen to be empty: one that still holds its
    messages would hold each run's twice, then three times."""
    lately = exists().where(
        OutboxMessage.run_id == TuningRun.id,
        func.coalesce(OutboxMessage.sent_at, clock.now()) > clock.now() - FORGOTTEN_AFTER_S,
    )
    forgotten = list(session.scalars(select(TuningRun.id).where(TuningRun.state == "queued", ~lately)))
    for run_id in forgotten:
        add(session, run_id)
    return forgotten
