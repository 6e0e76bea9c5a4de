"""Closed usage leaves for the sinks once, in whole units, and what remains is carried."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import pytest
from sqlmodel import col, select

from shared.billing.models import BillingUsage
from shared.billing.usage_sink import BILLING_SINK
from shared.core.context import Ctx
from shared.core.db import now
from shared.metering import sinks
from shared.metering.sinks import ClosedUsage, ReceivedUsage, UsageSink
from tests.conftest import Cast
from tests.metering.test_rollups import HOUR, METER, OLD_HOUR, record, roll_up


@dataclass
class MemorySink:
    received: dict[tuple[str, str], ClosedUsage] = field(default_factory=dict)

    async def emit(self, ctx: Ctx, closed_usage: ClosedUsage) -> None:
        self.received.setdefault((ctx.tenant_id, closed_usage.identifier), closed_usage)

    async def read_back(self, ctx: Ctx, meter: str, *, since: datetime, until: datetime) -> ReceivedUsage:
        units = sum(
            usage.units
            for (tenant_id, _), usage in self.received.items()
            if tenant_id == ctx.tenant_id and usage.meter == meter and since <= usage.starts_at < until
        )
        return ReceivedUsage(units=units)

    async def list_received(self, ctx: Ctx, identifiers: Collection[str]) -> Mapping[str, ReceivedUsage]:
        return {
            usage.identifier: ReceivedUsage(units=usage.units)
            for (tenant_id, _), usage in self.received.items()
            if tenant_id == ctx.tenant_id and usage.identifier in identifiers
        }


@pytest.fixture(params=["memory", "billing"])
def sink(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> UsageSink:
    chosen = MemorySink() if request.param == "memory" else BILLING_SINK
    monkeypatch.setattr(sinks, "SINKS", [chosen])
    return chosen


async def read_units(ctx: Ctx, sink: UsageSink) -> int:
    return (await sink.read_back(ctx, METER, since=OLD_HOUR - 24 * HOUR, until=now())).units


async def test_whole_units_are_emitted_and_the_rest_is_carried(cast: Cast, sink: UsageSink) -> None:
    """A unit of sale is 1,000 events."""
    units = []
    for number, quantity in enumerate((999, 1, 2_500, 600)):
        await record(cast.ann, f"k{number}", OLD_HOUR + number * HOUR, quantity=quantity)
        await roll_up(cast.ann)
        async with cast.ann.ctx() as ctx:
            units.append(await read_units(ctx, sink))
    assert units == [0, 1, 3, 4]
    async with cast.gil.ctx() as ctx:
        assert await read_units(ctx, sink) == 0


async def test_late_event_is_emitted_as_the_difference(cast: Cast, sink: UsageSink) -> None:
    for key, quantity in (("in time", 5_000), ("late", 2_000)):
        await record(cast.ann, key, OLD_HOUR, quantity=quantity)
        for _ in range(2):
            await roll_up(cast.ann)
    async with cast.ann.ctx() as ctx:
        assert await read_units(ctx, sink) == 7


async def test_same_identifier_again_changes_nothing(cast: Cast, sink: UsageSink) -> None:
    usage = ClosedUsage(meter=METER, starts_at=OLD_HOUR, units=3, identifier="usage_events:hour:1")
    async with cast.ann.ctx() as ctx:
        for _ in range(2):
            await sink.emit(ctx, usage)
        assert await read_units(ctx, sink) == 3


async def test_open_hour_is_not_emitted(cast: Cast, sink: UsageSink) -> None:
    await record(cast.ann, "k", now(), quantity=9_000)
    await roll_up(cast.ann)
    async with cast.ann.ctx() as ctx:
        assert (await sink.read_back(ctx, METER, since=OLD_HOUR, until=now() + HOUR)).units == 0


async def test_billed_rows_are_named_by_their_window_and_revision(cast: Cast) -> None:
    for key in ("a", "b"):
        await record(cast.ann, key, OLD_HOUR, quantity=1_000)
        await roll_up(cast.ann)
    async with cast.ann.ctx() as ctx:
        statement = select(BillingUsage).where(BillingUsage.tenant_id == ctx.tenant_id)
        rows = (await ctx.session.exec(statement.order_by(col(BillingUsage.id)))).all()
    window = f"{METER}:hour:{OLD_HOUR:%Y-%m-%dT%H}"
    assert [row.identifier for row in rows] == [f"{window}:1", f"{window}:2"]
    assert all(timedelta(0) == row.at - OLD_HOUR for row in rows)
