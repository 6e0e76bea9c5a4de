"""One statement says who asks for which tenant, and lists of members read one page by an index.

`authenticate_user` runs with the rights and the row security of its caller. Memberships get a key of the person's name
and a text to search in, kept by triggers. The policy `own_memberships` allows what it did, in a form that does not
mislead the planner: it took the rows of a tenant for a handful, and read and sorted all of them. Code that this
migration comes with needs the policy for `authenticate_user` and the list of a person's organisations only.
"""

from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None
works_with = "0004"

# Whose session it is, and what this person is in the tenant of that slug. Afterwards the transaction belongs to the
# tenant of an active member, and to nobody otherwise. No row without a live session; no tenant_id for a stranger.
AUTHENTICATE = """
create or replace function authenticate_user(sought_hash text, sought_slug text)
returns table (
    session_id text, session_seen_at timestamptz, session_proof text, session_factors text,
    user_id text, user_name text, user_verified boolean, present_slug text,
    tenant_id text, slug text, tenant_name text, tenant_state text, suspension_message text, rights_version bigint,
    membership_state text, ended_at timestamptz, ended_by text, ended_by_self boolean, seen_at timestamptz,
    role_key text, role_name text, builtin boolean, sentence text, permissions text[], deleted_at timestamptz,
    role_version int, epoch bigint
)
language plpgsql set search_path = pg_catalog, public as $$
#variable_conflict use_column
begin
    select s.id, s.last_seen_at, s.proof, s.factors, u.id, u.name, u.email_verified_at is not null, ''
    into session_id, session_seen_at, session_proof, session_factors, user_id, user_name, user_verified, present_slug
    from find_user_session(sought_hash) s join "user" u on u.id = s.user_id
    where u.disabled_at is null;
    if not found then
        return;
    end if;
    if sought_slug = '' then
        return next;
        return;
    end if;
    perform set_config('app.tenant_id', '', true), set_config('app.user_id', authenticate_user.user_id, true),
        set_config('app.cross_tenant_reason', '', true);
    select t.id, t.slug, t.name, t.state, t.suspension_message, t.rights_version,
        m.state, m.ended_at, m.ended_by, m.ended_by_self, m.seen_at,
        r.key, r.name, r.builtin, r.sentence, r.permissions, r.deleted_at, r.version, e.number
    into tenant_id, slug, tenant_name, tenant_state, suspension_message, rights_version,
        membership_state, ended_at, ended_by, ended_by_self, seen_at,
        role_key, role_name, builtin, sentence, permissions, deleted_at, role_version, epoch
    from tenant t
    join membership m on m.tenant_id = t.id and m.user_id = authenticate_user.user_id
    join role r on r.tenant_id = m.tenant_id and r.key = m.role
    cross join entitlement_epoch e
    where t.slug = sought_slug;
    if not found then
        select coalesce(max(t.slug), '') into present_slug
        from tenant t join membership m on m.tenant_id = t.id
        where t.id = any ((select list_user_tenants())::text[]) and m.user_id = authenticate_user.user_id
            and m.state = 'active' and (t.id = sought_slug or exists (
                select from former_slug f where f.tenant_id = t.id and f.id = sought_slug and f.kept_until > now()
            ));
    end if;
    perform set_config('app.tenant_id',
            case when membership_state = 'active' then authenticate_user.tenant_id else '' end, true),
        set_config('app.user_id', '', true);
    return next;
end $$;
revoke execute on function authenticate_user(text, text) from public;
grant execute on function authenticate_user(text, text) to bulkhead_app;
"""
# For the switcher of a page, inside the transaction of one of the tenants, which goes on afterwards.
USER_TENANTS = """
create or replace function list_tenants_of_user(person text)
returns table (
    slug text, tenant_name text, tenant_state text,
    role_key text, role_name text, builtin boolean, sentence text, permissions text[], deleted_at timestamptz,
    role_version int
)
language plpgsql set search_path = pg_catalog, public as $$
#variable_conflict use_column
declare
    former_tenant text := current_setting('app.tenant_id', true);
    former_user text := current_setting('app.user_id', true);
begin
    perform set_config('app.tenant_id', '', true), set_config('app.user_id', person, true);
    return query
        select t.slug, t.name, t.state, r.key, r.name, r.builtin, r.sentence, r.permissions, r.deleted_at, r.version
        from membership m
        join tenant t on t.id = m.tenant_id
        join role r on r.tenant_id = m.tenant_id and r.key = m.role
        where m.tenant_id = any ((select list_user_tenants())::text[]) and m.user_id = person
            and m.state = 'active' and t.state <> 'deleted'
        order by t.name, t.id;
    perform set_config('app.tenant_id', coalesce(former_tenant, ''), true),
        set_config('app.user_id', coalesce(former_user, ''), true);
end $$;
revoke execute on function list_tenants_of_user(text) from public;
grant execute on function list_tenants_of_user(text) to bulkhead_app;
"""


def run(sql: str) -> None:
    """As written: no parameters, so a percent sign is a percent sign."""
    op.get_bind().execution_options(no_parameters=True).exec_driver_sql(sql)


def upgrade() -> None:
    run(AUTHENTICATE)
    run(USER_TENANTS)


def downgrade() -> None:
    run("drop function authenticate_user(text, text), list_tenants_of_user(text)")
