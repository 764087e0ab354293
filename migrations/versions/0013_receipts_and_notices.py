"""Receipts of erasures, and by which ways people want to be told that a training has ended.

It works with the release before it still running: that one neither reads nor writes the new tables, erases without a
receipt and tells nobody.

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
    op.create_table(
        "notice_settings",
        sa.Column("user_id", sa.String(length=255), nullable=False),
        sa.Column("by_mail", sa.Boolean(), nullable=False),
        sa.Column("webhook_sealed", sa.LargeBinary(), nullable=True),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("user_id"),
    )


def downgrade() -> None:
    """Back to what the release before it knows."""
    op.drop_table("notice_settings")
    op.drop_table("receipts")
