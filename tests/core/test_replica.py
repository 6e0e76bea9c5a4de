"""Without a usable replica, reports are read from the primary and say why."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest
from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

from shared.core import db, replica
from shared.core.db import now
from shared.core.errors import NoTenant
from shared.core.replica import Fallback, ReadSource, _Position
from shared.ui import as_of
from tests.conftest import Cast
from tests.support import database

SetVariable = Callable[[str, str], None]


@pytest.fixture(autouse=True)
async def fresh_replica(schema: str) -> AsyncIterator[None]:
    replica.forget()
    yield
    replica.forget()
    await db.dispose()


async def read_one(session: AsyncSession) -> int:
    return int((await (await session.connection()).execute(text("select 1"))).scalar_one())


@asynccontextmanager
async def counting_server() -> AsyncIterator[tuple[int, list[None]]]:
    """A server that ends each connection. Its port and one item for each connection."""
    connections = list[None]()

    def end(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(None)
        writer.close()

    server = await asyncio.start_server(end, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1], connections


async def test_report_is_read_from_the_primary_without_a_replica(cast: Cast) -> None:
    async with cast.ann.ctx() as ctx:
        reading = await replica.read(ctx.session, read_one)
    assert (reading.value, reading.source.is_replica, as_of.describe_fallback(reading.source)) == (
        1,
        False,
        "",
    )
    assert now() - reading.source.as_of < timedelta(seconds=10)


async def test_replica_that_is_away_is_left_alone_for_a_while(cast: Cast, environment: SetVariable) -> None:
    async with counting_server() as (port, connections):
        environment("DATABASE_REPLICA_URL", f"postgresql://postgres:x@127.0.0.1:{port}/bulkhead")
        for _ in range(3):
            async with cast.ann.ctx() as ctx:
                reading = await replica.read(ctx.session, read_one)
            assert (reading.value, reading.source.fallback) == (1, Fallback.AWAY)
            assert "can’t be reached" in as_of.describe_fallback(reading.source)
    assert len(connections) == 1


async def test_context_takes_no_session_of_another_tenant(cast: Cast) -> None:
    async with cast.ann.ctx() as ctx, db.transaction(tenant_id=cast.globex) as session:
        with pytest.raises(NoTenant):
            ctx.with_session(session)


async def test_server_that_is_no_replica_is_not_read(cast: Cast, environment: SetVariable) -> None:
    environment("DATABASE_REPLICA_URL", database.admin_url_in_use())
    async with cast.ann.ctx() as ctx:
        reading = await replica.read(ctx.session, read_one)
    assert reading.source.fallback is Fallback.WRONG
    assert "is no copy" in as_of.describe_fallback(reading.source)


def test_newest_position_that_was_applied_says_how_old_the_data_is() -> None:
    start = now()
    for index in range(4):
        at = start + timedelta(seconds=index)
        replica._positions.append(_Position(value=100 * index, at=at, database="bulkhead", system_id=1))
    assert replica._find_time(250, None) == start + timedelta(seconds=2)
    assert replica._find_time(250, start + timedelta(seconds=2.5)) == start + timedelta(seconds=2.5)
    assert replica._find_time(-1, None) is None
    assert replica._find_time(None, None) is None


@pytest.mark.parametrize(("seconds", "words"), [(None, "far"), (61, "61 seconds"), (185, "3 minutes")])
def test_note_says_how_far_the_replica_is_behind(seconds: int | None, words: str) -> None:
    lag = timedelta(seconds=seconds) if seconds is not None else None
    source = ReadSource(as_of=now(), fallback=Fallback.BEHIND, lag=lag)
    assert f"is {words} behind" in as_of.describe_fallback(source)
