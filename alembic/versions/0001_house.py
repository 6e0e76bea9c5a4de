"""The house: people in two realms, tenants with everything of theirs behind row security, the trail, the queue."""

from alembic import op
from procrastinate.schema import SchemaManager

from shared.core.row_security import REASON, TENANT, USER, protect

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

ID = 'text collate "C"'
MOMENT = "timestamptz not null default now()"

PEOPLE = f"""
create table "user" (
    id {ID} primary key check (id like 'usr\\_%'),
    email text not null unique check (email = lower(email) and length(email) <= 320),
    name text not null check (length(name) between 1 and 200),
    email_verified_at timestamptz, created_at {MOMENT}, disabled_at timestamptz,
    sign_up_id {ID} not null default ''
);
create table operator (
    id {ID} primary key check (id like 'opr\\_%'),
    email text not null unique check (email = lower(email) and length(email) <= 320),
    name text not null check (length(name) between 1 and 200),
    role text not null check (role in ('owner', 'engineer', 'billing', 'support')),
    created_at {MOMENT}, disabled_at timestamptz
);
create table sign_up (
    id {ID} primary key check (id like 'sup\\_%'),
    email text not null check (email = lower(email) and length(email) <= 320),
    name text not null check (length(name) between 1 and 200),
    organisation text not null check (length(organisation) between 1 and 80),
    password_hash text not null, created_at {MOMENT}
);
create index sign_up_of on sign_up (email);
create table user_token (
    id {ID} primary key, user_id {ID} not null references "user" on delete cascade,
    purpose text not null check (purpose in ('verify', 'reset')),
    created_at {MOMENT}, expires_at timestamptz not null, used_at timestamptz, sent_at timestamptz
);
create index user_token_of on user_token (user_id, purpose);
create table platform_key (
    id text primary key check (id in ('user', 'operator')), kek_id int not null, wrapped bytea not null
);
"""


def realm(kind: str) -> str:
    """Credentials, sessions and factors of one realm. The same columns twice, so that neither can reach the other."""
    whose = f'{kind}_id {ID} not null references "{kind}" on delete cascade'
    return f"""
create table {kind}_credential (
    {kind}_id {ID} primary key references "{kind}" on delete cascade,
    password_hash text not null, changed_at {MOMENT}
);
create table {kind}_session (
    id {ID} primary key, {whose}, token_hash text not null unique, created_at {MOMENT}, last_seen_at {MOMENT},
    idle_expires_at timestamptz not null, expires_at timestamptz not null,
    address text not null default '', agent text not null default '', factors text not null
);
create index {kind}_session_of on {kind}_session ({kind}_id);
create table {kind}_totp (
    {kind}_id {ID} primary key references "{kind}" on delete cascade,
    sealed bytea not null, confirmed_at timestamptz, last_step bigint not null default 0
);
create table {kind}_recovery_code (
    id {ID} primary key, {whose}, code_hash text not null, used_at timestamptz, unique ({kind}_id, code_hash)
);
create table {kind}_challenge (
    id {ID} primary key, {whose}, token_hash text not null unique,
    expires_at timestamptz not null, attempts int not null default 0
);
create index {kind}_challenge_of on {kind}_challenge ({kind}_id);
"""


REALM_TABLES = ("credential", "session", "totp", "recovery_code", "challenge")
PEOPLE_GRANTS = f"""
grant select, insert, update on "user" to bulkhead_app;
grant select on "user" to bulkhead_operator;
grant select, insert, update on user_token to bulkhead_app;
grant select, insert, delete on sign_up to bulkhead_app;
grant select, insert, update on operator to bulkhead_operator;
grant select, insert, update, delete on {", ".join(f"user_{name}" for name in REALM_TABLES)} to bulkhead_app;
grant select, insert, update, delete on {", ".join(f"operator_{name}" for name in REALM_TABLES)} to bulkhead_operator;
alter table platform_key enable row level security;
alter table platform_key force row level security;
create policy key_of_users on platform_key to bulkhead_app using (id = 'user') with check (id = 'user');
create policy key_of_operators on platform_key to bulkhead_operator using (id = 'operator') with check (id = 'operator');
create policy rotation on platform_key to bulkhead_owner using (true) with check (true);
grant select, insert, update on platform_key to bulkhead_app, bulkhead_operator;
"""

KEY = f"tenant_id {ID} not null references tenant"
TENANCY = f"""
create table tenant (
    id {ID} primary key check (id like 'ten\\_%'),
    slug text collate "C" not null unique check (slug ~ '^[a-z0-9]([a-z0-9-]{{1,38}})[a-z0-9]$'),
    name text not null check (length(name) between 1 and 80),
    state text not null check (state in ('pending_verification', 'active', 'suspended', 'deleted')),
    state_reason text not null default '', plan text not null, created_at {MOMENT}
);
create table role (
    {KEY}, id {ID} not null, key text not null, name text not null, builtin boolean not null, created_at {MOMENT},
    primary key (tenant_id, id), unique (tenant_id, key)
);
create table membership (
    {KEY}, id {ID} not null, user_id {ID} not null references "user", role text not null,
    state text not null check (state in ('active', 'deactivated', 'removed')),
    created_at {MOMENT}, ended_at timestamptz, ended_by text not null default '', seen_at timestamptz,
    primary key (tenant_id, id), unique (tenant_id, user_id),
    foreign key (tenant_id, role) references role (tenant_id, key),
    check ((state = 'active') = (ended_at is null))
);
create table invitation (
    {KEY}, id {ID} not null, email text not null check (email = lower(email)), role text not null,
    status text not null check (status in ('pending', 'accepted', 'revoked')),
    nonce int not null, invited_by {ID} not null, invited_by_name text not null,
    expires_at timestamptz not null, sent_nonce int not null default 0, membership_id {ID},
    created_at {MOMENT}, ended_at timestamptz,
    primary key (tenant_id, id),
    foreign key (tenant_id, role) references role (tenant_id, key),
    foreign key (tenant_id, membership_id) references membership (tenant_id, id)
);
create unique index invitation_one_pending_per_email on invitation (tenant_id, email) where status = 'pending';
create table tenant_settings (
    {KEY}, id {ID} not null check (id = 'settings'),
    colour text not null default '' check (colour ~ '^(#[0-9a-f]{{6}})?$'),
    logo bytea check (length(logo) <= 262144), logo_digest text not null default '',
    onboarded_at timestamptz, changed_at {MOMENT}, primary key (tenant_id, id)
);
create table provisioning_step (
    {KEY}, id {ID} not null, key text not null, position int not null,
    state text not null check (state in ('waiting', 'running', 'done', 'failed')),
    attempts int not null default 0, error text not null default '', started_at timestamptz, finished_at timestamptz,
    primary key (tenant_id, id), unique (tenant_id, key)
);
create table checklist_item (
    {KEY}, id {ID} not null, key text not null, position int not null, done_at timestamptz,
    done_by text not null default '', primary key (tenant_id, id), unique (tenant_id, key)
);
create table notification (
    {KEY}, id {ID} not null, user_id {ID} not null, kind text not null, title text not null, body text not null,
    href text not null default '', dedupe text not null, created_at {MOMENT}, read_at timestamptz,
    primary key (tenant_id, id), unique (tenant_id, user_id, dedupe),
    foreign key (tenant_id, user_id) references membership (tenant_id, user_id)
);
create index notification_newest on notification (tenant_id, user_id, created_at desc, id desc);
create table tenant_key (
    {KEY}, id {ID} not null check (id = 'dek'), kek_id int not null, wrapped bytea not null, created_at {MOMENT},
    primary key (tenant_id, id)
);
"""
TENANT_TABLES = (
    "role",
    "membership",
    "invitation",
    "tenant_settings",
    "provisioning_step",
    "checklist_item",
    "notification",
    "tenant_key",
)

# Which tenants a person belongs to, for the list after signing in. Kept by a trigger, because an index of membership
# that does not start with tenant_id would cross tenants. Readable for that person's own transaction only.
PLACES = f"""
create table user_place (user_id {ID} primary key references "user", places text[] not null);
alter table user_place enable row level security;
alter table user_place force row level security;
create policy own_places on user_place for select to bulkhead_app using (user_id = {USER});
create policy kept_by_trigger on user_place to bulkhead_owner using (true) with check (true);
grant select on user_place to bulkhead_app;
create function user_places() returns text[] language sql stable set search_path = pg_catalog, public as $$
    select places from user_place
$$;

create function keep_user_place() returns trigger language plpgsql security definer
set search_path = pg_catalog, public as $$
begin
    insert into user_place as p values (new.user_id, array[new.tenant_id])
    on conflict (user_id) do update set places = p.places || excluded.places
    where not p.places @> excluded.places;
    return null;
end $$;
create trigger keep_user_place after insert on membership for each row execute function keep_user_place();

create policy own_memberships on membership for select to bulkhead_app using (user_id = {USER});
create policy own_tenants on tenant for select to bulkhead_app using (id = any ((select user_places())::text[]));
"""

AUDIT = f"""
create table audit_event (
    {KEY}, id {ID} not null, seq bigint not null, at timestamptz not null default clock_timestamp(),
    actor_type text not null, actor_id text not null, actor_name text not null,
    impersonator_id text not null default '', action text not null, object_id text not null,
    reason text not null default '', before jsonb not null, after jsonb not null, details jsonb not null,
    request_id text not null, prev bytea not null, hash bytea not null,
    primary key (tenant_id, id), unique (tenant_id, seq)
);
create index audit_event_by_actor on audit_event (tenant_id, actor_id, seq desc);
create index audit_event_by_action on audit_event (tenant_id, action, seq desc);
create index audit_event_by_request on audit_event (tenant_id, request_id);
create index audit_event_by_time on audit_event (tenant_id, at desc);
create table audit_head (
    {KEY}, id {ID} not null default 'head' check (id = 'head'), seq bigint not null, hash bytea not null,
    primary key (tenant_id, id)
);

create function audit_hash(e audit_event) returns bytea language sql stable set search_path = pg_catalog, public as $$
    select sha256(e.prev || convert_to(jsonb_build_array(
        e.tenant_id, e.id, e.seq, extract(epoch from e.at), e.actor_type, e.actor_id, e.actor_name, e.impersonator_id,
        e.action, e.object_id, e.reason, e.before, e.after, e.details, e.request_id)::text, 'UTF8'))
$$;
create function audit_chain() returns trigger language plpgsql security definer
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
create trigger audit_chain before insert on audit_event for each row execute function audit_chain();

create table operator_event (
    id {ID} primary key, seq bigint not null unique, at timestamptz not null default clock_timestamp(),
    actor_id text not null, actor_name text not null, action text not null, object_id text not null,
    reason text not null, details jsonb not null, request_id text not null, prev bytea not null, hash bytea not null
);
create index operator_event_by_actor on operator_event (actor_id, seq desc);
create function operator_hash(e operator_event) returns bytea language sql stable
set search_path = pg_catalog, public as $$
    select sha256(e.prev || convert_to(jsonb_build_array(
        e.id, e.seq, extract(epoch from e.at), e.actor_id, e.actor_name, e.action, e.object_id, e.reason, e.details,
        e.request_id)::text, 'UTF8'))
$$;
create function operator_chain() returns trigger language plpgsql set search_path = pg_catalog, public as $$
declare last operator_event;
begin
    perform pg_advisory_xact_lock(hashtextextended('operator_event', 0));
    select * into last from operator_event order by seq desc limit 1;
    new.seq := coalesce(last.seq, 0) + 1;
    new.at := clock_timestamp();
    new.prev := coalesce(last.hash, '\\x00');
    new.hash := operator_hash(new);
    return new;
end $$;
create trigger operator_chain before insert on operator_event for each row execute function operator_chain();

create function refuse_change() returns trigger language plpgsql set search_path = pg_catalog as $$
begin
    raise exception '% is append-only', tg_table_name using errcode = '42501';
end $$;
create trigger append_only before update or delete on audit_event for each row execute function refuse_change();
create trigger append_only_all before truncate on audit_event execute function refuse_change();
create trigger append_only before update or delete on operator_event for each row execute function refuse_change();
create trigger append_only_all before truncate on operator_event execute function refuse_change();
grant select, insert on operator_event to bulkhead_operator;

-- Counted by hour, so that a flood of refused attempts is one row, with the last subject.
create table security_event (
    id {ID} primary key, at timestamptz not null, hour timestamptz not null, kind text not null,
    actor_id text not null, subject text not null, request_id text not null, count int not null,
    unique (hour, kind, actor_id)
);
create function note_security_event(new_id text, kind text, actor_id text, subject text, request_id text) returns void
language sql security definer set search_path = pg_catalog, public as $$
    insert into security_event as s
    values (new_id, now(), date_trunc('hour', now(), 'UTC'), kind, left(actor_id, 60), left(subject, 60), request_id, 1)
    on conflict (hour, kind, actor_id) do update
    set count = s.count + 1, at = excluded.at, subject = excluded.subject, request_id = excluded.request_id
$$;
revoke execute on function note_security_event from public;
grant execute on function note_security_event to bulkhead_app, bulkhead_operator;
grant select on security_event to bulkhead_operator;
"""
AUDIT_HEAD = f"""
alter table audit_head enable row level security;
alter table audit_head force row level security;
create policy tenant_isolation on audit_head using (tenant_id = {TENANT}) with check (tenant_id = {TENANT});
create policy operator_cross_tenant on audit_head for select to bulkhead_operator using ({REASON} <> '');
grant select on audit_head to bulkhead_app, bulkhead_operator;
"""

# At least once, in the caller's transaction. The payload names its tenant or the task is the platform's own.
QUEUE_GRANTS = """
alter table procrastinate_jobs
    add constraint job_names_its_tenant check (args ? 'tenant_id' or task_name like 'platform.%');
grant select, insert, update, delete on
    procrastinate_jobs, procrastinate_events, procrastinate_periodic_defers, procrastinate_workers to bulkhead_app;
grant usage, select on all sequences in schema public to bulkhead_app;
grant select on procrastinate_jobs, procrastinate_events to bulkhead_operator;
grant insert on procrastinate_jobs, procrastinate_events to bulkhead_operator;
grant update (scheduled_at) on procrastinate_jobs to bulkhead_operator;
grant usage, select on all sequences in schema public to bulkhead_operator;
"""


def run(sql: str) -> None:
    """As written: no parameters, so a percent sign is a percent sign."""
    op.get_bind().execution_options(no_parameters=True).exec_driver_sql(sql)


def upgrade() -> None:
    run(PEOPLE)
    run(realm("user"))
    run(realm("operator"))
    run(PEOPLE_GRANTS)
    run(TENANCY)
    run(protect("tenant", key="id", app="select, insert, update"))
    for table in TENANT_TABLES:
        run(protect(table))
    run(PLACES)
    run(AUDIT)
    run(protect("audit_event", app="select, insert"))
    run(AUDIT_HEAD)
    run(SchemaManager.get_schema())
    run(QUEUE_GRANTS)
    run(
        "grant select on alembic_version to bulkhead_app, bulkhead_operator"
    )  # /readyz asks whether it may serve


def downgrade() -> None:
    tables = [
        *("audit_event", "audit_head", "operator_event", "security_event", "user_place"),
        *reversed(TENANT_TABLES),
        "tenant",
        *(f"{kind}_{name}" for kind in ("user", "operator") for name in REALM_TABLES),
        *("sign_up", "user_token", "platform_key", "operator", '"user"'),
        *(
            "procrastinate_periodic_defers",
            "procrastinate_events",
            "procrastinate_jobs",
            "procrastinate_workers",
        ),
    ]
    run(f"drop table {', '.join(tables)} cascade")
    functions = "user_places audit_chain operator_chain refuse_change keep_user_place note_security_event"
    run(f"drop function {', '.join(functions.split())}")
    run("""
    do $$ declare found record; begin
        for found in select oid::regprocedure as name from pg_proc where proname like 'procrastinate\\_%' loop
            execute 'drop function if exists ' || found.name || ' cascade';
        end loop;
        for found in select oid::regtype as name from pg_type
            where typname like 'procrastinate\\_%' and typtype in ('e', 'c') loop
            execute 'drop type if exists ' || found.name || ' cascade';
        end loop;
    end $$
    """)
