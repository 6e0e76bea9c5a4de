"""Operators see what each tenant costs, and limit one of them for a while, with a reason that its members read."""

from datetime import timedelta

import pytest
from sqlmodel import col, select

from shared.audit.models import AuditEvent
from shared.backoffice import noisy_tenants, noisy_tenants_repository
from shared.backoffice.noisy_tenants_rows import NoisyOrder
from shared.backoffice.reasons import state_reason
from shared.core import db, tenant_limits, tenant_load
from shared.core.db import now
from shared.core.errors import Conflict, Invalid, Refused
from shared.core.tenant_limits import Use
from shared.fairness import load_recorder, throttle_watch
from shared.jobs import queue
from tests.conftest import Cast
from tests.support import workers

WORDS = "Your importer sends every row in a request of its own."


@pytest.fixture(autouse=True)
def fresh_limits() -> None:
    tenant_limits.clear()
    tenant_load.take_loads()


async def limit(cast: Cast, *, percent: int = 10, minutes: int = 60) -> None:
    async with cast.olga.octx() as octx:
        reason = state_reason(octx, WORDS, tenant_id=cast.acme)
        await noisy_tenants.throttle(octx, cast.acme, reason, percent=percent, minutes=minutes)
    await throttle_watch.refresh()


async def test_tenants_are_listed_by_what_they_cost(cast: Cast, schema: str) -> None:
    workers.clear_queue(schema)
    async with cast.ann.ctx() as ctx:
        for key in "abc":
            await queue.put(ctx, "tests.tell", user_id=ctx.actor_id, key=key)
    for _ in range(7):
        tenant_load.count_request(cast.acme)
    tenant_load.add_database_seconds(cast.acme, 2.5)
    tenant_load.count_refused(cast.globex)
    await load_recorder.record()
    tenant_load.count_request(cast.acme)
    await load_recorder.record()  # another minute, or another process
    async with cast.olga.octx() as octx:
        by_database = await noisy_tenants.list_noisy(octx, hours=1, order="database")
        by_refused = await noisy_tenants.list_noisy(octx, hours=24, order="refused")
    acme = next(row for row in by_database if row.tenant_id == cast.acme)
    assert (acme.requests, acme.waiting_jobs) == (8, 3)
    assert acme.database_seconds >= 2.5
    globex = next(row for row in by_refused if row.tenant_id == cast.globex)
    assert globex.refused == 1
    for rows, number in ((by_database, "database_seconds"), (by_refused, "refused")):
        numbers = [getattr(row, number) for row in rows]
        assert numbers == sorted(numbers, reverse=True)


async def test_throttled_tenant_is_listed_however_little_it_costs(cast: Cast) -> None:
    """Its throttle ends on this page, which lists few of all tenants."""
    await limit(cast)
    tenant_load.add_database_seconds(cast.globex, 2_000_000.0)
    await load_recorder.record()
    async with db.transaction("operator", reason="test") as session:
        since = now() - timedelta(hours=1)
        rows = await noisy_tenants_repository.list_noisy(session, since, NoisyOrder.DATABASE, limit=50)
        (largest,) = await noisy_tenants_repository.list_noisy(session, since, NoisyOrder.DATABASE, limit=1)
    assert cast.acme in {row.tenant_id for row in rows}
    assert largest.throttle_percent is not None


async def test_statements_of_a_tenant_count_as_its_database_time(cast: Cast) -> None:
    async with cast.gil.ctx() as ctx:
        await queue.put(ctx, "tests.tell", user_id=ctx.actor_id, key="one")
    loads = tenant_load.take_loads()
    assert 0 < loads[cast.globex].database_seconds < 5
    assert cast.acme not in loads


async def test_database_time_of_an_id_that_is_none_hinders_no_record(cast: Cast) -> None:
    """A scope may hold what a request named. One such id kept the loads of all tenants from being recorded."""
    with pytest.raises(Invalid):
        async with db.transaction(tenant_id="ten_\0") as session:
            await session.exec(select(AuditEvent.id))
    tenant_load.count_request(cast.acme)
    assert set(tenant_load.take_loads()) == {cast.acme}


async def test_throttled_tenant_is_refused_with_the_reason_and_others_are_not(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(tenant_limits.__dict__, "_get_base_rate", lambda use: 10.0)
    await limit(cast, percent=10)
    refusal = None
    for _ in range(40):
        try:
            tenant_limits.take(Use.REQUEST, cast.acme)
        except Refused as caught:
            refusal = caught
    assert refusal is not None
    assert (refusal.http_status, refusal.reason) == (429, "tenant_throttled")
    assert WORDS in refusal.detail
    assert refusal.retry_after > 0
    tenant_limits.take(Use.REQUEST, cast.globex)


async def test_throttle_is_recorded_shown_and_taken_back(cast: Cast) -> None:
    await limit(cast)
    async with cast.olga.octx() as octx:
        rows = {row.tenant_id: row for row in await noisy_tenants.list_noisy(octx, hours=1, order="database")}
        assert (rows[cast.acme].throttle_percent, rows[cast.acme].throttle_reason) == (10, WORDS)
    assert tenant_limits.find_throttle(cast.acme) is not None
    async with cast.olga.octx() as octx:
        reason = state_reason(octx, "The importer was corrected.", tenant_id=cast.acme)
        await noisy_tenants.end_throttle(octx, cast.acme, reason)
    await throttle_watch.refresh()
    assert tenant_limits.find_throttle(cast.acme) is None
    async with cast.ann.ctx() as ctx:
        query = select(AuditEvent).where(col(AuditEvent.action).startswith("tenant.throttle"))
        events = {event.action: event for event in (await ctx.session.exec(query)).all()}
    assert events["tenant.throttled"].reason == WORDS
    assert events["tenant.throttled"].after["percent"] == "10"
    assert events["tenant.throttle_ended"].after == {"percent": "100"}


async def test_throttle_ends_by_its_own_time_without_the_database(cast: Cast) -> None:
    throttle = tenant_limits.Throttle(10, WORDS, now() - timedelta(seconds=1))
    tenant_limits.set_throttles({cast.acme: throttle})
    assert tenant_limits.find_throttle(cast.acme) is None


async def test_throttle_without_a_reason_or_with_other_numbers_is_refused(cast: Cast) -> None:
    async with cast.olga.octx() as octx:
        with pytest.raises(Invalid):
            state_reason(octx, "", tenant_id=cast.acme)
        reason = state_reason(octx, WORDS, tenant_id=cast.acme)
        with pytest.raises(Invalid):
            await noisy_tenants.throttle(octx, cast.acme, reason, percent=77, minutes=60)
        with pytest.raises(Conflict):
            await noisy_tenants.end_throttle(octx, cast.acme, reason)
        with pytest.raises(Invalid):
            await noisy_tenants.throttle(octx, cast.globex, reason, percent=10, minutes=60)


async def test_loads_that_could_not_be_recorded_are_kept(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    tenant_load.count_request(cast.acme)
    with monkeypatch.context() as patch:
        patch.setattr(load_recorder, "repository", None)
        await load_recorder.record()
    tenant_load.count_request(cast.acme)
    assert tenant_load.take_loads()[cast.acme].requests == 2


async def test_later_throttle_takes_the_place_of_an_earlier_one(cast: Cast) -> None:
    await limit(cast, percent=50)
    await limit(cast, percent=1, minutes=15)
    throttle = tenant_limits.find_throttle(cast.acme)
    assert throttle is not None
    assert (throttle.percent, throttle.expires_at < now() + timedelta(minutes=16)) == (1, True)
