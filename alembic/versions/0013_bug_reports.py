"""Unexpected errors by the reference that a person was shown, and indexes by which operators find a reference.

A new table, a function and indexes only; code of the version before this one uses none of them.
"""

from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None
works_with = "0004"

# The apps may add reports, and read none: they hold file names and error types of requests of all tenants.
BUG_REPORTS = """
create table bug_report (
    id text collate "C" primary key, at timestamptz not null, request_id text not null,
    process text not null, problem text not null, place text not null
);
create index bug_report_by_request on bug_report (request_id);
create index bug_report_by_place on bug_report (place, problem, at);
create index bug_report_by_time on bug_report (at);
grant select on bug_report to bulkhead_operator;

-- Keeps at least 30 days, and 200 reports of one problem at one place in an hour: one broken page that somebody calls
-- again and again hides no other problem. A report that came twice is kept once.
create function record_bugs(
    ids text[], times timestamptz[], requests text[], reporting_process text, problems text[], places text[]
) returns void language sql security definer set search_path = pg_catalog, public, pg_temp as $$
    delete from bug_report where id in (
        select old.id from bug_report old where old.at < now() - interval '30 days' order by old.at limit 1000);
    insert into bug_report (id, at, request_id, process, problem, place)
    select left(bug.id, 40), least(bug.at, clock_timestamp()), left(bug.request, 40), left(reporting_process, 40),
        left(bug.problem, 120), left(bug.place, 200)
    from unnest(ids, times, requests, problems, places) as bug(id, at, request, problem, place)
    where (
        select count(*) from (
            select from bug_report kept
            where kept.place = left(bug.place, 200) and kept.problem = left(bug.problem, 120)
                and kept.at > now() - interval '1 hour'
            limit 200
        ) recent
    ) < 200
    on conflict do nothing;
$$;
revoke execute on function record_bugs(text[], timestamptz[], text[], text, text[], text[]) from public;
grant execute on function record_bugs(text[], timestamptz[], text[], text, text[], text[])
    to bulkhead_app, bulkhead_operator;
"""
INDEXES = {
    "audit_event_by_request_of_all_tenants": "audit_event (request_id, tenant_id)",
    "billing_event_by_request_of_all_tenants": "billing_event (request_id, tenant_id) where request_id <> ''",
    "decision_count_by_request_of_all_tenants": "decision_count (request_id, tenant_id)",
    "operator_event_by_request": "operator_event (request_id)",
    "security_event_by_request": "security_event (request_id)",
}


def upgrade() -> None:
    """May be run again: the indexes are built before the transaction that makes the table."""
    with op.get_context().autocommit_block():
        for name, columns in INDEXES.items():
            # An interrupted build leaves an invalid one.
            op.execute(f"drop index concurrently if exists {name}")
            op.execute(f"create index concurrently {name} on {columns}")
    op.execute(BUG_REPORTS)


def downgrade() -> None:
    op.execute("drop function record_bugs(text[], timestamptz[], text[], text, text[], text[])")
    op.execute("drop table bug_report")
    with op.get_context().autocommit_block():
        for name in INDEXES:
            op.execute(f"drop index concurrently if exists {name}")
