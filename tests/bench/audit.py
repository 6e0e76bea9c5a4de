"""The audit log as it grows: appending in a large transaction and beside an old snapshot, and verifying what is new.

Appends are measured by the CPU time of the server's process that does them, so that other work on the machine does not count.
Every figure is compared with another one of the same statements, so that a ratio of 1 means a cost that stays. The
controls append with the trigger of the version before the seals, which changes one row of the tenant for each event,
and verify from the first event.
"""

import asyncio
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import LiteralString

import psutil
import psycopg
from psycopg import sql

from shared.audit import verification
from shared.core import db, rate_limits
from shared.core.ids import new_id
from shared.evidence import chain_checks
from shared.tenancy import audit_reader, entry
from tests.bench import databases
from tests.bench.broken import Broken
from tests.bench.goals import Goal
from tests.bench.options import Options
from tests.bench.rows import Result, counted, ratios
from tests.support import audit_chains, database

ROWS = {  # what is measured, what it is compared with, and the same of the control
    "audit/large-transaction": ("large", "small", "hot-large", "hot-small"),
    "audit/old-snapshot": ("snapshot", "alone", "hot-snapshot", "hot-alone"),
    "audit/verify-new@100x": ("verify-large", "verify-small", "whole-large", "whole-small"),
    "audit/verify-rate": ("event", "allowed", "event-alone", "allowed"),
}
# As migration 0001 made it, in a schema of its own. The names of the columns lead the product's statement there.
HOT_ROW: LiteralString = """
create schema hot;
create table hot.audit_event (like public.audit_event including defaults including indexes);
create table hot.audit_head (like public.audit_head including all);
create function hot.event_hash(e hot.audit_event) returns bytea language sql stable
set search_path = pg_catalog, public as $$
    select sha256(e.prev || convert_to(jsonb_build_array(
        e.tenant_id, e.id, e.seq, extract(epoch from e.at), e.actor_type, e.actor_id, e.actor_name, e.impersonator_id,
        e.action, e.object_id, e.reason, e.before, e.after, e.details, e.request_id)::text, 'UTF8'))
$$;
create function hot.audit_chain() returns trigger language plpgsql security definer
set search_path = pg_catalog, hot as $$
declare head hot.audit_head;
begin
    insert into hot.audit_head values (new.tenant_id, 'head', 0, '\\x00') on conflict do nothing;
    select * into head from hot.audit_head where tenant_id = new.tenant_id for update;
    new.seq := head.seq + 1;
    new.at := clock_timestamp();
    new.prev := head.hash;
    new.hash := hot.event_hash(new);
    update hot.audit_head set seq = new.seq, hash = new.hash where tenant_id = new.tenant_id;
    return new;
end $$;
create trigger audit_chain before insert on hot.audit_event for each row execute function hot.audit_chain();
grant usage on schema hot to bulkhead_app;
grant select, insert on hot.audit_event to bulkhead_app;
"""
APPEND: LiteralString = """
insert into {} (tenant_id, id, actor_type, actor_id, actor_name, action, object_id, before, after, details, request_id)
values (%s, %s, 'user', 'usr_bench', 'Bench', 'membership.role_changed', 'mem_bench', '{{"role": "member"}}',
    '{{"role": "admin"}}', '{{"member": "Bench"}}', 'req_bench')
"""
FILL: LiteralString = """
insert into audit_event (tenant_id, id, actor_type, actor_id, actor_name, action, object_id, before, after, details, request_id)
select %s, 'aud_' || lpad(number::text, 26, '0'), 'user', 'usr_bench', 'Bench', 'membership.role_changed', 'mem_bench',
    '{"role": "member"}', '{"role": "admin"}', '{"member": "Bench"}', 'req_bench' from generate_series(1, %s) number
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """Events: of the two transactions, appended beside a snapshot, and of the smaller of the two verified logs.

    `clicks`: verifications in a round.
    """

    small: int
    large: int
    appended: int
    verified: int
    clicks: int


FULL = Size(small=1_000, large=8_000, appended=4_000, verified=500, clicks=15)
TINY = Size(small=10, large=80, appended=40, verified=5, clicks=2)
GROWTH = 100  # of the verified logs
ALLOWED_US = 20.0  # of one event in a verification: 50,000 a second


@dataclass
class AuditTimings:
    """Microseconds of every side, by round: CPU time of one event, or the time of one verification."""

    rounds: list[dict[str, float]] = field(default_factory=list)

    def result(self, goal: Goal) -> Result:
        ours, peer, control, control_peer = ROWS[goal.control_of or goal.name]
        names = (control, control_peer) if goal.control_of else (ours, peer)
        return Result(goal, ratios(*([timings[name] for timings in counted(self.rounds)] for name in names)))


def measure(options: Options) -> AuditTimings:
    size, timings = TINY if options.tiny else FULL, AuditTimings()
    with ExitStack() as stack:
        name = stack.enter_context(databases.built("audit"))
        database.do_not_wait_for_disk(name)
        with psycopg.connect(database.admin_url(name), autocommit=True) as superuser:
            superuser.execute(HOT_ROW)
        small_log, large_log = add_log(name, size.verified), add_log(name, size.verified * GROWTH)
        for _ in options.numbered("audit"):
            timings.rounds.append(_measure_round(name, size, small_log, large_log))
    return timings


def _measure_round(name: str, size: Size, small_log: str, large_log: str) -> dict[str, float]:
    timings: dict[str, float] = {}
    for prefix, table in (("", "public.audit_event"), ("hot-", "hot.audit_event")):
        timings[f"{prefix}small"] = append_in_one_transaction(name, table, size.small)
        timings[f"{prefix}large"] = append_in_one_transaction(name, table, size.large)
        timings[f"{prefix}alone"] = append_one_by_one(name, table, size.appended)
        with old_snapshot(name):
            timings[f"{prefix}snapshot"] = append_one_by_one(name, table, size.appended)
    timings |= asyncio.run(_measure_verifications(size, small_log, large_log))
    return timings


def append_in_one_transaction(name: str, table: str, count: int) -> float:
    tenant_id = add_tenant(name)
    with psycopg.connect(db.login_url("app")) as connection:
        _append(connection, table, tenant_id, 1)  # plans and caches of a new connection
        connection.rollback()
        before = read_cpu_s(connection)
        _append(connection, table, tenant_id, count)
        connection.commit()
        return _cost_us(connection, before, count)


def append_one_by_one(name: str, table: str, count: int) -> float:
    """Of the last quarter: each in a transaction of its own."""
    tenant_id, before = add_tenant(name), 0.0
    last_quarter = max(1, count // 4)
    with psycopg.connect(db.login_url("app")) as connection:
        for number in range(count):
            if number == count - last_quarter:
                before = read_cpu_s(connection)
            _append(connection, table, tenant_id, 1)
            connection.commit()
        return _cost_us(connection, before, last_quarter)


def _cost_us(connection: psycopg.Connection, before: float, count: int) -> float:
    """Of one event, since the CPU time `before`. Never 0: a clock may be too coarse for a tiny run."""
    return max(read_cpu_s(connection) - before, 1e-9) / count * 1e6


def read_cpu_s(connection: psycopg.Connection) -> float:
    """CPU seconds of the server's process of this connection, on this machine."""
    process = psutil.Process(connection.info.backend_pid)
    scheduled = Path(f"/proc/{process.pid}/schedstat")  # where there is one, in nanoseconds
    if scheduled.exists():
        return int(scheduled.read_text().split()[0]) / 1e9
    spent = process.cpu_times()
    return spent.user + spent.system


def _append(connection: psycopg.Connection, table: str, tenant_id: str, count: int) -> None:
    statement = sql.SQL(APPEND).format(sql.Identifier(*table.split(".")))
    connection.execute("select set_config('app.tenant_id', %s, true)", [tenant_id])
    for _ in range(count):
        connection.execute(statement, [tenant_id, new_id("aud")])


@contextmanager
def old_snapshot(name: str) -> Iterator[None]:
    """A transaction such as a backup's: it reads, and keeps what it could still read."""
    with psycopg.connect(database.admin_url(name)) as connection:
        connection.execute("set transaction isolation level repeatable read")
        connection.execute("select count(*) from tenant")
        yield
        connection.rollback()


def add_tenant(name: str) -> str:
    tenant_id = new_id("ten")
    with psycopg.connect(database.admin_url(name), autocommit=True) as connection:
        connection.execute(
            "insert into tenant (id, slug, name, state) values (%s, %s, 'Bench', 'active')",
            [tenant_id, tenant_id[-20:]],
        )
    return tenant_id


def add_log(name: str, count: int) -> str:
    """A tenant with as many events, sealed and verified. Returns its id."""
    tenant_id = add_tenant(name)
    with psycopg.connect(database.admin_url(name), autocommit=True) as connection:
        connection.execute(FILL, [tenant_id, count])
    asyncio.run(_seal_and_verify(name, tenant_id, count))
    with psycopg.connect(database.admin_url(name), autocommit=True) as connection:
        connection.execute("vacuum analyze audit_event, audit_seal")
    return tenant_id


async def _seal_and_verify(name: str, tenant_id: str, count: int) -> None:
    """Waits for open transactions anywhere on the server: nothing newer is sealed before they end."""
    await audit_chains.seal_as_worker(name, tenant_id)
    await _verify_whole(tenant_id, count)
    await db.dispose()


async def _verify_whole(tenant_id: str, count: int, step_size: int = verification.STEP_SIZE) -> float:
    """Microseconds of all its steps."""
    async with entry.enter_job(tenant_id, "bench", "bench") as ctx:
        checkpoint = await verification.lock(ctx)
        verification.start(checkpoint, from_start=True)
        began = time.perf_counter()
        while verification.describe(checkpoint).is_running:
            await verification.run_step(ctx, checkpoint, size=step_size)
        took = time.perf_counter() - began
        if (checkpoint.problem, checkpoint.verified_seq) != ("", count):
            raise Broken(f"{checkpoint.verified_seq} of {count} events are verified")
    return took * 1e6


async def _verify_new(tenant_id: str, count: int) -> float:
    """Microseconds of what the page's button does, where nothing is new."""
    await rate_limits.clear_counts()
    async with entry.enter_job(tenant_id, "bench", "bench") as ctx:
        began = time.perf_counter()
        verified = await audit_reader.verify_audit_log(ctx)
        took = time.perf_counter() - began
    if (verified.is_intact, verified.verified_count) != (True, count):
        raise Broken(f"{verified.verified_count} of {count} events are verified")
    return took * 1e6


async def _measure_verifications(size: Size, small_log: str, large_log: str) -> dict[str, float]:
    counts = {small_log: size.verified, large_log: size.verified * GROWTH}
    clicks: dict[str, list[float]] = {small_log: [], large_log: []}
    for _ in range(size.clicks):
        for tenant_id, count in counts.items():
            clicks[tenant_id].append(await _verify_new(tenant_id, count))
    timings = {
        "verify-small": median(clicks[small_log]),
        "verify-large": median(clicks[large_log]),
        "whole-small": await _verify_whole(small_log, counts[small_log]),
        "whole-large": await _verify_whole(large_log, counts[large_log]),
        "event": await _verify_whole(large_log, counts[large_log], chain_checks.STEP_SIZE)
        / counts[large_log],
        "event-alone": await _verify_whole(small_log, counts[small_log], 1) / counts[small_log],
        "allowed": ALLOWED_US,
    }
    await db.dispose()
    return timings
