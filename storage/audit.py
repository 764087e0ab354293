"""The audit trail: who did what to whom. The databases themselves refuse to change or delete a line of it (migration
0011). It never holds anybody's writing, addresses or keys."""

from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from storage import clock
from storage.models import AuditEvent


def record(
    session: Session, action: str, *, actor_id: str | None = None, subject_id: str | None = None, **detail: Any
) -> AuditEvent:
    """Write one event in the caller's transaction. action: "noun.verb_in_the_past"; actor None: the platform itself.
    detail: ids, states, numbers, and a reason that an administrator gave."""
    event = AuditEvent(at=clock.now(), actor_id=actor_id, action=action, subject_id=subject_id, detail=detail)
    session.add(event)
    session.flush()
    return event


def list_events(
    session: Session,
    *,
    action: str | None = None,
    actor_id: str | None = None,
    subject_id: str | None = None,
    since: float | None = None,
    until: float | None = None,
    before: int | None = None,
    limit: int = 100,
) -> list[AuditEvent]:
    """Newest first; `before` is the id of the last one of the page before. action "user" finds every "user.…". From the
    moment `since` on, up to but not at `until`, in epoch seconds."""
    wanted = select(AuditEvent).order_by(AuditEvent.id.desc()).limit(limit)
    if action:
        wanted = wanted.where(
            (AuditEvent.action == action) | AuditEvent.action.startswith(f"{action}.", autoescape=True)
        )
    if actor_id:
        wanted = wanted.where(AuditEvent.actor_id == actor_id)
    if subject_id:
        wanted = wanted.where(AuditEvent.subject_id == subject_id)
    if since is not None:
        wanted = wanted.where(AuditEvent.at >= since)
    if until is not None:
        wanted = wanted.where(AuditEvent.at < until)
    if before is not None:
        wanted = wanted.where(AuditEvent.id < before)
    return list(session.scalars(wanted))


def list_actions(session: Session) -> list[str]:
    """Every action that has occurred, for a filter."""
    return list(session.scalars(select(AuditEvent.action).distinct().order_by(AuditEvent.action)))
