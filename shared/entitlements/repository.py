"""SQL of the entitlements: the catalogue, and all that was ever written about a tenant."""

from collections.abc import Sequence
from datetime import datetime
from typing import TypeVar

from sqlalchemy import BigInteger, column
from sqlalchemy import table as a_table
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from shared.core.ctx import Ctx
from shared.entitlements import catalogue as catalogues
from shared.entitlements import loose
from shared.entitlements.catalogue import Catalogue
from shared.entitlements.facts import History
from shared.entitlements.models import (
    FlagRow,
    FlagVersion,
    Plan,
    PlanVersion,
    TenantAddon,
    TenantBilling,
    TenantFlag,
    TenantOverride,
    TenantPlan,
    TenantTrait,
    Valid,
)

Row = TypeVar("Row", bound=Valid)
EPOCH = a_table("entitlement_epoch", column("number", BigInteger))


async def get_epoch(session: AsyncSession) -> int:
    connection = await session.connection()
    return int((await connection.execute(select(EPOCH.c.number))).scalar_one())


async def get_catalogue(session: AsyncSession, epoch: int) -> Catalogue:
    """What everybody is offered. `epoch`: read before, so that what is kept under it is never older."""
    plans = await session.exec(select(Plan).where(col(Plan.for_tenant).is_(None)))
    versions = await session.exec(
        select(PlanVersion)
        .where(col(PlanVersion.for_tenant).is_(None))
        .where(PlanVersion.status == "published")
    )
    flags = await session.exec(select(FlagRow))
    said = await session.exec(select(FlagVersion))
    return catalogues.build(
        epoch, loose.rows(plans), loose.rows(versions), loose.rows(flags), loose.rows(said)
    )


async def get_history(session: AsyncSession, tenant_id: str) -> History:
    """In a transaction of this tenant."""
    plans = (await session.exec(select(Plan).where(Plan.for_tenant == tenant_id))).all()
    statement = (
        select(PlanVersion)
        .where(PlanVersion.for_tenant == tenant_id)
        .where(PlanVersion.status == "published")
    )
    versions = (await session.exec(statement)).all() if plans else []
    return History(
        tenant_id,
        await _all(session, TenantPlan, tenant_id),
        await _all(session, TenantAddon, tenant_id),
        await _all(session, TenantOverride, tenant_id),
        await _all(session, TenantBilling, tenant_id),
        await _all(session, TenantFlag, tenant_id),
        await _all(session, TenantTrait, tenant_id),
        plans,
        versions,
    )


async def _all(session: AsyncSession, kind: type[Row], tenant_id: str) -> Sequence[Row]:
    return (await session.exec(select(kind).where(kind.tenant_id == tenant_id))).all()


async def get(ctx: Ctx, table: type[Row], row_id: str) -> Row | None:
    """Locked, so that two who end it do so once."""
    return await ctx.session.get(table, (ctx.tenant_id, row_id), with_for_update=True)


async def list_later(ctx: Ctx, table: type[Row], since: datetime) -> Sequence[Row]:
    """What is foreseen for a later time and not taken back."""
    statement = (
        select(table)
        .where(table.tenant_id == ctx.tenant_id)
        .where(col(table.starts_at) > since)
        .where(col(table.closed_at).is_(None))
        .with_for_update()
    )
    return (await ctx.session.exec(statement)).all()
