"""Until when an account is a guest's.

It works with the release before it still running: that one makes no guests, and keeps those there are as it keeps
anybody.

Revision: 0014, after 0013. Made 2026-11-26 06:45:00.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0014"
down_revision: str | None = "0013"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    """Forwards."""
    op.add_column("users", sa.Column("guest_until", sa.Double(), nullable=True))
    op.create_index("ix_users_guest_until", "users", ["guest_until"], unique=False)


def downgrade() -> None:
    """Back to what the release before it knows."""
    op.drop_index("ix_users_guest_until", table_name="users")
    op.drop_column("users", "guest_until")
