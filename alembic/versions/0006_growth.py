"""Operators' lists read one page by an index, not every row of every tenant; names have one spelling."""

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
NAMES = {'"user"': "name", "tenant": "name", "role": "name"}


def upgrade() -> None:
    for table, column in NAMES.items():
        op.execute(
            f"update {table} set {column} = normalize({column}, nfc) where {column} is not nfc normalized"
        )
    with op.get_context().autocommit_block():  # the tables grow: writers go on while an index is built
        for name, columns in INDEXES.items():
            op.execute(f"create index concurrently if not exists {name} on {columns}")


def downgrade() -> None:
    with op.get_context().autocommit_block():
        for name in INDEXES:
            op.execute(f"drop index concurrently if exists {name}")
