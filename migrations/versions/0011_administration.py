"""What administrators need: roles, quotas, maintenance, runs by base model, how long the API takes, and an audit trail
that only grows.

It works with the release before it still running: that one reads none of it. Whom it makes an administrator meanwhile
is an owner, whom it makes a writer is one. It only ever adds to the audit trail. Its workers know nothing of
maintenance and take runs up while it is on; nor does it heed quotas.

Revision: 0011, after 0010. Made 2026-11-26 05:14:20.118034.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0011"
down_revision: str | None = "0010"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

GROWS_ONLY = "the audit trail is append only"


def upgrade() -> None:
    """Forwards."""
    op.add_column("users", sa.Column("console_role", sa.String(length=16), nullable=True))
    op.execute("UPDATE users SET console_role = 'owner' WHERE role = 'admin'")
    op.add_column("tuning_runs", sa.Column("base_fingerprint", sa.String(length=255), nullable=True))
    op.execute(
        "UPDATE tuning_runs SET base_fingerprint = "
        "(SELECT base_fingerprint FROM prefix_versions WHERE prefix_versions.run_id = tuning_runs.id)"
    )
    op.create_table(
        "user_quotas",
        sa.Column("user_id", sa.String(length=255), nullable=False),
        sa.Column("voices", sa.Integer(), nullable=True),
        sa.Column("samples", sa.Integer(), nullable=True),
        sa.Column("stored_mb", sa.Integer(), nullable=True),
        sa.Column("runs", sa.Integer(), nullable=True),
        sa.Column("tokens_per_day", sa.Integer(), nullable=True),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("user_id"),
    )
    op.create_table(
        "api_latency",
        sa.Column("hour", sa.String(length=13), nullable=False),
        sa.Column("kind", sa.String(length=8), nullable=False),
        sa.Column("upto_ms", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("answers", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("hour", "kind", "upto_ms"),
    )
    op.create_table(
        "maintenance",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("since", sa.Double(), nullable=False),
        sa.Column("reason", sa.String(length=255), nullable=False),
        sa.Column("actor_id", sa.String(length=255), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    if op.get_bind().dialect.name == "sqlite":
        for deed in ("UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER audit_events_no_{deed.lower()} BEFORE {deed} ON audit_events "
                f"BEGIN SELECT RAISE(ABORT, '{GROWS_ONLY}'); END"
            )
    else:
        op.execute(
            "CREATE FUNCTION audit_events_grow_only() RETURNS trigger LANGUAGE plpgsql AS "
            f"$$ BEGIN RAISE EXCEPTION '{GROWS_ONLY}'; END $$"
        )
        op.execute(
            "CREATE TRIGGER audit_events_grow_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_events "
            "FOR EACH STATEMENT EXECUTE FUNCTION audit_events_grow_only()"
        )


def downgrade() -> None:
    """Back to what the release before it knows."""
    if op.get_bind().dialect.name == "sqlite":
        for deed in ("update", "delete"):
            op.execute(f"DROP TRIGGER audit_events_no_{deed}")
    else:
        op.execute("DROP TRIGGER audit_events_grow_only ON audit_events")
        op.execute("DROP FUNCTION audit_events_grow_only()")
    op.drop_table("maintenance")
    op.drop_table("api_latency")
    op.drop_table("user_quotas")
    op.drop_column("tuning_runs", "base_fingerprint")
    op.drop_column("users", "console_role")
