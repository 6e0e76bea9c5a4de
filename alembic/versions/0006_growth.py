"""Operators' lists read one page by an index, instead of every row of every tenant."""

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None
works_with = "0004"

INDEXES = {
    "tenant_by_name": "tenant (lower(name), id)",
    "tenant_by_creation": "tenant (created_at, id)",
    "audit_event_of_all_tenants": "audit_event (at desc, tenant_id desc, id desc)",
    "membership_by_user": "membership (user_id)",
}


def upgrade() -> None:
    with op.get_context().autocommit_block():
        for name, columns in INDEXES.items():
            op.execute(
                f"drop index concurrently if exists {name}"
            )  # an interrupted build leaves an invalid one
            op.execute(f"create index concurrently {name} on {columns}")


def downgrade() -> None:
    with op.get_context().autocommit_block():
        for name in INDEXES:
            op.execute(f"drop index concurrently if exists {name}")
