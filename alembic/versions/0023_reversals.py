"""Prepaid credits that are given back after a reversal, and early fraud warnings of payments.

A check that admits one more kind, and a new table. The version before this one uses neither.
"""

import runpy
from pathlib import Path

from alembic import op

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None
works_with = "0004"

protect = runpy.run_path(str(Path(__file__).parents[1] / "frozen/row_security.py"))["protect"]

ID = 'text collate "C"'
WARNINGS = f"""
create table billing_fraud_warning (
    tenant_id {ID} not null references tenant, id {ID} not null, account_id {ID} not null references provider_account,
    customer_id {ID} not null, invoice_id {ID} not null default '', amount bigint not null,
    currency text not null, fraud_type text not null default '', is_actionable boolean not null,
    created_at timestamptz not null, ticket bigint not null, seen_at timestamptz not null,
    primary key (tenant_id, id), foreign key (tenant_id, customer_id) references billing_customer
);
create index billing_fraud_warning_of on billing_fraud_warning (tenant_id, customer_id);
"""
# Not valid: each row that the narrower checks admitted is admitted by these.
ENTRY_KINDS = """
alter table prepaid_entry drop constraint prepaid_entry_kind_check;
alter table prepaid_entry add constraint prepaid_entry_kind_check
    check (kind in ('grant', 'draw', 'expire', 'void', 'refund', 'restore')) not valid;
alter table prepaid_entry drop constraint prepaid_entry_check;
alter table prepaid_entry add constraint prepaid_entry_check
    check ((kind in ('grant', 'restore')) = (amount > 0) and amount <> 0) not valid;
"""


def upgrade() -> None:
    op.execute(ENTRY_KINDS)
    op.execute(WARNINGS)
    op.execute(protect("billing_fraud_warning", app="select, insert, update"))


def downgrade() -> None:
    op.execute("drop table billing_fraud_warning")
    op.execute("alter table prepaid_entry drop constraint prepaid_entry_check")
    op.execute("alter table prepaid_entry drop constraint prepaid_entry_kind_check")
    op.execute(
        "alter table prepaid_entry add constraint prepaid_entry_check"
        " check ((kind = 'grant') = (amount > 0) and amount <> 0) not valid"
    )
    op.execute(
        "alter table prepaid_entry add constraint prepaid_entry_kind_check"
        " check (kind in ('grant', 'draw', 'expire', 'void', 'refund')) not valid"
    )
