"""Worker processes and when each was last seen."""

from sqlalchemy import delete, select
from sqlalchemy.exc import IntegrityError as RowExists
from sqlalchemy.orm import Session

from storage import clock
from storage.models import WorkerHeartbeat

SILENT_AFTER_S = 60.0


def beat(session: Session, name: str, run_id: str | None = None) -> None:
    """This worker lives, and works on this run (None: on none)."""
    worker = session.get(WorkerHeartbeat, name)
    if worker is None:
        worker = WorkerHeartbeat(name=name, started_at=clock.now())
    worker.last_seen_at, worker.run_id = clock.now(), run_id
    try:
        with session.begin_nested():
            session.add(worker)
    except RowExists:  # the same name beat in the same moment: seen is seen
        return


def list_workers(session: Session) -> list[WorkerHeartbeat]:
    """Every known worker, the one seen last first."""
    return list(session.scalars(select(WorkerHeartbeat).order_by(WorkerHeartbeat.last_seen_at.desc())))


def living(session: Session) -> set[str]:
    """The names of those with a recent sign of life."""
    since = clock.now() - SILENT_AFTER_S
    return set(session.scalars(select(WorkerHeartbeat.name).where(WorkerHeartbeat.last_seen_at > since)))


def forget(session: Session, name: str) -> None:
    """The worker has stopped in good order."""
    session.execute(delete(WorkerHeartbeat).where(WorkerHeartbeat.name == name))
