"""Prepaid credits, their ledger and automatic top-ups.

A column with a constant default and new tables only. Code of the version before this one uses none of them.
"""

import runpy
from pathlib import Path

from alembic import op

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None
works_with = "0004"

protect = runpy.run_path(str(Path(__file__).parents[1] / "frozen/row_security.py"))["protect"]

ID = 'text collate "C"'
KEY = f"tenant_id {ID} not null references tenant, id {ID} not null"
MOMENT = "timestamptz not null default clock_timestamp()"

COLUMNS = """
alter table billing_usage add column drawn bigint not null default 0;
grant update (drawn) on billing_usage to bulkhead_app;
"""

# What is left of a grant is the sum of its entries. The check holds whatever the code does.
TABLES = f"""
create table prepaid_grant (
    {KEY}, source text not null check (source in ('operator', 'top_up')), amount bigint not null check (amount > 0),
    remaining bigint not null check (remaining between 0 and amount), currency text not null,
    priority int not null check (priority between 0 and 100), expires_at timestamptz, invoice_id {ID} not null default '',
    reason_code text not null default '', reason text not null default '', by_id {ID} not null default '',
    by_name text not null default '', created_at {MOMENT}, primary key (tenant_id, id)
);
create table prepaid_entry (
    {KEY}, grant_id {ID} not null, kind text not null check (kind in ('grant', 'draw', 'expire', 'void', 'refund')),
    amount bigint not null check ((kind = 'grant') = (amount > 0) and amount <> 0), units bigint not null default 0,
    meter text not null default '', usage_id {ID} not null default '', reason text not null default '',
    by_name text not null default '', at {MOMENT}, primary key (tenant_id, id),
    foreign key (tenant_id, grant_id) references prepaid_grant
);
create index prepaid_entry_newest on prepaid_entry (tenant_id, at, id);
create index prepaid_entry_of_grant on prepaid_entry (tenant_id, grant_id, at, id);
create unique index prepaid_entry_once on prepaid_entry (tenant_id, grant_id, kind, usage_id)
    where kind in ('grant', 'draw');
create table top_up_setting (
    {KEY}, is_on boolean not null, threshold bigint not null check (threshold >= 0),
    amount bigint not null check (amount >= threshold and amount > 0),
    monthly_maximum bigint not null check (monthly_maximum >= amount), currency text not null,
    stop_reason text not null default '', changed_at {MOMENT}, primary key (tenant_id, id)
);
create table top_up (
    {KEY}, amount bigint not null check (amount > 0), currency text not null,
    state text not null check (state in ('requested', 'paid', 'failed')), invoice_id {ID} not null default '',
    error text not null default '', created_at {MOMENT}, tried_at timestamptz, done_at timestamptz,
    customer_id {ID} not null default '', method_id {ID} not null default '', primary key (tenant_id, id)
);
create unique index top_up_open on top_up (tenant_id) where state = 'requested';
create index top_up_newest on top_up (tenant_id, created_at);
"""


def upgrade() -> None:
    op.execute(COLUMNS)
    op.execute(TABLES)
    for table in ("prepaid_grant", "prepaid_entry"):
        op.execute(protect(table, app="select, insert"))
    for table in ("top_up_setting", "top_up"):
        op.execute(protect(table, app="select, insert, update"))
    op.execute("grant update (remaining) on prepaid_grant to bulkhead_app, bulkhead_operator")


def downgrade() -> None:
    op.execute("drop table top_up, top_up_setting, prepaid_entry, prepaid_grant")
    op.execute("alter table billing_usage drop column drawn")
