"""Blind trials of a voice, and which base models take requests.

It works with the release before it still running: that one neither reads nor writes the new table, and the new column
has a default that its INSERTs leave out.

Revision: 0006, after 0005. Made 2026-11-26 02:05:40.118203.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0006"
down_revision: str | None = "0005"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    """Forwards."""
    op.create_table(
        "blind_trials",
        sa.Column("id", sa.String(length=255), nullable=False),
        sa.Column("user_id", sa.String(length=255), nullable=False),
        sa.Column("voice_id", sa.String(length=255), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("against", sa.Integer(), nullable=True),
        sa.Column("version_first", sa.Boolean(), nullable=False),
        sa.Column("strength", sa.Double(), nullable=False),
        sa.Column("choice", sa.String(length=8), nullable=True),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("chosen_at", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["voice_id"], ["voices.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_blind_trials_user_id", "blind_trials", ["user_id"], unique=False)
    op.create_index("ix_blind_trials_voice_id", "blind_trials", ["voice_id"], unique=False)
    op.add_column(
        "base_models", sa.Column("has_chat_template", sa.Boolean(), server_default=sa.false(), nullable=False)
    )


def downgrade() -> None:
    """Back to what the release before it knows."""
    op.drop_column("base_models", "has_chat_template")
    op.drop_table("blind_trials")
