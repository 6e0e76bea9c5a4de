"""Leaving an organisation, messages of suspensions, former addresses, known devices and resets of lost factors.

Adds columns with constant defaults and new tables only. Code of the version before this one uses none of them; it is
refused an address that is kept for another tenant as one that is taken.
"""

import runpy
from pathlib import Path

from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None
works_with = "0004"

protect = runpy.run_path(str(Path(__file__).parents[1] / "frozen/row_security.py"))["protect"]

ID = 'text collate "C"'
MOMENT = "timestamptz not null default clock_timestamp()"
COLUMNS = """
alter table membership add column ended_by_self boolean not null default false;
alter table tenant add column suspension_message text not null default '';
"""


FORMER_SLUGS = f"""
create table former_slug (
    tenant_id {ID} not null references tenant, id {ID} not null, kept_until timestamptz not null,
    primary key (tenant_id, id)
);
{protect("former_slug")}
create policy own_former_slugs on former_slug for select to bulkhead_app
    using (tenant_id = any ((select list_user_tenants())::text[]));
create policy checked_by_trigger on former_slug for select to bulkhead_owner
    using (id = (select current_setting('app.checked_slug', true)));
-- After the row, so that it sees what a transaction has kept for which the unique index made it wait.
create function refuse_kept_slug() returns trigger language plpgsql security definer
set search_path = pg_catalog, public as $$
declare is_kept boolean;
begin
    perform set_config('app.checked_slug', new.slug, true);
    is_kept := exists (select from former_slug where id = new.slug and tenant_id <> new.id and kept_until > now());
    perform set_config('app.checked_slug', '', true);
    if is_kept then
        raise unique_violation using message = 'this slug is kept for another tenant';
    end if;
    return null;
end $$;
create trigger refuse_kept_slug_new after insert on tenant for each row execute function refuse_kept_slug();
create trigger refuse_kept_slug after update on tenant for each row
    when (old.slug is distinct from new.slug) execute function refuse_kept_slug();
"""
FACTOR_RESETS = f"""
create table factor_reset (
    id {ID} primary key, user_id {ID} not null references "user" on delete cascade,
    requested_at {MOMENT}, started_at timestamptz, started_by text not null default '', due_at timestamptz,
    cancelled_at timestamptz, cancelled_by text not null default '', completed_at timestamptz
);
create unique index factor_reset_open on factor_reset (user_id) where cancelled_at is null and completed_at is null;
grant select, insert, update on factor_reset to bulkhead_app;
grant select, update (started_at, started_by, due_at, cancelled_at, cancelled_by) on factor_reset to bulkhead_operator;
"""


def device_table(kind: str, role: str) -> str:
    return f"""
create table {kind}_device (
    id {ID} primary key, {kind}_id {ID} not null references "{kind}" on delete cascade, token_hash text not null,
    created_at {MOMENT}, last_seen_at {MOMENT}, unique ({kind}_id, token_hash)
);
grant select, insert, update, delete on {kind}_device to {role};
"""


def run(sql: str) -> None:
    """As written: no parameters, so a percent sign is a percent sign."""
    op.get_bind().execution_options(no_parameters=True).exec_driver_sql(sql)


def upgrade() -> None:
    run(COLUMNS)
    run(FORMER_SLUGS)
    run(FACTOR_RESETS)
    run(device_table("user", "bulkhead_app"))
    run(device_table("operator", "bulkhead_operator"))


def downgrade() -> None:
    run("drop table operator_device, user_device, factor_reset")
    run("drop trigger refuse_kept_slug on tenant; drop trigger refuse_kept_slug_new on tenant")
    run("drop function refuse_kept_slug()")
    run("drop table former_slug")
    run("alter table tenant drop column suspension_message")
    run("alter table membership drop column ended_by_self")
