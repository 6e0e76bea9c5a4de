"""SQL of billing as operators see it.

The first half is inside of one tenant; the second half reads across them, in a transaction that has stated its reason.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, and_, func, or_, text, tuple_, update
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from shared.billing.models import (
    BillingCustomer,
    BillingDrift,
    BillingEvent,
    BillingInvoice,
    ProviderAccount,
    ReconcileRun,
)
from shared.core.ctx import Ctx
from shared.core.db import now
from shared.core.errors import Invalid
from shared.tenancy.models import Tenant

SYNCED = text("""
    select customer_id, synced_at from customer_sync where customer_id = any(:ids) and synced_at is not null
    order by customer_id
""")


@dataclass(frozen=True, slots=True)
class ListedInvoice:
    invoice: BillingInvoice
    tenant: str


@dataclass(frozen=True, slots=True)
class ListedDrift:
    drift: BillingDrift
    tenant: str


async def list_customers(ctx: Ctx) -> Sequence[BillingCustomer]:
    statement = (
        select(BillingCustomer)
        .where(BillingCustomer.tenant_id == ctx.tenant_id)
        .order_by(col(BillingCustomer.created_at), BillingCustomer.id)
    )
    return (await ctx.session.exec(statement)).all()


async def list_invoices(ctx: Ctx, limit: int) -> Sequence[BillingInvoice]:
    statement = (
        select(BillingInvoice)
        .where(BillingInvoice.tenant_id == ctx.tenant_id)
        .order_by(col(BillingInvoice.created_at).desc(), BillingInvoice.id)
        .limit(limit)
    )
    return (await ctx.session.exec(statement)).all()


async def list_events(ctx: Ctx, limit: int) -> Sequence[BillingEvent]:
    statement = (
        select(BillingEvent)
        .where(BillingEvent.tenant_id == ctx.tenant_id)
        .order_by(col(BillingEvent.at).desc(), BillingEvent.id)
        .limit(limit)
    )
    return (await ctx.session.exec(statement)).all()


async def list_drift(ctx: Ctx, limit: int) -> Sequence[BillingDrift]:
    statement = (
        select(BillingDrift)
        .where(BillingDrift.tenant_id == ctx.tenant_id)
        .order_by(col(BillingDrift.at).desc(), BillingDrift.id)
        .limit(limit)
    )
    return (await ctx.session.exec(statement)).all()


async def synced_at(session: AsyncSession, customer_ids: Sequence[str]) -> Mapping[str, datetime]:
    connection = await session.connection()
    found = await connection.execute(SYNCED, {"ids": list(customer_ids)})
    return {row[0]: row[1] for row in found.all()}


async def is_live(session: AsyncSession, account_id: str) -> bool:
    found = await session.get(ProviderAccount, account_id)
    return found is not None and found.livemode


async def finish(session: AsyncSession, run_id: str, *, drifted: int) -> None:
    """A run about one customer."""
    connection = await session.connection()
    statement = update(ReconcileRun).where(col(ReconcileRun.id) == run_id)
    await connection.execute(statement.values(finished_at=now(), checked=1, drifted=drifted))


async def list_runs(session: AsyncSession, limit: int) -> Sequence[ReconcileRun]:
    statement = (
        select(ReconcileRun).order_by(col(ReconcileRun.started_at).desc(), ReconcileRun.id).limit(limit)
    )
    return (await session.exec(statement)).all()


async def list_all_drift(session: AsyncSession, *, after: str, limit: int) -> Sequence[ListedDrift]:
    key = (col(BillingDrift.at), col(BillingDrift.tenant_id), col(BillingDrift.id))
    statement = (
        select(BillingDrift, col(Tenant.name))
        .join(Tenant, col(Tenant.id) == col(BillingDrift.tenant_id))
        .where(and_(True, *_before(key, after)))
        .order_by(*(one.desc() for one in key))
        .limit(limit)
    )
    return [ListedDrift(*row) for row in (await session.exec(statement)).all()]


async def list_all_invoices(
    session: AsyncSession, status: str, needle: str, *, after: str, limit: int
) -> Sequence[ListedInvoice]:
    key = (col(BillingInvoice.created_at), col(BillingInvoice.tenant_id), col(BillingInvoice.id))
    conditions = _before(key, after)
    if status:
        conditions.append(col(BillingInvoice.status) == status)
    if needle:
        conditions.append(
            or_(
                func.lower(col(BillingInvoice.number)) == needle,
                func.lower(col(BillingInvoice.id)) == needle,
                col(Tenant.id) == needle,
                func.strpos(func.lower(col(Tenant.name)), needle) > 0,
            )
        )
    statement = (
        select(BillingInvoice, col(Tenant.name))
        .join(Tenant, col(Tenant.id) == col(BillingInvoice.tenant_id))
        .where(and_(True, *conditions))
        .order_by(*(one.desc() for one in key))
        .limit(limit)
    )
    return [ListedInvoice(*row) for row in (await session.exec(statement)).all()]


def drift_cursor(row: ListedDrift) -> str:
    return f"{row.drift.at.isoformat()} {row.drift.tenant_id} {row.drift.id}"


def invoice_cursor(row: ListedInvoice) -> str:
    return f"{row.invoice.created_at.isoformat()} {row.invoice.tenant_id} {row.invoice.id}"


def _before(key: tuple[Any, ...], after: str) -> list[ColumnElement[bool]]:
    if not after:
        return []
    try:
        at, tenant_id, row_id = after.split(" ", 2)
        return [tuple_(*key) < tuple_(datetime.fromisoformat(at), tenant_id, row_id)]
    except ValueError as problem:
        raise Invalid("This page does not exist.", "Start again at the newest entries.") from problem
