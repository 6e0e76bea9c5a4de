"""What operators ask the provider for: subscriptions paid by transfer, invoices marked as paid, longer trials.

A new table, a nullable column, and indexes for the figures of the overview. Operators insert; the job that submits an order changes only what became of it.
"""

import runpy
from pathlib import Path

from alembic import op

revision = "0044"
down_revision = "0042"
branch_labels = None
depends_on = None
works_with = "0004"

protect = runpy.run_path(str(Path(__file__).parents[1] / "frozen/row_security.py"))["protect"]

ID = 'text collate "C"'
INDEXES = {
    "billing_snapshot_past_due_of_all_tenants": "billing_snapshot (status, tenant_id)"
    " where status in ('past_due', 'unpaid')",
    "billing_subscription_trials_of_all_tenants": "billing_subscription (status, tenant_id)"
    " where status = 'trialing'",
    "provisioning_step_unfinished_of_all_tenants": "provisioning_step (state, tenant_id) where state <> 'done'",
    "usage_counter_warned_of_all_tenants": "usage_counter (ends_at, tenant_id) where warned_percent >= 80",
}
OUTCOME = "update (state, external_id, error, done_at)"
TABLE = f"""
create table billing_order (
    tenant_id {ID} not null references tenant, id {ID} not null check (id like 'bor\\_%'),
    kind text not null check (kind in ('mark_paid', 'transfer_subscription', 'trial_extension')),
    subject_id text not null, terms jsonb not null, reason text not null check (reason <> ''),
    by_id {ID} not null, by_name text not null,
    state text not null check (state in ('requested', 'done', 'failed')),
    external_id text not null, error text not null,
    created_at timestamptz not null default clock_timestamp(), done_at timestamptz,
    primary key (tenant_id, id), check ((state = 'requested') = (done_at is null))
);
create unique index billing_order_open on billing_order (tenant_id, kind, subject_id) where state = 'requested';
create index billing_order_newest on billing_order (tenant_id, created_at desc, id);
"""


def run(sql: str) -> None:
    """As written: no parameters, so a percent sign is a percent sign."""
    op.get_bind().execution_options(no_parameters=True).exec_driver_sql(sql)


def upgrade() -> None:
    """The indexes first: an interrupted build is repeated before there is anything else."""
    with op.get_context().autocommit_block():
        for name, columns in INDEXES.items():
            run(f"drop index concurrently if exists {name}")  # of a build that was interrupted
            run(f"create index concurrently {name} on {columns}")
    op.execute("alter table billing_invoice add column due_at timestamptz")
    op.execute(TABLE)
    op.execute(protect("billing_order", app=f"select, {OUTCOME}"))
    op.execute("grant insert on billing_order to bulkhead_operator")


def downgrade() -> None:
    run(f"drop index {', '.join(INDEXES)}")
    op.execute("drop table billing_order")
    op.execute("alter table billing_invoice drop column due_at")
