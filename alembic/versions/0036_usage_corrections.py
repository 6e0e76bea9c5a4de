"""Corrections of usage, and results of the check that aggregates are those of their events.

New tables, and nullable columns without a default. An event that a correction voids stays as it was; `voided_by`
names the correction. Code of the version before this one would count it again, so corrections are closed after the
deployment.
"""

import runpy
from pathlib import Path

from alembic import op

revision = "0036"
down_revision = "0035"
branch_labels = None
depends_on = None
works_with = "0004"

protect = runpy.run_path(str(Path(__file__).parents[1] / "frozen/row_security.py"))["protect"]

ID = 'text collate "C"'
KEY = f"tenant_id {ID} not null references tenant, id {ID} not null"
MOMENT = "timestamptz not null default clock_timestamp()"
DEFINER = "security definer set search_path = pg_catalog, public, pg_temp"
BEGIN_DISPATCH = "perform set_config('app.dispatching', 'on', true);"
END_DISPATCH = "perform set_config('app.dispatching', '', true);"

TABLES = f"""
create table usage_correction (
    {KEY}, state text not null default 'open' check (state in ('open', 'closing', 'closed', 'reverting', 'reverted')),
    note text not null, problem text not null default '', opened_by {ID} not null, opened_by_name text not null,
    created_at {MOMENT}, closed_at timestamptz, reverted_at timestamptz, primary key (tenant_id, id)
);
create index usage_correction_newest on usage_correction (tenant_id, created_at desc, id desc);
create table usage_correction_item (
    {KEY}, correction_id {ID} not null, kind text not null check (kind in ('add', 'replace', 'void')),
    meter {ID} not null, event_id {ID} not null, new_event_id {ID}, occurred_at timestamptz not null,
    quantity numeric check (quantity between 0 and 1e15), subject text not null default '',
    dimensions jsonb not null default '{{}}', created_at {MOMENT}, primary key (tenant_id, id),
    foreign key (tenant_id, correction_id) references usage_correction, check ((kind = 'void') = (new_event_id is null)),
    check ((kind = 'void') = (quantity is null))
);
create index usage_correction_item_events on usage_correction_item (tenant_id, correction_id, meter, occurred_at);
create table usage_check (
    {KEY}, asked_at {MOMENT}, checked_at timestamptz, hour_count int not null default 0,
    differing_count int not null default 0, differing_hours text[] not null default '{{}}', primary key (tenant_id, id)
);
"""
GRANTS = {
    "usage_correction": "select, insert, update",
    "usage_correction_item": "select, insert",
    "usage_check": "select, insert, update",
}
# Events are never changed but for this: a correction takes one back, or gives it back.
COLUMNS = f"""
alter table usage_event add column voided_by {ID};
grant update (voided_by) on usage_event to bulkhead_app;
alter table usage_change add column correction_id {ID};
alter table usage_change drop constraint usage_change_cause_check;
alter table usage_change add constraint usage_change_cause_check
    check (cause in ('late_events', 'recomputed', 'corrected')) not valid;
"""
# Work of suspended and deleted tenants is found too: what was used before is added up and billed.
FIND_TENANTS = f"""
create or replace function list_tenants_with_open_usage(closed_before timestamptz, max_tenants int) returns setof text
language plpgsql {DEFINER} as $$
declare
    ids text[];
begin
    {BEGIN_DISPATCH}
    with recursive marked (tenant_id) as (
        (select tenant_id from usage_mark order by tenant_id limit 1)
        union all
        select (select m.tenant_id from usage_mark m where m.tenant_id > marked.tenant_id order by m.tenant_id limit 1)
        from marked where marked.tenant_id is not null
    ), due as (
        select tenant_id from marked where tenant_id is not null
        union
        select tenant_id from usage_window where closed_at is null and ends_at <= closed_before
    )
    select array_agg(due.tenant_id order by random()) into ids from due;
    {END_DISPATCH}
    return query select unnest(ids) limit max_tenants;
end $$;
"""
# As before, but events go with their keys: the next call doesn't read again what this one has done.
MAINTAIN = f"""
create or replace function maintain_usage_partitions() returns int language plpgsql {DEFINER} set lock_timeout = '2s' as $$
declare
    month_start timestamptz;
    partition_name text;
    old_partition record;
    deleted_count int := 0;
    old_count int;
begin
    for month_start in
        select generate_series(date_trunc('month', now() at time zone 'UTC') - interval '2 months',
            date_trunc('month', now() at time zone 'UTC') + interval '3 months', interval '1 month') at time zone 'UTC'
    loop
        partition_name := 'usage_event_' || to_char(month_start at time zone 'UTC', 'YYYY_MM');
        continue when to_regclass('public.' || partition_name) is not null;
        lock table public.usage_event_default in access exclusive mode;
        execute format('create table public.%I (like public.usage_event including defaults including constraints)', partition_name);
        execute format('alter table public.%I enable row level security', partition_name);
        execute format('with moved as (delete from public.usage_event_default where occurred_at >= %L and occurred_at < %L'
            ' returning *) insert into public.%I select * from moved',
            month_start, month_start + interval '1 month', partition_name);
        execute format('alter table public.usage_event attach partition public.%I for values from (%L) to (%L)',
            partition_name, month_start, ((month_start at time zone 'UTC') + interval '1 month') at time zone 'UTC');
    end loop;
    {BEGIN_DISPATCH}
    for old_partition in
        select c.relname from pg_inherits i join pg_class c on c.oid = i.inhrelid
        where i.inhparent = 'usage_event'::regclass and c.relname ~ '^usage_event_[0-9]{{4}}_[0-9]{{2}}$'
            and (to_date(right(c.relname, 7), 'YYYY_MM') + interval '1 month') at time zone 'UTC' < now() - interval '434 days'
        order by c.relname limit 1
    loop
        execute format('with old as (delete from public.%I where ctid in (select ctid from public.%I'
            ' order by tenant_id, meter, occurred_at, id limit 50000) returning tenant_id, id, occurred_at),'
            ' keys as (delete from usage_key k using old where k.tenant_id = old.tenant_id and k.id = old.id'
            ' and k.occurred_at = old.occurred_at) select count(*) from old',
            old_partition.relname, old_partition.relname) into deleted_count;
        if deleted_count = 0 then
            execute format('drop table public.%I', old_partition.relname);
        end if;
    end loop;
    with old as (
        delete from public.usage_event_default where ctid in (
            select ctid from public.usage_event_default where occurred_at < now() - interval '434 days' limit 50000)
        returning tenant_id, id, occurred_at
    )
    delete from usage_key k using old
        where k.tenant_id = old.tenant_id and k.id = old.id and k.occurred_at = old.occurred_at;
    get diagnostics old_count = row_count;
    {END_DISPATCH}
    return deleted_count + old_count;
end $$;
"""
# Operators list the tenants that use most of a meter.
OPERATOR_INDEX = "usage_window_of_all_tenants"


def run(sql: str) -> None:
    """As written: no parameters, so a percent sign is a percent sign."""
    op.get_bind().execution_options(no_parameters=True).exec_driver_sql(sql)


def upgrade() -> None:
    op.execute(TABLES)
    for table, rights in GRANTS.items():
        op.execute(protect(table, app=rights))
    op.execute("revoke insert, update on usage_check from bulkhead_operator")
    op.execute(COLUMNS)
    for function in (FIND_TENANTS, MAINTAIN):
        run(function)
    with op.get_context().autocommit_block():
        run(
            f"drop index concurrently if exists {OPERATOR_INDEX}"
        )  # an interrupted build leaves an invalid one
        run(
            f"create index concurrently {OPERATOR_INDEX} on usage_window (meter, starts_at, tenant_id)"
            " include (quantity) where size = 'hour'"
        )


def downgrade() -> None:
    former = runpy.run_path(str(Path(__file__).with_name("0033_metering.py")))
    for function in ("FIND_TENANTS", "MAINTAIN"):
        run(former[function].replace("create function", "create or replace function"))
    with op.get_context().autocommit_block():
        run(f"drop index concurrently if exists {OPERATOR_INDEX}")
    op.execute("delete from usage_change where cause = 'corrected'")
    op.execute(
        "alter table usage_change drop constraint usage_change_cause_check, drop column correction_id,"
        " add constraint usage_change_cause_check check (cause in ('late_events', 'recomputed')) not valid"
    )
    op.execute("alter table usage_event drop column voided_by")
    op.execute("drop table usage_check, usage_correction_item, usage_correction")
