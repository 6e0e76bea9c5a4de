"""Requests for a second operator's approval, and the recurring revenue of tenants by month.

New tables only. Operators can change nothing of a request but its decision, and nobody decides about an own one.
"""

import runpy
from pathlib import Path

from alembic import op

revision = "0042"
down_revision = "0041"
branch_labels = None
depends_on = None
works_with = "0004"

protect = runpy.run_path(str(Path(__file__).parents[1] / "frozen/row_security.py"))["protect"]

ID = 'text collate "C"'
MOMENT = "timestamptz not null default clock_timestamp()"
TABLE = f"""
create table operator_approval (
    id {ID} primary key check (id like 'apr\\_%'), action text not null, object_id text not null,
    subject text not null, payload jsonb not null, shown jsonb not null, digest text not null check (length(digest) = 64),
    reason text not null check (reason <> ''), requested_by {ID} not null references operator,
    requested_by_name text not null, requested_at {MOMENT}, expires_at timestamptz not null,
    state text not null default 'waiting'
        check (state in ('waiting', 'approved', 'declined', 'withdrawn', 'expired')),
    decided_by {ID} references operator, decided_by_name text not null default '', decided_at timestamptz,
    decision_reason text not null default '',
    check (requested_at < expires_at), check ((state = 'waiting') = (decided_at is null)),
    check ((state in ('waiting', 'expired')) = (decided_by is null)),
    check (state not in ('approved', 'declined') or decided_by <> requested_by)
);
create unique index operator_approval_waiting on operator_approval (action, object_id) where state = 'waiting';
create index operator_approval_newest on operator_approval (requested_at desc, id desc);
grant select, insert, update (state, decided_by, decided_by_name, decided_at, decision_reason)
    on operator_approval to bulkhead_operator;
"""


REVENUE = f"""
create table recurring_revenue (
    tenant_id {ID} not null references tenant, id {ID} not null, month date not null, currency text not null,
    annual bigint not null check (annual >= 0), previous_annual bigint not null check (previous_annual >= 0),
    has_paid_before boolean not null, by_plan jsonb not null,
    change text not null check (change in ('', 'new', 'expansion', 'contraction', 'churn', 'reactivation')),
    primary key (tenant_id, id), unique (tenant_id, currency, month)
);
create index recurring_revenue_of_all_tenants on recurring_revenue (month, tenant_id);
"""


def upgrade() -> None:
    op.execute(TABLE)
    op.execute(REVENUE)
    op.execute(protect("recurring_revenue", app="select, insert, update"))


def downgrade() -> None:
    op.execute("drop table recurring_revenue, operator_approval")
