"""Tenants take turns at webhooks: fan-out, claims and the purge of old events wait for nobody's lock.

New columns, an index and functions beside those of the version before this one, which goes on using its own.

`webhook_endpoint.response_ms`: how long its answers take lately. `older_secret`: signs too, after two rotations within one
overlap. `event_dispatcher.last_tenant`: whose events were fanned out last.
"""

from alembic import op

revision = "0031"
down_revision = "0030"
branch_labels = None
depends_on = None
works_with = "0004"

INDEX = "event_outbox_waiting"
DEFINER = "security definer set search_path = pg_catalog, public, pg_temp"
BEGIN_DISPATCH = "perform set_config('app.dispatching', 'on', true);"
END_DISPATCH = "perform set_config('app.dispatching', '', true);"

COLUMNS = """
alter table webhook_endpoint
    add column if not exists response_ms int not null default 0,
    add column if not exists older_secret bytea,
    add column if not exists older_secret_ends_at timestamptz;
alter table event_dispatcher add column if not exists last_tenant text not null default '';
grant update (older_secret) on webhook_endpoint to bulkhead_operator;
"""
# One dispatcher at a time fans out, so that an event is never passed by a later one of its object. It goes round all
# tenants that have events, with a part of the batch for each. Endpoints are locked before deliveries are read: what ends
# a delivery locks its endpoint too. A tenant with an endpoint that is locked now keeps its events for the next call.
FAN_OUT = f"""
create or replace function fan_out_events_in_turns(max_events int, max_tenants int) returns int language plpgsql {DEFINER} as $$
declare
    former_tenant text;
    tenants text[];
    wanted_tenants text[];
    wanted_ids text[];
    locked_tenants text[];
    locked_ids text[];
    busy_tenants text[];
    taken_tenants text[];
    taken_ids text[];
begin
    {BEGIN_DISPATCH}
    if not exists (select from event_outbox where fanned_out_at is null) then
        {END_DISPATCH}
        return 0;
    end if;
    select last_tenant into former_tenant from event_dispatcher for update skip locked;
    if not found then
        {END_DISPATCH}
        return 0;
    end if;
    tenants := array(
        with recursive line as (
            (select tenant_id, 1 as place from event_outbox
             where fanned_out_at is null and tenant_id > former_tenant order by tenant_id limit 1)
            union all
            select n.tenant_id, line.place + 1 from line cross join lateral (
                select o.tenant_id from event_outbox o
                where o.fanned_out_at is null and o.tenant_id > line.tenant_id order by o.tenant_id limit 1
            ) n where line.place < max_tenants
        ) select tenant_id from line order by tenant_id);
    if cardinality(tenants) < max_tenants then  -- round again, from the first tenant
        tenants := tenants || array(
            with recursive line as (
                (select tenant_id, cardinality(tenants) + 1 as place from event_outbox
                 where fanned_out_at is null and tenant_id <= former_tenant order by tenant_id limit 1)
                union all
                select n.tenant_id, line.place + 1 from line cross join lateral (
                    select o.tenant_id from event_outbox o where o.fanned_out_at is null
                        and o.tenant_id > line.tenant_id and o.tenant_id <= former_tenant order by o.tenant_id limit 1
                ) n where line.place < max_tenants
            ) select tenant_id from line order by tenant_id);
    end if;
    select array_agg(o.tenant_id), array_agg(o.id) into taken_tenants, taken_ids
    from unnest(tenants) t(tenant_id) cross join lateral (
        select e.tenant_id, e.id from event_outbox e where e.tenant_id = t.tenant_id and e.fanned_out_at is null
        order by e.seq limit greatest(1, max_events / cardinality(tenants))
    ) o;
    if taken_ids is null then
        {END_DISPATCH}
        return 0;
    end if;
    select coalesce(array_agg(tenant_id), '{{}}'), coalesce(array_agg(id), '{{}}') into wanted_tenants, wanted_ids from (
        select distinct e.tenant_id, e.id from unnest(taken_tenants, taken_ids) t(tenant_id, id)
        join event_outbox o on o.tenant_id = t.tenant_id and o.id = t.id
        join webhook_endpoint e on e.tenant_id = o.tenant_id and e.deleted_at is null
            and e.created_at <= o.created_at and o.type = any (e.event_types)
    ) subscribed;
    select coalesce(array_agg(tenant_id), '{{}}'), coalesce(array_agg(id), '{{}}') into locked_tenants, locked_ids from (
        select e.tenant_id, e.id from unnest(wanted_tenants, wanted_ids) w(tenant_id, id)
        join webhook_endpoint e on e.tenant_id = w.tenant_id and e.id = w.id
        order by e.tenant_id, e.id for no key update of e skip locked
    ) locked;
    busy_tenants := array(
        select distinct w.tenant_id from unnest(wanted_tenants, wanted_ids) w(tenant_id, id)
        where not exists (select from unnest(locked_tenants, locked_ids) l(tenant_id, id)
            where l.tenant_id = w.tenant_id and l.id = w.id));
    with event as (
        select o.* from unnest(taken_tenants, taken_ids) t(tenant_id, id)
        join event_outbox o on o.tenant_id = t.tenant_id and o.id = t.id where t.tenant_id <> all (busy_tenants)
    ), copy as (
        select e.tenant_id, e.id as endpoint_id, o.id as event_id, o.type, o.seq, o.ordering_key, o.created_at,
            o.ordering_key <> '' and (
                row_number() over (partition by e.tenant_id, e.id, o.ordering_key order by o.seq) > 1
                or exists (
                    select from webhook_delivery d
                    where d.tenant_id = e.tenant_id and d.endpoint_id = e.id and d.ordering_key = o.ordering_key
                        and d.ordering_key <> '' and d.status = 'pending'
                )
            ) as waits
        from event o
        join webhook_endpoint e on e.tenant_id = o.tenant_id and e.deleted_at is null
            and e.created_at <= o.created_at and o.type = any (e.event_types)
        join unnest(locked_tenants, locked_ids) l(tenant_id, id) on l.tenant_id = e.tenant_id and l.id = e.id
    ), added as (
        insert into webhook_delivery
            (tenant_id, id, endpoint_id, event_id, event_type, seq, ordering_key, status, due_at, created_at)
        select tenant_id, 'whd_' || substr(event_id, 5, 13) || substr(encode(
                sha256(convert_to(endpoint_id || event_id, 'UTF8')), 'hex'), 1, 13),
            endpoint_id, event_id, type, seq, ordering_key, case when waits then 'waiting' else 'pending' end,
            clock_timestamp(), created_at
        from copy on conflict (tenant_id, id) do nothing returning tenant_id, endpoint_id
    )
    update webhook_endpoint e set turn_at = least(e.turn_at, clock_timestamp())
    from (select distinct tenant_id, endpoint_id from added) a where e.tenant_id = a.tenant_id and e.id = a.endpoint_id;
    update event_outbox o set fanned_out_at = clock_timestamp()
    from unnest(taken_tenants, taken_ids) t(tenant_id, id)
    where o.tenant_id = t.tenant_id and o.id = t.id and t.tenant_id <> all (busy_tenants);
    update event_dispatcher set last_tenant = tenants[cardinality(tenants)];
    {END_DISPATCH}
    return (select count(*) from unnest(taken_tenants) t(tenant_id) where t.tenant_id <> all (busy_tenants));
end $$;
"""
# `by_tenant`, `by_endpoint`: numbers of deliveries that the caller is sending now. Each tenant has a share of the places:
# one part of as many as there are tenants with something to send or under way, and one more, which stays for a tenant that
# comes later. Tenants with fewer under way come first, then those that have waited longer. An endpoint that has failed
# several times gets one place, and one that is slow, or hasn't been tried yet, gets few. These have `max_slow` in all: the
# other places stay for endpoints that are known to answer fast. Of those, a tenant may have `batch_size` at least, which
# are read and recorded in one transaction.
CLAIM = f"""
create or replace function claim_deliveries_in_turns(
    claim_id text, max_count int, max_slow int, place_count int, max_per_tenant int, max_per_endpoint int,
    max_per_slow int, batch_size int, slow_ms int, lease interval, by_tenant jsonb, by_endpoint jsonb
) returns table (tenant text, endpoint text, delivery text, slow boolean) language plpgsql {DEFINER} as $$
declare
    share int;
    fast_share int;
    wanted_tenants text[];
    wanted_ids text[];
    chosen_tenants text[];
    chosen_ids text[];
    rooms int[];
    slows boolean[];
    claimed_tenants text[];
    claimed_endpoints text[];
    claimed_ids text[];
    claimed_slows boolean[];
begin
    {BEGIN_DISPATCH}
    select greatest(1, least(max_per_tenant, place_count / (1 + count(*)))) into share from (
        select jsonb_object_keys(by_tenant) union
        select e.tenant_id from webhook_endpoint e join tenant t on t.id = e.tenant_id and t.state not in ('suspended', 'deleted')
        where e.state = 'active' and e.deleted_at is null and e.turn_at <= clock_timestamp()
    ) busy;
    fast_share := greatest(share, least(max_per_tenant, batch_size));
    select array_agg(tenant_id order by turn, turn_at), array_agg(id order by turn, turn_at)
    into wanted_tenants, wanted_ids from (
        select due.*, held + row_number() over (partition by due.tenant_id order by due.turn_at) as turn from (
            select e.tenant_id, e.id, e.turn_at, coalesce((by_tenant ->> e.tenant_id)::int, 0) as held
            from webhook_endpoint e join tenant t on t.id = e.tenant_id and t.state not in ('suspended', 'deleted')
            where e.state = 'active' and e.deleted_at is null and e.turn_at <= clock_timestamp()
                and coalesce((by_tenant ->> e.tenant_id)::int, 0) < case
                    when e.response_ms >= slow_ms or e.last_attempt_at is null then share else fast_share end
                and (max_slow > 0 or e.response_ms < slow_ms and e.last_attempt_at is not null)
                and coalesce((by_endpoint ->> e.id)::int, 0) < case when e.failure_count >= 3 then 1
                    when e.response_ms >= slow_ms or e.last_attempt_at is null then max_per_slow
                    else max_per_endpoint end
        ) due order by turn, turn_at limit max_count * 2
    ) line where turn <= fast_share;
    if wanted_ids is null then
        {END_DISPATCH}
        return;
    end if;
    select array_agg(tenant_id order by place), array_agg(id order by place), array_agg(room order by place),
        array_agg(is_slow order by place)
    into chosen_tenants, chosen_ids, rooms, slows from (
        select e.tenant_id, e.id, w.place, e.response_ms >= slow_ms or e.last_attempt_at is null as is_slow,
            case when e.failure_count >= 3 then 1
                when e.response_ms >= slow_ms or e.last_attempt_at is null then max_per_slow
                else max_per_endpoint end - coalesce((by_endpoint ->> e.id)::int, 0) as room
        from unnest(wanted_tenants, wanted_ids) with ordinality w(tenant_id, id, place)
        join webhook_endpoint e on e.tenant_id = w.tenant_id and e.id = w.id
        where e.state = 'active' and e.deleted_at is null and e.turn_at <= clock_timestamp()
        order by w.place for no key update of e skip locked
    ) line;
    if chosen_ids is null then
        {END_DISPATCH}
        return;
    end if;
    with due as (
        select c.tenant_id, d.id, c.is_slow, c.place, min(c.place) over (partition by c.tenant_id) as tenant_turn,
            row_number() over (partition by c.tenant_id order by d.place, c.place) as tenant_place
        from unnest(chosen_tenants, chosen_ids, rooms, slows) with ordinality c(tenant_id, id, room, is_slow, place)
        cross join lateral (
            select p.id, row_number() over (order by p.due_at, p.seq) as place from webhook_delivery p
            where p.tenant_id = c.tenant_id and p.endpoint_id = c.id and p.status = 'pending'
                and p.due_at <= clock_timestamp()
            order by p.due_at, p.seq limit greatest(0, c.room)
        ) d
    ), fair as (
        select due.*, row_number() over (partition by is_slow order by tenant_place, tenant_turn) as slow_place from due
        where tenant_place <= case when is_slow then share else fast_share end
            - coalesce((by_tenant ->> tenant_id)::int, 0)
    ), taken as (
        select tenant_id, id, is_slow from fair where not is_slow or slow_place <= max_slow
        order by (tenant_place - 1) / batch_size, tenant_turn, tenant_place limit max_count
    ), claimed as (
        update webhook_delivery d set claim = claim_id, due_at = clock_timestamp() + lease
        from taken t where d.tenant_id = t.tenant_id and d.id = t.id
        returning d.tenant_id, d.endpoint_id, d.id, t.is_slow
    )
    select array_agg(tenant_id), array_agg(endpoint_id), array_agg(id), array_agg(is_slow)
    into claimed_tenants, claimed_endpoints, claimed_ids, claimed_slows from claimed;
    update webhook_endpoint e set turn_at = case
        when n.due_at > clock_timestamp() or n.due_at is null then n.due_at else clock_timestamp() end
    from unnest(chosen_tenants, chosen_ids) c(tenant_id, id) left join lateral (
        select p.due_at from webhook_delivery p
        where p.tenant_id = c.tenant_id and p.endpoint_id = c.id and p.status = 'pending' order by p.due_at limit 1
    ) n on true
    where e.tenant_id = c.tenant_id and e.id = c.id
        and (e.id = any (claimed_endpoints) or n.due_at > clock_timestamp() or n.due_at is null);
    {END_DISPATCH}
    return query select * from unnest(claimed_tenants, claimed_endpoints, claimed_ids, claimed_slows);
end $$;
"""
# What is younger than a week is never deleted, whoever asks.
NEXT_OLD = f"""
create or replace function next_tenant_with_old_events(before timestamptz, former_tenant text) returns text
language plpgsql {DEFINER} as $$
declare
    next_tenant text;
begin
    {BEGIN_DISPATCH}
    select t.id into next_tenant from tenant t
    where t.id > former_tenant and exists (
        select from event_outbox o where o.tenant_id = t.id
            and o.created_at < least(before, clock_timestamp() - interval '7 days'))
    order by t.id limit 1;
    {END_DISPATCH}
    return next_tenant;
end $$;
"""
# The oldest of one tenant. Nothing, where one of its endpoints is locked now: the next call tries again.
PURGE = f"""
create or replace function delete_old_events_of_tenant(tenant_key text, before timestamptz, max_events int) returns int
language plpgsql {DEFINER} as $$
declare
    old_ids text[];
    endpoint_count int;
    ended_endpoints text[];
    ended_keys text[];
begin
    {BEGIN_DISPATCH}
    old_ids := array(
        select id from event_outbox where tenant_id = tenant_key
            and created_at < least(before, clock_timestamp() - interval '7 days') order by created_at limit max_events);
    select count(*) into endpoint_count from (
        select e.id from webhook_endpoint e where e.tenant_id = tenant_key order by e.id for no key update skip locked
    ) locked;
    if endpoint_count < (select count(*) from webhook_endpoint where tenant_id = tenant_key) then
        {END_DISPATCH}
        return 0;
    end if;
    delete from webhook_attempt where tenant_id = tenant_key and delivery_id in (
        select id from webhook_delivery where tenant_id = tenant_key and event_id = any (old_ids));
    with deleted as (
        delete from webhook_delivery where tenant_id = tenant_key and event_id = any (old_ids)
        returning endpoint_id, ordering_key
    )
    select array_agg(endpoint_id), array_agg(ordering_key) into ended_endpoints, ended_keys
    from (select distinct endpoint_id, ordering_key from deleted where ordering_key <> '') ended;
    delete from event_outbox where tenant_id = tenant_key and id = any (old_ids);
    -- What waited for one of them goes on, or it would wait for ever and be overtaken.
    with released as (
        update webhook_delivery d set status = 'pending', due_at = clock_timestamp()
        from unnest(ended_endpoints, ended_keys) k(endpoint_id, ordering_key) cross join lateral (
            select w.id from webhook_delivery w
            where w.tenant_id = tenant_key and w.endpoint_id = k.endpoint_id and w.ordering_key = k.ordering_key
                and w.status = 'waiting' order by w.seq limit 1
        ) first
        where d.tenant_id = tenant_key and d.id = first.id and not exists (
            select from webhook_delivery p where p.tenant_id = tenant_key and p.endpoint_id = k.endpoint_id
                and p.ordering_key = k.ordering_key and p.ordering_key <> '' and p.status = 'pending')
        returning d.endpoint_id
    )
    update webhook_endpoint e set turn_at = least(e.turn_at, clock_timestamp())
    where e.tenant_id = tenant_key and e.id in (select endpoint_id from released);
    {END_DISPATCH}
    return cardinality(old_ids);
end $$;
"""
SIGNATURES = {
    "fan_out_events_in_turns": "int, int",
    "claim_deliveries_in_turns": "text, int, int, int, int, int, int, int, int, interval, jsonb, jsonb",
    "next_tenant_with_old_events": "timestamptz, text",
    "delete_old_events_of_tenant": "text, timestamptz, int",
}


def run(sql: str) -> None:
    """As written: no parameters, so a percent sign is a percent sign."""
    op.get_bind().execution_options(no_parameters=True).exec_driver_sql(sql)


def upgrade() -> None:
    """May be run again: the index is built outside of a transaction."""
    run(COLUMNS)
    for function in (FAN_OUT, CLAIM, NEXT_OLD, PURGE):
        run(function)
    for name, arguments in SIGNATURES.items():
        op.execute(f"revoke all on function {name}({arguments}) from public")
        op.execute(f"grant execute on function {name}({arguments}) to bulkhead_app")
    with op.get_context().autocommit_block():
        op.execute(f"drop index concurrently if exists {INDEX}")  # an interrupted build leaves an invalid one
        op.execute(
            f"create index concurrently {INDEX} on event_outbox (tenant_id, seq) where fanned_out_at is null"
        )


def downgrade() -> None:
    op.execute(f"drop index {INDEX}")
    for name, arguments in SIGNATURES.items():
        op.execute(f"drop function {name}({arguments})")
    op.execute("alter table event_dispatcher drop column last_tenant")
    op.execute(
        "alter table webhook_endpoint drop column older_secret_ends_at, drop column older_secret, drop column response_ms"
    )
