"""Closed usage becomes rows that are reported to the provider: see `billing.usage`."""

from collections.abc import Collection, Mapping
from datetime import datetime

from shared.billing import usage, usage_repository
from shared.core.context import Ctx
from shared.metering.sinks import ClosedUsage, ReceivedUsage


class BillingSink:
    async def emit(self, ctx: Ctx, closed_usage: ClosedUsage) -> None:
        """Counted at the start of its window. Usage from before a subscription was sold in that hour stays free."""
        await usage.record(
            ctx,
            closed_usage.meter,
            closed_usage.units,
            closed_usage.starts_at,
            closed_usage.identifier,
        )

    async def read_back(self, ctx: Ctx, meter: str, *, since: datetime, until: datetime) -> ReceivedUsage:
        units, confirmed_units = await usage_repository.sum_recorded(ctx, meter, since=since, until=until)
        return ReceivedUsage(units=units, confirmed_units=confirmed_units)

    async def list_received(self, ctx: Ctx, identifiers: Collection[str]) -> Mapping[str, ReceivedUsage]:
        rows = await usage_repository.list_recorded(ctx, identifiers)
        return {
            identifier: ReceivedUsage(units=units, confirmed_units=units if is_confirmed else 0)
            for identifier, units, is_confirmed in rows
        }


BILLING_SINK = BillingSink()
