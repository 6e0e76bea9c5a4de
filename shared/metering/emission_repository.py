"""SQL of emissions."""

from datetime import datetime
from decimal import Decimal

from sqlalchemy import func
from sqlalchemy.dialects.postgresql import distinct_on
from sqlmodel import col, select

from shared.core.context import Ctx
from shared.metering.models import UsageEmission, UsageWindow, WindowSize


async def list_last(ctx: Ctx) -> dict[str, UsageEmission]:
    """By meter."""
    statement = (
        select(UsageEmission)
        .where(UsageEmission.tenant_id == ctx.tenant_id)
        .ext(distinct_on(col(UsageEmission.meter)))
        .order_by(col(UsageEmission.meter), col(UsageEmission.seq).desc())
    )
    return {emission.meter: emission for emission in (await ctx.session.exec(statement)).all()}


async def sum_emitted(
    ctx: Ctx, meter: str, *, since: datetime, until: datetime
) -> tuple[Decimal, Decimal, int]:
    """For windows that begin in this time: emitted quantity, change of the carried remainder, and units."""
    statement = select(
        func.coalesce(func.sum(UsageEmission.quantity), 0),
        func.coalesce(func.sum(col(UsageEmission.carried_out) - col(UsageEmission.carried_in)), 0),
        func.coalesce(func.sum(UsageEmission.units), 0),
    ).where(
        UsageEmission.tenant_id == ctx.tenant_id,
        UsageEmission.meter == meter,
        col(UsageEmission.starts_at) >= since,
        col(UsageEmission.starts_at) < until,
    )
    quantity, carried, units = (await ctx.session.exec(statement)).one()
    return Decimal(quantity), Decimal(carried), int(units)


async def sum_closed(ctx: Ctx, meter: str, size: WindowSize, *, since: datetime, until: datetime) -> Decimal:
    """Of closed windows that begin in this time."""
    statement = select(func.coalesce(func.sum(UsageWindow.quantity), 0)).where(
        UsageWindow.tenant_id == ctx.tenant_id,
        UsageWindow.meter == meter,
        UsageWindow.size == size,
        col(UsageWindow.starts_at) >= since,
        col(UsageWindow.starts_at) < until,
        col(UsageWindow.closed_at).is_not(None),
    )
    return Decimal((await ctx.session.exec(statement)).one())
