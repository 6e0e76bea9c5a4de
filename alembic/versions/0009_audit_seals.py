"""The audit log without a hot row: events are hashed by themselves, and a sealer chains them in `audit_seal`.

Adds columns without a default to compute, tables and functions. Events of the former format keep their chain, and the
first seal of a tenant continues from its last hash. Code of the version before this one writes and reads events as
before; it cannot verify them, and its verification says so instead of finding an event that was changed.

`transaction_id` is a number of this database server. A dump that is restored on another server brings events with its
numbers; the sealer notices (`seal_audit_logs`).
"""

from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None
works_with = "0004"

TENANT = "(select current_setting('app.tenant_id', true))"
REASON = "(select current_setting('app.cross_tenant_reason', true))"
# Only within the functions of the sealer, which belong to the owner of the tables.
SEALING = "(select current_setting('app.sealing', true)) = 'on'"
ID = 'text collate "C"'
INDEX = "audit_event_by_transaction_of_all_tenants"
DEFINER = "security definer set search_path = pg_catalog, public"
BEGIN_SEALING = "perform set_config('app.sealing', 'on', true);"
END_SEALING = "perform set_config('app.sealing', '', true);"

# May be run again: the index is built between two transactions.
COLUMNS = """
alter table audit_event
    alter column seq drop not null,
    alter column prev drop not null,
    add column if not exists format smallint not null default 1,
    add column if not exists transaction_id bigint;
"""
# Transactions that have written with the former trigger end before the new one works.
SEALS = f"""
lock table audit_event in share row exclusive mode;
create table audit_seal (
    tenant_id {ID} not null references tenant, id {ID} not null, seq bigint not null,
    previous_hash bytea not null, hash bytea not null,
    primary key (tenant_id, id), unique (tenant_id, seq)
);
create table audit_sealer (
    id boolean primary key default true check (id), next_transaction bigint not null
);
insert into audit_sealer (next_transaction) values (0);
create table audit_verification (
    tenant_id {ID} not null references tenant, id {ID} not null default 'verification' check (id = 'verification'),
    state text not null check (state in ('running', 'intact', 'broken')),
    checked_seq bigint not null, checked_hash bytea not null, checked_id {ID} not null, checked_events bigint not null,
    target_seq bigint not null, problem text not null default '', broken_at bigint, broken_id {ID} not null default '',
    started_at timestamptz not null, changed_at timestamptz not null,
    verified_seq bigint not null default 0, verified_at timestamptz,
    primary key (tenant_id, id)
);
"""
RIGHTS = f"""
alter table audit_seal enable row level security;
alter table audit_seal force row level security;
create policy tenant_isolation on audit_seal using (tenant_id = {TENANT}) with check (tenant_id = {TENANT});
create policy operator_cross_tenant on audit_seal for select to bulkhead_operator using ({REASON} <> '');
create policy sealer on audit_seal to bulkhead_owner using ({SEALING}) with check ({SEALING});
create policy sealer on audit_head to bulkhead_owner using ({SEALING}) with check ({SEALING});
create policy sealer on audit_event for select to bulkhead_owner using ({SEALING});
grant select on audit_seal, audit_sealer to bulkhead_app, bulkhead_operator;
create trigger append_only before update or delete on audit_seal for each row execute function refuse_change();
create trigger append_only_all before truncate on audit_seal execute function refuse_change();

alter table audit_verification enable row level security;
alter table audit_verification force row level security;
create policy tenant_isolation on audit_verification using (tenant_id = {TENANT}) with check (tenant_id = {TENANT});
create policy operator_cross_tenant on audit_verification for select to bulkhead_operator using ({REASON} <> '');
grant select, insert, update on audit_verification to bulkhead_app, bulkhead_operator;
"""
HASHES = """
create or replace function audit_hash(e audit_event) returns bytea language plpgsql stable
set search_path = pg_catalog, public as $$
begin
    if e.format <> 1 then
        raise exception 'events of format % are verified by a newer version of the platform', e.format
            using errcode = 'cannot_connect_now';  -- the version before this one answers "back in a moment"
    end if;
    return sha256(e.prev || convert_to(jsonb_build_array(
        e.tenant_id, e.id, e.seq, extract(epoch from e.at), e.actor_type, e.actor_id, e.actor_name, e.impersonator_id,
        e.action, e.object_id, e.reason, e.before, e.after, e.details, e.request_id)::text, 'UTF8'));
end $$;
create function audit_event_hash(e audit_event) returns bytea language sql stable
set search_path = pg_catalog, public as $$
    select sha256(convert_to(jsonb_build_array(
        e.format, e.tenant_id, e.id, e.transaction_id, extract(epoch from e.at), e.actor_type, e.actor_id, e.actor_name,
        e.impersonator_id, e.action, e.object_id, e.reason, e.before, e.after, e.details, e.request_id)::text, 'UTF8'))
$$;
create or replace function audit_chain() returns trigger language plpgsql set search_path = pg_catalog, public as $$
begin
    new.seq := null;
    new.prev := null;
    new.format := 2;
    new.transaction_id := pg_current_xact_id()::text::bigint;
    new.at := clock_timestamp();
    new.hash := audit_event_hash(new);
    return new;
end $$;
create function audit_next_hash(chained bytea, previous_hash bytea, event_hash bytea) returns bytea
language sql immutable as $$ select sha256(coalesce(chained, previous_hash) || event_hash) $$;
create aggregate audit_chained_hash(previous_hash bytea, event_hash bytea) (sfunc = audit_next_hash, stype = bytea);
"""
# The first one is called by the other two only, with their rights: they hold the row locks of the heads. Everything below
# `until_transaction` has ended, so that it is seen.
SEALER = f"""
create function seal_audit_events(tenants text[], from_transaction bigint, until_transaction bigint, max_events int)
returns int language plpgsql set search_path = pg_catalog, public as $$
declare sealed_count int;
begin
    with pending as (
        select e.tenant_id, e.id, e.hash, e.transaction_id, e.at from audit_event e
        where e.transaction_id >= from_transaction and e.transaction_id < until_transaction
            and e.tenant_id = any (tenants)
            and not exists (select from audit_seal s where s.tenant_id = e.tenant_id and s.id = e.id)
        order by e.transaction_id, e.at, e.id limit max_events
    ), sealed as (
        insert into audit_seal (tenant_id, id, seq, previous_hash, hash)
        select tenant_id, id, seq, coalesce(lag(next_hash) over next_event, head_hash), next_hash
        from (
            select p.tenant_id, p.id, h.hash as head_hash, h.seq + row_number() over next_event as seq,
                audit_chained_hash(h.hash, p.hash) over next_event as next_hash
            from pending p join audit_head h on h.tenant_id = p.tenant_id
            window next_event as (partition by p.tenant_id order by p.transaction_id, p.at, p.id)
        ) chain window next_event as (partition by tenant_id order by seq)
        returning tenant_id, seq, hash
    ), moved as (
        update audit_head h set seq = last.seq, hash = last.hash
        from (select distinct on (tenant_id) tenant_id, seq, hash from sealed order by tenant_id, seq desc) last
        where h.tenant_id = last.tenant_id
    )
    select count(*) into sealed_count from sealed;
    return sealed_count;
end $$;

create function seal_audit_log(max_events int) returns int language plpgsql {DEFINER} as $$
declare
    tenant text := current_setting('app.tenant_id', true);
    first_transaction bigint;
    horizon bigint;
    sealed_count int;
begin
    {BEGIN_SEALING}
    insert into audit_head values (tenant, 'head', 0, '\\x00') on conflict do nothing;
    perform 1 from audit_head where tenant_id = tenant for update;
    select next_transaction into first_transaction from audit_sealer;
    horizon := pg_snapshot_xmin(pg_current_snapshot())::text::bigint;
    sealed_count := seal_audit_events(array[tenant], first_transaction, horizon, max_events);
    {END_SEALING}
    return sealed_count;
end $$;

create function seal_audit_logs(max_events int) returns boolean language plpgsql {DEFINER} as $$
declare
    first_transaction bigint;
    horizon bigint := pg_snapshot_xmin(pg_current_snapshot())::text::bigint;
    after_all bigint := pg_snapshot_xmax(pg_current_snapshot())::text::bigint;
    window_end bigint;
    tenants text[];
    locked_tenants text[];
    sealed_count int := 0;
    has_more boolean := false;
begin
    {BEGIN_SEALING}
    select next_transaction into first_transaction from audit_sealer;
    if first_transaction <= horizon and horizon - first_transaction < 1000 and not exists (
        select from audit_event where transaction_id >= first_transaction and transaction_id < horizon
    ) then
        {END_SEALING}
        return false;  -- nothing to do, and nothing written
    end if;
    select next_transaction into first_transaction from audit_sealer for update skip locked;
    if not found then
        {END_SEALING}
        return false;  -- another sealer is at work
    end if;
    horizon := pg_snapshot_xmin(pg_current_snapshot())::text::bigint;  -- no older than the position that was just read
    after_all := pg_snapshot_xmax(pg_current_snapshot())::text::bigint;
    if first_transaction > after_all then
        -- Restored from a server with higher numbers. Events that were not sealed there come first, then all are seen again.
        window_end := 9223372036854775807;
        horizon := 0;
        has_more := true;
    else
        select transaction_id into window_end from audit_event
        where transaction_id > first_transaction and transaction_id < horizon
        order by transaction_id offset max_events limit 1;
        has_more := found;
        window_end := coalesce(window_end, horizon);
    end if;
    tenants := array(
        select distinct e.tenant_id from audit_event e
        where e.transaction_id >= first_transaction and e.transaction_id < window_end
            and not exists (select from audit_seal s where s.tenant_id = e.tenant_id and s.id = e.id)
    );
    if cardinality(tenants) > 0 then
        insert into audit_head select id, 'head', 0, '\\x00' from unnest(tenants) id on conflict do nothing;
        locked_tenants := array(
            select tenant_id from audit_head where tenant_id = any (tenants) order by tenant_id for update skip locked
        );
        sealed_count := seal_audit_events(locked_tenants, first_transaction, window_end, max_events);
        if sealed_count = max_events then
            {END_SEALING}
            return true;  -- the rest of this window
        end if;
        if cardinality(locked_tenants) < cardinality(tenants) then
            {END_SEALING}
            return false;  -- somebody seals one of them just now: the window is looked through once more
        end if;
    end if;
    update audit_sealer set next_transaction = least(window_end, horizon);
    {END_SEALING}
    return has_more;
end $$;
revoke execute on function seal_audit_events(text[], bigint, bigint, int), seal_audit_log(int), seal_audit_logs(int)
    from public;
grant execute on function seal_audit_log(int), seal_audit_logs(int) to bulkhead_app;
grant execute on function seal_audit_log(int) to bulkhead_operator;
"""

# Every event gets a number and a hash of the former format again. Seals, and what was verified, are gone.
FORMER_FORMAT = """
alter table audit_event disable trigger append_only, no force row level security;
alter table audit_head no force row level security;
alter table audit_seal no force row level security;
insert into audit_head select distinct tenant_id, 'head', 0, '\\x00'::bytea from audit_event on conflict do nothing;
do $$
declare
    e audit_event;
    head audit_head;
begin
    for head in select tenant_id, id, coalesce((select max(seq) from audit_event m where m.tenant_id = h.tenant_id), 0),
            coalesce((select hash from audit_event m where m.tenant_id = h.tenant_id and seq is not null
                order by seq desc limit 1), '\\x00') from audit_head h loop
        for e in select m.* from audit_event m left join audit_seal s on s.tenant_id = m.tenant_id and s.id = m.id
                where m.tenant_id = head.tenant_id and m.seq is null
                order by s.seq nulls last, m.transaction_id, m.at, m.id loop
            e.seq := head.seq + 1;
            e.prev := head.hash;
            e.format := 1;
            head.seq := e.seq;
            head.hash := audit_hash(e);
            update audit_event set seq = e.seq, prev = e.prev, hash = head.hash
            where tenant_id = e.tenant_id and id = e.id;
        end loop;
        update audit_head set seq = head.seq, hash = head.hash where tenant_id = head.tenant_id;
    end loop;
end $$;
"""
FORMER_FUNCTIONS = """
create or replace function audit_hash(e audit_event) returns bytea language sql stable
set search_path = pg_catalog, public as $$
    select sha256(e.prev || convert_to(jsonb_build_array(
        e.tenant_id, e.id, e.seq, extract(epoch from e.at), e.actor_type, e.actor_id, e.actor_name, e.impersonator_id,
        e.action, e.object_id, e.reason, e.before, e.after, e.details, e.request_id)::text, 'UTF8'))
$$;
create or replace function audit_chain() returns trigger language plpgsql security definer
set search_path = pg_catalog, public as $$
declare head audit_head;
begin
    insert into audit_head values (new.tenant_id, 'head', 0, '\\x00') on conflict do nothing;
    select * into head from audit_head where tenant_id = new.tenant_id for update;  -- held until commit
    new.seq := head.seq + 1;
    new.at := clock_timestamp();
    new.prev := head.hash;
    new.hash := audit_hash(new);
    update audit_head set seq = new.seq, hash = new.hash where tenant_id = new.tenant_id;
    return new;
end $$;
"""
FORMER_TABLES = f"""
drop policy sealer on audit_event;
drop policy sealer on audit_head;
drop function seal_audit_logs(int), seal_audit_log(int), seal_audit_events(text[], bigint, bigint, int);
drop aggregate audit_chained_hash(bytea, bytea);
drop function audit_next_hash(bytea, bytea, bytea), audit_event_hash(audit_event);
drop table audit_seal, audit_sealer, audit_verification;
drop index {INDEX};
alter table audit_event
    alter column seq set not null, alter column prev set not null, drop column format, drop column transaction_id,
    enable trigger append_only, force row level security;
alter table audit_head force row level security;
"""


def run(sql: str) -> None:
    """As written: no parameters, so a percent sign is a percent sign."""
    op.get_bind().execution_options(no_parameters=True).exec_driver_sql(sql)


def upgrade() -> None:
    run(COLUMNS)
    with op.get_context().autocommit_block():
        op.execute(f"drop index concurrently if exists {INDEX}")  # an interrupted build leaves an invalid one
        op.execute(
            f"create index concurrently {INDEX} on audit_event (transaction_id, tenant_id)"
            " where transaction_id is not null"
        )
    run(SEALS)
    run(RIGHTS)
    run(HASHES)
    run(SEALER)


def downgrade() -> None:
    run("lock table audit_event in access exclusive mode")
    run(FORMER_FORMAT)
    run(FORMER_FUNCTIONS)
    run(FORMER_TABLES)
