"""Traffic of each minute, alerts that fire, and which operators want mail about them: operators' tables, of no tenant.

New tables and a function only. Code of the version before this one uses none of them.
"""

from alembic import op

revision = "0039"
down_revision = "0038"
branch_labels = None
depends_on = None
works_with = "0004"

# The apps add to the minutes, and read none: they hold numbers of all tenants.
TABLES = """
create table traffic_minute (
    minute timestamptz not null, dimension text collate "C" not null, value text collate "C" not null,
    requests bigint not null, errors bigint not null, total_ms bigint not null, latency bigint[] not null,
    primary key (minute, dimension, value)
);
create table alert_state (
    name text collate "C" not null, subject text collate "C" not null, detail text not null,
    since timestamptz not null, seen_at timestamptz not null, ended_at timestamptz,
    primary key (name, subject)
);
create index alert_state_ended on alert_state (ended_at) where ended_at is not null;
create table alert_subscription (
    operator_id text collate "C" primary key references operator, created_at timestamptz not null default now()
);
grant select on traffic_minute, procrastinate_workers to bulkhead_operator;
grant select, insert, update, delete on alert_state, alert_subscription to bulkhead_operator;
"""
# Keeps two days. Minutes of the last hour only, and at most 2,000 rows a call: whoever calls it can fill no disk.
RECORD = """
create function record_traffic(
    minutes timestamptz[], dimensions text[], names text[], request_counts bigint[], error_counts bigint[],
    total_times bigint[], latencies text[]
) returns void language sql security definer set search_path = pg_catalog, public, pg_temp as $$
    delete from traffic_minute where minute < now() - interval '2 days';
    insert into traffic_minute as kept (minute, dimension, value, requests, errors, total_ms, latency)
    select date_trunc('minute', counted.minute), left(counted.dimension, 20), left(counted.name, 100), counted.requests,
        counted.errors, counted.total, cast(counted.latency as bigint[])
    from unnest(minutes, dimensions, names, request_counts, error_counts, total_times, latencies)
        as counted(minute, dimension, name, requests, errors, total, latency)
    where counted.minute between now() - interval '1 hour' and now() + interval '2 minutes'
    order by 1, 2, 3
    limit 2000
    on conflict (minute, dimension, value) do update set
        requests = kept.requests + excluded.requests, errors = kept.errors + excluded.errors,
        total_ms = kept.total_ms + excluded.total_ms,
        latency = (
            select array_agg(coalesce(pair.old, 0) + coalesce(pair.new, 0) order by pair.place)
            from unnest(kept.latency, excluded.latency) with ordinality as pair(old, new, place));
$$;
revoke execute on function record_traffic(timestamptz[], text[], text[], bigint[], bigint[], bigint[], text[]) from public;
grant execute on function record_traffic(timestamptz[], text[], text[], bigint[], bigint[], bigint[], text[])
    to bulkhead_app, bulkhead_operator;
"""


def upgrade() -> None:
    op.execute(TABLES)
    op.execute(RECORD)


def downgrade() -> None:
    op.execute(
        "drop function record_traffic(timestamptz[], text[], text[], bigint[], bigint[], bigint[], text[])"
    )
    op.execute("drop table alert_subscription, alert_state, traffic_minute")
