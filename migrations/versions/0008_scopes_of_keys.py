"""What an API key may do.

It works with the release before it still running: that one neither reads nor writes the new column, which may be null
and then means everything. A key with fewer scopes may do everything there, until that release is stopped.

Revision: 0008, after 0007. Made 2026-11-26 01:52:07.318815.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0008"
down_revision: str | None = "0007"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    """Forwards."""
    op.add_column("api_keys", sa.Column("scopes", sa.JSON(), nullable=True))


def downgrade() -> None:
    """Back to what the release before it knows."""
    op.drop_column("api_keys", "scopes")
