"""Origins of keys by an index, the last use of keys at most once a minute, tenants with something to delete, uploads.

Functions keep their signatures, and what they return. New columns and indexes are unused by the version before this one.
"""

from alembic import op

revision = "0032"
down_revision = "0031"
branch_labels = None
depends_on = None
works_with = "0004"

DEFINER = "security definer set search_path = pg_catalog, public, pg_temp"
INDEXES = {
    # Without a list of pending entries, which a reader would have to look through.
    "api_key_origins_of_all_tenants": "api_key using gin (origins) with (fastupdate = off)"
    " where revoked_at is null and origins <> '{}'",
    "stored_file_newest": "stored_file (tenant_id, kind, created_at desc, id desc)",
}
# The policy itself has the condition: one of the query would be checked after it, row by row.
ORIGINS = f"""
alter policy origins on api_key using (
    revoked_at is null and origins <> '{{}}' and origins @> array[(select current_setting('app.sought_origin', true))]);
create or replace function is_origin_of_a_key(sought_origin text) returns boolean language plpgsql {DEFINER} as $$
declare
    is_listed boolean;
begin
    if coalesce(sought_origin, '') = '' or length(sought_origin) > 200 then
        return false;
    end if;
    perform set_config('app.sought_origin', sought_origin, true);
    select exists (
        select from api_key where origins @> array[sought_origin] and revoked_at is null
            and (expires_at is null or expires_at > now())
    ) into is_listed;
    perform set_config('app.sought_origin', '', true);
    return is_listed;
end $$;
"""
FORMER_ORIGINS = f"""
alter policy origins on api_key using (
    cardinality(origins) > 0 and (select current_setting('app.finding_origin', true)) = 'on');
create or replace function is_origin_of_a_key(sought_origin text) returns boolean language plpgsql {DEFINER} as $$
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
"""
# Of many requests at one time one writes, and none waits for another.
LAST_USE = """
create or replace function note_key_use(used_key text, used_from text) returns void
language sql set search_path = pg_catalog, public, pg_temp as $$
    update api_key set last_used_at = clock_timestamp(), last_used_address = left(used_from, 64)
    where tenant_id = current_setting('app.tenant_id', true) and id = (
        select id from api_key
        where tenant_id = current_setting('app.tenant_id', true) and id = used_key
            and (last_used_at is null or last_used_at <= clock_timestamp() - interval '1 minute')
        for no key update skip locked)
$$;
"""
FORMER_LAST_USE = """
create or replace function note_key_use(used_key text, used_from text) returns void
language sql set search_path = pg_catalog, public, pg_temp as $$
    update api_key set last_used_at = clock_timestamp(), last_used_address = used_from
    where tenant_id = current_setting('app.tenant_id', true) and id = used_key
$$;
"""
# They give the id of a tenant and nothing else. The worker then enters it, and deletes there with the app's own rights.
CLEANED = "(select current_setting('app.cleaning', true)) = 'on'"
NEXT_TENANTS = f"""
create policy cleaning on tenant for select to bulkhead_owner using ({CLEANED});
create policy cleaning on idempotency_key for select to bulkhead_owner using ({CLEANED});
create policy cleaning on stored_file for select to bulkhead_owner using ({CLEANED});
create policy cleaning on export_job for select to bulkhead_owner using ({CLEANED});
create function next_tenant_with_old_answers(former_tenant text) returns text language plpgsql {DEFINER} as $$
declare
    next_tenant text;
begin
    perform set_config('app.cleaning', 'on', true);
    select t.id into next_tenant from tenant t
    where t.id > former_tenant and exists (
        select from idempotency_key k where k.tenant_id = t.id and k.created_at < clock_timestamp() - interval '24 hours')
    order by t.id limit 1;
    perform set_config('app.cleaning', '', true);
    return coalesce(next_tenant, '');
end $$;
create function next_tenant_with_ended_files(former_tenant text) returns text language plpgsql {DEFINER} as $$
declare
    next_tenant text;
begin
    perform set_config('app.cleaning', 'on', true);
    select t.id into next_tenant from tenant t
    where t.id > former_tenant and (
        exists (select from stored_file f where f.tenant_id = t.id and f.expires_at <= clock_timestamp())
        or exists (select from export_job e where e.tenant_id = t.id and e.file_id is null
            and e.finished_at < clock_timestamp() - interval '7 days')
        or ((t.state = 'deleted' or exists (select from tenant l where l.id = t.live_tenant_id and l.state = 'deleted'))
            and exists (select from stored_file f where f.tenant_id = t.id)))
    order by t.id limit 1;
    perform set_config('app.cleaning', '', true);
    return coalesce(next_tenant, '');
end $$;
revoke all on function next_tenant_with_old_answers(text) from public;
revoke all on function next_tenant_with_ended_files(text) from public;
grant execute on function next_tenant_with_old_answers(text) to bulkhead_app;
grant execute on function next_tenant_with_ended_files(text) to bulkhead_app;
"""
FORMER_NEXT_TENANTS = """
drop function next_tenant_with_old_answers(text), next_tenant_with_ended_files(text);
drop policy cleaning on export_job;
drop policy cleaning on stored_file;
drop policy cleaning on idempotency_key;
drop policy cleaning on tenant;
"""
# An upload is kept until it is deleted.
UPLOADS = "alter table stored_file alter column expires_at drop not null"


def run(sql: str) -> None:
    """As written: no parameters, so a percent sign is a percent sign."""
    op.get_bind().execution_options(no_parameters=True).exec_driver_sql(sql)


def upgrade() -> None:
    for sql in (ORIGINS, LAST_USE, NEXT_TENANTS, UPLOADS):
        run(sql)
    with op.get_context().autocommit_block():
        for name, columns in INDEXES.items():
            run(f"drop index concurrently if exists {name}")  # of a build that was interrupted
            run(f"create index concurrently {name} on {columns}")


def downgrade() -> None:
    with op.get_context().autocommit_block():
        for name in INDEXES:
            run(f"drop index concurrently if exists {name}")
    run("delete from stored_file where expires_at is null")
    run("alter table stored_file alter column expires_at set not null")
    for sql in (FORMER_NEXT_TENANTS, FORMER_LAST_USE, FORMER_ORIGINS):
        run(sql)
