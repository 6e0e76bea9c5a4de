"""Usage: events, the keys that make them count once, aggregates by hour and month, and what of them was billed.

New tables and functions only. Code of the version before this one uses none of them.

Events are partitioned by month. Keys have no partitions: a retry with another time finds its key in whatever month it was
used. Row security stays forced on the tables; partitions are granted to nobody. Two functions of the owner work across
tenants: one names tenants and nothing else, the other takes no parameters.
"""

import runpy
from pathlib import Path

from alembic import op

revision = "0033"
down_revision = "0032"
branch_labels = None
depends_on = None
works_with = "0004"

protect = runpy.run_path(str(Path(__file__).parents[1] / "frozen/row_security.py"))["protect"]

ID = 'text collate "C"'
KEY = f"tenant_id {ID} not null references tenant, id {ID} not null"
# Rows of the hot tables are written in a transaction of their tenant, so they need no check of it one by one.
HOT_KEY = f"tenant_id {ID} not null, id {ID} not null"
MOMENT = "timestamptz not null default clock_timestamp()"
DEFINER = "security definer set search_path = pg_catalog, public, pg_temp"
DISPATCHING = "(select current_setting('app.dispatching', true)) = 'on'"
BEGIN_DISPATCH = "perform set_config('app.dispatching', 'on', true);"
END_DISPATCH = "perform set_config('app.dispatching', '', true);"

TABLES = f"""
create table usage_key (
    {HOT_KEY} check (length(id) between 3 and 300), occurred_at timestamptz not null, primary key (tenant_id, id)
);
create table usage_event (
    {HOT_KEY}, meter {ID} not null, occurred_at timestamptz not null, recorded_at {MOMENT},
    quantity numeric not null check (quantity between 0 and 1e15), subject text not null default '',
    dimensions jsonb not null default '{{}}', batch_id {ID} not null, recorded_by {ID} not null,
    primary key (tenant_id, meter, occurred_at, id)
) partition by range (occurred_at);
create table usage_event_default partition of usage_event default;
alter table usage_event_default enable row level security;
create table usage_mark (
    {HOT_KEY}, meter {ID} not null, hour timestamptz not null, batch_id {ID} not null, created_at {MOMENT},
    primary key (tenant_id, id)
);
create table usage_window (
    {KEY}, meter {ID} not null, size text not null check (size in ('hour', 'month')),
    starts_at timestamptz not null, ends_at timestamptz not null, quantity numeric not null, event_count bigint not null,
    checksum bigint not null, revision int not null default 1, computed_at {MOMENT}, closed_at timestamptz,
    settled numeric not null default 0, is_settled boolean not null default false, primary key (tenant_id, id), check (starts_at < ends_at)
);
create index usage_window_times on usage_window (tenant_id, meter, size, starts_at);
create index usage_window_open on usage_window (tenant_id, ends_at, id) where closed_at is null;
create index usage_window_unsettled on usage_window (tenant_id, starts_at, id) where closed_at is not null and not is_settled;
create index usage_window_open_of_all_tenants on usage_window (ends_at, tenant_id) where closed_at is null;
create table usage_change (
    {KEY}, window_id {ID} not null, meter {ID} not null, size text not null check (size in ('hour', 'month')),
    starts_at timestamptz not null, revision int not null, cause text not null check (cause in ('late_events', 'recomputed')),
    quantity_before numeric not null, quantity_after numeric not null,
    count_before bigint not null, count_after bigint not null, event_count bigint not null, event_ids text[] not null,
    created_at {MOMENT}, primary key (tenant_id, id), foreign key (tenant_id, window_id) references usage_window
);
create index usage_change_newest on usage_change (tenant_id, created_at desc, id desc);
create index usage_change_window on usage_change (tenant_id, window_id);
create table usage_emission (
    {KEY}, window_id {ID} not null, meter {ID} not null, starts_at timestamptz not null,
    seq bigint not null, quantity numeric not null, carried_in numeric not null,
    units bigint not null check (units >= 0), carried_out numeric not null, created_at {MOMENT},
    primary key (tenant_id, id), foreign key (tenant_id, window_id) references usage_window
);
create unique index usage_emission_sequence on usage_emission (tenant_id, meter, seq);
create index usage_emission_times on usage_emission (tenant_id, meter, starts_at);
create index usage_emission_window on usage_emission (tenant_id, window_id);
"""
GRANTS = {
    "usage_key": "select, insert",
    "usage_event": "select, insert",
    "usage_mark": "select, insert, delete",
    "usage_window": "select, insert, update",
    "usage_change": "select, insert",
    "usage_emission": "select, insert",
}
# Operators read usage. What they do inside a tenant runs as a job of the worker.
RIGHTS = f"""
revoke insert, update on usage_key, usage_event, usage_mark, usage_window, usage_change, usage_emission
    from bulkhead_operator;
create policy metering on usage_mark for select to bulkhead_owner using ({DISPATCHING});
create policy metering on usage_window for select to bulkhead_owner using ({DISPATCHING});
create policy metering on usage_key to bulkhead_owner using ({DISPATCHING}) with check ({DISPATCHING});
"""
# Jumps from tenant to tenant in the primary key: its cost grows with the tenants that have marks, not with their marks.
# Windows have no limit: those of tenants that may not work, or whose work fails, would keep the others from being found.
FIND_TENANTS = f"""
create function list_tenants_with_open_usage(closed_before timestamptz, max_tenants int) returns setof text
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
    select array_agg(due.tenant_id order by random()) into ids from due
    join tenant on tenant.id = due.tenant_id and tenant.state not in ('suspended', 'deleted');
    {END_DISPATCH}
    return query select unnest(ids) limit max_tenants;
end $$;
"""
# Months ahead are made before they begin, and the last two because late events are in them. A month is dropped when the
# last of its events is older than 434 days: keys are kept for 400 days, and an event may be 34 days old when it arrives.
# Its keys go first, some at a time. A key that was used again since has another time and stays. History from before the
# first month waits in the default partition, and goes row by row.
MAINTAIN = f"""
create function maintain_usage_partitions() returns int language plpgsql {DEFINER} set lock_timeout = '2s' as $$
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
        execute format('delete from usage_key k using (select e.tenant_id, e.id from public.%I e'
            ' join usage_key using (tenant_id, id, occurred_at) limit 50000) old'
            ' where k.tenant_id = old.tenant_id and k.id = old.id', old_partition.relname);
        get diagnostics deleted_count = row_count;
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
SIGNATURES = {"list_tenants_with_open_usage": "timestamptz, int", "maintain_usage_partitions": ""}


def run(sql: str) -> None:
    """As written: no parameters, so a percent sign is a percent sign."""
    op.get_bind().execution_options(no_parameters=True).exec_driver_sql(sql)


def upgrade() -> None:
    run(TABLES)
    for table, rights in GRANTS.items():
        op.execute(protect(table, app=rights))
    run(RIGHTS)
    for function in (FIND_TENANTS, MAINTAIN):
        run(function)
    for name, arguments in SIGNATURES.items():
        op.execute(f"revoke all on function {name}({arguments}) from public")
        op.execute(f"grant execute on function {name}({arguments}) to bulkhead_app")


def downgrade() -> None:
    for name, arguments in SIGNATURES.items():
        op.execute(f"drop function {name}({arguments})")
    op.execute("drop table usage_emission, usage_change, usage_window, usage_mark, usage_event, usage_key")
