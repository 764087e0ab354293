"""What is asked of the API, by day, key and model.

It works with the release before it still running: that one neither reads nor writes the new table.

Revision: 0009, after 0008. Made 2026-11-26 02:24:51.402260.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0009"
down_revision: str | None = "0008"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    """Forwards."""
    op.create_table(
        "api_usage",
        sa.Column("user_id", sa.String(length=255), nullable=False),
        sa.Column("day", sa.String(length=10), nullable=False),
        sa.Column("key_id", sa.String(length=255), nullable=False),
        sa.Column("model", sa.String(length=255), nullable=False),
        sa.Column("requests", sa.BigInteger(), nullable=False),
        sa.Column("prompt_tokens", sa.BigInteger(), nullable=False),
        sa.Column("completion_tokens", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("user_id", "day", "key_id", "model"),
    )
    op.create_index("ix_api_usage_day", "api_usage", ["day"], unique=False)


def downgrade() -> None:
    """Back to what the release before it knows."""
    op.drop_table("api_usage")
