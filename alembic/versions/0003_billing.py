"""Billing: what a provider tells us, what we know of it, and what follows from it.

The inbox and the guard belong to no tenant: an event comes before anybody knows whose it is. What is known of a
tenant is its own, protected as everything of a tenant is. History is appended.
"""

from alembic import op

from shared.core.row_security import TENANT, protect

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

ID = 'text collate "C"'
MOMENT = "timestamptz not null default clock_timestamp()"
KEY = f"tenant_id {ID} not null references tenant, id {ID} not null"
CURRENCY = "text not null check (currency ~ '^[a-z]{3}$')"
SELLER = f"account_id {ID} not null references provider_account"

INBOX = f"""
create table provider_account (
    id {ID} primary key check (id = 'platform' or id like 'pac\\_%'), name text not null check (length(name) between 1 and 60),
    external_id text not null default '', livemode boolean not null default false, token_hash text unique,
    sealed bytea, kek_id int, wrapped bytea,
    paused_at timestamptz, pause_reason text not null default '', created_at {MOMENT}
);
insert into provider_account (id, name) values ('platform', 'Bulkhead');
grant select on provider_account to bulkhead_app, bulkhead_operator;
grant insert, update on provider_account to bulkhead_operator;
grant update (external_id, paused_at, pause_reason) on provider_account to bulkhead_app;

create table billing_inbox (
    {SELLER}, event_id {ID} not null check (length(event_id) between 1 and 255), type text not null, livemode boolean not null,
    api_version text not null default '', created_at timestamptz not null, customer_id {ID} not null default '',
    payload bytea not null, received_at {MOMENT},
    status text not null default 'pending' check (status in ('pending', 'working', 'parked', 'done', 'ignored', 'dead')),
    due_at timestamptz not null default clock_timestamp(), leased_until timestamptz, claim text not null default '',
    attempts int not null default 0, error text not null default '', done_at timestamptz,
    primary key (account_id, event_id)
);
create index billing_inbox_due on billing_inbox (due_at) where status in ('pending', 'working', 'parked');
create index billing_inbox_waiting on billing_inbox (account_id, customer_id) where status in ('pending', 'working', 'parked');
create index billing_inbox_newest on billing_inbox (received_at desc, account_id, event_id);
create index billing_inbox_by_status on billing_inbox (status, received_at desc);
-- The apps and the worker never read what came, only that it came: a payload is shown to operators and to nobody else.
grant insert on billing_inbox to bulkhead_app;
grant select (account_id, event_id, type, livemode, api_version, created_at, customer_id, received_at, status, due_at,
    leased_until, claim, attempts, error, done_at) on billing_inbox to bulkhead_app;
grant update (status, due_at, leased_until, claim, attempts, error, done_at) on billing_inbox to bulkhead_app;
grant select on billing_inbox to bulkhead_operator;
grant update (status, due_at, leased_until, claim, attempts, error, done_at) on billing_inbox to bulkhead_operator;
create function keep_received() returns trigger language plpgsql set search_path = pg_catalog as $$
begin
    if (old.account_id, old.event_id, old.type, old.customer_id, old.payload, old.received_at) is distinct from
        (new.account_id, new.event_id, new.type, new.customer_id, new.payload, new.received_at) then
        raise exception 'what was received does not change' using errcode = '42501';
    end if;
    return new;
end $$;
create trigger keep_received before update on billing_inbox for each row execute function keep_received();
-- Events can be asked for again at the provider for 30 days; until then ours stay too.
create function keep_recent() returns trigger language plpgsql set search_path = pg_catalog as $$
begin
    if old.received_at > clock_timestamp() - interval '30 days' or old.status not in ('done', 'ignored') then
        raise exception 'what was received is kept' using errcode = '42501';
    end if;
    return old;
end $$;
create trigger keep_recent before delete on billing_inbox for each row execute function keep_recent();
grant delete on billing_inbox to bulkhead_app;

-- CACHE 1, or tickets are handed out in another order than time.
create sequence billing_ticket cache 1;
grant usage on sequence billing_ticket to bulkhead_app, bulkhead_operator;
create table customer_sync (
    {SELLER}, customer_id {ID} not null, ticket bigint not null default 0, synced_at timestamptz,
    place {ID} not null default '', primary key (account_id, customer_id)
);
create index customer_sync_oldest on customer_sync (synced_at nulls first) where place <> '';
grant select (account_id, customer_id, ticket, synced_at), insert (account_id, customer_id, ticket, synced_at),
    update (ticket, synced_at) on customer_sync to bulkhead_app, bulkhead_operator;
create function customer_place(account text, customer text) returns text
language sql stable security definer set search_path = pg_catalog, public as $$
    select coalesce((select place from customer_sync where account_id = account and customer_id = customer), '')
$$;
revoke execute on function customer_place from public;
grant execute on function customer_place to bulkhead_app, bulkhead_operator;
create function customers_unseen(since timestamptz, most int) returns table (account text, customer text, tenant text)
language sql stable security definer set search_path = pg_catalog, public as $$
    select account_id, customer_id, place from customer_sync join provider_account a on a.id = account_id
    where place <> '' and (synced_at is null or synced_at < since) and a.paused_at is null
    order by synced_at nulls first, account_id, customer_id limit most
$$;
revoke execute on function customers_unseen from public;
grant execute on function customers_unseen to bulkhead_app, bulkhead_operator;

create table reconcile_run (
    id {ID} primary key check (id like 'rcr\\_%'), cause text not null, by_name text not null, reason text not null default '',
    started_at {MOMENT}, finished_at timestamptz, checked int not null default 0, drifted int not null default 0,
    failed int not null default 0
);
grant select, insert, update on reconcile_run to bulkhead_app, bulkhead_operator;
"""

PRICES = f"""
create table price (
    id {ID} primary key check (id like 'prc\\_%'), plan_version_id {ID} not null references plan_version,
    for_tenant {ID} references tenant, period text not null check (period in ('month', 'year')),
    kind text not null check (kind in ('flat', 'seat', 'metered')), currency {CURRENCY},
    amount bigint not null default 0 check (amount >= 0), tiers jsonb not null default '[]' check (jsonb_typeof(tiers) = 'array'),
    tiers_mode text not null default '' check (tiers_mode in ('', 'graduated', 'volume')),
    meter text not null default '', effective_at timestamptz not null, created_at {MOMENT},
    created_by text not null, reason text not null check (reason <> ''),
    check ((kind = 'metered') = (meter <> '')), check ((tiers_mode = '') = (tiers = '[]'::jsonb)),
    unique (plan_version_id, period, kind, meter, currency, effective_at)
);
-- Stripe takes whole cents, and per 1,000 calls they are enough: what is metered is sold, recorded and reported by the
-- thousand (`billing.meters`). A year costs ten months, and has twelve times what a month includes.
insert into price (id, plan_version_id, period, kind, currency, amount, tiers, tiers_mode, meter, effective_at, created_by, reason)
select 'prc_' || plan || '_' || kind || '_' || period, 'plv_' || plan || '_1', period, kind, 'usd',
    amount * case period when 'year' then 10 else 1 end,
    case when included is null then '[]' else jsonb_build_array(
        jsonb_build_object('up_to', included * case period when 'year' then 12 else 1 end, 'unit', 0, 'flat', 0),
        jsonb_build_object('up_to', null, 'unit', above, 'flat', 0)) end,
    case when included is null then '' else 'graduated' end, meter, '2026-01-01Z', 'Bulkhead', 'First price list'
from (values
    ('starter', 'flat', 2900, '', null, null),
    ('pro', 'seat', 2000, '', null, null),
    ('pro', 'metered', 0, 'api_calls', 100, 10),
    ('business', 'flat', 19900, '', null, null),
    ('business', 'seat', 1500, '', null, null),
    ('business', 'metered', 0, 'usage_events', 5000, 5),
    ('extra_seats', 'flat', 9000, '', null, null),
    ('support', 'flat', 14900, '', null, null)
) as listed (plan, kind, amount, meter, included, above), (values ('month'), ('year')) as periods (period);
alter table price enable row level security;
alter table price force row level security;
create policy offered on price for select to bulkhead_app using (for_tenant is null or for_tenant = {TENANT});
create policy catalogue on price to bulkhead_operator using (true) with check (true);
grant select on price to bulkhead_app;
grant select, insert on price to bulkhead_operator;
create trigger append_only before update or delete on price for each row execute function refuse_change();
create table provider_price (
    {SELLER}, price_id {ID} not null references price, external_id text not null default '', pushed_at timestamptz,
    checked_at timestamptz, drift jsonb not null default '{{}}', primary key (account_id, price_id)
);
grant select on provider_price to bulkhead_app;
grant select, insert, update on provider_price to bulkhead_operator;
grant insert, update on provider_price to bulkhead_app;
"""

TENANTS = f"""
create table billing_customer ({KEY}, {SELLER}, created_at {MOMENT}, primary key (tenant_id, id),
    unique (tenant_id, account_id));
create table billing_subscription (
    {KEY}, {SELLER}, customer_id {ID} not null, status text not null, state jsonb not null,
    created_at timestamptz not null, ticket bigint not null, seen_at timestamptz not null, absent_at timestamptz,
    primary key (tenant_id, id), foreign key (tenant_id, customer_id) references billing_customer
);
create index billing_subscription_of on billing_subscription (tenant_id, customer_id);
create table billing_invoice (
    {KEY}, {SELLER}, customer_id {ID} not null, subscription_id {ID} not null default '', number text not null default '',
    status text not null, currency {CURRENCY}, total bigint not null, due bigint not null, paid bigint not null,
    attempts int not null default 0, next_attempt_at timestamptz, created_at timestamptz not null,
    period_starts_at timestamptz, period_ends_at timestamptz, page_url text not null default '', pdf_url text not null default '',
    lines jsonb not null default '[]', ticket bigint not null, seen_at timestamptz not null, absent_at timestamptz,
    primary key (tenant_id, id), foreign key (tenant_id, customer_id) references billing_customer
);
create index billing_invoice_newest on billing_invoice (tenant_id, created_at desc, id);
create index billing_invoice_of on billing_invoice (tenant_id, customer_id);
create table billing_standing (
    {KEY} check (id = 'standing'), course jsonb not null, status text not null, method text not null default '',
    balance bigint not null default 0, currency text not null default '', alert text not null default '',
    ticket bigint not null, changed_at timestamptz not null, primary key (tenant_id, id)
);
create table billing_event (
    {KEY}, at {MOMENT}, {SELLER}, customer_id {ID} not null, cause text not null, event_ids text[] not null default '{{}}',
    ticket bigint not null, previous jsonb not null, next jsonb not null, recalculated boolean not null,
    request_id text not null default '', primary key (tenant_id, id)
);
create index billing_event_newest on billing_event (tenant_id, at desc, id);
create table billing_drift (
    {KEY}, at {MOMENT}, {SELLER}, customer_id {ID} not null, run_id text not null default '',
    differences jsonb not null check (jsonb_typeof(differences) = 'array'), repaired boolean not null,
    primary key (tenant_id, id)
);
create index billing_drift_newest on billing_drift (tenant_id, at desc, id);
create table billing_adjustment (
    {KEY}, kind text not null check (kind in ('credit', 'refund', 'debit')), amount bigint not null check (amount > 0),
    currency {CURRENCY}, reason_code text not null, reason text not null check (reason <> ''), invoice_id text not null default '',
    by_id text not null, by_name text not null, state text not null default 'requested' check (state in ('requested', 'done', 'failed')),
    external_id text not null default '', error text not null default '', created_at {MOMENT}, done_at timestamptz,
    primary key (tenant_id, id)
);
create index billing_adjustment_newest on billing_adjustment (tenant_id, created_at desc, id);
create table dunning_notice (
    {KEY}, kind text not null, about text not null, at {MOMENT}, primary key (tenant_id, id), unique (tenant_id, kind, about)
);
create table billing_usage (
    {KEY}, meter text not null, at timestamptz not null, quantity bigint not null check (quantity > 0),
    identifier text not null check (length(identifier) between 1 and 100), recorded_at {MOMENT},
    tried_at timestamptz, reported_at timestamptz, primary key (tenant_id, id), unique (tenant_id, meter, identifier)
);
create index billing_usage_waiting on billing_usage (tenant_id, id) where reported_at is null;
create table mail_choice (
    {KEY}, user_id {ID} not null references "user", kind text not null check (kind in ('payments')), wanted boolean not null,
    changed_at {MOMENT}, primary key (tenant_id, id), unique (tenant_id, user_id, kind)
);
create function keep_customer_place() returns trigger language plpgsql security definer
set search_path = pg_catalog, public as $$
begin
    insert into customer_sync (account_id, customer_id, place) values (new.account_id, new.id, new.tenant_id)
    on conflict (account_id, customer_id) do update set place = excluded.place where customer_sync.place in ('', excluded.place);
    if customer_place(new.account_id, new.id) <> new.tenant_id then
        raise exception 'this customer is another tenant''s' using errcode = '23505';
    end if;
    -- What came for this customer before anybody knew whose it is, also where that was found out just now, or too often.
    update billing_inbox set status = 'pending', due_at = clock_timestamp(), attempts = 0, leased_until = null
    where account_id = new.account_id and customer_id = new.id and status in ('parked', 'working', 'dead');
    return null;
end $$;
create trigger keep_customer_place after insert on billing_customer for each row execute function keep_customer_place();
"""
CHANGING = (
    "mail_choice",
    "billing_subscription",
    "billing_invoice",
    "billing_standing",
    "billing_adjustment",
)
APPENDED = ("billing_customer", "billing_event", "billing_drift", "dunning_notice")

# Whose word a row is: ours, or what follows from a subscription.
FACTS = """
alter table tenant_plan add column source text not null default '', add column seats int check (seats > 0);
alter table tenant_addon add column source text not null default '';
alter table tenant_billing add column source text not null default '';
"""


def run(sql: str) -> None:
    op.get_bind().execution_options(no_parameters=True).exec_driver_sql(sql)


def upgrade() -> None:
    run(INBOX)
    run(PRICES)
    run(TENANTS)
    for table in CHANGING:
        run(protect(table, app="select, insert, update"))
    for table in APPENDED:
        run(protect(table, app="select, insert"))
        run(
            f"create trigger append_only before update or delete on {table} for each row execute function refuse_change()"
        )
    run(protect("billing_usage", app="select, insert, update (tried_at, reported_at)"))
    run(FACTS)


def downgrade() -> None:
    run(f"drop table {', '.join((*CHANGING, *APPENDED, 'billing_usage'))} cascade")
    run(
        "drop table provider_price, price, reconcile_run, customer_sync, billing_inbox, provider_account cascade"
    )
    run("drop function keep_received, keep_recent, customer_place, customers_unseen, keep_customer_place")
    run("drop sequence billing_ticket")
    run("alter table tenant_plan drop column source, drop column seats")
    run("alter table tenant_addon drop column source")
    run("alter table tenant_billing drop column source")
