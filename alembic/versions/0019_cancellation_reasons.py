"""Why customers cancelled, and an index by which operators count it.

New columns; code of the version before this one leaves them as they are.
"""

from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None
works_with = "0004"

INDEX = "billing_subscription_cancellations_of_all_tenants"


def upgrade() -> None:
    """May be run again: the index is built outside of a transaction."""
    op.execute(
        "alter table billing_subscription"
        " add column if not exists cancellation_feedback text not null default '',"
        " add column if not exists cancellation_comment text not null default '',"
        " add column if not exists canceled_at timestamptz"
    )
    with op.get_context().autocommit_block():
        op.execute(f"drop index concurrently if exists {INDEX}")  # an interrupted build leaves an invalid one
        op.execute(
            f"create index concurrently {INDEX} on billing_subscription (canceled_at, tenant_id)"
            " where cancellation_feedback <> ''"
        )


def downgrade() -> None:
    op.execute(f"drop index {INDEX}")
    op.execute(
        "alter table billing_subscription drop column canceled_at, drop column cancellation_comment,"
        " drop column cancellation_feedback"
    )
