"""The order of a table that is shown whole: which column and which way, in the address as `sort=name` or `-name`."""

from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import dataclass
from typing import Self, TypeVar

Row = TypeVar("Row")
Key = Callable[[Row], str | float]


@dataclass(frozen=True)
class Order:
    """A column's name and a direction."""

    column: str
    descending: bool

    @classmethod
    def read(cls, asked: str, columns: Container[str], default: str) -> Self:
        """The order asked for, or `default` when there is no such column."""
        wanted = asked if asked.removeprefix("-") in columns else default
        return cls(wanted.removeprefix("-"), wanted.startswith("-"))

    def link(self, column: str) -> str:
        """What `sort` must be to sort by this column; the other way round when it is sorted by already."""
        return f"-{column}" if column == self.column and not self.descending else column

    def apply(self, rows: Iterable[Row], columns: Mapping[str, Key[Row]]) -> list[Row]:
        """The rows in this order."""
        return sorted(rows, key=columns[self.column], reverse=self.descending)
