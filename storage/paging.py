"""Where the next page of a list begins, newest first. Knows no table."""

from typing import Any

from sqlalchemy import ColumnElement, and_, or_
from sqlalchemy.orm import InstrumentedAttribute


def after(
    created_at: InstrumentedAttribute[float], row_id: InstrumentedAttribute[Any], last_at: float, last_id: str
) -> ColumnElement[bool]:
    """Rows that come after (last_at, last_id) when the newest come first and ids break ties."""
    return or_(created_at < last_at, and_(created_at == last_at, row_id < last_id))
