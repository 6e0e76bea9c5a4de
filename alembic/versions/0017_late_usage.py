"""The time under which late usage is billed, why usage can't be billed, and an index by which operators find it.

New columns; code of the version before this one leaves them as they are.
"""

from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None
works_with = "0004"

INDEX = "billing_usage_problems_of_all_tenants"


def upgrade() -> None:
    """May be run again: the index is built outside of a transaction."""
    op.execute(
        "alter table billing_usage add column if not exists counted_at timestamptz,"
        " add column if not exists problem text not null default ''"
    )
    op.execute("grant update (counted_at, problem) on billing_usage to bulkhead_app")
    with op.get_context().autocommit_block():
        op.execute(f"drop index concurrently if exists {INDEX}")  # an interrupted build leaves an invalid one
        op.execute(f"create index concurrently {INDEX} on billing_usage (at, tenant_id) where problem <> ''")


def downgrade() -> None:
    op.execute(f"drop index {INDEX}")
    op.execute("alter table billing_usage drop column problem, drop column counted_at")
