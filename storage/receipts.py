"""What an erasure removed, for whoever looks later: how many rows of each table, and nothing of what was in them.

A receipt names the account by its bare id, as the audit trail does. Whether anything has come back is looked up anew.
"""

from dataclasses import dataclass

from sqlalchemy import Table, func, select
from sqlalchemy.orm import Session

from storage import clock
from storage.errors import NotFound
from storage.ids import new_id
from storage.models import Base, Receipt, User
from storage.store import Storage


@dataclass(frozen=True)
class Standing:
    """A receipt, and what is there of the account now: rows of all tables, and whether its key is."""

    receipt: Receipt
    rows_now: int
    key_now: bool

    @property
    def holds(self) -> bool:
        """Whether nothing has come back."""
        return not self.rows_now and not self.key_now


def owned_tables() -> list[Table]:
    """The tables whose rows belong to somebody and go with them."""
    return [
        table
        for table in Base.metadata.sorted_tables
        if "user_id" in table.columns and table.columns["user_id"].foreign_keys
    ]


def count_rows(session: Session, user_id: str) -> dict[str, int]:
    """Of each table in which the person has any, how many rows are theirs."""
    counts = {
        table.name: session.scalar(select(func.count()).select_from(table).where(table.columns["user_id"] == user_id))
        for table in owned_tables()
    }
    return {name: count for name, count in counts.items() if count}


def write(session: Session, user_id: str, removed: dict[str, int]) -> Receipt:
    """Keep a receipt, in the transaction of the erasure."""
    receipt = Receipt(id=new_id("receipt"), user_id=user_id, removed=removed, at=clock.now())
    session.add(receipt)
    session.flush()
    return receipt


def look_up(storage: Storage, receipt_id: str) -> Standing:
    """A receipt, and how things stand. Raises NotFound."""
    with storage.database.reading() as session:
        receipt = session.get(Receipt, receipt_id)
        if receipt is None:
            raise NotFound("no such receipt")
        rows_now = sum(count_rows(session, receipt.user_id).values())
        rows_now += session.get(User, receipt.user_id) is not None
    return Standing(receipt, rows_now, storage.keys.holds(receipt.user_id))
