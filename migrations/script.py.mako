"""${message}.

It must work with the release before it still running: add, then move, then (a release later) take away. Never rename
or drop what that release reads; give new columns a default that its INSERTs can leave out.

Revision: ${up_revision}, after ${down_revision | comma,n}. Made ${create_date}.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
${imports if imports else ""}

revision: str = ${repr(up_revision)}
down_revision: str | None = ${repr(down_revision)}
branch_labels: str | Sequence[str] | None = ${repr(branch_labels)}
depends_on: str | Sequence[str] | None = ${repr(depends_on)}


def upgrade() -> None:
    """Forwards."""
    ${upgrades if upgrades else "pass"}


def downgrade() -> None:
    """Back to what the release before it knows."""
    ${downgrades if downgrades else "pass"}
