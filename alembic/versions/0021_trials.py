"""Trials once for each person and payment card: who has had one, exceptions by operators, and the verdict about each trial.

New tables, functions and a column with a constant default. Trials that run while this is applied are accepted. Code of the
version before this one neither asks nor remembers; what it sells meanwhile is judged by the next sync of this version.

`trial_claim` belongs to no tenant, because it is asked about other ones. The apps can't read it: they call functions that
say only whether a trial is refused, and because of what.
"""

from alembic import op

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None
works_with = "0004"

ID = 'text collate "C"'
TENANT = "(select current_setting('app.tenant_id', true))"
REASON = "(select current_setting('app.cross_tenant_reason', true))"
DEFINER = "security definer set search_path = pg_catalog, public, pg_temp"
TABLES = f"""
create table trial_claim (
    tenant {ID} not null references tenant, kind text not null check (kind in ('person', 'card')),
    holder {ID} not null, claimed_at timestamptz not null default clock_timestamp(),
    reserved_until timestamptz,  -- null: the trial has begun
    primary key (kind, holder, tenant)
);
create index trial_claim_of_tenant on trial_claim (tenant);
create table trial_grant (
    tenant_id {ID} not null references tenant, id {ID} not null, subscription_id text not null default '',
    reason text not null, by_id text not null, by_name text not null,
    created_at timestamptz not null default clock_timestamp(), primary key (tenant_id, id)
);
alter table trial_grant enable row level security;
alter table trial_grant force row level security;
create policy tenant_isolation on trial_grant using (tenant_id = {TENANT}) with check (tenant_id = {TENANT});
create policy operator_cross_tenant on trial_grant for select to bulkhead_operator using ({REASON} <> '');
grant select, insert, update (subscription_id) on trial_grant to bulkhead_app, bulkhead_operator;
alter table billing_subscription add column trial_verdict text not null default '';
-- The key with which fingerprints of cards are hashed. The table has three rows at most.
alter table platform_key drop constraint platform_key_id_check;
alter table platform_key add constraint platform_key_id_check check (id in ('user', 'operator', 'trial'));
create policy key_of_trials on platform_key to bulkhead_app using (id = 'trial') with check (id = 'trial');
"""
FUNCTIONS = f"""
create function find_trial_refusal(persons text[], card text, max_trials int, with_owners boolean) returns text
language sql stable {DEFINER} as $$
    select case when max_trials <= 0 then 'person' else coalesce(min(kind), '') end from (
        select kind from trial_claim
        where ((kind = 'person' and holder = any (persons)) or (kind = 'person' and with_owners and holder in (
                select user_id from membership where tenant_id = current_setting('app.tenant_id', true)
                    and role = 'owner' and state = 'active'
            )) or (kind = 'card' and card <> '' and holder = card))
            and tenant <> current_setting('app.tenant_id', true)
            and (reserved_until is null or reserved_until > clock_timestamp())
        group by kind, holder having count(*) >= max_trials
    ) used
$$;
create function claim_trial(
    persons text[], card text, max_trials int, reserved_for interval, is_granted boolean
) returns text language plpgsql {DEFINER} as $$
declare
    own text := current_setting('app.tenant_id', true);
    reserved timestamptz := clock_timestamp() + reserved_for;
    refusal text := '';
    claimed record;
begin
    if own = '' then
        raise exception 'a trial is claimed by a tenant';
    end if;
    for claimed in
        select kind, holder from (
            select 'person' as kind, unnest(persons) as holder union select 'card', card where card <> ''
        ) holders order by kind, holder
    loop  -- in one order, so that two tenants never wait for each other
        perform pg_advisory_xact_lock(hashtextextended('trial:' || claimed.kind || ':' || claimed.holder, 0));
    end loop;
    if not is_granted then
        refusal := find_trial_refusal(persons, card, max_trials, false);
    end if;
    if refusal <> '' then
        return refusal;
    end if;
    insert into trial_claim as c (tenant, kind, holder, reserved_until)
    select own, 'person', person, reserved from unnest(persons) person
    union select own, 'card', card, reserved where card <> ''
    on conflict (kind, holder, tenant) do update
    set reserved_until = case when c.reserved_until is null then null else excluded.reserved_until end;
    if reserved is null then
        update trial_claim set reserved_until = null where tenant = own and reserved_until > clock_timestamp();
    end if;
    return '';
end $$;
revoke all on function find_trial_refusal(text[], text, int, boolean) from public;
revoke all on function claim_trial(text[], text, int, interval, boolean) from public;
grant execute on function find_trial_refusal(text[], text, int, boolean) to bulkhead_app, bulkhead_operator;
grant execute on function claim_trial(text[], text, int, interval, boolean) to bulkhead_app;
"""
# Owners of organisations that have had a trial. Their subscriptions are accepted as they are. One tenant after another, so that
# row security stays forced and no table is locked for readers.
FORMER_TRIALS = """
do $$
declare
    known text;
begin
    for known in select distinct owning_tenant_id from customer_sync where owning_tenant_id <> '' loop
        perform set_config('app.tenant_id', known, true);
        insert into trial_claim (tenant, kind, holder)
        select distinct s.tenant_id, 'person', m.user_id from billing_subscription s
        join membership m on m.tenant_id = s.tenant_id and m.role = 'owner' and m.state = 'active'
        where s.tenant_id = known and s.state ->> 'trial_ends_at' is not null;
        update billing_subscription set trial_verdict = 'accepted'
        where tenant_id = known and state ->> 'trial_ends_at' is not null;
    end loop;
    perform set_config('app.tenant_id', '', true);
end $$
"""


def upgrade() -> None:
    op.execute(TABLES)
    op.get_bind().execution_options(no_parameters=True).exec_driver_sql(FUNCTIONS)
    op.execute(FORMER_TRIALS)


def downgrade() -> None:
    op.execute("drop function claim_trial(text[], text, int, interval, boolean)")
    op.execute("drop function find_trial_refusal(text[], text, int, boolean)")
    op.execute("drop policy key_of_trials on platform_key")
    op.execute("delete from platform_key where id = 'trial'")
    op.execute("alter table platform_key drop constraint platform_key_id_check")
    op.execute(
        "alter table platform_key add constraint platform_key_id_check check (id in ('user', 'operator'))"
    )
    op.execute("alter table billing_subscription drop column trial_verdict")
    op.execute("drop table trial_grant")
    op.execute("drop table trial_claim")
