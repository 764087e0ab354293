"""Samples that came out of a file wait until they are looked at, with what was noticed about them beside.

It works with the release before it still running: that one neither reads nor writes the new columns, which have a
default or may be null, and to it a sample that waits is one that is left out.

Revision: 0007, after 0006. Made 2026-11-26 02:10:00.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0007"
down_revision: str | None = "0006"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    """Forwards."""
    op.add_column("writing_samples", sa.Column("waiting", sa.Boolean(), server_default=sa.false(), nullable=False))
    op.add_column("writing_samples", sa.Column("remarks_sealed", sa.LargeBinary(), nullable=True))


def downgrade() -> None:
    """Back to what the release before it knows."""
    op.drop_column("writing_samples", "remarks_sealed")
    op.drop_column("writing_samples", "waiting")
