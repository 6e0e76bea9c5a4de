"""SQL of emissions."""

from collections.abc import Collection, Sequence
from datetime import datetime
from decimal import Decimal

from sqlalchemy import func
from sqlmodel import col, select

from shared.core.context import Ctx
from shared.metering.models import UsageEmission, UsageWindow, WindowSize


async def list_last(ctx: Ctx, meters: Collection[str]) -> dict[str, UsageEmission]:
    """By meter. One row of each is read, however many there are."""
    last = dict[str, UsageEmission]()
    for meter in meters:
        statement = (
            select(UsageEmission)
            .where(UsageEmission.tenant_id == ctx.tenant_id, UsageEmission.meter == meter)
            .order_by(col(UsageEmission.seq).desc())
            .limit(1)
        )
        emission = (await ctx.session.exec(statement)).first()
        if emission is not None:
            last[meter] = emission
    return last


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


async def list_emissions(
    ctx: Ctx, meter: str, *, since: datetime, until: datetime, limit: int
) -> Sequence[UsageEmission]:
    """For windows that begin in this time, the latest first."""
    statement = (
        select(UsageEmission)
        .where(UsageEmission.tenant_id == ctx.tenant_id, UsageEmission.meter == meter)
        .where(col(UsageEmission.starts_at) >= since, col(UsageEmission.starts_at) < until)
        .order_by(col(UsageEmission.starts_at).desc(), col(UsageEmission.seq).desc())
        .limit(limit)
    )
    return (await ctx.session.exec(statement)).all()
