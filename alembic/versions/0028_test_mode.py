"""Test mode: a sibling tenant for each tenant that wants one, with data of its own and without money.

A test tenant has no members and no plan. `find_test_standing` and `authenticate_test_key` read those of its live tenant, with
the rights and the row security of their caller. Operators who read across tenants see live ones only: the policy says so, for
every list and count. New columns are nullable or have constant defaults; code of the version before this one makes live
tenants and sees no other, because nobody is a member of a test tenant.
"""

import runpy
from pathlib import Path

from alembic import op

revision = "0028"
down_revision = "0027"
branch_labels = None
depends_on = None
works_with = "0004"

frozen = runpy.run_path(str(Path(__file__).parents[1] / "frozen/row_security.py"))
TENANT, REASON = frozen["TENANT"], frozen["REASON"]
INVOKER = "set search_path = pg_catalog, public, pg_temp"

COLUMNS = """
alter table tenant add column if not exists mode text not null default 'live',
    add column if not exists live_tenant_id text collate "C", add column if not exists live_tenant_mode text;
alter table billing_customer add column if not exists tenant_mode text not null default 'live';
"""
# A foreign key to (id, mode) says the mode of the other tenant too.
INDEXES = {
    "tenant_mode": "create unique index concurrently tenant_mode on tenant (id, mode)",
    "tenant_of_live": "create unique index concurrently tenant_of_live on tenant (live_tenant_id)",
}
# Not validated: every row that there is has the default. What is written from now on is checked.
CONSTRAINTS = """
alter table tenant add constraint tenant_mode_known check (mode in ('live', 'test')) not valid,
    add constraint tenant_test_has_live
        check ((mode = 'test') = (live_tenant_id is not null) and (live_tenant_id is null) = (live_tenant_mode is null)
            and coalesce(live_tenant_mode, 'live') = 'live') not valid,
    add constraint tenant_live_tenant foreign key (live_tenant_id, live_tenant_mode) references tenant (id, mode) not valid;
alter table billing_customer add constraint billing_customer_is_live check (tenant_mode = 'live') not valid,
    add constraint billing_customer_tenant_mode foreign key (tenant_id, tenant_mode) references tenant (id, mode) not valid;
"""
POLICIES = f"""
alter policy operator_cross_tenant on tenant using ({REASON} <> '' and mode = 'live');
-- For what names one tenant: `including_test_tenants` asks for it.
create policy operator_test_tenants on tenant for select to bulkhead_operator
    using ({REASON} <> '' and (select current_setting('app.test_tenants', true)) = 'on');
create policy test_tenant on tenant for select using (live_tenant_id = {TENANT});
create policy own_test_tenants on tenant for select to bulkhead_app
    using (live_tenant_id = any ((select list_user_tenants())::text[]));
"""
DROPPED_POLICIES = f"""
drop policy own_test_tenants on tenant;
drop policy test_tenant on tenant;
drop policy operator_test_tenants on tenant;
alter policy operator_cross_tenant on tenant using ({REASON} <> '');
"""
# What this person is in the live tenant, for the test tenant of that slug or id. The transaction belongs to nobody afterwards.
STANDING = f"""
create function find_test_standing(person text, sought text)
returns table (
    tenant_id text, slug text, tenant_name text, tenant_state text, suspension_message text, rights_version bigint,
    membership_state text, ended_at timestamptz, ended_by text, ended_by_self boolean, seen_at timestamptz,
    role_key text, role_name text, builtin boolean, sentence text, permissions text[], deleted_at timestamptz,
    role_version int, epoch bigint, live_tenant_id text
)
language plpgsql {INVOKER} as $$
#variable_conflict use_column
begin
    perform set_config('app.tenant_id', '', true), set_config('app.user_id', person, true),
        set_config('app.cross_tenant_reason', '', true);
    return query
        select t.id, t.slug, l.name, case when t.state = 'active' then l.state else t.state end,
            case when t.state = 'active' then l.suspension_message else t.suspension_message end, l.rights_version::bigint,
            m.state, m.ended_at, m.ended_by, m.ended_by_self, m.seen_at,
            r.key, r.name, r.builtin, r.sentence, r.permissions, r.deleted_at, r.version, e.number, l.id
        from tenant t
        join tenant l on l.id = t.live_tenant_id
        join membership m on m.tenant_id = l.id and m.user_id = person
        join role r on r.tenant_id = m.tenant_id and r.key = m.role
        cross join entitlement_epoch e
        where t.mode = 'test' and (t.slug = sought or t.id = sought);
    perform set_config('app.user_id', '', true);
end $$;
revoke execute on function find_test_standing(text, text) from public;
grant execute on function find_test_standing(text, text) to bulkhead_app;
"""
# As `authenticate_key`: the key's row is the test tenant's, its holder is a member of the live one.
AUTHENTICATE = f"""
create function authenticate_test_key(claimed_tenant text, sought_hash text)
returns table (
    key_id text, key_name text, scopes text[], networks text[], origins text[], expires_at timestamptz, revoked_at timestamptz,
    is_previous boolean, previous_ends_at timestamptz, last_used_at timestamptz, last_used_address text,
    user_id text, service_account_id text, holder_name text, holder_verified boolean,
    tenant_id text, slug text, tenant_name text, tenant_state text, suspension_message text, rights_version bigint,
    role_key text, role_name text, builtin boolean, sentence text, permissions text[], deleted_at timestamptz,
    role_version int, epoch bigint, live_tenant_id text
)
language plpgsql {INVOKER} as $$
#variable_conflict use_column
declare
    key api_key;
    test tenant;
begin
    perform set_config('app.tenant_id', claimed_tenant, true), set_config('app.user_id', '', true),
        set_config('app.cross_tenant_reason', '', true);
    select * into test from tenant t where t.id = claimed_tenant and t.mode = 'test';
    select * into key from api_key k
    where k.tenant_id = test.id and (k.secret_hash = sought_hash or k.previous_hash = sought_hash);
    if key.id is null then
        perform set_config('app.tenant_id', '', true);
        return;
    end if;
    perform set_config('app.tenant_id', test.live_tenant_id, true);
    return query
        select key.id, key.name, key.scopes, key.networks, key.origins, key.expires_at, key.revoked_at,
            key.secret_hash <> sought_hash, key.previous_ends_at, key.last_used_at, key.last_used_address,
            coalesce(key.user_id, ''), coalesce(key.service_account_id, ''), coalesce(u.name, ''), u.email_verified_at is not null,
            test.id, test.slug, l.name, case when test.state = 'active' then l.state else test.state end,
            case when test.state = 'active' then l.suspension_message else test.suspension_message end, l.rights_version::bigint,
            r.key, r.name, r.builtin, r.sentence, r.permissions, r.deleted_at, r.version, e.number, l.id
        from tenant l
        cross join entitlement_epoch e
        left join "user" u on u.id = key.user_id
        left join membership m on m.tenant_id = l.id and m.user_id = key.user_id and m.state = 'active' and u.disabled_at is null
        left join role r on r.tenant_id = l.id and r.key = m.role
        where l.id = test.live_tenant_id;
    perform set_config('app.tenant_id', claimed_tenant, true);
end $$;
revoke execute on function authenticate_test_key(text, text) from public;
grant execute on function authenticate_test_key(text, text) to bulkhead_app;
"""
# The app may not delete rows of some tables. Of a test tenant, and of no other, it may: but never its audit log and its key.
DELETE_ROWS = r"""
create function delete_test_rows(tables text[]) returns void
language plpgsql security definer set search_path = pg_catalog, public, pg_temp as $$
declare
    test_tenant text := current_setting('app.tenant_id', true);
    name text;
begin
    if not exists (select from tenant where id = test_tenant and mode = 'test') then
        raise insufficient_privilege using message = 'only rows of a test tenant can be deleted like this';
    end if;
    foreach name in array tables loop
        if name like 'audit\_%' or name = 'tenant_key' then
            raise insufficient_privilege using message = name || ' is never deleted';
        end if;
        execute 'delete from public.' || quote_ident(name) || ' where tenant_id = $1' using test_tenant;
    end loop;
end $$;
revoke execute on function delete_test_rows(text[]) from public;
grant execute on function delete_test_rows(text[]) to bulkhead_app;
"""


def upgrade() -> None:
    """May be run again: the indexes are built between two transactions."""
    op.execute(COLUMNS)
    with op.get_context().autocommit_block():
        for index, statement in INDEXES.items():
            op.execute(
                f"drop index concurrently if exists {index}"
            )  # an interrupted build leaves an invalid one
            op.execute(statement)
    op.execute(CONSTRAINTS)
    op.execute(POLICIES)
    op.execute(STANDING)
    op.execute(AUTHENTICATE)
    op.execute(DELETE_ROWS)


def downgrade() -> None:
    """The rows of test tenants stay. The version before this one shows them to no member, but to operators like others."""
    op.execute(
        "drop function delete_test_rows(text[]), authenticate_test_key(text, text), find_test_standing(text, text)"
    )
    op.execute(DROPPED_POLICIES)
    op.execute("alter table billing_customer drop column tenant_mode")
    op.execute(
        "alter table tenant drop column live_tenant_mode, drop column live_tenant_id, drop column mode"
    )
