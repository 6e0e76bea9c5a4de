"""Records of decisions, by the ids that people and programs are shown.

A new table and a new function; code of the version before this one uses neither. `export_job` gets a column with a
constant default, which that version leaves alone.

Rows are only added. Their ids are ordered by time, so the primary key finds old ones. The function of the owner deletes
them for all tenants; row security stays forced, and its policy for the owner holds inside this function alone.
"""

import runpy
from pathlib import Path

from alembic import op

revision = "0030"
down_revision = "0029"
branch_labels = None
depends_on = None
works_with = "0004"

protect = runpy.run_path(str(Path(__file__).parents[1] / "frozen/row_security.py"))["protect"]

ID = 'text collate "C"'
PURGING = "(select current_setting('app.purging_decisions', true)) = 'on'"

TABLE = f"""
create table decision_record (
    tenant_id {ID} not null references tenant, id {ID} not null,
    at timestamptz not null default clock_timestamp(),
    surface text not null check (surface in ('page', 'rest', 'job', 'scim', 'cli')),
    actor_type text not null, actor_id {ID} not null, holder_id {ID} not null default '',
    action text not null, allowed boolean not null, layer text not null default '', reason text not null,
    plan_version {ID} not null default '', billing_status text not null default '', request_id {ID} not null default '',
    primary key (tenant_id, id)
);
create index decision_record_of_request on decision_record (tenant_id, request_id);
create index decision_record_by_id_of_all_tenants on decision_record (id, tenant_id);
create index decision_record_by_request_of_all_tenants on decision_record (request_id, tenant_id);
"""
# Jumps from tenant to tenant by the primary key, so a tenant without old records costs one look.
PURGE = """
create function delete_old_decision_records(before_id text, max_records int) returns int
language plpgsql security definer set search_path = pg_catalog, public, pg_temp as $$
declare
    current_tenant text := '';
    record_count int := 0;
    deleted int;
begin
    perform set_config('app.purging_decisions', 'on', true);
    loop
        select min(tenant_id) into current_tenant from decision_record where tenant_id > current_tenant;
        exit when current_tenant is null or record_count >= max_records;
        delete from decision_record where tenant_id = current_tenant and id in (
            select id from decision_record where tenant_id = current_tenant and id < before_id
                and at < clock_timestamp() - interval '30 days'  -- whoever calls it: what is newer stays
            order by id limit max_records - record_count);
        get diagnostics deleted = row_count;
        record_count := record_count + deleted;
    end loop;
    perform set_config('app.purging_decisions', '', true);
    return record_count;
end $$;
revoke all on function delete_old_decision_records(text, int) from public;
grant execute on function delete_old_decision_records(text, int) to bulkhead_app;
"""


def upgrade() -> None:
    op.execute(TABLE)
    op.execute(protect("decision_record", app="select, insert"))
    op.execute(
        f"create policy purge on decision_record to bulkhead_owner using ({PURGING}) with check ({PURGING})"
    )
    op.execute(PURGE)
    op.execute("alter table export_job add column decision_id text collate \"C\" not null default ''")


def downgrade() -> None:
    op.execute("alter table export_job drop column decision_id")
    op.execute("drop function delete_old_decision_records(text, int)")
    op.execute("drop table decision_record")
