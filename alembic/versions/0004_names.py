"""Tables, columns and functions get the names that the code and the documents use. All rows stay.

The last migration that renames a table: later ones add beside what is there, so that old and new code work together.
"""

from collections.abc import Mapping, Sequence

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

TABLES = {
    "billing_inbox": "inbound_webhook",
    "billing_standing": "billing_snapshot",
    "decision_tally": "decision_count",
    "mail_choice": "mail_preference",
    "user_place": "user_tenant",
}
COLUMNS = {  # by the table's new name
    "billing_snapshot": {"course": "schedule"},
    "customer_sync": {"place": "owning_tenant_id"},
    "mail_preference": {"wanted": "enabled"},
    "user_tenant": {"places": "tenant_ids"},
}
FUNCTIONS = {
    "customer_place(text, text)": "find_customer_tenant",
    "customers_unseen(timestamptz, int)": "list_unsynced_customers",
    "keep_customer_place()": "record_customer_tenant",
    "keep_user_place()": "record_user_tenant",
    "note_security_event(text, text, text, text, text)": "record_security_event",
    "user_places()": "list_user_tenants",
}
TRIGGERS = {  # by the table's new name
    "billing_customer": {"keep_customer_place": "record_customer_tenant"},
    "membership": {"keep_user_place": "record_user_tenant"},
}
POLICIES = {"user_tenant": {"own_places": "own_tenants"}}
# Bodies name tables and columns; renaming does not reach into them.
BODIES = """
create or replace function list_user_tenants() returns text[]
language sql stable set search_path = pg_catalog, public as $$
    select tenant_ids from user_tenant
$$;
create or replace function record_user_tenant() returns trigger language plpgsql security definer
set search_path = pg_catalog, public as $$
begin
    insert into user_tenant as u values (new.user_id, array[new.tenant_id])
    on conflict (user_id) do update set tenant_ids = u.tenant_ids || excluded.tenant_ids
    where not u.tenant_ids @> excluded.tenant_ids;
    return null;
end $$;
create or replace function find_customer_tenant(account text, customer text) returns text
language sql stable security definer set search_path = pg_catalog, public as $$
    select coalesce(
        (select owning_tenant_id from customer_sync where account_id = account and customer_id = customer), '')
$$;
create or replace function list_unsynced_customers(since timestamptz, most int)
returns table (account text, customer text, tenant text)
language sql stable security definer set search_path = pg_catalog, public as $$
    select account_id, customer_id, owning_tenant_id from customer_sync join provider_account a on a.id = account_id
    where owning_tenant_id <> '' and (synced_at is null or synced_at < since) and a.paused_at is null
    order by synced_at nulls first, account_id, customer_id limit most
$$;
create or replace function record_customer_tenant() returns trigger language plpgsql security definer
set search_path = pg_catalog, public as $$
begin
    insert into customer_sync (account_id, customer_id, owning_tenant_id) values (new.account_id, new.id, new.tenant_id)
    on conflict (account_id, customer_id) do update set owning_tenant_id = excluded.owning_tenant_id
    where customer_sync.owning_tenant_id in ('', excluded.owning_tenant_id);
    if find_customer_tenant(new.account_id, new.id) <> new.tenant_id then
        raise exception 'this customer belongs to another tenant' using errcode = '23505';
    end if;
    -- Webhooks that arrived before anybody knew whose customer it is, also those that were given up.
    update inbound_webhook set status = 'pending', due_at = clock_timestamp(), attempts = 0, leased_until = null
    where account_id = new.account_id and customer_id = new.id and status in ('parked', 'working', 'dead');
    return null;
end $$;
"""
# The same as 0001 and 0003 have them.
FORMER_BODIES = """
create or replace function user_places() returns text[] language sql stable set search_path = pg_catalog, public as $$
    select places from user_place
$$;
create or replace function keep_user_place() returns trigger language plpgsql security definer
set search_path = pg_catalog, public as $$
begin
    insert into user_place as p values (new.user_id, array[new.tenant_id])
    on conflict (user_id) do update set places = p.places || excluded.places
    where not p.places @> excluded.places;
    return null;
end $$;
create or replace function customer_place(account text, customer text) returns text
language sql stable security definer set search_path = pg_catalog, public as $$
    select coalesce((select place from customer_sync where account_id = account and customer_id = customer), '')
$$;
create or replace function customers_unseen(since timestamptz, most int)
returns table (account text, customer text, tenant text)
language sql stable security definer set search_path = pg_catalog, public as $$
    select account_id, customer_id, place from customer_sync join provider_account a on a.id = account_id
    where place <> '' and (synced_at is null or synced_at < since) and a.paused_at is null
    order by synced_at nulls first, account_id, customer_id limit most
$$;
create or replace function keep_customer_place() returns trigger language plpgsql security definer
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
"""
# What the first catalog says of its plans, unless an operator has changed it: key, before, now.
SENTENCES = (
    ("free", "To look around, alone or with a few.", "For trying it out, alone or with a few people."),
    ("starter", "For a first team that works here every day.", "For small teams getting started."),
    (
        "business",
        "For organisations with departments and duties.",
        "For growing companies that need roles and reporting.",
    ),
    ("enterprise", "For everybody with more than that.", "For large organisations with custom needs."),
    ("extra_seats", "Ten more people, on any plan.", "Adds 10 seats to any plan."),
    ("support", "An answer within four working hours.", "Answers within four working hours."),
)
# Constraints bring their indexes along; what is left are indexes of their own.
DEPENDENTS = """
do $$ declare dependent record; begin
    for dependent in select conname from pg_constraint
        where conrelid = '{new}'::regclass and starts_with(conname, '{old}_')
    loop
        execute format('alter table {new} rename constraint %I to %I', dependent.conname,
            '{new}' || substr(dependent.conname, length('{old}') + 1));
    end loop;
    for dependent in select c.relname from pg_index i join pg_class c on c.oid = i.indexrelid
        where i.indrelid = '{new}'::regclass and starts_with(c.relname, '{old}_')
    loop
        execute format('alter index %I rename to %I', dependent.relname,
            '{new}' || substr(dependent.relname, length('{old}') + 1));
    end loop;
end $$;
"""


def run(sql: str) -> None:
    op.get_bind().execution_options(no_parameters=True).exec_driver_sql(sql)


def invert(names: Mapping[str, str]) -> dict[str, str]:
    return {new: old for old, new in names.items()}


def rename_tables(tables: Mapping[str, str]) -> None:
    for old, new in tables.items():
        run(f"alter table {old} rename to {new}")
        run(DEPENDENTS.format(old=old, new=new))


def rewrite_sentences(sentences: Sequence[tuple[str, str, str]]) -> None:
    run("alter table plan no force row level security")  # the owner has no policy on it
    for key, before, now in sentences:
        run(f"update plan set sentence = '{now}' where key = '{key}' and sentence = '{before}'")
    run("alter table plan force row level security")


def upgrade() -> None:
    rename_tables(TABLES)
    for table, columns in COLUMNS.items():
        for old, new in columns.items():
            run(f"alter table {table} rename column {old} to {new}")
    for signature, new in FUNCTIONS.items():
        run(f"alter function {signature} rename to {new}")
    for table, triggers in TRIGGERS.items():
        for old, new in triggers.items():
            run(f"alter trigger {old} on {table} rename to {new}")
    for table, policies in POLICIES.items():
        for old, new in policies.items():
            run(f"alter policy {old} on {table} rename to {new}")
    run(BODIES)
    rewrite_sentences(SENTENCES)


def downgrade() -> None:
    rewrite_sentences([(key, now, before) for key, before, now in SENTENCES])
    for table, policies in POLICIES.items():
        for new, old in invert(policies).items():
            run(f"alter policy {new} on {table} rename to {old}")
    for table, triggers in TRIGGERS.items():
        for new, old in invert(triggers).items():
            run(f"alter trigger {new} on {table} rename to {old}")
    for signature, new in FUNCTIONS.items():
        old, _, arguments = signature.partition("(")
        run(f"alter function {new}({arguments} rename to {old}")
    for table, columns in COLUMNS.items():
        for new, old in invert(columns).items():
            run(f"alter table {table} rename column {new} to {old}")
    rename_tables(invert(TABLES))
    run(FORMER_BODIES)
