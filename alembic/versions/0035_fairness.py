"""Fairness: jobs of all tenants take turns, what each tenant costs is recorded, and operators can throttle one.

New tables, functions and indexes only. Code of the version before this one uses none of them.

A worker asks `fetch_fair_job` instead of the queue library's function. Jobs with a time become due by losing it, so that
the indexes below find what may run without reading what waits for later. Priorities are not read: our jobs have none.
"""

import runpy
from pathlib import Path

from alembic import op

revision = "0035"
down_revision = "0034"
branch_labels = None
depends_on = None
works_with = "0004"

protect = runpy.run_path(str(Path(__file__).parents[1] / "frozen/row_security.py"))["protect"]

ID = 'text collate "C"'
KEY = f"tenant_id {ID} not null references tenant, id {ID} not null"
MOMENT = "timestamptz not null default clock_timestamp()"
DEFINER = "security definer set search_path = pg_catalog, public, pg_temp"
DISPATCHING = "(select current_setting('app.dispatching', true)) = 'on'"
BEGIN_DISPATCH = "perform set_config('app.dispatching', 'on', true);"
END_DISPATCH = "perform set_config('app.dispatching', '', true);"
TENANT = "coalesce(args ->> 'tenant_id', '')"

TABLES = f"""
create table tenant_load (
    tenant_id {ID} not null, id {ID} not null, starts_at timestamptz not null,
    request_count bigint not null default 0, event_count bigint not null default 0, job_count bigint not null default 0,
    refused_count bigint not null default 0, database_seconds double precision not null default 0,
    primary key (tenant_id, id)
);
create index tenant_load_of_all_tenants on tenant_load (starts_at, tenant_id);
create table tenant_throttle (
    {KEY}, percent int not null check (percent between 1 and 50), reason text not null check (reason <> ''),
    created_at {MOMENT}, created_by_name text not null, expires_at timestamptz not null,
    ended_at timestamptz, ended_by_name text not null default '', primary key (tenant_id, id),
    check (created_at < expires_at)
);
create unique index tenant_throttle_open on tenant_throttle (tenant_id) where ended_at is null;
create index tenant_throttle_of_all_tenants on tenant_throttle (expires_at) where ended_at is null;
"""
RIGHTS = f"""
revoke insert, update on tenant_load from bulkhead_operator;
revoke insert, update on tenant_throttle from bulkhead_app;
create policy fairness on tenant_load to bulkhead_owner using ({DISPATCHING}) with check ({DISPATCHING});
create policy fairness on tenant_throttle for select to bulkhead_owner using ({DISPATCHING});
"""
# By name: columns and condition. The first finds jobs that may run, the next two those that run one after another.
INDEXES = {
    "job_due": f"procrastinate_jobs (queue_name, ({TENANT}), id)"
    " where status = 'todo' and lock is null and scheduled_at is null",
    "job_in_sequence": f"procrastinate_jobs (queue_name, ({TENANT}), lock)"
    " where status = 'todo' and lock is not null",
    "job_sequence": "procrastinate_jobs (lock, id) where status = 'todo' and lock is not null",
    "job_scheduled": "procrastinate_jobs (queue_name, scheduled_at)"
    " where status = 'todo' and scheduled_at is not null",
}
# The oldest job of one tenant that may run now: without a sequence, or the first of its sequence.
FIND_JOB = f"""
create function find_due_job(lane text, wanted_tenant text) returns bigint language plpgsql {DEFINER} as $$
declare
    free_id bigint;
    first_id bigint;
begin
    select id into free_id from procrastinate_jobs
        where status = 'todo' and lock is null and scheduled_at is null
            and queue_name = lane and {TENANT} = wanted_tenant
        order by id limit 1 for update skip locked;
    with recursive sequence (name) as (
        (select lock from procrastinate_jobs where status = 'todo' and lock is not null
            and queue_name = lane and {TENANT} = wanted_tenant order by lock limit 1)
        union all
        select (select j.lock from procrastinate_jobs j where j.status = 'todo' and j.lock is not null
            and j.queue_name = lane and coalesce(j.args ->> 'tenant_id', '') = wanted_tenant
            and j.lock > sequence.name order by j.lock limit 1)
        from sequence where sequence.name is not null
    )
    select head.id into first_id from sequence cross join lateral (
        select j.id, j.queue_name, j.scheduled_at from procrastinate_jobs j
        where j.status = 'todo' and j.lock is not null and j.lock = sequence.name order by j.id limit 1) head
    where sequence.name is not null and head.queue_name = lane and head.scheduled_at is null
        and not exists (select from procrastinate_jobs j where j.status = 'doing' and j.lock = sequence.name)
    order by head.id limit 1;
    if first_id is not null then
        select id into first_id from procrastinate_jobs where id = first_id and status = 'todo' for update skip locked;
    end if;
    return least(free_id, first_id);
end $$;
"""
# Tries `first_tenant`, then each tenant that has waiting jobs, from the one behind `after_tenant` on. '' is the platform.
FETCH_JOB = f"""
create function fetch_fair_job(lane text, worker bigint, first_tenant text, after_tenant text, skipped_tenants text[])
returns setof procrastinate_jobs language plpgsql {DEFINER} as $$
declare
    turn text := after_tenant;
    is_second_round boolean := false;
    found_id bigint;
begin
    perform require_worker();
    update procrastinate_jobs set scheduled_at = null where id in (
        select id from procrastinate_jobs
        where status = 'todo' and scheduled_at is not null and queue_name = lane and scheduled_at <= now()
        order by scheduled_at limit 500 for update skip locked);
    if first_tenant is not null and first_tenant <> all (skipped_tenants) then
        found_id := find_due_job(lane, first_tenant);
    end if;
    while found_id is null loop
        select least(
            (select {TENANT} from procrastinate_jobs
                where status = 'todo' and lock is null and scheduled_at is null
                    and queue_name = lane and {TENANT} > turn order by {TENANT} limit 1),
            (select {TENANT} from procrastinate_jobs
                where status = 'todo' and lock is not null
                    and queue_name = lane and {TENANT} > turn order by {TENANT} limit 1)) into turn;
        if turn is null then
            exit when is_second_round;
            is_second_round := true;
            turn := '';
            continue;
        end if;
        exit when is_second_round and turn > after_tenant;
        if turn <> all (skipped_tenants) then
            found_id := find_due_job(lane, turn);
        end if;
    end loop;
    if found_id is null and '' <> all (skipped_tenants) then
        found_id := find_due_job(lane, '');
    end if;
    return query update procrastinate_jobs set status = 'doing', worker_id = worker
        where id = found_id and status = 'todo' returning procrastinate_jobs.*;
end $$;
"""
# Jobs of the transaction's own tenant that wait in one lane, counted up to `enough`.
COUNT_WAITING = f"""
create function count_waiting_jobs(lane text, enough int) returns int language sql stable {DEFINER} as $$
    select (
        (select count(*) from (select from procrastinate_jobs where status = 'todo' and lock is null
            and scheduled_at is null and queue_name = lane and {TENANT} = current_setting('app.tenant_id', true)
            limit enough) free)
        + (select count(*) from (select from procrastinate_jobs where status = 'todo' and lock is not null
            and queue_name = lane and {TENANT} = current_setting('app.tenant_id', true) limit enough) ordered))::int
$$;
"""
# Numbers of one process, once a minute, for all tenants in one statement. Days older than a day are deleted by the way.
RECORD_LOAD = f"""
create function record_tenant_load(loads jsonb) returns void language plpgsql {DEFINER} as $$
declare
    bucket timestamptz := date_bin('10 minutes', clock_timestamp(), 'epoch');
begin
    {BEGIN_DISPATCH}
    insert into tenant_load (tenant_id, id, starts_at, request_count, event_count, job_count, refused_count, database_seconds)
    select l.tenant_id, to_char(bucket at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI'), bucket,
        l.requests, l.events, l.jobs, l.refused, l.database_seconds
    from jsonb_to_recordset(loads) as l (tenant_id text, requests bigint, events bigint, jobs bigint, refused bigint,
        database_seconds double precision)
    join tenant on tenant.id = l.tenant_id
    order by l.tenant_id
    on conflict (tenant_id, id) do update set
        request_count = tenant_load.request_count + excluded.request_count,
        event_count = tenant_load.event_count + excluded.event_count,
        job_count = tenant_load.job_count + excluded.job_count,
        refused_count = tenant_load.refused_count + excluded.refused_count,
        database_seconds = tenant_load.database_seconds + excluded.database_seconds;
    delete from tenant_load where (tenant_id, id) in (
        select t.tenant_id, t.id from tenant_load t where t.starts_at < now() - interval '25 hours'
        order by t.starts_at limit 2000 for update skip locked);
    {END_DISPATCH}
end $$;
"""
LIST_THROTTLES = f"""
create function list_throttles() returns table (tenant_id text, percent int, reason text, expires_at timestamptz)
language plpgsql {DEFINER} as $$
begin
    {BEGIN_DISPATCH}
    return query select t.tenant_id::text, t.percent, t.reason, t.expires_at from tenant_throttle t
        where t.ended_at is null and t.expires_at > now();
    {END_DISPATCH}
end $$;
"""
SIGNATURES = {
    "find_due_job": "text, text",
    "fetch_fair_job": "text, bigint, text, text, text[]",
    "count_waiting_jobs": "text, int",
    "record_tenant_load": "jsonb",
    "list_throttles": "",
}


def run(sql: str) -> None:
    """As written: no parameters, so a percent sign is a percent sign."""
    op.get_bind().execution_options(no_parameters=True).exec_driver_sql(sql)


def upgrade() -> None:
    """The indexes come first: they are built outside of a transaction, so this part may run again."""
    with op.get_context().autocommit_block():
        for name, columns in INDEXES.items():
            op.execute(
                f"drop index concurrently if exists {name}"
            )  # an interrupted build leaves an invalid one
            run(f"create index concurrently {name} on {columns}")
    run(TABLES)
    op.execute(protect("tenant_load", app="select, insert, update"))
    op.execute(protect("tenant_throttle", app="select, insert, update"))
    run(RIGHTS)
    for function in (FIND_JOB, FETCH_JOB, COUNT_WAITING, RECORD_LOAD, LIST_THROTTLES):
        run(function)
    for name, arguments in SIGNATURES.items():
        op.execute(f"revoke all on function {name}({arguments}) from public")
        if name != "find_due_job":
            op.execute(f"grant execute on function {name}({arguments}) to bulkhead_app")
    op.execute("grant execute on function count_waiting_jobs(text, int) to bulkhead_operator")


def downgrade() -> None:
    with op.get_context().autocommit_block():
        for name in INDEXES:
            op.execute(f"drop index concurrently if exists {name}")
    for name, arguments in reversed(SIGNATURES.items()):
        op.execute(f"drop function {name}({arguments})")
    op.execute("drop table tenant_throttle, tenant_load")
