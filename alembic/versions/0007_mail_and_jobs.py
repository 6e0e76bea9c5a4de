"""Why a job failed, what operators may do with failed jobs, refused invitation mails, and signed jobs.

Adds only. Jobs that are in the queue now carry no signature: they are listed in `unsigned_job`, and each runs as it was
queued. Where tenants exist, unsigned jobs are accepted for one more hour, because processes of the version before this
one may still queue some.
"""

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None
works_with = "0004"

FAILURES = """
create table job_failure (
    job_id bigint primary key references procrastinate_jobs on delete cascade,
    error text not null, failed_at timestamptz not null default now()
);
grant select, insert, update on job_failure to bulkhead_app;
grant select on job_failure to bulkhead_operator;

create function retry_job(wanted bigint) returns text language sql security definer
set search_path = pg_catalog, public as $$
    update procrastinate_jobs set status = 'todo', attempts = 0, scheduled_at = null, abort_requested = false
    where id = wanted and (status in ('failed', 'aborted') or status = 'todo' and attempts > 0)
    returning task_name
$$;
create function drop_job(wanted bigint) returns text language sql security definer
set search_path = pg_catalog, public as $$
    delete from procrastinate_jobs
    where id = wanted and (status in ('failed', 'aborted') or status = 'todo' and attempts > 0)
    returning task_name
$$;
revoke execute on function retry_job(bigint), drop_job(bigint) from public;
grant execute on function retry_job(bigint), drop_job(bigint) to bulkhead_operator;
"""
INVITATIONS = "alter table invitation add column delivery_problem text not null default ''"
SIGNATURES = """
create table unsigned_job (
    job_id bigint primary key references procrastinate_jobs on delete cascade,
    task_name text not null, args jsonb not null
);
insert into unsigned_job select id, task_name, args from procrastinate_jobs;
create table job_signing (
    id boolean primary key default true check (id), unsigned_until timestamptz not null
);
insert into job_signing (unsigned_until)
    select now() + case when exists (select from tenant) then interval '1 hour' else interval '0' end;
grant select on unsigned_job, job_signing to bulkhead_app;
"""


def run(sql: str) -> None:
    """As written: no parameters, so a percent sign is a percent sign."""
    op.get_bind().execution_options(no_parameters=True).exec_driver_sql(sql)


def upgrade() -> None:
    run(FAILURES)
    run(INVITATIONS)
    run(SIGNATURES)


def downgrade() -> None:
    run("drop table job_signing, unsigned_job, job_failure")
    run("drop function retry_job(bigint), drop_job(bigint)")
    run("alter table invitation drop column delivery_problem")
