"""SQL of the impact: assignments, usage and decisions of all tenants. Across tenants, for a stated reason."""

from collections.abc import Sequence
from datetime import datetime
from typing import TypeVar

from sqlalchemy import func, or_
from sqlalchemy import select as columns
from sqlalchemy.dialects.postgresql import distinct_on
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from shared.access.models import DecisionCount
from shared.entitlements.models import Plan, PlanVersion, TenantAddon, TenantPlan, TimedRow
from shared.tenancy.models import Tenant, TenantState

TimedRowType = TypeVar("TimedRowType", bound=TimedRow)


async def list_tenants(session: AsyncSession) -> Sequence[tuple[str, str, TenantState]]:
    """Id, name and state, by name; without those that are deleted."""
    statement = (
        columns(col(Tenant.id), col(Tenant.name), col(Tenant.state))
        .where(col(Tenant.state) != TenantState.DELETED)
        .order_by(func.lower(col(Tenant.name)), col(Tenant.id))
    )
    connection = await session.connection()
    return [(row.id, row.name, row.state) for row in await connection.execute(statement)]


async def list_valid_rows(
    session: AsyncSession, kind: type[TimedRowType], at: datetime
) -> Sequence[TimedRowType]:
    """Rows of every tenant that can be in effect at that time (`entitlements.snapshot.is_in_effect`)."""
    statement = (
        select(kind)
        .where(col(kind.starts_at) <= at)
        .where(or_(col(kind.ends_at).is_(None), col(kind.ends_at) > at))
        .where(or_(col(kind.closed_at).is_(None), col(kind.closed_at) > at))
    )
    return (await session.exec(statement)).all()


async def list_custom_plans(session: AsyncSession) -> tuple[Sequence[Plan], Sequence[PlanVersion]]:
    """Plans for a single tenant, with their published versions."""
    plans = await session.exec(select(Plan).where(col(Plan.for_tenant).is_not(None)))
    versions = await session.exec(
        select(PlanVersion)
        .where(col(PlanVersion.for_tenant).is_not(None))
        .where(PlanVersion.status == "published")
    )
    return plans.all(), versions.all()


async def sum_decision_counts(session: AsyncSession, since: datetime) -> Sequence[tuple[str, str, str, int]]:
    """(tenant, action, reason, count)."""
    tally = DecisionCount
    statement = (
        columns(col(tally.tenant_id), col(tally.action), col(tally.reason), func.sum(col(tally.count)))
        .where(col(tally.hour) >= since)
        .group_by(col(tally.tenant_id), col(tally.action), col(tally.reason))
    )
    return [
        (tenant, action, reason, int(count))
        for tenant, action, reason, count in await (await session.connection()).execute(statement)
    ]


async def count_tenants(session: AsyncSession) -> int:
    statement = columns(func.count()).where(col(Tenant.state) != TenantState.DELETED)
    return int((await (await session.connection()).execute(statement)).scalar_one())


async def count_assignments_by_version(session: AsyncSession, at: datetime) -> dict[str, int]:
    """Numbers of tenants by plan version, of their latest assignment."""
    latest = (
        columns(col(TenantPlan.tenant_id), col(TenantPlan.plan_version_id).label("version"))
        .join(Tenant, col(Tenant.id) == col(TenantPlan.tenant_id))
        .where(col(Tenant.state) != TenantState.DELETED)
        .where(col(TenantPlan.starts_at) <= at)
        .where(or_(col(TenantPlan.ends_at).is_(None), col(TenantPlan.ends_at) > at))
        .where(or_(col(TenantPlan.closed_at).is_(None), col(TenantPlan.closed_at) > at))
        .ext(distinct_on(col(TenantPlan.tenant_id)))
        .order_by(
            col(TenantPlan.tenant_id),
            col(TenantPlan.starts_at).desc(),
            col(TenantPlan.created_at).desc(),
            col(TenantPlan.id).desc(),
        )
        .subquery()
    )
    version = latest.c.version
    statement = columns(version, func.count()).group_by(version).order_by(version)
    rows = await (await session.connection()).execute(statement)
    return {row[0]: row[1] for row in rows}


async def list_addon_assignments(session: AsyncSession, at: datetime) -> Sequence[tuple[str, str]]:
    """(version, tenant) of every add-on in effect."""
    statement = (
        columns(col(TenantAddon.plan_version_id), col(TenantAddon.tenant_id))
        .join(Tenant, col(Tenant.id) == col(TenantAddon.tenant_id))
        .where(col(Tenant.state) != TenantState.DELETED)
        .where(col(TenantAddon.starts_at) <= at)
        .where(or_(col(TenantAddon.ends_at).is_(None), col(TenantAddon.ends_at) > at))
        .where(or_(col(TenantAddon.closed_at).is_(None), col(TenantAddon.closed_at) > at))
        .distinct()
    )
    return [(version, tenant) for version, tenant in await (await session.connection()).execute(statement)]
