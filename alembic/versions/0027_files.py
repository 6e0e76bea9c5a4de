"""Stored files and exports.

New tables only; code of the version before this one uses none of them.
"""

import runpy
from pathlib import Path

from alembic import op

revision = "0027"
down_revision = "0026"
branch_labels = None
depends_on = None
works_with = "0004"

protect = runpy.run_path(str(Path(__file__).parents[1] / "frozen/row_security.py"))["protect"]

ID = 'text collate "C"'
KEY = f"tenant_id {ID} not null references tenant, id {ID} not null"
MOMENT = "timestamptz not null default clock_timestamp()"

TABLES = f"""
create table stored_file (
    {KEY}, kind text not null, purpose text not null, state text not null check (state in ('writing', 'ready')),
    name text not null check (length(name) between 1 and 200), content_type text not null default '',
    size bigint not null default 0 check (size >= 0), sha256 text not null default '',
    owner_id {ID} not null, created_by_name text not null, created_at {MOMENT}, expires_at timestamptz not null,
    primary key (tenant_id, id), check (state <> 'ready' or length(sha256) = 64)
);
create index stored_file_expiry on stored_file (tenant_id, expires_at);
create table export_job (
    {KEY}, kind text not null, format text not null check (format in ('csv', 'jsonl', 'parquet')),
    filter jsonb not null default '{{}}', state text not null check (state in ('waiting', 'running', 'ready', 'failed', 'cancelled')),
    row_count bigint not null default 0, expected_rows bigint not null default 0, file_id {ID},
    problem text not null default '', owner_id {ID} not null, key_id {ID} not null default '', created_by_name text not null,
    created_at {MOMENT}, finished_at timestamptz,
    primary key (tenant_id, id), foreign key (tenant_id, file_id) references stored_file,
    check ((state = 'ready') <= (file_id is not null))
);
create index export_job_of_owner on export_job (tenant_id, owner_id, created_at desc, id desc);
create index export_job_open on export_job (tenant_id) where state in ('waiting', 'running');
create index export_job_file on export_job (tenant_id, file_id);
"""


def upgrade() -> None:
    op.execute(TABLES)
    for table in ("stored_file", "export_job"):
        op.execute(protect(table))


def downgrade() -> None:
    op.execute("drop table export_job, stored_file")
