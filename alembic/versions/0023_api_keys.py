"""API keys, service accounts, and answers kept by idempotency key.

`authenticate_key` runs with the rights and the row security of its caller: the key's text names its organisation, and
only this organisation's rows are read. New tables only; code of the version before this one uses none of them.
"""

import runpy
from pathlib import Path

from alembic import op

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None
works_with = "0004"

protect = runpy.run_path(str(Path(__file__).parents[1] / "frozen/row_security.py"))["protect"]

ID = 'text collate "C"'
KEY = f"tenant_id {ID} not null references tenant, id {ID} not null"
MOMENT = "timestamptz not null default clock_timestamp()"
VERSION = "version int not null default 1, version_at timestamptz, version_by text not null default ''"

TABLES = f"""
create table service_account (
    {KEY}, name text not null check (length(name) between 1 and 60), role {ID} not null,
    created_by {ID} not null, created_by_name text not null, created_at {MOMENT},
    ended_at timestamptz, ended_by text not null default '', {VERSION},
    primary key (tenant_id, id), foreign key (tenant_id, role) references role (tenant_id, key)
);
create index service_account_of_role on service_account (tenant_id, role);
create table api_key (
    {KEY}, name text not null check (length(name) between 1 and 60),
    secret_hash text not null check (length(secret_hash) = 64), hint text not null,
    previous_hash text not null default '', previous_hint text not null default '', previous_ends_at timestamptz,
    scopes text[] not null, user_id {ID} references "user", service_account_id {ID},
    networks text[] not null default '{{}}', origins text[] not null default '{{}}', expires_at timestamptz,
    created_by_name text not null, created_at {MOMENT}, last_used_at timestamptz, last_used_address text not null default '',
    revoked_at timestamptz, revoked_by text not null default '', {VERSION},
    primary key (tenant_id, id), foreign key (tenant_id, service_account_id) references service_account,
    check ((user_id is null) <> (service_account_id is null))
);
create table idempotency_key (
    {KEY}, request_digest text not null, status int, headers jsonb not null default '{{}}', body bytea, created_at {MOMENT},
    primary key (tenant_id, id)
);
create index idempotency_key_oldest on idempotency_key (tenant_id, created_at);
create unique index api_key_secret on api_key (tenant_id, secret_hash);
create index api_key_previous on api_key (tenant_id, previous_hash) where previous_hash <> '';
create index api_key_with_origins on api_key (tenant_id) where cardinality(origins) > 0;
create index api_key_newest on api_key (tenant_id, created_at desc, id desc);
"""

# Whose key it is, and what its holder is in the organisation. No row for a text that is nobody's key here.
AUTHENTICATE = """
create or replace function authenticate_key(claimed_tenant text, sought_hash text)
returns table (
    key_id text, key_name text, scopes text[], networks text[], origins text[], expires_at timestamptz, revoked_at timestamptz,
    is_previous boolean, previous_ends_at timestamptz, last_used_at timestamptz, last_used_address text,
    user_id text, service_account_id text, holder_name text, holder_verified boolean,
    tenant_id text, slug text, tenant_name text, tenant_state text, suspension_message text, rights_version bigint,
    role_key text, role_name text, builtin boolean, sentence text, permissions text[], deleted_at timestamptz,
    role_version int, epoch bigint
)
language plpgsql set search_path = pg_catalog, public, pg_temp as $$
#variable_conflict use_column
begin
    perform set_config('app.tenant_id', claimed_tenant, true), set_config('app.user_id', '', true),
        set_config('app.cross_tenant_reason', '', true);
    return query
        select k.id, k.name, k.scopes, k.networks, k.origins, k.expires_at, k.revoked_at,
            k.secret_hash <> sought_hash, k.previous_ends_at, k.last_used_at, k.last_used_address,
            coalesce(k.user_id, ''), coalesce(k.service_account_id, ''), coalesce(u.name, s.name, ''), k.user_id is null or u.email_verified_at is not null,
            t.id, t.slug, t.name, t.state, t.suspension_message, t.rights_version::bigint,
            r.key, r.name, r.builtin, r.sentence, r.permissions, r.deleted_at, r.version, e.number
        from api_key k
        join tenant t on t.id = k.tenant_id
        cross join entitlement_epoch e
        left join "user" u on u.id = k.user_id
        left join membership m on m.tenant_id = k.tenant_id and m.user_id = k.user_id and m.state = 'active'
            and u.disabled_at is null
        left join service_account s on s.tenant_id = k.tenant_id and s.id = k.service_account_id and s.ended_at is null
        left join role r on r.tenant_id = k.tenant_id and r.key = coalesce(m.role, s.role)
        where k.tenant_id = claimed_tenant and (k.secret_hash = sought_hash or k.previous_hash = sought_hash);
    if not found then
        perform set_config('app.tenant_id', '', true);
    end if;
end $$;
revoke execute on function authenticate_key(text, text) from public;
grant execute on function authenticate_key(text, text) to bulkhead_app;

create or replace function note_key_use(used_key text, used_from text) returns void
language sql set search_path = pg_catalog, public, pg_temp as $$
    update api_key set last_used_at = clock_timestamp(), last_used_address = used_from
    where tenant_id = current_setting('app.tenant_id', true) and id = used_key
$$;
revoke execute on function note_key_use(text, text) from public;
grant execute on function note_key_use(text, text) to bulkhead_app;
"""


# A preflight request has no key: it is answered for origins that any key lists. The function tells nothing else.
ORIGINS = """
create policy origins on api_key for select to bulkhead_owner
    using (cardinality(origins) > 0 and (select current_setting('app.finding_origin', true)) = 'on');
create function is_origin_of_a_key(sought_origin text) returns boolean
language plpgsql security definer set search_path = pg_catalog, public, pg_temp as $$
declare
    is_listed boolean;
begin
    perform set_config('app.finding_origin', 'on', true);
    select exists (
        select from api_key where cardinality(origins) > 0 and sought_origin = any (origins) and revoked_at is null
            and (expires_at is null or expires_at > now())
    ) into is_listed;
    perform set_config('app.finding_origin', '', true);
    return is_listed;
end $$;
revoke execute on function is_origin_of_a_key(text) from public;
grant execute on function is_origin_of_a_key(text) to bulkhead_app;
"""


def upgrade() -> None:
    op.execute(TABLES)
    for table in ("service_account", "api_key"):
        op.execute(protect(table, app="select, insert, update"))
    op.execute(protect("idempotency_key"))
    op.execute(AUTHENTICATE)
    op.execute(ORIGINS)


def downgrade() -> None:
    op.execute(
        "drop function authenticate_key(text, text), note_key_use(text, text), is_origin_of_a_key(text)"
    )
    op.execute("drop table idempotency_key, api_key, service_account")
