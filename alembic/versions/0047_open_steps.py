"""Operators find unfinished provisioning among the steps that are not done, instead of among all of every tenant."""

from alembic import op

revision = "0047"
down_revision = "0044"
branch_labels = None
depends_on = None
works_with = "0004"

INDEX = "provisioning_step_open"


def upgrade() -> None:
    with op.get_context().autocommit_block():
        op.execute(f"drop index concurrently if exists {INDEX}")  # an interrupted build leaves an invalid one
        op.execute(
            f"create index concurrently {INDEX} on provisioning_step (tenant_id, position) where state <> 'done'"
        )


def downgrade() -> None:
    with op.get_context().autocommit_block():
        op.execute(f"drop index concurrently if exists {INDEX}")
