"""Unexpected errors by the reference that a person was shown, and indexes by which operators find a reference.

A new table, a function and indexes only; code of the version before this one uses none of them.
"""

from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None
works_with = "0004"

# The apps may add a report, and read none: they hold file names and error types of requests of all tenants.
BUG_REPORTS = """
create table bug_report (
    id text collate "C" primary key, at timestamptz not null default clock_timestamp(), request_id text not null,
    process text not null, problem text not null, place text not null
);
create index bug_report_by_request on bug_report (request_id);
create index bug_report_by_time on bug_report (at);
grant select on bug_report to bulkhead_operator;

-- Keeps 30 days. Above 5,000 reports in an hour, which a flood of requests to a broken page may cause, it keeps none.
create function record_bug(report_id text, request text, reported_process text, reported_problem text, at_place text)
returns void language sql security definer set search_path = pg_catalog, public, pg_temp as $$
    delete from bug_report where id in (
        select b.id from bug_report b where b.at < now() - interval '30 days' order by b.at limit 100);
    insert into bug_report (id, request_id, process, problem, place)
    select left(report_id, 40), left(request, 40), left(reported_process, 40), left(reported_problem, 120),
        left(at_place, 200)
    where not exists (select from bug_report b where b.at > now() - interval '1 hour' offset 4999);
$$;
revoke execute on function record_bug(text, text, text, text, text) from public;
grant execute on function record_bug(text, text, text, text, text) to bulkhead_app, bulkhead_operator;
"""
INDEXES = {
    "audit_event_by_request_of_all_tenants": "audit_event (request_id, tenant_id)",
    "billing_event_by_request_of_all_tenants": "billing_event (request_id, tenant_id) where request_id <> ''",
    "decision_count_by_request_of_all_tenants": "decision_count (request_id, tenant_id)",
    "operator_event_by_request": "operator_event (request_id)",
    "security_event_by_request": "security_event (request_id)",
}


def upgrade() -> None:
    op.execute(BUG_REPORTS)
    with op.get_context().autocommit_block():
        for name, columns in INDEXES.items():
            op.execute(
                f"drop index concurrently if exists {name}"
            )  # an interrupted build leaves an invalid one
            op.execute(f"create index concurrently {name} on {columns}")


def downgrade() -> None:
    with op.get_context().autocommit_block():
        for name in INDEXES:
            op.execute(f"drop index concurrently if exists {name}")
    op.execute("drop function record_bug(text, text, text, text, text)")
    op.execute("drop table bug_report")
