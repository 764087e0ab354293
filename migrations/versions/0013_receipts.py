"""Receipts of erasures.

It works with the release before it still running: that one neither reads nor writes the new table, and erases without a
receipt.

Revision: 0013, after 0012. Made 2026-11-26 05:41:02.551870.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0013"
down_revision: str | None = "0012"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    """Forwards."""
    op.create_table(
        "receipts",
        sa.Column("id", sa.String(length=255), nullable=False),
        sa.Column("user_id", sa.String(length=255), nullable=False),
        sa.Column("removed", sa.JSON(), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_receipts_user_id", "receipts", ["user_id"], unique=False)


def downgrade() -> None:
    """Back to what the release before it knows."""
    op.drop_table("receipts")
