"""One statement says who asks for which tenant, and lists of members read one page by an index.

`authenticate_user` runs with the rights and the row security of its caller. Memberships get a key of the person's name
and a text to search in, kept by triggers. The policy `own_memberships` allows what it did, in a form that does not
mislead the planner: it took the rows of a tenant for a handful, and read and sorted all of them. Code that this
migration comes with needs the policy for `authenticate_user` and the list of a person's organisations only.
"""

from alembic import op

revision = "0012"
down_revision = "0011"
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
        from (
            select sought_slug as tenant_id where left(sought_slug, 4) = 'ten_'
            union all select f.tenant_id from former_slug f where f.id = sought_slug and f.kept_until > now()
        ) sought
        join tenant t on t.id = sought.tenant_id
        join membership m on m.tenant_id = t.id and m.user_id = authenticate_user.user_id and m.state = 'active';
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


# Kept by triggers: the person's name as lists of members are ordered by it, and what a search looks in.
COLUMNS = """
alter table membership
    add column if not exists name_key text not null default '',
    add column if not exists search_text text not null default '';
"""
# The lock makes a membership that begins wait for a change of the name that has not ended.
NAMES = """
create or replace function name_member() returns trigger language plpgsql security definer
set search_path = pg_catalog, public as $$
begin
    select lower(u.name), normalize(lower(u.name || ' ' || u.email)) into new.name_key, new.search_text
    from "user" u where u.id = new.user_id for share;
    if not found then  -- the foreign key refuses it
        new.name_key := '';
        new.search_text := '';
    end if;
    return new;
end $$;
create or replace trigger name_member before insert on membership for each row execute function name_member();

create or replace function rename_member() returns trigger language plpgsql security definer
set search_path = pg_catalog, public as $$
begin
    perform set_config('app.renamed_user_id', new.id, true);
    update membership
    set name_key = lower(new.name), search_text = normalize(lower(new.name || ' ' || new.email))
    where user_id = new.id;
    perform set_config('app.renamed_user_id', '', true);
    return null;
end $$;
create or replace trigger rename_member after update on "user" for each row
    when (old.name is distinct from new.name or old.email is distinct from new.email)
    execute function rename_member();

drop policy if exists named_by_trigger on membership;
create policy named_by_trigger on membership to bulkhead_owner
    using (user_id = (select current_setting('app.renamed_user_id', true)))
    with check (user_id = (select current_setting('app.renamed_user_id', true)));
"""
# The planner takes one of two conditions for rarer than either, but a CASE for as likely as not.
OWN_MEMBERSHIPS = """
alter policy own_memberships on membership using (
    case when user_id = (select current_setting('app.user_id', true)) then true else false end
)
"""
FORMER_OWN_MEMBERSHIPS = """
alter policy own_memberships on membership using (user_id = (select current_setting('app.user_id', true)))
"""
BATCH = 5_000  # people
OPEN_BACKFILL = """
drop policy if exists backfill on membership;
create policy backfill on membership to bulkhead_owner using (true) with check (true);
"""
LAST_OF_BATCH = """
select max(id) from (select id from "user" where id > %s order by id limit %s) batch
"""
FILL_BATCH = """
update membership m set name_key = lower(u.name), search_text = normalize(lower(u.name || ' ' || u.email))
from "user" u where u.id = m.user_id and u.id > %s and u.id <= %s and m.name_key = ''
"""
# The constant is the one of `shared.tenancy.member_repository`: the list finds its index by the same expression.
INDEXES = {
    "membership_by_name": "membership (tenant_id, name_key, id)",
    "membership_by_role": "membership (tenant_id, role, id)",
    "membership_by_sight": "membership (tenant_id, coalesce(seen_at, '1970-01-01 00:00:00+00'::timestamptz), id)",
    "membership_by_start": "membership (tenant_id, created_at, id)",
}

# Temporary objects are found last: a login could put one before a table that a function with more rights reads.
SEARCH_PATHS = """
do $$
declare f record;
begin
    for f in
        select p.oid::regprocedure as signature, substr(setting, length('search_path=') + 1) as path
        from pg_proc p, unnest(p.proconfig) setting
        where p.pronamespace = 'public'::regnamespace and setting like 'search\\_path=%'
    loop
        execute format('alter function %s set search_path = %s', f.signature, {path});
    end loop;
end $$;
"""
WITH_TEMPORARY_LAST = SEARCH_PATHS.format(path="replace(f.path, ', pg_temp', '') || ', pg_temp'")
WITHOUT_TEMPORARY = SEARCH_PATHS.format(path="replace(f.path, ', pg_temp', '')")


def run(sql: str) -> None:
    """As written: no parameters, so a percent sign is a percent sign."""
    op.get_bind().execution_options(no_parameters=True).exec_driver_sql(sql)


def fill_names() -> None:
    """Of the memberships that the triggers have not named, each batch in a transaction of its own."""
    last_id = ""
    run(OPEN_BACKFILL)
    while (
        batch_end := op.get_bind().exec_driver_sql(LAST_OF_BATCH, (last_id, BATCH)).scalar_one()
    ) is not None:
        op.get_bind().exec_driver_sql(FILL_BATCH, (last_id, batch_end))
        last_id = batch_end
    run("drop policy backfill on membership")


def upgrade() -> None:
    run(AUTHENTICATE)
    run(USER_TENANTS)
    run(COLUMNS)
    run(NAMES)
    run(OWN_MEMBERSHIPS)
    with op.get_context().autocommit_block():
        fill_names()
        for name, columns in INDEXES.items():
            # An interrupted build leaves an invalid one.
            run(f"drop index concurrently if exists {name}")
            run(f"create index concurrently {name} on {columns}")
    run(WITH_TEMPORARY_LAST)


def downgrade() -> None:
    run(WITHOUT_TEMPORARY)
    with op.get_context().autocommit_block():
        for name in INDEXES:
            run(f"drop index concurrently if exists {name}")
    run(FORMER_OWN_MEMBERSHIPS)
    run("drop policy named_by_trigger on membership")
    run("drop trigger name_member on membership")
    run('drop trigger rename_member on "user"')
    run("drop function name_member(), rename_member()")
    run("alter table membership drop column name_key, drop column search_text")
    run("drop function authenticate_user(text, text), list_tenants_of_user(text)")
