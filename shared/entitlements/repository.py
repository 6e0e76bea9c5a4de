"""SQL of the entitlements: the catalog, and the history of a tenant."""

from collections.abc import Sequence
from datetime import datetime
from typing import TypeVar

from sqlalchemy import BigInteger, column
from sqlalchemy import table as a_table
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from shared.core import rows
from shared.core.context import Ctx
from shared.entitlements import catalog, detached
from shared.entitlements.catalog import Catalog
from shared.entitlements.history import EntitlementHistory
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
    TimedRow,
)

TimedRowType = TypeVar("TimedRowType", bound=TimedRow)
EPOCH = a_table("entitlement_epoch", column("number", BigInteger))


async def get_epoch(session: AsyncSession) -> int:
    connection = await session.connection()
    return int((await connection.execute(select(EPOCH.c.number))).scalar_one())


async def get_catalog(session: AsyncSession, epoch: int) -> Catalog:
    """The catalog of all tenants. `epoch`: read before, so that a cached catalog is never older than its epoch."""
    plans = await session.exec(select(Plan).where(col(Plan.for_tenant).is_(None)))
    versions = await session.exec(
        select(PlanVersion)
        .where(col(PlanVersion.for_tenant).is_(None))
        .where(PlanVersion.status == "published")
    )
    flags = await session.exec(select(FlagRow))
    flag_versions = await session.exec(select(FlagVersion))
    return catalog.build_catalog(
        epoch,
        detached.detach_rows(plans),
        detached.detach_rows(versions),
        detached.detach_rows(flags),
        detached.detach_rows(flag_versions),
    )


async def get_history(session: AsyncSession, tenant_id: str) -> EntitlementHistory:
    """In a transaction of this tenant."""
    plans = (await session.exec(select(Plan).where(Plan.for_tenant == tenant_id))).all()
    statement = (
        select(PlanVersion)
        .where(PlanVersion.for_tenant == tenant_id)
        .where(PlanVersion.status == "published")
    )
    versions = (await session.exec(statement)).all() if plans else []
    return EntitlementHistory(
        tenant_id,
        await _list_rows(session, TenantPlan, tenant_id),
        await _list_rows(session, TenantAddon, tenant_id),
        await _list_rows(session, TenantOverride, tenant_id),
        await _list_rows(session, TenantBilling, tenant_id),
        await _list_rows(session, TenantFlag, tenant_id),
        await _list_rows(session, TenantTrait, tenant_id),
        plans,
        versions,
    )


async def _list_rows(
    session: AsyncSession, kind: type[TimedRowType], tenant_id: str
) -> Sequence[TimedRowType]:
    return (await session.exec(select(kind).where(kind.tenant_id == tenant_id))).all()


async def lock_row(ctx: Ctx, table: type[TimedRowType], row_id: str) -> TimedRowType | None:
    """Locks the row, so that it is ended once."""
    return await ctx.session.get(table, (ctx.tenant_id, row_id), with_for_update={"key_share": True})


async def lock_later_rows(ctx: Ctx, table: type[TimedRowType], since: datetime) -> Sequence[TimedRowType]:
    """Locks the rows that start later and weren't closed."""
    statement = (
        select(table)
        .where(table.tenant_id == ctx.tenant_id)
        .where(col(table.starts_at) > since)
        .where(col(table.closed_at).is_(None))
        .with_for_update(key_share=True)
    )
    return await rows.all(ctx, statement)
