"""Evidence: the canonical text of events for exports, anchors of the chains, and streams of the audit log.

New tables and functions only. Code of the version before this one uses none of them.

`audit_event_text` is what the hash of an event is made of, so that others can verify an export without this database. The
functions that work across tenants return the id of a tenant and nothing else; those about the operators' chain return
numbers and hashes, never an event.
"""

import runpy
from pathlib import Path

from alembic import op

revision = "0038"
down_revision = "0037"
branch_labels = None
depends_on = None
works_with = "0004"

protect = runpy.run_path(str(Path(__file__).parents[1] / "frozen/row_security.py"))["protect"]

ID = 'text collate "C"'
KEY = f"tenant_id {ID} not null references tenant, id {ID} not null"
MOMENT = "timestamptz not null default clock_timestamp()"
DEFINER = "security definer set search_path = pg_catalog, public, pg_temp"
LOOKING = "(select current_setting('app.evidence', true)) = 'on'"
BEGIN, END = (
    "perform set_config('app.evidence', 'on', true);",
    "perform set_config('app.evidence', '', true);",
)

ANCHOR = """
    seq bigint not null default 0, hash bytea not null default '\\x00', anchored_at timestamptz,
    verified_seq bigint not null default 0, verified_at timestamptz,
    problem text not null default '', problem_seq bigint, problem_at timestamptz
"""
TABLES = f"""
create table audit_anchor ({KEY} check (id = 'anchor'), {ANCHOR}, primary key (tenant_id, id));
create index audit_anchor_problems_of_all_tenants on audit_anchor (problem_at, tenant_id) where problem <> '';
create table platform_anchor (id boolean primary key default true check (id), {ANCHOR});
insert into platform_anchor default values;
create table audit_stream (
    {KEY}, kind text not null check (kind in ('https', 'splunk')), url text not null check (length(url) between 1 and 500),
    secret bytea, state text not null check (state in ('active', 'paused')),
    pause_reason text not null default '' check (pause_reason in ('', 'member', 'failures', 'gone')),
    paused_at timestamptz, cursor_seq bigint not null, cursor_hash bytea not null, sent_count bigint not null default 0,
    due_at timestamptz, claim {ID} not null default '', is_test_due boolean not null default false,
    failure_count int not null default 0, failing_since timestamptz, last_attempt_at timestamptz,
    last_delivered_at timestamptz, last_status int not null default 0, last_problem text not null default '',
    created_at {MOMENT}, created_by text not null default '', deleted_at timestamptz,
    version int not null default 1, version_at timestamptz, version_by text not null default '',
    primary key (tenant_id, id), check ((state = 'paused') = (pause_reason <> '')),
    check (deleted_at is not null or secret is not null)
);
create index audit_stream_due on audit_stream (tenant_id, due_at)
    where state = 'active' and deleted_at is null;
"""
RIGHTS = f"""
revoke insert, update on audit_anchor, audit_stream from bulkhead_operator;
grant update (secret) on audit_stream to bulkhead_operator;
grant select, update on platform_anchor to bulkhead_app;
grant select on platform_anchor to bulkhead_operator;
create policy evidence on tenant for select to bulkhead_owner using ({LOOKING});
create policy evidence on audit_head for select to bulkhead_owner using ({LOOKING});
create policy evidence on audit_anchor for select to bulkhead_owner using ({LOOKING});
create policy evidence on audit_stream for select to bulkhead_owner using ({LOOKING});
"""
# As in migrations 0001 and 0009, without the hash around it.
TEXTS = """
create function audit_event_text(e audit_event) returns text language sql stable
set search_path = pg_catalog, public, pg_temp as $$
    select case when e.format = 1 then jsonb_build_array(
        e.tenant_id, e.id, e.seq, extract(epoch from e.at), e.actor_type, e.actor_id, e.actor_name, e.impersonator_id,
        e.action, e.object_id, e.reason, e.before, e.after, e.details, e.request_id)::text
    else jsonb_build_array(
        e.format, e.tenant_id, e.id, e.transaction_id, extract(epoch from e.at), e.actor_type, e.actor_id, e.actor_name,
        e.impersonator_id, e.action, e.object_id, e.reason, e.before, e.after, e.details, e.request_id)::text end
$$;
"""
NEXT_TENANTS = f"""
create function next_tenant_to_anchor(former_tenant text) returns text language plpgsql {DEFINER} as $$
declare
    next_tenant text;
begin
    {BEGIN}
    select h.tenant_id into next_tenant from audit_head h
    left join audit_anchor a on a.tenant_id = h.tenant_id
    where h.tenant_id > former_tenant and (a.seq is null or a.seq <> h.seq)
    order by h.tenant_id limit 1;
    {END}
    return coalesce(next_tenant, '');
end $$;
create function next_tenant_to_verify(former_tenant text, before timestamptz) returns text
language plpgsql {DEFINER} as $$
declare
    next_tenant text;
begin
    {BEGIN}
    select t.id into next_tenant from tenant t
    left join audit_anchor a on a.tenant_id = t.id
    where t.id > former_tenant and (a.verified_at is null or a.verified_at < before)
    order by t.id limit 1;
    {END}
    return coalesce(next_tenant, '');
end $$;
create function next_tenant_to_stream(former_tenant text, due timestamptz) returns text
language plpgsql {DEFINER} as $$
declare
    next_tenant text;
begin
    {BEGIN}
    select s.tenant_id into next_tenant from audit_stream s
    join tenant t on t.id = s.tenant_id and t.state not in ('suspended', 'deleted')
    left join audit_head h on h.tenant_id = s.tenant_id
    where s.tenant_id > former_tenant and s.state = 'active' and s.deleted_at is null
        and (s.due_at is null or s.due_at <= due) and (s.is_test_due or h.seq > s.cursor_seq)
    order by s.tenant_id limit 1;
    {END}
    return coalesce(next_tenant, '');
end $$;
"""
OPERATORS = f"""
create function get_operator_head(sought_seq bigint) returns table (seq bigint, hash bytea, sought_hash bytea)
language sql stable {DEFINER} as $$
    select coalesce((select e.seq from operator_event e order by e.seq desc limit 1), 0),
        (select e.hash from operator_event e order by e.seq desc limit 1),
        (select e.hash from operator_event e where e.seq = sought_seq)
$$;
create function check_operator_events(after_seq bigint, previous_hash bytea, max_events int)
returns table (checked bigint, last_seq bigint, last_hash bytea, broken_at bigint, is_changed boolean)
language sql stable {DEFINER} as $$
    with links as (
        select e.seq, e.hash, after_seq + row_number() over (order by e.seq) as place, e.hash = operator_hash(e) as is_right,
            e.prev = lag(e.hash, 1, previous_hash) over (order by e.seq) as follows
        from (select * from operator_event where seq > after_seq order by seq limit max_events) e
    ), wrong as (
        select place, not is_right as is_changed from links where not is_right or not follows or seq <> place
        order by place limit 1
    )
    select count(*), coalesce(max(place), after_seq), coalesce((array_agg(hash order by place desc))[1], previous_hash),
        (select place from wrong), coalesce((select w.is_changed from wrong w), false)
    from links
$$;
"""
SIGNATURES = {
    "next_tenant_to_anchor": "text",
    "next_tenant_to_verify": "text, timestamptz",
    "next_tenant_to_stream": "text, timestamptz",
    "get_operator_head": "bigint",
    "check_operator_events": "bigint, bytea, int",
}


def run(sql: str) -> None:
    """As written: no parameters, so a percent sign is a percent sign."""
    op.get_bind().execution_options(no_parameters=True).exec_driver_sql(sql)


def upgrade() -> None:
    run(TABLES)
    op.execute(protect("audit_anchor", app="select, insert, update"))
    op.execute(protect("audit_stream", app="select, insert, update"))
    for sql in (RIGHTS, TEXTS, NEXT_TENANTS, OPERATORS):
        run(sql)
    for name, arguments in SIGNATURES.items():
        op.execute(f"revoke all on function {name}({arguments}) from public")
        op.execute(f"grant execute on function {name}({arguments}) to bulkhead_app, bulkhead_operator")


def downgrade() -> None:
    for name, arguments in SIGNATURES.items():
        op.execute(f"drop function {name}({arguments})")
    op.execute("drop policy evidence on audit_head")
    op.execute("drop policy evidence on tenant")
    op.execute("drop table audit_stream, platform_anchor, audit_anchor")
    op.execute("drop function audit_event_text(audit_event)")
