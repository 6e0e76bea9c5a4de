"""Reports on a real streaming replica: under row security, with a known age, and with a way back to the primary."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from shared.backoffice import finance, usage_overview
from shared.cli import database as cli_database
from shared.core import db, replica, tenant_limits
from shared.core.config import settings
from shared.core.context import Ctx
from shared.core.db import now
from shared.core.errors import TookTooLong
from shared.core.replica import Fallback
from shared.core.tenant_weights import get_weight
from shared.dev.postgres import EmbeddedPostgres
from shared.fairness import heavy_reads
from shared.metering import rollups, usage, usage_reports
from shared.metering.usage_reports import UsageQuery, UsageReport
from tenant_app.pages.usage.state import UsageState
from tests.conftest import Operating, Person
from tests.support import factories, replica_server
from tests.support.postgres_server import run_own_server, using

METER = "usage_events"
VISIBLE = text("""
    select current_user::text, pg_is_in_recovery(), current_setting('statement_timeout'),
        (select count(distinct tenant_id) from usage_event), (select count(*) from usage_event)
""")


@dataclass(frozen=True)
class Servers:
    primary: EmbeddedPostgres
    replica: EmbeddedPostgres


@pytest.fixture(scope="module")
async def running_servers(schema: str) -> AsyncIterator[Servers]:
    with run_own_server() as primary:
        async with using(primary):
            await asyncio.to_thread(cli_database.prepare_database)
        with replica_server.run_replica(primary) as copy:
            yield Servers(primary, copy)


@pytest.fixture
async def servers(running_servers: Servers, app_login: None) -> AsyncIterator[Servers]:
    url = running_servers.replica.url(database="bulkhead")
    replica.forget()
    tenant_limits.clear()
    async with using(running_servers.primary, DATABASE_REPLICA_URL=url):
        yield running_servers
    replica.forget()


async def create_founder(name: str) -> Person:
    founder = await factories.create_account(name)
    return Person(founder, (await factories.create_tenant(founder, name)).slug)


async def send(person: Person, key: str, quantity: int) -> None:
    async with person.ctx() as ctx:
        await usage.record(ctx, METER, key, quantity=quantity, occurred_at=now() - timedelta(hours=3))
        await rollups.roll_up(ctx)


async def get_report(person: Person) -> UsageReport:
    query = UsageQuery(since=now() - timedelta(days=1), until=now(), meter=METER)
    async with person.ctx() as ctx:
        return await usage_reports.get_report(ctx, query)


async def test_reports_are_read_on_the_replica_under_row_security_and_never_write(servers: Servers) -> None:
    ann, gil = await create_founder("Ann"), await create_founder("Gil")
    await send(ann, "a", 5)
    await send(gil, "g", 70)
    replica_server.wait_for_replay(servers.primary, servers.replica)

    async def look(ctx: Ctx) -> Any:
        connection = await ctx.session.connection()
        return (await connection.execute(VISIBLE)).one()

    async def write(ctx: Ctx) -> None:
        connection = await ctx.session.connection()
        await connection.execute(text("delete from usage_event"))

    report = await get_report(ann)
    async with ann.ctx() as ctx:
        row = (await heavy_reads.read_report(ctx, look)).value
        with pytest.raises(DBAPIError) as caught:
            await heavy_reads.read_report(ctx, write)
    assert (report.source.is_replica, report.meters[0].total) == (True, 5)
    milliseconds = heavy_reads.STATEMENT_MS * get_weight(ctx.tenant_id)
    assert tuple(row) == ("bulkhead_app_login", True, f"{milliseconds}ms", 1, 1)
    assert db.is_read_only_error(caught.value)
    olga = Operating(await factories.create_operator("Olga"))
    replica_server.wait_for_replay(servers.primary, servers.replica)
    async with olga.octx() as octx:
        overview = await usage_overview.get_usage_overview(octx, METER)
        finances = await finance.get_report(octx)
    assert [line.quantity for line in overview.tenants] == [70, 5]
    assert overview.source.is_replica
    assert finances.source.is_replica


async def test_report_of_a_late_replica_says_how_old_it_is_and_comes_from_the_primary_beyond_the_limit(
    servers: Servers, monkeypatch: pytest.MonkeyPatch
) -> None:
    ann = await create_founder("Ann")
    await send(ann, "a", 5)
    replica_server.wait_for_replay(servers.primary, servers.replica)
    assert (await get_report(ann)).meters[0].total == 5
    replica_server.set_replay(servers.replica, is_paused=True)
    try:
        paused_at = now()
        await send(ann, "b", 3)
        late = await get_report(ann)
        assert (late.source.is_replica, late.meters[0].total) == (True, 5)
        assert late.as_of <= paused_at
        monkeypatch.setenv("BULKHEAD_REPLICA_MAX_LAG_SECONDS", "1")
        settings.cache_clear()
        await asyncio.sleep(1.1)
        beyond = await get_report(ann)
        assert (beyond.source.fallback, beyond.meters[0].total) == (Fallback.BEHIND, 8)
    finally:
        replica_server.set_replay(servers.replica, is_paused=False)
    replica_server.wait_for_replay(servers.primary, servers.replica)
    caught_up = await get_report(ann)
    assert (caught_up.source.is_replica, caught_up.meters[0].total) == (True, 8)


async def test_statement_at_its_time_limit_is_not_repeated_on_the_primary(
    servers: Servers, monkeypatch: pytest.MonkeyPatch
) -> None:
    ann = await create_founder("Ann")
    replica_server.wait_for_replay(servers.primary, servers.replica)
    monkeypatch.setattr(heavy_reads, "STATEMENT_MS", 10)
    places = list[bool]()

    async def read_slowly(ctx: Ctx) -> None:
        connection = await ctx.session.connection()
        places.append((await connection.execute(text("select pg_is_in_recovery()"))).scalar_one())
        await connection.execute(text("select pg_sleep(1)"))

    async with ann.ctx() as ctx:
        with pytest.raises(TookTooLong):
            await heavy_reads.read_report(ctx, read_slowly)
    assert places == [True]


async def test_report_whose_replica_goes_away_is_read_from_the_primary(servers: Servers) -> None:
    ann = await create_founder("Ann")
    await send(ann, "a", 5)
    replica_server.wait_for_replay(servers.primary, servers.replica)
    page: Any = ann.opens(UsageState, path=f"usage?meter={METER}")
    load = UsageState.event_handlers["load"].fn
    await load(page)
    assert (page.as_of.note, page.meters[0].total) == ("", "5 events in total")

    async def lose_connection(ctx: Ctx) -> bool:
        """On the replica, in the middle of the report."""
        connection = await ctx.session.connection()
        is_replica = (await connection.execute(text("select pg_is_in_recovery()"))).scalar_one()
        if is_replica:
            await connection.execute(text("select pg_terminate_backend(pg_backend_pid())"))
        return bool(is_replica)

    async with ann.ctx() as ctx:
        reading = await heavy_reads.read_report(ctx, lose_connection)
    assert (reading.value, reading.source.fallback) == (False, Fallback.AWAY)
    replica.forget()
    servers.replica.stop()
    try:
        await load(page)
        assert "can’t be reached" in page.as_of.note
        assert page.meters[0].total == "5 events in total"
    finally:
        servers.replica.start()
    replica.forget()
    await load(page)
    assert page.as_of.note == ""


async def test_promoted_replica_is_not_read(running_servers: Servers, app_login: None) -> None:
    """It has left the primary, and what it holds grows old unnoticed. The last test: this one is gone."""
    with psycopg.connect(running_servers.replica.url(), autocommit=True) as connection:
        connection.execute("select pg_promote()")
    url = running_servers.replica.url(database="bulkhead")
    async with using(running_servers.primary, DATABASE_REPLICA_URL=url):
        ann = await create_founder("Ann")
        assert (await get_report(ann)).source.fallback is Fallback.WRONG
    replica.forget()
