"""Hosts of tenants, issuers of customers' tokens, and the tenant that a request's slug or host names.

`authenticate_token` runs with the rights and the row security of its caller, like `authenticate_key`: the token names its
organisation, and only this organisation's issuers are read. New tables only; code of the version before this one uses none.
"""

import runpy
from pathlib import Path

from alembic import op

revision = "0026"
down_revision = "0025"
branch_labels = None
depends_on = None
works_with = "0004"

protect = runpy.run_path(str(Path(__file__).parents[1] / "frozen/row_security.py"))["protect"]

ID = 'text collate "C"'
KEY = f"tenant_id {ID} not null references tenant, id {ID} not null"
MOMENT = "timestamptz not null default clock_timestamp()"
VERSION = "version int not null default 1, version_at timestamptz, version_by text not null default ''"

# A host that isn't verified takes nothing from anybody: only a verified one is unique.
TABLES = f"""
create table tenant_host (
    {KEY} check (id = lower(id) and length(id) between 4 and 253), verified_at timestamptz, created_at {MOMENT},
    primary key (tenant_id, id)
);
create unique index tenant_host_verified on tenant_host (id) where verified_at is not null;
create table jwt_issuer (
    {KEY}, name text not null check (length(name) between 1 and 60),
    issuer {ID} not null check (length(issuer) between 1 and 300), audience {ID} not null check (length(audience) between 1 and 300),
    jwks_url text not null check (jwks_url like 'https://%'), algorithms text[] not null
        check (cardinality(algorithms) > 0 and algorithms <@ array['RS256', 'PS256', 'ES256', 'EdDSA']),
    tenant_claim text not null, role {ID} not null check (role <> 'owner'), role_claim text not null default '',
    role_map jsonb not null default '[]' check (jsonb_typeof(role_map) = 'array'), enabled boolean not null default true,
    created_by_name text not null, created_at {MOMENT}, {VERSION},
    primary key (tenant_id, id), foreign key (tenant_id, role) references role (tenant_id, key)
);
create unique index jwt_issuer_audience on jwt_issuer (tenant_id, issuer, audience);
create index jwt_issuer_of_role on jwt_issuer (tenant_id, role);
"""

# Tells the id of a tenant and nothing else. The policies show its owner the one row that is asked for.
CLAIMED = """
create policy claimed_slug on tenant for select to bulkhead_owner
    using (slug = (select current_setting('app.claimed_slug', true)));
create policy claimed_host on tenant_host for select to bulkhead_owner
    using (verified_at is not null and id = (select current_setting('app.claimed_host', true)));
create function find_claimed_tenant(sought_slug text, sought_host text) returns text
language plpgsql security definer set search_path = pg_catalog, public, pg_temp as $$
declare
    claimed text;
begin
    perform set_config('app.claimed_slug', sought_slug, true), set_config('app.checked_slug', sought_slug, true),
        set_config('app.claimed_host', sought_host, true);
    select coalesce(
        (select id from tenant where slug = sought_slug),
        (select tenant_id from former_slug where id = sought_slug and kept_until > now()),
        (select tenant_id from tenant_host where id = sought_host and verified_at is not null)
    ) into claimed;
    perform set_config('app.claimed_slug', '', true), set_config('app.checked_slug', '', true),
        set_config('app.claimed_host', '', true);
    return coalesce(claimed, '');
end $$;
revoke execute on function find_claimed_tenant(text, text) from public;
grant execute on function find_claimed_tenant(text, text) to bulkhead_app;
"""

# A row for each role that an issuer can give.
AUTHENTICATE = """
create function authenticate_token(claimed_tenant text, claimed_issuer text, claimed_audiences text[])
returns table (
    issuer_id text, issuer_name text, issuer text, audience text, jwks_url text, algorithms text[], tenant_claim text,
    highest_role text, role_claim text, role_map jsonb,
    tenant_id text, slug text, tenant_name text, tenant_state text, suspension_message text, rights_version bigint, epoch bigint,
    role_key text, role_name text, builtin boolean, sentence text, permissions text[], deleted_at timestamptz, role_version int
)
language plpgsql set search_path = pg_catalog, public, pg_temp as $$
#variable_conflict use_column
begin
    perform set_config('app.tenant_id', claimed_tenant, true), set_config('app.user_id', '', true),
        set_config('app.cross_tenant_reason', '', true);
    return query
        select i.id, i.name, i.issuer, i.audience, i.jwks_url, i.algorithms, i.tenant_claim,
            i.role, i.role_claim, i.role_map,
            t.id, t.slug, t.name, t.state, t.suspension_message, t.rights_version::bigint, e.number,
            r.key, r.name, r.builtin, r.sentence, r.permissions, r.deleted_at, r.version
        from jwt_issuer i
        join tenant t on t.id = i.tenant_id
        cross join entitlement_epoch e
        join role r on r.tenant_id = i.tenant_id
            and (r.key = i.role or r.key in (select m ->> 'role' from jsonb_array_elements(i.role_map) m))
        where i.tenant_id = claimed_tenant and i.issuer = claimed_issuer and i.audience = any (claimed_audiences) and i.enabled;
    if not found then
        perform set_config('app.tenant_id', '', true);
    end if;
end $$;
revoke execute on function authenticate_token(text, text, text[]) from public;
grant execute on function authenticate_token(text, text, text[]) to bulkhead_app;
"""


def upgrade() -> None:
    op.execute(TABLES)
    op.execute(protect("tenant_host", app="select"))
    op.execute(protect("jwt_issuer"))
    op.execute(CLAIMED)
    op.execute(AUTHENTICATE)


def downgrade() -> None:
    op.execute("drop function authenticate_token(text, text, text[]), find_claimed_tenant(text, text)")
    op.execute("drop policy claimed_slug on tenant")
    op.execute("drop table jwt_issuer, tenant_host")
