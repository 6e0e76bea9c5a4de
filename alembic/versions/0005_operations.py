"""Which code works with which schema, and a lock of the operators' chain that only operators can take.

Advisory locks have no owner: the app's role could take the one of the chain, and every operator waited for it.
"""

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None
works_with = "0004"

SCHEMA_VERSION = """
create table schema_version (
    revision text primary key, works_with text not null, migrated_at timestamptz not null default now()
);
grant select on schema_version to bulkhead_app, bulkhead_operator;
"""
# A transaction that has written with the former lock ends before the new one counts.
CHAIN_LOCK = """
lock table operator_event in share row exclusive mode;
create table operator_chain_lock (id text primary key check (id = 'chain'));
insert into operator_chain_lock values ('chain');
grant select, update on operator_chain_lock to bulkhead_operator;
"""
CHAIN = """
create or replace function operator_chain() returns trigger language plpgsql set search_path = pg_catalog, public as $$
declare last operator_event;
begin
    {lock}
    select * into last from operator_event order by seq desc limit 1;
    new.seq := coalesce(last.seq, 0) + 1;
    new.at := clock_timestamp();
    new.prev := coalesce(last.hash, '\\x00');
    new.hash := operator_hash(new);
    return new;
end $$;
"""
ROW_LOCK = "perform 1 from operator_chain_lock for update;  -- held until commit"
ADVISORY_LOCK = "perform pg_advisory_xact_lock(hashtextextended('operator_event', 0));"


def run(sql: str) -> None:
    op.get_bind().execution_options(no_parameters=True).exec_driver_sql(sql)


def upgrade() -> None:
    run(SCHEMA_VERSION)
    run(CHAIN_LOCK)
    run(CHAIN.format(lock=ROW_LOCK))


def downgrade() -> None:
    run(CHAIN.format(lock=ADVISORY_LOCK))
    run("drop table operator_chain_lock")
    run("drop table schema_version")
