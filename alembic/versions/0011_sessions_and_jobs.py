"""Sessions and jobs behind functions and row security: rows alone sign nobody in, and only the worker reads the queue.

The tables of sessions can't be read or written by the apps' roles any more, only through the functions below. A session
carries a proof that needs a master key, which the database does not have. Jobs can be read and changed by the worker's
login and by operators; the tenant app adds them by the function of the queue and sees those of the tenant it is in. What
lists the customers of all tenants is for the worker.

Processes of the version before this one read and write these tables themselves. Where tenants exist they can do so for
one more hour, so that processes are replaced one after the other. Sessions they made carry no proof and stay valid.
"""

from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None
works_with = "0004"

ROLE_BY_REALM = {"user": "bulkhead_app", "operator": "bulkhead_operator"}
FORMER_VERSION = """
create table former_version_access (
    id boolean primary key default true check (id), allowed_until timestamptz not null
);
insert into former_version_access (allowed_until)
    select now() + case when exists (select from "user") then interval '1 hour' else interval '-31 days' end;
grant select on former_version_access to bulkhead_app, bulkhead_operator;
create function is_former_version_allowed() returns boolean
language sql stable set search_path = pg_catalog, public as $$
    select exists (select from former_version_access where allowed_until > now())
$$;
-- Its sessions carry no proof. The last of them ends 31 days after it could write, and from then on none is taken.
create function is_session_of_former_version(created_at timestamptz) returns boolean
language sql stable set search_path = pg_catalog, public as $$
    select exists (
        select from former_version_access
        where created_at <= allowed_until and now() < allowed_until + interval '31 days'
    )
$$;
"""
# `bulkhead migrate` names a login after its purpose, and its comment after the database.
WORKER = """
create function is_worker() returns boolean language sql stable set search_path = pg_catalog as $$
    select exists (
        select from pg_roles where rolname = session_user and (rolsuper or rolname like '%\\_worker\\_login'
            and shobj_description(oid, 'pg_authid') = 'Login of Bulkhead in the database ' || current_database()))
$$;
create function require_worker() returns void language plpgsql stable set search_path = pg_catalog, public as $$
begin
    if not is_worker() and not is_former_version_allowed() then
        raise exception 'only the login of the worker may do this' using errcode = '42501';
    end if;
end $$;
"""
CUSTOMERS = """
create or replace function find_customer_tenant(account text, customer text) returns text
language sql stable security definer set search_path = pg_catalog, public as $$
    {guard}
    select coalesce(
        (select owning_tenant_id from customer_sync where account_id = account and customer_id = customer), '')
$$;
create or replace function list_unsynced_customers(since timestamptz, most int)
returns table (account text, customer text, tenant text)
language sql stable security definer set search_path = pg_catalog, public as $$
    {guard}
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
    if {owner} <> new.tenant_id then
        raise exception 'this customer belongs to another tenant' using errcode = '23505';
    end if;
    -- Webhooks that arrived before anybody knew whose customer it is, also those that were given up.
    update inbound_webhook set status = 'pending', due_at = clock_timestamp(), attempts = 0, leased_until = null
    where account_id = new.account_id and customer_id = new.id and status in ('parked', 'working', 'dead');
    return null;
end $$;
"""
GUARD = "select require_worker();"
OWNER_INLINE = """(select coalesce(max(owning_tenant_id), '') from customer_sync
        where account_id = new.account_id and customer_id = new.id)"""
OWNER_BY_FUNCTION = "find_customer_tenant(new.account_id, new.id)"
DEFER = "procrastinate_defer_jobs_v1(procrastinate_job_to_defer_v1[])"
# Who calls the function of the queue need not be able to read what it returns. Jobs are signed: the worker refuses others.
JOBS = """
alter table procrastinate_jobs enable row level security;
create policy worker on procrastinate_jobs to bulkhead_app
    using ((select is_worker() or is_former_version_allowed()))
    with check ((select is_worker() or is_former_version_allowed()));
create policy own_jobs on procrastinate_jobs for select to bulkhead_app
    using (args ->> 'tenant_id' = (select current_setting('app.tenant_id', true)));
create policy operators on procrastinate_jobs to bulkhead_operator using (true) with check (true);
alter table unsigned_job enable row level security;
create policy worker on unsigned_job to bulkhead_app using ((select is_worker() or is_former_version_allowed()));
alter table job_failure enable row level security;
create policy worker on job_failure to bulkhead_app
    using ((select is_worker() or is_former_version_allowed()))
    with check ((select is_worker() or is_former_version_allowed()));
create policy operators on job_failure for select to bulkhead_operator using (true);

create function count_jobs() returns table (status text, number bigint)
language sql stable security definer set search_path = pg_catalog, public as $$
    select case when j.status = 'doing' then 'running'
                when j.status = 'todo' and j.attempts > 0 then 'retrying'
                when j.status = 'todo' then 'waiting'
                when j.status in ('failed', 'aborted') then 'failed' else '' end, count(*)
    from procrastinate_jobs j group by 1
$$;
revoke execute on function count_jobs() from public;
grant execute on function count_jobs() to bulkhead_app, bulkhead_operator;
"""

PROTECTION = """
alter table {realm}_session add column proof text not null default '';
alter table {realm}_session enable row level security;
alter table {realm}_session force row level security;
create policy session_functions on {realm}_session to bulkhead_owner using (true) with check (true);
create policy former_version on {realm}_session to {role}
    using ((select is_former_version_allowed())) with check ((select is_former_version_allowed()));
"""
# `opened` asks the facts that the database has: the person may sign in, and a second factor that is on was used.
FUNCTIONS = """
create function find_{realm}_session(wanted_hash text) returns setof {realm}_session
language sql stable security definer rows 1 set search_path = pg_catalog, public as $$
    select * from {realm}_session
    where token_hash = wanted_hash and idle_expires_at > now() and expires_at > now()
        and (proof <> '' or is_session_of_former_version(created_at))
$$;
create function list_{realm}_sessions(current_hash text)
returns table (id text, agent text, address text, created_at timestamptz, last_seen_at timestamptz, is_current boolean)
language sql stable security definer set search_path = pg_catalog, public as $$
    select s.id, s.agent, s.address, s.created_at, s.last_seen_at, s.token_hash = current_hash
    from {realm}_session s join find_{realm}_session(current_hash) c on c.{realm}_id = s.{realm}_id
    where s.idle_expires_at > now() and s.expires_at > now()
    order by s.last_seen_at desc, s.id
$$;
create function open_{realm}_session(
    new_id text, owner_id text, new_hash text, new_proof text, idle_time interval, new_expires_at timestamptz,
    new_address text, new_agent text, new_factors text
) returns void
language plpgsql security definer set search_path = pg_catalog, public as $$
begin
    delete from {realm}_session where {realm}_id = owner_id and least(idle_expires_at, expires_at) <= now();
    insert into {realm}_session (id, {realm}_id, token_hash, proof, idle_expires_at, expires_at, address, agent, factors)
    select new_id, p.id, new_hash, new_proof, least(now() + idle_time, new_expires_at), new_expires_at,
        new_address, new_agent, new_factors
    from "{realm}" p
    where p.id = owner_id and p.disabled_at is null and length(new_proof) = 64
        and new_expires_at <= now() + interval '31 days'
        and (new_factors = 'password+totp' or {without_factor});
    if not found then
        raise exception 'this session may not be opened' using errcode = '42501';
    end if;
end $$;
create function touch_{realm}_session(wanted_hash text, min_age interval, idle_time interval) returns void
language sql security definer set search_path = pg_catalog, public as $$
    update {realm}_session set last_seen_at = now(), idle_expires_at = least(now() + idle_time, expires_at)
    where token_hash = wanted_hash and last_seen_at < now() - min_age
        and idle_expires_at > now() and expires_at > now()
$$;
create function end_{realm}_session(wanted_hash text) returns setof text
language sql security definer set search_path = pg_catalog, public as $$
    delete from {realm}_session where token_hash = wanted_hash returning token_hash
$$;
create function end_{realm}_session_by_id(owner_id text, wanted_id text) returns setof text
language sql security definer set search_path = pg_catalog, public as $$
    delete from {realm}_session where {realm}_id = owner_id and id = wanted_id returning token_hash
$$;
create function end_{realm}_sessions(owner_id text, except_hash text) returns setof text
language sql security definer set search_path = pg_catalog, public as $$
    delete from {realm}_session where {realm}_id = owner_id and token_hash <> except_hash returning token_hash
$$;
"""
# What a renewal of all data keys has done, so that it can go on after an interruption.
RENEWED_KEYS = """
create table renewed_key (
    subject text collate "C" primary key, kek_id int not null, renewed_at timestamptz not null default now()
);
grant select, insert, update, delete on renewed_key to bulkhead_operator;
"""
# As 0008 gave them to other tables: a stale form of the removal date is told of the newer one.
FLAG_VERSIONS = """
alter table flag
    add column version integer not null default 1,
    add column version_at timestamptz,
    add column version_by text not null default '';
"""
SIGNATURES = (
    "find_{realm}_session(text)",
    "list_{realm}_sessions(text)",
    "open_{realm}_session(text, text, text, text, interval, timestamptz, text, text, text)",
    "touch_{realm}_session(text, interval, interval)",
    "end_{realm}_session(text)",
    "end_{realm}_session_by_id(text, text)",
    "end_{realm}_sessions(text, text)",
)
WITHOUT_FACTOR = {
    "user": "not exists (select from user_totp t where t.user_id = owner_id and t.confirmed_at is not null)",
    "operator": "false",
}


def run(sql: str) -> None:
    """As written: no parameters, so a percent sign is a percent sign."""
    op.get_bind().execution_options(no_parameters=True).exec_driver_sql(sql)


def list_functions(realm: str) -> str:
    return ", ".join(signature.format(realm=realm) for signature in SIGNATURES)


def upgrade() -> None:
    run(FORMER_VERSION)
    run(WORKER)
    run(CUSTOMERS.format(guard=GUARD, owner=OWNER_INLINE))
    run(JOBS)
    run(RENEWED_KEYS)
    run(FLAG_VERSIONS)
    run(f"alter function {DEFER} security definer set search_path = pg_catalog, public")
    for realm, role in ROLE_BY_REALM.items():
        run(PROTECTION.format(realm=realm, role=role))
        run(FUNCTIONS.format(realm=realm, without_factor=WITHOUT_FACTOR[realm]))
        run(f"revoke execute on function {list_functions(realm)} from public")
        run(f"grant execute on function {list_functions(realm)} to {role}")


def downgrade() -> None:
    for realm in ROLE_BY_REALM:
        run(f"drop function {list_functions(realm)}")
        run(f"drop policy former_version on {realm}_session")
        run(f"drop policy session_functions on {realm}_session")
        run(f"alter table {realm}_session no force row level security")
        run(f"alter table {realm}_session disable row level security")
        run(f"alter table {realm}_session drop column proof")
    run("alter table flag drop column version, drop column version_at, drop column version_by")
    run("drop table renewed_key")
    run("drop function count_jobs()")
    for policy in ("worker", "own_jobs", "operators"):
        run(f"drop policy {policy} on procrastinate_jobs")
    for policy in ("worker", "operators"):
        run(f"drop policy {policy} on job_failure")
    run("drop policy worker on unsigned_job")
    for table in ("procrastinate_jobs", "job_failure", "unsigned_job"):
        run(f"alter table {table} disable row level security")
    run(f"alter function {DEFER} security invoker")
    run(f"alter function {DEFER} reset all")
    run(CUSTOMERS.format(guard="", owner=OWNER_BY_FUNCTION))
    run(
        "drop function require_worker(), is_worker(), is_session_of_former_version(timestamptz), is_former_version_allowed()"
    )
    run("drop table former_version_access")
