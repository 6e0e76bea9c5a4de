"""Deletion of tenants: scheduled, cancelled within the grace period, done, and queued for erasure. Search by reference.

A new table and column, which the version before this one doesn't use. The function of the owner names a tenant and
nothing else; the worker then enters it. Operators find tenants by ids and numbers of the payment provider by indexes.
"""

import runpy
from pathlib import Path

from alembic import op

revision = "0041"
down_revision = "0040"
branch_labels = None
depends_on = None
works_with = "0004"

protect = runpy.run_path(str(Path(__file__).parents[1] / "frozen/row_security.py"))["protect"]

ID = 'text collate "C"'
MOMENT = "timestamptz not null default clock_timestamp()"
DEFINER = "security definer set search_path = pg_catalog, public, pg_temp"
CLEANED = "(select current_setting('app.cleaning', true)) = 'on'"
INDEXES = {
    "billing_customer_by_id_of_all_tenants": "billing_customer (id, tenant_id)",
    "billing_invoice_by_id_of_all_tenants": "billing_invoice (id, tenant_id)",
    "billing_invoice_by_number_of_all_tenants": "billing_invoice (number, tenant_id) where number <> ''",
    "billing_subscription_by_id_of_all_tenants": "billing_subscription (id, tenant_id)",
}
TABLE = f"""
create table tenant_deletion (
    tenant_id {ID} not null references tenant, id {ID} not null,
    reason text not null, requested_by text not null, by_operator boolean not null, requested_at {MOMENT},
    delete_at timestamptz not null, canceled_at timestamptz, canceled_by text not null default '',
    is_held boolean not null default false, deleted_at timestamptz, erased_at timestamptz,
    primary key (tenant_id, id), check (canceled_at is null or deleted_at is null), check (erased_at is null or deleted_at is not null)
);
create unique index tenant_deletion_open on tenant_deletion (tenant_id) where canceled_at is null;
create index tenant_deletion_due_of_all_tenants on tenant_deletion (delete_at, tenant_id)
    where canceled_at is null and erased_at is null;
alter table tenant add column deletion_at timestamptz;
"""
NEXT_TENANT = f"""
create policy cleaning on tenant_deletion for select to bulkhead_owner using ({CLEANED});
create function next_tenant_to_delete(former_tenant text) returns text language plpgsql {DEFINER} as $$
declare
    next_tenant text;
begin
    perform set_config('app.cleaning', 'on', true);
    select d.tenant_id into next_tenant from tenant_deletion d
    where d.tenant_id > former_tenant and d.canceled_at is null and d.deleted_at is null and d.delete_at <= clock_timestamp()
    order by d.tenant_id limit 1;
    perform set_config('app.cleaning', '', true);
    return coalesce(next_tenant, '');
end $$;
revoke all on function next_tenant_to_delete(text) from public;
grant execute on function next_tenant_to_delete(text) to bulkhead_app;
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
    run(TABLE)
    run(protect("tenant_deletion", app="select, insert, update"))
    run(NEXT_TENANT)


def downgrade() -> None:
    run(f"drop index {', '.join(INDEXES)}")
    run("drop function next_tenant_to_delete(text); drop table tenant_deletion cascade")
    run("alter table tenant drop column deletion_at")
