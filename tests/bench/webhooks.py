"""Outbound webhooks: how many deliveries a second, and what a dead endpoint of one tenant costs another.

The receiver is a process of its own on this machine. Events are rows of the outbox; what is measured begins with the first
look of the dispatcher. The controls claim and send one delivery after another, and send without limits of a tenant and an
endpoint, so that one that hangs takes every place.
"""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import LiteralString

import psycopg

from shared.core import db
from shared.core.config import settings
from shared.core.outbound import OutboundClient
from shared.outbound_webhooks import endpoints
from shared.outbound_webhooks.dispatcher import LIMITS, Dispatcher, Limits
from shared.tenancy import entry
from tests.bench import audit, databases
from tests.bench.broken import Broken
from tests.bench.goals import Goal
from tests.bench.options import Options
from tests.bench.rows import Result, counted
from tests.support import database

GOAL_PER_SECOND = 500
EVENT = "member.removed"
ONE_BY_ONE = Limits(in_flight=1, per_tenant=1, per_endpoint=1)
ALL = LIMITS.in_flight
UNLIMITED = Limits(
    in_flight=ALL, per_tenant=ALL, per_endpoint=ALL, slow=ALL, per_slow_endpoint=ALL, shares=False
)
ADD_EVENTS: LiteralString = """
insert into event_outbox (tenant_id, id, type, ordering_key, body, created_at)
select tenant, 'evt_' || substr(md5(random()::text || number || tenant), 1, 26), 'member.removed', 'member:mem_' || number,
    '{"type":"member.removed","data":{"member_id":"mem_' || number || '","name":"Max Miller"}}', clock_timestamp()
from unnest(%s::text[]) tenant, generate_series(1, %s) number
"""
COUNT_DELIVERED: LiteralString = """
select count(*) from webhook_delivery where status = 'delivered' and tenant_id = any (%s)
"""
# Of those whose event is recent: from the event to the record of its delivery.
P95: LiteralString = """
select percentile_cont(0.95) within group (order by extract(epoch from done_at - created_at)) * 1000
from webhook_delivery where status = 'delivered' and tenant_id = %s and created_at >= %s
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """`events`: of each tenant in a round, each to all its endpoints. `single`: of one tenant, for the control.

    `beside`: events of the neighbour, one after another, and of the control, in which each may take seconds.
    """

    tenants: int
    endpoints: int
    events: int
    single: int
    beside: int
    beside_control: int


FULL = Size(tenants=50, endpoints=20, events=3, single=5, beside=60, beside_control=5)
TINY = Size(tenants=2, endpoints=2, events=1, single=1, beside=3, beside_control=2)


@dataclass
class WebhookFigures:
    """Of each round, by name: deliveries a second, or the p95 in milliseconds."""

    rounds: list[dict[str, float]] = field(default_factory=list)

    def result(self, goal: Goal) -> Result:
        rounds = counted(self.rounds)
        if goal.name.startswith("webhooks/deliveries"):
            name = "one-by-one" if goal.control_of else "batches"
            return Result(goal, [figures[name] / GOAL_PER_SECOND for figures in rounds])
        name = "unlimited" if goal.control_of else "limited"
        return Result(goal, [figures[f"{name}-dead"] / figures[f"{name}-alone"] for figures in rounds])


def measure(options: Options) -> WebhookFigures:
    size, figures = TINY if options.tiny else FULL, WebhookFigures()
    with ExitStack() as stack:
        name = stack.enter_context(databases.built("webhooks"))
        database.do_not_wait_for_disk(name)
        port = stack.enter_context(run_sink())
        stack.enter_context(allow(port))
        superuser = stack.enter_context(psycopg.connect(database.admin_url(name), autocommit=True))
        for _ in options.numbered("webhooks"):
            figures.rounds.append(asyncio.run(_measure_round(superuser, size, port)))
    return figures


@contextmanager
def run_sink() -> Iterator[int]:
    """The port of a receiver."""
    command = [sys.executable, "-m", "tests.bench.webhook_sink"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield int(process.stdout.readline())
        finally:
            process.kill()


@contextmanager
def allow(port: int) -> Iterator[None]:
    """The receiver is on this machine, which webhooks don't reach otherwise."""
    before = os.environ.get("BULKHEAD_OUTBOUND_ALLOW")
    os.environ["BULKHEAD_OUTBOUND_ALLOW"] = f"127.0.0.1:{port}"
    settings.cache_clear()
    try:
        yield
    finally:
        os.environ.pop("BULKHEAD_OUTBOUND_ALLOW")
        if before is not None:
            os.environ["BULKHEAD_OUTBOUND_ALLOW"] = before
        settings.cache_clear()


async def _measure_round(superuser: psycopg.Connection, size: Size, port: int) -> dict[str, float]:
    url = f"http://127.0.0.1:{port}/hook"
    tenant_ids = [await add_tenant(superuser, [url] * size.endpoints) for _ in range(size.tenants)]
    try:
        figures = {
            "batches": await _measure_rate(superuser, tenant_ids, size.events, LIMITS, size=size),
            "one-by-one": await _measure_rate(superuser, tenant_ids[:1], size.single, ONE_BY_ONE, size=size),
        }
        for name, limits in (("limited", LIMITS), ("unlimited", UNLIMITED)):
            for kind in ("alone", "dead"):
                figures[f"{name}-{kind}"] = await _measure_neighbour(
                    superuser,
                    size.beside if limits is LIMITS else size.beside_control,
                    port,
                    limits=limits,
                    dead=kind == "dead",
                )
    finally:
        await db.dispose()
    return figures


async def add_tenant(superuser: psycopg.Connection, urls: Sequence[str]) -> str:
    """A tenant with an endpoint for each of these addresses."""
    tenant_id = audit.add_tenant(superuser.info.dbname)
    async with entry.enter_job(tenant_id, "bench", "bench") as ctx:
        for url in urls:
            await endpoints.create(ctx, url, "", [EVENT])
            await ctx.session.flush()
    return tenant_id


async def _measure_rate(
    superuser: psycopg.Connection, tenant_ids: Sequence[str], events: int, limits: Limits, *, size: Size
) -> float:
    """Deliveries a second, from events in the outbox to recorded deliveries."""
    before = _count_delivered(superuser, tenant_ids)
    superuser.execute(ADD_EVENTS, [list(tenant_ids), events])
    client = OutboundClient()
    sender = Dispatcher(client, limits=limits)
    began = time.perf_counter()
    await sender.drain()
    took = time.perf_counter() - began
    await client.close()
    delivered = _count_delivered(superuser, tenant_ids) - before
    if delivered != len(tenant_ids) * events * size.endpoints:
        raise Broken(f"{delivered} of {len(tenant_ids) * events * size.endpoints} events were delivered")
    return delivered / took


def _count_delivered(superuser: psycopg.Connection, tenant_ids: Sequence[str]) -> int:
    row = superuser.execute(COUNT_DELIVERED, [list(tenant_ids)]).fetchone()
    assert row is not None
    return int(row[0])


async def _measure_neighbour(
    superuser: psycopg.Connection, events: int, port: int, *, limits: Limits, dead: bool
) -> float:
    """The p95 of one tenant, in milliseconds, whose events come one by one. `dead`: beside one whose endpoint hangs."""
    neighbour = await add_tenant(superuser, [f"http://127.0.0.1:{port}/hook"])
    hanging = await add_tenant(superuser, [f"http://127.0.0.1:{port}/hang"])
    client = OutboundClient(total_timeout_s=2.0)
    sender = Dispatcher(client, limits=limits, poll_interval_s=0.02)
    running = asyncio.create_task(sender.run())
    try:
        if dead:
            superuser.execute(ADD_EVENTS, [[hanging], 10 * limits.in_flight])
            await asyncio.sleep(0.5)
        began = superuser.execute("select clock_timestamp()").fetchone()
        for number in range(1, events + 1):
            superuser.execute(ADD_EVENTS, [[neighbour], 1])
            await _wait_for(superuser, neighbour, number)
        assert began is not None
        row = superuser.execute(P95, [neighbour, began[0]]).fetchone()
        assert row is not None
        return float(row[0])
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await client.close()
        superuser.execute("update webhook_endpoint set deleted_at = now() where tenant_id = %s", [hanging])


async def _wait_for(superuser: psycopg.Connection, tenant_id: str, count: int) -> None:
    """Raises Broken after a minute."""
    deadline = time.monotonic() + 60
    while _count_delivered(superuser, [tenant_id]) < count:
        if time.monotonic() > deadline:
            raise Broken("an event was not delivered within a minute")
        await asyncio.sleep(0.005)
