"""SQL of recorded usage."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import aliased
from sqlmodel import col, select, update
from sqlmodel.ext.asyncio.session import AsyncSession

from shared.billing.models import BillingCustomer, BillingSnapshot, BillingSubscription, BillingUsage
from shared.billing.usage_periods import DOUBTFUL, ENDED
from shared.core.context import Ctx


async def add(ctx: Ctx, usage_row: BillingUsage) -> bool:
    """Adds usage of this tenant. False where the meter already has the identifier."""
    values = usage_row.model_dump(exclude={"recorded_at"}) | {"tenant_id": ctx.tenant_id}
    statement = insert(BillingUsage).values(values)
    statement = statement.on_conflict_do_nothing(index_elements=["tenant_id", "meter", "identifier"])
    connection = await ctx.session.connection()
    return (await connection.execute(statement.returning(col(BillingUsage.id)))).first() is not None


async def is_current_customer(
    session: AsyncSession, tenant_id: str, account_id: str, customer_id: str
) -> bool:
    """Whether it is the tenant's newest customer in this account, and not deleted."""
    newer = aliased(BillingCustomer)
    is_replaced = sa.exists().where(
        col(newer.tenant_id) == BillingCustomer.tenant_id,
        col(newer.account_id) == BillingCustomer.account_id,
        col(newer.generation) > BillingCustomer.generation,
    )
    is_deleted = sa.exists().where(
        col(BillingSnapshot.tenant_id) == BillingCustomer.tenant_id,
        col(BillingSnapshot.deleted_customer_id) == BillingCustomer.id,
    )
    statement = select(BillingCustomer.id).where(
        BillingCustomer.tenant_id == tenant_id,
        BillingCustomer.account_id == account_id,
        BillingCustomer.id == customer_id,
        ~is_replaced,
        ~is_deleted,
    )
    return (await session.exec(statement)).first() is not None


async def lock_unreported(
    session: AsyncSession,
    tenant_id: str,
    *,
    tried_after: datetime,
    live_meters: Sequence[str],
    limit: int,
) -> Sequence[BillingUsage]:
    """Unconfirmed rows that were first tried after `tried_after`, in order of recording, and that no other worker places.

    Usage that came after the last invoice of its meter is among them only when the meter is in `live_meters`.
    """
    statement = (
        select(BillingUsage)
        .where(
            BillingUsage.tenant_id == tenant_id,
            col(BillingUsage.reported_at).is_(None),
            sa.or_(col(BillingUsage.tried_at).is_(None), col(BillingUsage.tried_at) > tried_after),
            sa.or_(col(BillingUsage.problem) != ENDED, col(BillingUsage.meter).in_(live_meters)),
        )
        .order_by(col(BillingUsage.id))
        .limit(limit)
        .with_for_update(skip_locked=True, key_share=True)
    )
    return (await session.exec(statement)).all()


async def mark_doubtful(session: AsyncSession, tenant_id: str, tried_before: datetime) -> int:
    """Rows that were first tried before that and have no answer. Returns how many became doubtful now."""
    statement = (
        update(BillingUsage)
        .where(
            col(BillingUsage.tenant_id) == tenant_id,
            col(BillingUsage.reported_at).is_(None),
            col(BillingUsage.tried_at) <= tried_before,
            col(BillingUsage.problem) == "",
        )
        .values(problem=DOUBTFUL)
    )
    return int((await session.exec(statement)).rowcount)


async def list_subscriptions(session: AsyncSession, tenant_id: str) -> Sequence[BillingSubscription]:
    """Of all customers that the tenant has had."""
    statement = select(BillingSubscription).where(BillingSubscription.tenant_id == tenant_id)
    return (await session.exec(statement.order_by(col(BillingSubscription.id)))).all()


async def set_problem(session: AsyncSession, tenant_id: str, ids: Sequence[str], problem: str) -> None:
    """Of rows that no other worker has reported meanwhile."""
    statement = update(BillingUsage).where(
        col(BillingUsage.tenant_id) == tenant_id,
        col(BillingUsage.id).in_(ids),
        col(BillingUsage.reported_at).is_(None),
    )
    await session.exec(statement.values(problem=problem))


async def mark_reported(session: AsyncSession, tenant_id: str, ids: Sequence[str], at: datetime) -> None:
    statement = update(BillingUsage).where(
        col(BillingUsage.tenant_id) == tenant_id, col(BillingUsage.id).in_(ids)
    )
    await session.exec(statement.values(reported_at=at, problem=""))


async def sum_billed(
    session: AsyncSession,
    tenant_id: str,
    meter: str,
    starts_at: datetime,
    ends_at: datetime,
    *,
    without: Collection[str],
) -> int:
    """Units of the period that were sent to the provider, answered or not. `without`: ids of rows that aren't counted."""
    counted_at = sa.func.coalesce(BillingUsage.counted_at, BillingUsage.at)
    statement = select(
        sa.func.coalesce(sa.func.sum(col(BillingUsage.quantity) - col(BillingUsage.drawn)), 0)
    ).where(
        BillingUsage.tenant_id == tenant_id,
        BillingUsage.meter == meter,
        col(BillingUsage.tried_at).is_not(None),
        counted_at >= starts_at,
        counted_at < ends_at,
        col(BillingUsage.id).not_in(without),
    )
    return int((await session.exec(statement)).one())


@dataclass(frozen=True, slots=True)
class MeterUnits:
    """Units of sale of one meter. `moved`: of the others, used before."""

    meter: str
    billed: int
    drawn: int
    moved: int


async def sum_by_meter(ctx: Ctx, *, since: datetime, until: datetime) -> list[MeterUnits]:
    """What was sent to the provider for this time, or paid by credits."""
    counted_at, is_moved = (
        sa.func.coalesce(BillingUsage.counted_at, BillingUsage.at),
        col(BillingUsage.at) < since,
    )
    statement = (
        select(
            BillingUsage.meter,
            sa.func.sum(col(BillingUsage.quantity) - col(BillingUsage.drawn)),
            sa.func.sum(BillingUsage.drawn),
            sa.func.coalesce(sa.func.sum(BillingUsage.quantity).filter(is_moved), 0),
        )
        .where(
            BillingUsage.tenant_id == ctx.tenant_id,
            col(BillingUsage.tried_at).is_not(None),
            counted_at >= since,
            counted_at < until,
        )
        .group_by(col(BillingUsage.meter))
        .order_by(col(BillingUsage.meter))
    )
    rows = (await ctx.session.exec(statement)).all()
    return [MeterUnits(meter, int(billed), int(drawn), int(moved)) for meter, billed, drawn, moved in rows]


async def sum_recorded(ctx: Ctx, meter: str, *, since: datetime, until: datetime) -> tuple[int, int]:
    """Units of this time of use, and those of them that the provider has confirmed or that nothing charges for."""
    reported = col(BillingUsage.reported_at).is_not(None)
    statement = select(
        sa.func.coalesce(sa.func.sum(BillingUsage.quantity), 0),
        sa.func.coalesce(sa.func.sum(BillingUsage.quantity).filter(reported), 0),
    ).where(
        BillingUsage.tenant_id == ctx.tenant_id,
        BillingUsage.meter == meter,
        col(BillingUsage.at) >= since,
        col(BillingUsage.at) < until,
    )
    units, confirmed_units = (await ctx.session.exec(statement)).one()
    return int(units), int(confirmed_units)


async def list_recorded(ctx: Ctx, identifiers: Collection[str]) -> list[tuple[str, int, bool]]:
    """Identifier, units, and whether the provider has confirmed them or nothing charges for them."""
    statement = select(
        BillingUsage.identifier, BillingUsage.quantity, col(BillingUsage.reported_at).is_not(None)
    ).where(BillingUsage.tenant_id == ctx.tenant_id, col(BillingUsage.identifier).in_(identifiers))
    return [(row[0], int(row[1]), bool(row[2])) for row in (await ctx.session.exec(statement)).all()]
