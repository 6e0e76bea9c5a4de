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
        # No process waits behind a concurrent build, so it may wait itself. An interrupted one leaves an invalid index.
        lock_timeout = op.get_bind().exec_driver_sql("show lock_timeout").scalar_one()
        op.execute("set lock_timeout = 0")
        for name, columns in INDEXES.items():
            op.execute(f"drop index concurrently if exists {name}")
            op.execute(f"create index concurrently {name} on {columns}")
        op.execute(f"set lock_timeout = '{lock_timeout}'")


def downgrade() -> None:
    with op.get_context().autocommit_block():
        for name in INDEXES:
            op.execute(f"drop index concurrently if exists {name}")
