"""SQL of the exposure: what is true of every tenant now, and what was decided lately. In a transaction with a reason."""

from collections.abc import Collection
from datetime import datetime
from typing import NamedTuple, TypeVar

from sqlalchemy import and_, func, or_
from sqlalchemy import select as columns
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from shared.access.evidence import ERROR
from shared.access.models import DecisionTally
from shared.access.reasons import Reason
from shared.entitlements.facts import History, by_tenant, histories
from shared.entitlements.models import (
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
from shared.tenancy.models import Tenant, TenantState

Row = TypeVar("Row", bound=Valid)


class Tallied(NamedTuple):
    decisions: int = 0
    errors: int = 0
    refused: int = 0  # because of the flag that is asked about


async def list_tenants(session: AsyncSession) -> list[tuple[str, str]]:
    """Id and name, by name. Deleted ones are nobody."""
    statement = (
        select(Tenant.id, Tenant.name)
        .where(Tenant.state != TenantState.DELETED)
        .order_by(func.lower(Tenant.name), Tenant.id)
    )
    return list((await session.exec(statement)).all())


async def list_histories(session: AsyncSession, at: datetime) -> dict[str, History]:
    """By tenant: one statement per table, and only what counts at that time."""
    assigned = await _counting(session, TenantPlan, at)
    addons = await _counting(session, TenantAddon, at)
    overrides = await _counting(session, TenantOverride, at)
    billing = await _counting(session, TenantBilling, at)
    flags = await _counting(session, TenantFlag, at)
    traits = await _counting(session, TenantTrait, at)
    plans: dict[str, list[Plan]] = {}
    for plan in await session.exec(select(Plan).where(col(Plan.for_tenant).is_not(None))):
        plans.setdefault(str(plan.for_tenant), []).append(plan)
    versions: dict[str, list[PlanVersion]] = {}
    own = select(PlanVersion).where(col(PlanVersion.for_tenant).is_not(None))
    for version in await session.exec(own.where(PlanVersion.status == "published")):
        versions.setdefault(str(version.for_tenant), []).append(version)
    kinds = (assigned, addons, overrides, billing, flags, traits, plans, versions)
    return histories(set[str]().union(*kinds), *kinds)


async def _counting(session: AsyncSession, kind: type[Row], at: datetime) -> dict[str, list[Row]]:
    statement = (
        select(kind)
        .where(col(kind.starts_at) <= at)
        .where(or_(col(kind.ends_at).is_(None), col(kind.ends_at) > at))
        .where(or_(col(kind.closed_at).is_(None), col(kind.closed_at) > at))
    )
    return by_tenant((await session.exec(statement)).all())


async def tally(session: AsyncSession, since: datetime, guarded: Collection[str]) -> dict[str, Tallied]:
    """By tenant. `guarded`: names of the actions that ask for the flag."""
    kind = DecisionTally
    error = col(kind.reason) == ERROR
    off = and_(col(kind.reason) == Reason.FLAG_OFF.value, col(kind.action).in_(guarded))
    counts = [func.coalesce(func.sum(col(kind.count)).filter(which), 0) for which in (~error, error, off)]
    statement = (
        columns(col(kind.tenant_id), *counts).where(col(kind.hour) >= since).group_by(col(kind.tenant_id))
    )
    found = (await session.exec(statement)).all()  # type: ignore[call-overload]
    return {
        tenant: Tallied(int(decided), int(failed), int(refused)) for tenant, decided, failed, refused in found
    }
