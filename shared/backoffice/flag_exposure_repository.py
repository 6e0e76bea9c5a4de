"""SQL of the exposure: current facts of every tenant, and recent decisions. In a transaction with a reason."""

from collections.abc import Collection
from datetime import datetime
from typing import NamedTuple, TypeVar

from sqlalchemy import and_, func, or_
from sqlalchemy import select as columns
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from shared.access.decision_counts import ERROR_REASON
from shared.access.models import DecisionCount
from shared.access.refusal_codes import Reason
from shared.entitlements.history import EntitlementHistory, build_histories, group_by_tenant
from shared.entitlements.models import (
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
from shared.tenancy.models import Tenant, TenantState

TimedRowType = TypeVar("TimedRowType", bound=TimedRow)


class DecisionTotals(NamedTuple):
    decisions: int = 0
    errors: int = 0
    refusals: int = 0  # because of this flag


async def list_tenants(session: AsyncSession) -> list[tuple[str, str]]:
    """Id and name of every tenant that isn't deleted, by name."""
    statement = (
        select(Tenant.id, Tenant.name)
        .where(Tenant.state != TenantState.DELETED)
        .order_by(func.lower(Tenant.name), Tenant.id)
    )
    return list((await session.exec(statement)).all())


async def list_histories(session: AsyncSession, at: datetime) -> dict[str, EntitlementHistory]:
    """Rows in effect at that time by tenant id, with one statement per table."""
    assigned = await _list_current_rows(session, TenantPlan, at)
    addons = await _list_current_rows(session, TenantAddon, at)
    overrides = await _list_current_rows(session, TenantOverride, at)
    billing = await _list_current_rows(session, TenantBilling, at)
    flags = await _list_current_rows(session, TenantFlag, at)
    traits = await _list_current_rows(session, TenantTrait, at)
    plans: dict[str, list[Plan]] = {}
    for plan in await session.exec(select(Plan).where(col(Plan.for_tenant).is_not(None))):
        plans.setdefault(str(plan.for_tenant), []).append(plan)
    versions: dict[str, list[PlanVersion]] = {}
    custom_versions = select(PlanVersion).where(col(PlanVersion.for_tenant).is_not(None))
    for version in await session.exec(custom_versions.where(PlanVersion.status == "published")):
        versions.setdefault(str(version.for_tenant), []).append(version)
    rows_by_kind = (assigned, addons, overrides, billing, flags, traits, plans, versions)
    return build_histories(set[str]().union(*rows_by_kind), *rows_by_kind)


async def _list_current_rows(
    session: AsyncSession, kind: type[TimedRowType], at: datetime
) -> dict[str, list[TimedRowType]]:
    statement = (
        select(kind)
        .where(col(kind.starts_at) <= at)
        .where(or_(col(kind.ends_at).is_(None), col(kind.ends_at) > at))
        .where(or_(col(kind.closed_at).is_(None), col(kind.closed_at) > at))
    )
    return group_by_tenant((await session.exec(statement)).all())


async def sum_decisions(
    session: AsyncSession, since: datetime, guarded_actions: Collection[str]
) -> dict[str, DecisionTotals]:
    """Totals by tenant id. `guarded_actions`: names of the actions that require the flag."""
    kind = DecisionCount
    error = col(kind.reason) == ERROR_REASON
    off = and_(col(kind.reason) == Reason.FLAG_OFF.value, col(kind.action).in_(guarded_actions))
    counts = [
        func.coalesce(func.sum(col(kind.count)).filter(condition), 0) for condition in (~error, error, off)
    ]
    statement = (
        columns(col(kind.tenant_id), *counts).where(col(kind.hour) >= since).group_by(col(kind.tenant_id))
    )
    rows = (await session.exec(statement)).all()  # type: ignore[call-overload]
    return {
        tenant: DecisionTotals(int(decided), int(failed), int(refused))
        for tenant, decided, failed, refused in rows
    }
