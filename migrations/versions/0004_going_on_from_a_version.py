"""Which version a run went on from, and which samples a version knows.

It works with the release before it still running: that one neither reads nor writes the new columns, which may be null.

Revision: 0004, after 0003. Made 2026-11-25 22:58:40.315022.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0004"
down_revision: str | None = "0003"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    """Forwards."""
    op.add_column("tuning_runs", sa.Column("continues_version", sa.Integer(), nullable=True))
    op.add_column("prefix_versions", sa.Column("trained_sample_ids", sa.JSON(), nullable=True))


def downgrade() -> None:
    """Back to what the release before it knows."""
    op.drop_column("prefix_versions", "trained_sample_ids")
    op.drop_column("tuning_runs", "continues_version")
