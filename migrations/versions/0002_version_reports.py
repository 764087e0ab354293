"""Reports of published versions, sealed.

It works with the release before it still running: that one neither reads nor writes the new column, which may be null.

Revision: 0002, after 0001. Made 2026-11-25 22:31:11.933424.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0002"
down_revision: str | None = "0001"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    """Forwards."""
    op.add_column("prefix_versions", sa.Column("report_sealed", sa.LargeBinary(), nullable=True))


def downgrade() -> None:
    """Back to what the release before it knows."""
    op.drop_column("prefix_versions", "report_sealed")
