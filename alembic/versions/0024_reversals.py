"""Prepaid credits that are given back after a reversal, early fraud warnings of payments, and an end of trial claims.

A check that admits one more kind, a new table and a function. The version before this one uses none of them.
"""

import runpy
from pathlib import Path

from alembic import op

revision = "0024"
down_revision = "0023"
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
# Without parameters, so that the app can delete nothing else. Personal data: who had a trial, and hashes of their cards.
OLD_CLAIMS = """
create function delete_old_trial_claims() returns void
language sql security definer set search_path = pg_catalog, public, pg_temp as $$
    delete from trial_claim
    where reserved_until < clock_timestamp() - interval '1 day'
        or reserved_until is null and claimed_at < clock_timestamp() - interval '3 years'
$$;
revoke all on function delete_old_trial_claims() from public;
grant execute on function delete_old_trial_claims() to bulkhead_app;
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
    op.execute(OLD_CLAIMS)
    op.execute(protect("billing_fraud_warning", app="select, insert, update"))


def downgrade() -> None:
    op.execute("drop function delete_old_trial_claims()")
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
