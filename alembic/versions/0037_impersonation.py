"""Impersonation: an operator acts for one member of a tenant, for at most 30 minutes, with a transcript.

New tables, functions and a column with a constant default. Code of the version before this one uses none of them.

The cookie names its tenant, as an API key does, so `authenticate_impersonation` reads with the row security of that tenant
and the rights of its caller. One function of the owner says which role the operator has now, and whether the operator is
still signed in: the app may read no table of operators. What a read-only impersonation writes is written by the role
bulkhead_aside, which may add rows to three tables and do nothing else; `bulkhead migrate` makes that role.
"""

import runpy
from pathlib import Path

from alembic import op

revision = "0037"
down_revision = "0036"
branch_labels = None
depends_on = None
works_with = "0004"

protect = runpy.run_path(str(Path(__file__).parents[1] / "frozen/row_security.py"))["protect"]

ID = 'text collate "C"'
KEY = f"tenant_id {ID} not null references tenant, id {ID} not null"
MOMENT = "timestamptz not null default clock_timestamp()"
DEFINER = "security definer set search_path = pg_catalog, public, pg_temp"
INVOKER = "set search_path = pg_catalog, public, pg_temp"

TABLES = f"""
create table impersonation (
    {KEY}, operator_id {ID} not null, operator_name text not null, user_id {ID} not null references "user",
    user_name text not null, reason text not null check (length(btrim(reason)) >= 8),
    ticket text not null check (length(btrim(ticket)) between 2 and 60), minutes int not null check (minutes between 1 and 30),
    can_write boolean not null default false, write_reason text not null default '',
    consent text not null check (consent in ('not_needed', 'pending', 'given', 'declined')),
    decided_by {ID} not null default '', decided_by_name text not null default '', decided_at timestamptz,
    created_at {MOMENT}, operator_session_hash text not null default '', code_hash text not null default '',
    code_expires_at timestamptz, token_hash text not null default '', proof text not null default '',
    started_at timestamptz, expires_at timestamptz, ended_at timestamptz,
    ended_by text not null default '' check (ended_by in ('', 'operator', 'owner', 'expired', 'unused')),
    primary key (tenant_id, id), check (can_write = (length(btrim(write_reason)) >= 8)),
    check ((started_at is null) = (token_hash = '') and (started_at is null) = (expires_at is null)),
    check (expires_at <= started_at + interval '30 minutes'), check ((ended_at is null) = (ended_by = '')),
    check (started_at is null or consent in ('not_needed', 'given')), check ((consent in ('given', 'declined')) = (decided_at is not null))
);
create index impersonation_newest on impersonation (tenant_id, created_at desc, id desc);
create index impersonation_code on impersonation (tenant_id, code_hash) where code_hash <> '';
create unique index impersonation_token on impersonation (tenant_id, token_hash) where token_hash <> '';
create table impersonation_event (
    {KEY}, impersonation_id {ID} not null, at {MOMENT}, kind text not null check (kind in ('page', 'action', 'refused')),
    page text not null, action text not null, reason text not null default '', request_id {ID} not null,
    primary key (tenant_id, id), foreign key (tenant_id, impersonation_id) references impersonation
);
create index impersonation_event_newest on impersonation_event (tenant_id, impersonation_id, id desc);
create trigger append_only before update on impersonation_event for each row execute function refuse_change();
create trigger append_only_all before truncate on impersonation_event execute function refuse_change();
alter table tenant_settings add column support_consent boolean not null default false;
"""
# Where no administrator's URL is set, `bulkhead migrate` makes no roles.
REQUIRE_ROLE = """
do $$ begin
    if not exists (select from pg_roles where rolname = 'bulkhead_aside') then
        raise undefined_object using message = 'the role bulkhead_aside is missing', hint = format(
            'Have an administrator run: create role bulkhead_aside nologin noinherit; grant bulkhead_aside to %I, %I;',
            current_database() || '_app_login', current_database() || '_worker_login');
    end if;
end $$;
"""
# Only operators begin one. The app accepts the code, records consent and ends it.
RIGHTS = """
grant insert on impersonation to bulkhead_operator;
revoke insert on impersonation_event from bulkhead_operator;
grant insert on impersonation_event, decision_record, audit_event to bulkhead_aside;
"""
# The columns that an update must never change: whose it is, for whom, why and how far it goes.
FIXED = f"""
create function keep_impersonation() returns trigger language plpgsql {INVOKER} as $$
begin
    if (new.operator_id, new.user_id, new.reason, new.ticket, new.minutes, new.can_write, new.write_reason, new.created_at)
        is distinct from
        (old.operator_id, old.user_id, old.reason, old.ticket, old.minutes, old.can_write, old.write_reason, old.created_at)
        or old.ended_at is not null and new.ended_at is distinct from old.ended_at
        or old.started_at is not null and (new.started_at, new.expires_at, new.token_hash)
            is distinct from (old.started_at, old.expires_at, old.token_hash)
    then
        raise insufficient_privilege using message = 'an impersonation that was stated is not changed';
    end if;
    return new;
end $$;
create trigger keep_impersonation before update on impersonation for each row execute function keep_impersonation();
"""
OPERATOR_ROLE = f"""
create function find_impersonating_role(sought_operator text, sought_hash text) returns text
language sql stable {DEFINER} as $$
    select o.role from operator o join operator_session s on s.operator_id = o.id
    where o.id = sought_operator and s.token_hash = sought_hash and o.disabled_at is null
        and s.idle_expires_at > now() and s.expires_at > now()
$$;
revoke execute on function find_impersonating_role(text, text) from public;
grant execute on function find_impersonating_role(text, text) to bulkhead_app;
"""
# One row for a running impersonation of an active member whose operator is signed in. Afterwards the transaction belongs
# to nobody.
AUTHENTICATE = f"""
create function authenticate_impersonation(claimed_tenant text, sought_hash text)
returns table (
    impersonation_id text, operator_id text, operator_name text, operator_role text, operator_session_hash text,
    can_write boolean, started_at timestamptz, expires_at timestamptz, proof text, user_id text, user_name text, user_verified boolean,
    tenant_id text, slug text, tenant_name text, tenant_state text, suspension_message text, rights_version bigint,
    membership_state text, ended_at timestamptz, ended_by text, ended_by_self boolean, seen_at timestamptz,
    role_key text, role_name text, builtin boolean, sentence text, permissions text[], deleted_at timestamptz,
    role_version int, epoch bigint
)
language plpgsql {INVOKER} as $$
#variable_conflict use_column
begin
    perform set_config('app.tenant_id', claimed_tenant, true), set_config('app.user_id', '', true),
        set_config('app.cross_tenant_reason', '', true);
    return query
        select i.id, i.operator_id, i.operator_name, o.role, i.operator_session_hash,
            i.can_write, i.started_at, i.expires_at, i.proof, u.id, u.name, u.email_verified_at is not null,
            t.id, t.slug, t.name, t.state, t.suspension_message, t.rights_version::bigint,
            m.state, m.ended_at, m.ended_by, m.ended_by_self, m.seen_at,
            r.key, r.name, r.builtin, r.sentence, r.permissions, r.deleted_at, r.version, e.number
        from impersonation i
        join lateral (select find_impersonating_role(i.operator_id, i.operator_session_hash) as role) o on o.role is not null
        join "user" u on u.id = i.user_id and u.disabled_at is null
        join tenant t on t.id = i.tenant_id and t.state not in ('suspended', 'deleted')
        join membership m on m.tenant_id = t.id and m.user_id = u.id and m.state = 'active'
        join role r on r.tenant_id = t.id and r.key = m.role
        cross join entitlement_epoch e
        where i.tenant_id = claimed_tenant and i.token_hash = sought_hash and sought_hash <> ''
            and i.ended_at is null and i.expires_at > clock_timestamp();
    perform set_config('app.tenant_id', '', true);
end $$;
revoke execute on function authenticate_impersonation(text, text) from public;
grant execute on function authenticate_impersonation(text, text) to bulkhead_app;
"""


def upgrade() -> None:
    op.get_bind().execution_options(no_parameters=True).exec_driver_sql(REQUIRE_ROLE)
    op.execute(TABLES)
    op.execute(protect("impersonation", app="select, update"))
    op.execute(protect("impersonation_event", app="select"))
    op.execute(RIGHTS)
    op.execute(FIXED)
    op.execute(OPERATOR_ROLE)
    op.execute(AUTHENTICATE)


def downgrade() -> None:
    op.execute(
        "drop function authenticate_impersonation(text, text); drop function find_impersonating_role(text, text)"
    )
    op.execute("alter table tenant_settings drop column support_consent")
    op.execute("revoke insert on decision_record, audit_event from bulkhead_aside")
    op.execute("drop table impersonation_event, impersonation")
    op.execute("drop function keep_impersonation()")
