"""What each administrator may do in the console.

It works with the release before it still running: that one does not read the new column. Whom it makes an administrator
meanwhile may look and change nothing until an owner says more; whom it makes a writer is one.

Revision: 0011, after 0010. Made 2026-11-26 05:14:20.118034.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0011"
down_revision: str | None = "0010"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    """Forwards."""
    op.add_column("users", sa.Column("console_role", sa.String(length=16), nullable=True))
    op.execute("UPDATE users SET console_role = 'owner' WHERE role = 'admin'")


def downgrade() -> None:
    """Back to what the release before it knows."""
    op.drop_column("users", "console_role")
