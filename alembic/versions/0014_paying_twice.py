"""How many subscriptions of a tenant are charged beside the one that gives access, and an index by which operators find them.

A new column with a default; code of the version before this one leaves it at 0 until the next sync.
"""

from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None
works_with = "0004"

INDEX = "billing_snapshot_paying_twice_of_all_tenants"


def upgrade() -> None:
    """May be run again: the index is built outside of a transaction."""
    op.execute(
        "alter table billing_snapshot add column if not exists extra_subscriptions integer not null default 0"
    )
    with op.get_context().autocommit_block():
        op.execute(f"drop index concurrently if exists {INDEX}")  # an interrupted build leaves an invalid one
        op.execute(
            f"create index concurrently {INDEX} on billing_snapshot (changed_at, tenant_id)"
            " where extra_subscriptions > 0"
        )


def downgrade() -> None:
    op.execute(f"drop index {INDEX}")
    op.execute("alter table billing_snapshot drop column extra_subscriptions")
