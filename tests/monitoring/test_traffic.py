"""Traffic of each minute: counted in memory, stored once, added up over processes, bounded."""

from collections.abc import Iterator
from datetime import timedelta

import psycopg
import pytest
from sqlalchemy.exc import DBAPIError

from shared.backoffice.alerts import alert_repository
from shared.core import db, request_ids, traffic
from shared.core.context import Actor, Rights
from shared.core.db import now
from shared.core.traffic import Dimension, Tally
from shared.monitoring import traffic_writer
from tests.conftest import Cast
from tests.support.http_visitor import browser


@pytest.fixture(autouse=True)
def own_minutes(schema: str) -> Iterator[None]:
    traffic._minutes.clear()
    yield
    traffic._minutes.clear()


def count_request(tenant_id: str, *, seconds: float = 0.1, failed: bool = False) -> None:
    request_ids.begin()
    flags = frozenset({"beta"})
    rights = Rights("free", "", "", "none", frozenset(), {}, flags, {}, {})
    request_ids.note_tenant(tenant_id, Actor("user", "usr_x", "X"), rights)
    traffic.count(traffic.Kind.PAGE, seconds, failed=failed)
    request_ids.end()


async def read_tally(dimension: Dimension, value: str) -> Tally:
    async with db.transaction("operator", reason="test") as session:
        at = now() + timedelta(minutes=1)
        sums = await alert_repository.sum_traffic(session, at - timedelta(hours=1), at)
    return sums.get((dimension, value), Tally())


async def test_counts_of_two_processes_are_added_up(cast: Cast) -> None:
    for _ in range(2):
        count_request(cast.acme, seconds=0.03)
        count_request(cast.acme, seconds=7, failed=True)
        await traffic_writer.store_minutes(also_current=True)
    tally = await read_tally(Dimension.TENANT, cast.acme)
    assert (tally.requests, tally.errors, tally.total_ms) == (4, 2, 14_060)
    assert tally.latency == [2, 0, 0, 0, 0, 0, 0, 2]


def test_minute_is_taken_once_it_has_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.core.traffic.time.time", lambda: 6_030.0)
    count_request("ten_x")
    assert traffic.take_minutes() == {}
    monkeypatch.setattr("shared.core.traffic.time.time", lambda: 6_061.0)
    (minute,) = traffic.take_minutes().values()
    assert minute[Dimension.TENANT, "ten_x"].requests == 1
    assert traffic.take_minutes(also_current=True) == {}


async def test_request_of_a_page_is_counted_for_its_tenant_and_plan(cast: Cast) -> None:
    async with browser(cookie=cast.ann.cookie) as client:
        await client.get(f"/t/{cast.ann.slug}/logo")
        await client.get("/healthz")
    (minute,) = traffic.take_minutes(also_current=True).values()
    assert minute[Dimension.ALL, ""].requests == 1  # a probe is no request of anyone
    assert minute[Dimension.TENANT, cast.acme].requests == 1
    assert any(dimension is Dimension.PLAN for dimension, _ in minute)


async def test_minutes_are_kept_while_the_database_is_away(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    count_request(cast.acme)

    async def fail(*_: object) -> None:
        raise DBAPIError("x", {}, psycopg.OperationalError())

    with monkeypatch.context() as patch:
        patch.setattr(traffic_writer.repository, "record_minutes", fail)
        await traffic_writer.store_minutes(also_current=True)
    await traffic_writer.store_minutes(also_current=True)
    assert (await read_tally(Dimension.TENANT, cast.acme)).requests == 1


async def test_tenant_app_cannot_read_the_traffic_of_all(schema: str) -> None:
    with pytest.raises(DBAPIError, match="permission denied"):
        async with db.transaction() as session:
            await alert_repository.list_minutes(session, now())
