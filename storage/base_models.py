"""Base models that the registration probe has accepted. Knows no torch: figures come from whoever probed."""

from typing import Any

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError as RowExists
from sqlalchemy.orm import Session

from storage import clock
from storage.models import RegisteredBaseModel


def register(
    session: Session,
    *,
    fingerprint: str,
    name: str,
    num_parameters: int,
    context_length: int,
    probe: dict[str, Any],
    has_chat_template: bool = False,
) -> RegisteredBaseModel:
    """Note that this model was loaded and accepted now; it is the current one from here on. has_chat_template: it can
    be asked for something in words."""
    seen = session.get(RegisteredBaseModel, fingerprint)
    if seen is None:
        seen = RegisteredBaseModel(fingerprint=fingerprint, registered_at=clock.now())
    seen.name, seen.num_parameters, seen.context_length, seen.probe = name, num_parameters, context_length, probe
    seen.has_chat_template, seen.last_seen_at = has_chat_template, clock.now()
    try:
        with session.begin_nested():
            session.add(seen)
    except RowExists:  # another process registered it in the same moment
        return session.get_one(RegisteredBaseModel, fingerprint)
    return seen


def current(session: Session) -> RegisteredBaseModel | None:
    """The one loaded last, None before any was."""
    return session.scalar(select(RegisteredBaseModel).order_by(RegisteredBaseModel.last_seen_at.desc()).limit(1))


def list_all(session: Session) -> list[RegisteredBaseModel]:
    """Every registered model, the current one first."""
    return list(session.scalars(select(RegisteredBaseModel).order_by(RegisteredBaseModel.last_seen_at.desc())))
