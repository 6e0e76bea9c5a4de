"""Counters of limits with reservations, and the amount that a tenant may spend on metered use.

New tables only. Code of the version before this one uses none of them, and records usage as before: what it records is
added when a counter is made.

Draws are only ever added, so that transactions of one tenant don't wait for each other; a job adds them to their counter.
"""

import runpy
from pathlib import Path

from alembic import op

revision = "0034"
down_revision = "0033"
branch_labels = None
depends_on = None
works_with = "0004"

protect = runpy.run_path(str(Path(__file__).parents[1] / "frozen/row_security.py"))["protect"]

ID = 'text collate "C"'
KEY = f"tenant_id {ID} not null references tenant, id {ID} not null"
# Rows of the hot tables are written in a transaction of their tenant, so they need no check of it one by one.
HOT_KEY = f"tenant_id {ID} not null, id {ID} not null"
MOMENT = "timestamptz not null default clock_timestamp()"

TABLES = f"""
create table usage_counter (
    {HOT_KEY}, meter {ID} not null, starts_at timestamptz not null, ends_at timestamptz not null,
    used numeric not null default 0 check (used >= 0), reserved numeric not null default 0 check (reserved >= 0),
    warned_percent int not null default 0, warned_amount numeric, refused_amount numeric, created_at {MOMENT},
    primary key (tenant_id, id), check (starts_at < ends_at)
) with (fillfactor = 50);
create table usage_reservation (
    {HOT_KEY}, counter_id {ID} not null, quantity numeric not null check (quantity >= 0), expires_at timestamptz not null,
    primary key (tenant_id, id), foreign key (tenant_id, counter_id) references usage_counter
);
create index usage_reservation_lapsing on usage_reservation (tenant_id, counter_id, expires_at);
create table usage_draw (
    {HOT_KEY}, counter_id {ID} not null, meter {ID} not null, starts_at timestamptz not null, ends_at timestamptz not null,
    reservation_id {ID} not null default '', quantity numeric not null check (quantity >= 0), primary key (tenant_id, id)
);
create index usage_draw_counter on usage_draw (tenant_id, counter_id, reservation_id);
create table spend_limit (
    {KEY}, amount bigint not null check (amount > 0), currency text not null, is_cap boolean not null,
    alerted_from timestamptz, alerted_percent int not null default 0,
    changed_at {MOMENT}, primary key (tenant_id, id)
);
"""
GRANTS = {
    "usage_counter": "select, insert, update",
    "usage_reservation": "select, insert, update, delete",
    "usage_draw": "select, insert, delete",
    "spend_limit": "select, insert, update, delete",
}
# Operators read them. What they do inside a tenant runs as a job of the worker.
RIGHTS = """
revoke insert, update on usage_counter, usage_reservation, usage_draw, spend_limit from bulkhead_operator;
"""


def run(sql: str) -> None:
    """As written: no parameters, so a percent sign is a percent sign."""
    op.get_bind().execution_options(no_parameters=True).exec_driver_sql(sql)


def upgrade() -> None:
    run(TABLES)
    for table, rights in GRANTS.items():
        op.execute(protect(table, app=rights))
    run(RIGHTS)


def downgrade() -> None:
    op.execute("drop table spend_limit, usage_draw, usage_reservation, usage_counter")
