"""What every table of the data database is made from."""

from typing import Any

from sqlalchemy import JSON, String
from sqlalchemy.orm import DeclarativeBase


class Base(DeclarativeBase):
    """Every table of the data database."""

    type_annotation_map = {dict[str, Any]: JSON, list[str]: JSON, str: String(255)}  # noqa: RUF012
