"""Which prompts the base model made.

It must work with the release before it still running: add, then move, then (a release later) take away. Never rename
or drop what that release reads; give new columns a default that its INSERTs can leave out.

Revision: 0003, after 0002. Made 2026-11-25 22:30:41.118203.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0003"
down_revision: str | None = "0002"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    """Forwards."""
    op.add_column("writing_samples", sa.Column("prompt_made", sa.Boolean(), server_default=sa.false(), nullable=False))


def downgrade() -> None:
    """Back to what the release before it knows."""
    op.drop_column("writing_samples", "prompt_made")
