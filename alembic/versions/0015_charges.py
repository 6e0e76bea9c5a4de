"""What the provider will charge next, refunds and disputes as the provider has them, and what credit notes took off.

Adds columns with constant defaults and new tables only. Code of the version before this one uses none of them.
"""

import runpy
from pathlib import Path

from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None
works_with = "0004"

protect = runpy.run_path(str(Path(__file__).parents[1] / "frozen/row_security.py"))["protect"]

ID = 'text collate "C"'
COLUMNS = """
alter table billing_snapshot add column upcoming jsonb not null default '{}';
alter table billing_invoice add column credited bigint not null default 0;
"""
RECORD = f"""
    tenant_id {ID} not null references tenant, id {ID} not null, account_id {ID} not null references provider_account,
    customer_id {ID} not null, invoice_id {ID} not null default '', amount bigint not null,
    currency text not null, status text not null, created_at timestamptz not null, ticket bigint not null,
    seen_at timestamptz not null, primary key (tenant_id, id),
    foreign key (tenant_id, customer_id) references billing_customer
"""
TABLES = f"""
create table billing_refund (
    credit_note_id {ID} not null default '', adjustment_id {ID} not null default '',
    failure_reason text not null default '', {RECORD}
);
create index billing_refund_of on billing_refund (tenant_id, customer_id);
create table billing_dispute (
    reason text not null default '', is_refundable boolean not null default false, respond_by timestamptz, {RECORD}
);
create index billing_dispute_of on billing_dispute (tenant_id, customer_id);
"""


def upgrade() -> None:
    op.execute(COLUMNS)
    op.execute(TABLES)
    for table in ("billing_refund", "billing_dispute"):
        op.execute(protect(table, app="select, insert, update"))


def downgrade() -> None:
    op.execute("drop table billing_dispute, billing_refund")
    op.execute("alter table billing_invoice drop column credited")
    op.execute("alter table billing_snapshot drop column upcoming")
