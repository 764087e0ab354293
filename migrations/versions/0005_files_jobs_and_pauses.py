"""Training files, the jobs that are asked for with them, and pauses of a run.

It works with the release before it still running: that one neither reads nor writes the new table and columns,
which have a default or may be null.

Revision: 0005, after 0004. Made 2026-11-26 00:04:11.204417.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0005"
down_revision: str | None = "0004"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    """Forwards."""
    op.create_table(
        "uploads",
        sa.Column("id", sa.String(length=255), nullable=False),
        sa.Column("user_id", sa.String(length=255), nullable=False),
        sa.Column("filename_sealed", sa.LargeBinary(), nullable=False),
        sa.Column("content_sealed", sa.LargeBinary(), nullable=False),
        sa.Column("num_bytes", sa.Integer(), nullable=False),
        sa.Column("num_samples", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_uploads_user_id", "uploads", ["user_id"], unique=False)
    op.add_column("tuning_runs", sa.Column("pause_requested", sa.Boolean(), server_default=sa.false(), nullable=False))
    op.add_column("tuning_runs", sa.Column("job_sealed", sa.LargeBinary(), nullable=True))


def downgrade() -> None:
    """Back to what the release before it knows."""
    op.drop_column("tuning_runs", "job_sealed")
    op.drop_column("tuning_runs", "pause_requested")
    op.drop_table("uploads")
