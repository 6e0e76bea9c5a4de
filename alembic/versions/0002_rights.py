"""What tenants may use, and since when: catalogue, who has what, flags, roles of their own, evidence of decisions.

History is closed, not overwritten. Triggers keep what nobody may forget: the version by which every process knows that
a tenant's rights changed, the epoch of the catalogue, and the history of states, memberships and roles.
"""

from alembic import op

from shared.core.row_security import TENANT, protect

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

ID = 'text collate "C"'
MOMENT = "timestamptz not null default clock_timestamp()"

CATALOGUE = f"""
create table entitlement_epoch (id text primary key check (id = 'epoch'), number bigint not null);
-- Numbers from sequences: one that was rolled back never comes again, so nobody keeps an answer under it by mistake.
create sequence entitlement_number;
grant usage on sequence entitlement_number to bulkhead_app, bulkhead_operator;
insert into entitlement_epoch values ('epoch', nextval('entitlement_number'));
create table plan (
    id {ID} primary key check (id like 'pln\\_%'),
    key text collate "C" not null check (key ~ '^[a-z][a-z0-9_-]{{0,39}}$'),
    name text not null check (length(name) between 1 and 60), sentence text not null check (length(sentence) <= 200),
    kind text not null check (kind in ('plan', 'addon')), position int not null,
    for_tenant {ID} references tenant, created_at {MOMENT}, created_by text not null, retired_at timestamptz
);
create unique index plan_key on plan (coalesce(for_tenant, ''), key);
create table plan_version (
    id {ID} primary key check (id like 'plv\\_%'), plan_id {ID} not null references plan,
    for_tenant {ID} references tenant, number int not null check (number > 0),
    status text not null check (status in ('draft', 'published')), revision int not null default 1,
    trial_days int not null default 0 check (trial_days between 0 and 365),
    features text[] not null, limits jsonb not null check (jsonb_typeof(limits) = 'object'), flags text[] not null,
    moves boolean not null default false, effective_at timestamptz, published_at timestamptz,
    published_by text not null default '', reason text not null default '',
    created_at {MOMENT}, created_by text not null, changed_at {MOMENT}, changed_by text not null default '',
    unique (plan_id, number), check ((status = 'published') = (published_at is not null and effective_at is not null))
);
create unique index plan_version_one_draft on plan_version (plan_id) where status = 'draft';
create table flag (
    id {ID} primary key check (id like 'flg\\_%'), key text collate "C" not null unique check (key ~ '^[a-z][a-z0-9_]{{0,39}}$'),
    title text not null check (length(title) between 1 and 60), sentence text not null check (length(sentence) <= 200),
    owner text not null check (length(owner) between 1 and 60), cleanup_by date not null,
    required_feature text not null default '', created_at {MOMENT}, created_by text not null, retired_at timestamptz
);
create table flag_version (
    id {ID} primary key check (id like 'flv\\_%'), flag_id {ID} not null references flag, number int not null check (number > 0),
    rules jsonb not null check (jsonb_typeof(rules) = 'array'), killed boolean not null default false,
    created_at {MOMENT}, created_by text not null, reason text not null check (reason <> ''),
    unique (flag_id, number)
);

-- A tenant sees the plans of everybody and its own; operators see and write all.
alter table plan enable row level security;
alter table plan force row level security;
create policy offered on plan for select to bulkhead_app using (for_tenant is null or for_tenant = {TENANT});
create policy catalogue on plan to bulkhead_operator using (true) with check (true);
alter table plan_version enable row level security;
alter table plan_version force row level security;
create policy offered on plan_version for select to bulkhead_app
    using (status = 'published' and (for_tenant is null or for_tenant = {TENANT}));
create policy catalogue on plan_version to bulkhead_operator using (true) with check (true);
grant select on plan, plan_version, flag, flag_version, entitlement_epoch to bulkhead_app;
grant select, insert, update on plan, flag to bulkhead_operator;
grant select, insert, update, delete on plan_version to bulkhead_operator;
grant select, insert on flag_version to bulkhead_operator;
grant select, update on entitlement_epoch to bulkhead_operator;

create function keep_published() returns trigger language plpgsql set search_path = pg_catalog as $$
begin
    raise exception 'a published version does not change' using errcode = '42501';
end $$;
create trigger keep_published before update or delete on plan_version
    for each row when (old.status = 'published') execute function keep_published();
create trigger append_only before update or delete on flag_version for each row execute function refuse_change();

create function next_epoch() returns trigger language plpgsql set search_path = pg_catalog, public as $$
begin
    update entitlement_epoch set number = nextval('entitlement_number');
    perform pg_notify('bulkhead_live', 'rights *');
    return null;
end $$;
create trigger next_epoch after insert or update on plan for each statement execute function next_epoch();
create trigger next_epoch after insert or update on plan_version
    for each row when (new.status = 'published') execute function next_epoch();
create trigger next_epoch after insert or update on flag for each statement execute function next_epoch();
create trigger next_epoch after insert on flag_version for each statement execute function next_epoch();
"""

KEY = f"tenant_id {ID} not null references tenant, id {ID} not null"
# Counts from `starts_at` to before `ends_at`, unless somebody closed it earlier; the latest that counts wins.
VALID = f"""
    starts_at timestamptz not null, ends_at timestamptz check (ends_at > starts_at), closed_at timestamptz,
    closed_by text not null default '', created_at {MOMENT}, by_name text not null,
    reason text not null check (reason <> ''), primary key (tenant_id, id)
"""
FACTS = f"""
create table tenant_plan ({KEY}, plan_version_id {ID} not null references plan_version, trial_ends_at timestamptz, {VALID});
create table tenant_addon ({KEY}, plan_version_id {ID} not null references plan_version,
    quantity int not null check (quantity between 1 and 10000), {VALID});
create table tenant_override ({KEY}, target text not null check (target in ('feature', 'limit')), name text not null,
    value jsonb not null, {VALID});
create table tenant_billing ({KEY}, status text not null check (status in ('active', 'grace', 'read_only', 'none')), {VALID});
create table tenant_flag ({KEY}, flag text not null, enabled boolean not null, {VALID});
create table tenant_trait ({KEY}, name text not null check (name in ('beta', 'cohort', 'industry', 'internal', 'region')),
    value text not null check (length(value) <= 60), {VALID});
create unique index tenant_flag_once on tenant_flag (tenant_id, flag) where closed_at is null;
create unique index tenant_trait_once on tenant_trait (tenant_id, name) where closed_at is null;
create table tenant_state_change ({KEY}, state text not null, reason text not null default '', at {MOMENT},
    primary key (tenant_id, id));
create table membership_change ({KEY}, user_id {ID} not null, role text not null, state text not null, at {MOMENT},
    primary key (tenant_id, id));
create index membership_change_of on membership_change (tenant_id, user_id, at desc);
create table role_change ({KEY}, key text not null, name text not null, permissions text[] not null, deleted boolean not null,
    at {MOMENT}, primary key (tenant_id, id));
create index role_change_of on role_change (tenant_id, key, at desc);
create table decision_tally (
    {KEY}, hour timestamptz not null, actor_id text not null, action text not null, reason text not null,
    plan text not null, count bigint not null check (count > 0), at timestamptz not null, request_id text not null,
    primary key (tenant_id, id), unique (tenant_id, hour, actor_id, action, reason, plan)
);
create index decision_tally_newest on decision_tally (tenant_id, at desc, id);
create index decision_tally_by_request on decision_tally (tenant_id, request_id);
"""
FACT_TABLES = (
    "tenant_plan",
    "tenant_addon",
    "tenant_override",
    "tenant_billing",
    "tenant_flag",
    "tenant_trait",
)
HISTORY_TABLES = ("tenant_state_change", "membership_change", "role_change")

ROLES = """
alter table role add column sentence text not null default '' check (length(sentence) <= 200);
alter table role add column permissions text[] not null default '{}';
alter table role add column deleted_at timestamptz;
alter table role add constraint builtin_roles_have_theirs_in_code check (not builtin or permissions = '{}');
-- Of a person's own tenants, for their list: what they are in each, by name.
create policy own_roles on role for select to bulkhead_app using (tenant_id = any ((select user_places())::text[]));
create unique index role_name_once on role (tenant_id, lower(name)) where deleted_at is null;
"""

KEPT = """
alter table tenant add column rights_version bigint not null default nextval('entitlement_number');
create function next_rights() returns trigger language plpgsql set search_path = pg_catalog, public as $$
begin
    update tenant set rights_version = nextval('entitlement_number') where id = coalesce(new.tenant_id, old.tenant_id);
    perform pg_notify('bulkhead_live', 'rights ' || coalesce(new.tenant_id, old.tenant_id));
    return null;
end $$;

create function new_change_id(prefix text) returns text language sql volatile set search_path = pg_catalog as $$
    select prefix || '_' || replace(gen_random_uuid()::text, '-', '')
$$;
create function keep_tenant_state() returns trigger language plpgsql set search_path = pg_catalog, public as $$
begin
    insert into tenant_state_change values (new.id, new_change_id('tsc'), new.state, new.state_reason, clock_timestamp());
    return null;
end $$;
create function keep_membership() returns trigger language plpgsql set search_path = pg_catalog, public as $$
begin
    insert into membership_change
    values (new.tenant_id, new_change_id('mbc'), new.user_id, new.role, new.state, clock_timestamp());
    return null;
end $$;
create function keep_role() returns trigger language plpgsql set search_path = pg_catalog, public as $$
begin
    insert into role_change values (new.tenant_id, new_change_id('rlc'), new.key, new.name, new.permissions,
        new.deleted_at is not null, clock_timestamp());
    return null;
end $$;
"""
TRIGGERS = """
create trigger keep_tenant_state_new after insert on tenant for each row execute function keep_tenant_state();
create trigger keep_tenant_state after update on tenant for each row
    when (old.state is distinct from new.state) execute function keep_tenant_state();
create trigger keep_membership_new after insert on membership for each row execute function keep_membership();
create trigger keep_membership after update on membership for each row
    when (old.role is distinct from new.role or old.state is distinct from new.state) execute function keep_membership();
create trigger keep_role_new after insert on role for each row execute function keep_role();
create trigger keep_role after update on role for each row
    when ((old.name, old.permissions, old.deleted_at) is distinct from (new.name, new.permissions, new.deleted_at))
    execute function keep_role();
"""

LIMITS = ("members", "api_calls", "usage_events", "customers", "api_keys", "retention_days", "roles")
SOFT = ("api_calls", "usage_events")  # warn and go on
PLANS = (  # key, name, sentence, trial days, features, flags, amounts in the order of LIMITS
    (
        *("free", "Free", "To look around, alone or with a few.", 0),
        *("audit_log", "", (5, 1_000, 1_000, 25, 1, 30, 0)),  # nobody pays to see who looked at their data
    ),
    (
        *("starter", "Starter", "For a first team that works here every day.", 14),
        *("audit_log", "", (10, 10_000, 50_000, 250, 3, 90, 0)),
    ),
    (
        *("pro", "Pro", "For teams that connect their own systems.", 14),
        *("api_access audit_log exports.csv", "", (25, 100_000, 500_000, 2_500, 10, 365, 0)),
    ),
    (
        *("business", "Business", "For organisations with departments and duties.", 14),
        "advanced_reports anomaly_watch api_access audit_log custom_roles exports.csv workspaces",
        *("role_editor", (100, 1_000_000, 5_000_000, 25_000, 50, 730, 20)),
    ),
    (
        *("enterprise", "Enterprise", "For everybody with more than that.", 0),
        "advanced_reports anomaly_watch api_access audit_log custom_roles exports.csv priority_support sso workspaces",
        *("role_editor", (None, None, None, None, None, 3_650, None)),
    ),
)
ADDONS = (
    ("extra_seats", "10 more seats", "Ten more people, on any plan.", "", {"members": 10}),
    ("support", "Priority support", "An answer within four working hours.", "priority_support", {}),
)


def array(words: str) -> str:
    return "'{" + ",".join(f'"{word}"' for word in words.split()) + "}'"


def limits(amounts: dict[str, int | None]) -> str:
    def one(name: str, amount: int | None) -> str:
        shown = "null" if amount is None else str(amount)
        return f'"{name}": {{"amount": {shown}, "hard": {"false" if name in SOFT else "true"}}}'

    return "'{" + ", ".join(one(name, amount) for name, amount in amounts.items()) + "}'"


def first_catalogue() -> str:
    lines = []

    def add(
        key: str, name: str, said: str, kind: str, place: int, days: int, has: str, flags: str, most: str
    ) -> None:
        lines.append(
            "insert into plan (id, key, name, sentence, kind, position, created_by)"
            f" values ('pln_{key}', '{key}', '{name}', '{said}', '{kind}', {place}, 'Bulkhead');"
            "insert into plan_version (id, plan_id, number, status, trial_days, features, limits, flags, effective_at,"
            " published_at, published_by, reason, created_by)"
            f" values ('plv_{key}_1', 'pln_{key}', 1, 'published', {days}, {array(has)}, {most}, {array(flags)},"
            " '2026-01-01Z', '2026-01-01Z', 'Bulkhead', 'First catalogue', 'Bulkhead');"
        )

    for place, (key, name, said, days, has, flags, amounts) in enumerate(PLANS):
        add(key, name, said, "plan", place, days, has, flags, limits(dict(zip(LIMITS, amounts, strict=True))))
    for place, (key, name, said, has, more) in enumerate(ADDONS):
        add(key, name, said, "addon", 100 + place, 0, has, "", limits(more))
    return "\n".join(lines)


# The flag of the code at the time of this migration, on for those whose plan seeds it.
FIRST_FLAG = """
insert into flag (id, key, title, sentence, owner, cleanup_by, required_feature, created_by) values
    ('flg_role_editor', 'role_editor', 'Role editor', 'Creating and changing custom roles.', 'Access team', '2027-03-31',
     'custom_roles', 'Bulkhead');
insert into flag_version (id, flag_id, number, rules, created_by, reason) values
    ('flv_role_editor_1', 'flg_role_editor', 1, '[{"kind": "allowed"}]', 'Bulkhead', 'First catalogue');
"""

# Tenants from before keep the plan they had; what is known of states, people and roles begins now.
CARRIED = """
insert into tenant_plan (tenant_id, id, plan_version_id, starts_at, by_name, reason)
    select id, 'tpl_' || substr(id, 5), 'plv_' || plan || '_1', created_at, 'Bulkhead', 'Plan before there was a catalogue'
    from tenant;
insert into tenant_flag (tenant_id, id, flag, enabled, starts_at, by_name, reason)
    select id, 'tfl_' || substr(id, 5), 'role_editor', true, created_at, 'Bulkhead', 'Seeded by the plan'
    from tenant where plan in ('business', 'enterprise');
insert into tenant_state_change (tenant_id, id, state, reason, at)
    select id, new_change_id('tsc'), state, state_reason, created_at from tenant;
insert into membership_change (tenant_id, id, user_id, role, state, at)
    select tenant_id, new_change_id('mbc'), user_id, role, state, created_at from membership;
insert into role_change (tenant_id, id, key, name, permissions, deleted, at)
    select tenant_id, new_change_id('rlc'), key, name, permissions, false, created_at from role;
alter table tenant drop column plan;
"""
UNCARRIED = """
alter table tenant add column plan text not null default 'free';
update tenant t set plan = coalesce((
    select p.key from tenant_plan a join plan_version v on v.id = a.plan_version_id join plan p on p.id = v.plan_id
    where a.tenant_id = t.id and a.starts_at <= now() and p.for_tenant is null order by a.starts_at desc limit 1), 'free');
alter table tenant alter column plan drop default;
"""


def run(sql: str) -> None:
    op.get_bind().execution_options(no_parameters=True).exec_driver_sql(sql)


def unforced(*tables: str, forced: bool) -> None:
    """The owner's own rows of all tenants, for as long as the migration reads them."""
    for table in tables:
        run(f"alter table {table} {'force' if forced else 'no force'} row level security")


def upgrade() -> None:
    run(CATALOGUE)
    unforced("plan", "plan_version", forced=False)
    run(first_catalogue())
    run(FIRST_FLAG)
    run(FACTS)
    run(ROLES)
    run(KEPT)
    unforced("tenant", "membership", "role", forced=False)
    run(CARRIED)
    unforced("tenant", "membership", "role", "plan", "plan_version", forced=True)
    run(TRIGGERS)
    for table in FACT_TABLES:
        run(protect(table, app="select, insert, update"))
        run(
            f"create trigger next_rights after insert or update on {table} for each row execute function next_rights()"
        )
    for table in HISTORY_TABLES:
        run(protect(table, app="select, insert"))
        run(
            f"create trigger append_only before update or delete on {table} for each row execute function refuse_change()"
        )
    run(protect("decision_tally"))


def downgrade() -> None:
    triggers = {
        "tenant": "keep_tenant_state_new keep_tenant_state",
        "membership": "keep_membership_new keep_membership",
        "role": "keep_role_new keep_role",
    }
    for table, names in triggers.items():
        for name in names.split():
            run(f"drop trigger {name} on {table}")
    unforced("tenant", "tenant_plan", "plan", "plan_version", forced=False)
    run(UNCARRIED)
    unforced("tenant", forced=True)
    run(f"drop table {', '.join((*FACT_TABLES, *HISTORY_TABLES))}, decision_tally cascade")
    run("drop table flag_version, flag, plan_version, plan, entitlement_epoch cascade")
    run(
        "drop function keep_published, next_epoch, next_rights, keep_tenant_state, keep_membership, keep_role, new_change_id"
    )
    run("alter table tenant drop column rights_version")
    run("drop sequence entitlement_number")
    run("drop policy own_roles on role")
    run("alter table role drop column sentence, drop column permissions, drop column deleted_at")
