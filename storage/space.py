"""How much room each person takes: samples, files, published prefixes and checkpoints, in bytes as they were given (a
sample's characters count as bytes). Numbers only."""

from dataclasses import dataclass
from functools import reduce
from operator import add
from typing import Any, Literal, get_args

from sqlalchemy import Select, Subquery, func, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from storage.models import PrefixVersion, TuningCheckpoint, Upload, User, WritingSample

Column = Literal["samples", "files", "prefixes", "checkpoints", "total"]
COLUMNS: tuple[Column, ...] = get_args(Column)
_PARTS: dict[Column, tuple[InstrumentedAttribute[str], Any]] = {
    "samples": (WritingSample.user_id, WritingSample.num_chars),
    "files": (Upload.user_id, Upload.num_bytes),
    "prefixes": (PrefixVersion.user_id, PrefixVersion.num_bytes),
    "checkpoints": (TuningCheckpoint.user_id, func.length(TuningCheckpoint.sealed)),
}


@dataclass(frozen=True)
class Space:
    """Bytes. user_id and email are empty for all people together."""

    user_id: str
    email: str
    samples: int
    files: int
    prefixes: int
    checkpoints: int
    total: int


def of_everybody(session: Session) -> Space:
    """All people together."""
    sums = {name: int(session.scalar(select(func.sum(size))) or 0) for name, (_, size) in _PARTS.items()}
    return Space("", "", **{str(name): size for name, size in sums.items()}, total=sum(sums.values()))


def by_person(session: Session, *, by: Column, descending: bool, page: int, size: int) -> list[Space]:
    """One page (from 1 up) of all people, in this order."""
    return [Space(*row) for row in session.execute(_query(by, descending).offset((page - 1) * size).limit(size))]


def _query(by: Column, descending: bool) -> Select[*tuple[Any, ...]]:
    parts = {name: _summed(name, owner, size) for name, (owner, size) in _PARTS.items()}
    sums = {name: func.coalesce(part.c.size, 0).label(name) for name, part in parts.items()}
    total = reduce(add, sums.values()).label("total")
    found = select(User.id, User.email, *sums.values(), total)
    for part in parts.values():
        found = found.outerjoin(part, part.c.owner == User.id)
    wanted = total if by == "total" else sums[by]
    return found.order_by(wanted.desc() if descending else wanted, User.id)


def _summed(name: str, owner: InstrumentedAttribute[str], size: Any) -> Subquery:
    return select(owner.label("owner"), func.sum(size).label("size")).group_by(owner).subquery(name)
