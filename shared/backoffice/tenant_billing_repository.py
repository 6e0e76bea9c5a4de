"""SQL of billing for operators.

The first half runs inside one tenant; the second half reads across tenants, in a transaction with a reason.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import and_, func, or_, text, update
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from shared.billing.models import (
    BillingCustomer,
    BillingDrift,
    BillingEvent,
    BillingInvoice,
    BillingSnapshot,
    ProviderAccount,
    ReconcileRun,
)
from shared.core import rows
from shared.core.context import Ctx
from shared.core.db import now
from shared.core.paging import after_cursor, contains_text, encode_cursor
from shared.tenancy.models import Tenant

LAST_SYNCS = text("""
    select customer_id, synced_at from customer_sync where customer_id = any(:ids) and synced_at is not null
    order by customer_id
""")


@dataclass(frozen=True, slots=True)
class TenantInvoice:
    invoice: BillingInvoice
    tenant_name: str


@dataclass(frozen=True, slots=True)
class TenantDrift:
    drift: BillingDrift
    tenant_name: str


@dataclass(frozen=True, slots=True)
class TenantAlert:
    tenant_id: str
    tenant_name: str
    alert: str


async def list_customers(ctx: Ctx) -> Sequence[BillingCustomer]:
    statement = (
        select(BillingCustomer)
        .where(BillingCustomer.tenant_id == ctx.tenant_id)
        .order_by(col(BillingCustomer.created_at), BillingCustomer.id)
    )
    return await rows.all(ctx, statement)


async def list_invoices(ctx: Ctx, limit: int) -> Sequence[BillingInvoice]:
    statement = (
        select(BillingInvoice)
        .where(BillingInvoice.tenant_id == ctx.tenant_id)
        .order_by(col(BillingInvoice.created_at).desc(), BillingInvoice.id)
        .limit(limit)
    )
    return await rows.all(ctx, statement)


async def list_events(ctx: Ctx, limit: int) -> Sequence[BillingEvent]:
    statement = (
        select(BillingEvent)
        .where(BillingEvent.tenant_id == ctx.tenant_id)
        .order_by(col(BillingEvent.at).desc(), BillingEvent.id)
        .limit(limit)
    )
    return await rows.all(ctx, statement)


async def list_drift(ctx: Ctx, limit: int) -> Sequence[BillingDrift]:
    statement = (
        select(BillingDrift)
        .where(BillingDrift.tenant_id == ctx.tenant_id)
        .order_by(col(BillingDrift.at).desc(), BillingDrift.id)
        .limit(limit)
    )
    return await rows.all(ctx, statement)


async def get_sync_times(session: AsyncSession, customer_ids: Sequence[str]) -> Mapping[str, datetime]:
    connection = await session.connection()
    result = await connection.execute(LAST_SYNCS, {"ids": list(customer_ids)})
    return {row[0]: row[1] for row in result.all()}


async def is_live_account(session: AsyncSession, account_id: str) -> bool:
    account = await session.get(ProviderAccount, account_id)
    return account is not None and account.livemode


async def finish_run(session: AsyncSession, run_id: str, *, drifted: int) -> None:
    """Finishes a run for one customer."""
    connection = await session.connection()
    statement = update(ReconcileRun).where(col(ReconcileRun.id) == run_id)
    await connection.execute(statement.values(finished_at=now(), checked=1, drifted=drifted))


async def list_runs(session: AsyncSession, limit: int) -> Sequence[ReconcileRun]:
    statement = (
        select(ReconcileRun).order_by(col(ReconcileRun.started_at).desc(), ReconcileRun.id).limit(limit)
    )
    return (await session.exec(statement)).all()


async def list_drift_of_all_tenants(
    session: AsyncSession, *, after: str, limit: int
) -> Sequence[TenantDrift]:
    key = (col(BillingDrift.at), col(BillingDrift.tenant_id), col(BillingDrift.id))
    statement = (
        select(BillingDrift, col(Tenant.name))
        .join(Tenant, col(Tenant.id) == col(BillingDrift.tenant_id))
        .where(and_(True, *after_cursor(key, after, descending=True)))
        .order_by(*(column.desc() for column in key))
        .limit(limit)
    )
    return [TenantDrift(*row) for row in (await session.exec(statement)).all()]


async def list_alerts_of_all_tenants(session: AsyncSession, limit: int) -> Sequence[TenantAlert]:
    """The latest change of the access schedule first; a new dispute or failed refund does not move its tenant."""
    statement = (
        select(BillingSnapshot.tenant_id, Tenant.name, BillingSnapshot.alert)
        .join(Tenant, col(Tenant.id) == col(BillingSnapshot.tenant_id))
        .where(BillingSnapshot.alert != "")
        .order_by(col(BillingSnapshot.changed_at).desc(), col(BillingSnapshot.tenant_id))
        .limit(limit)
    )
    return [TenantAlert(*row) for row in (await session.exec(statement)).all()]


async def count_alerts_of_all_tenants(session: AsyncSession) -> int:
    statement = select(func.count()).select_from(BillingSnapshot).where(BillingSnapshot.alert != "")
    return (await session.exec(statement)).one()


async def list_invoices_of_all_tenants(
    session: AsyncSession, status: str, needle: str, *, after: str, limit: int
) -> Sequence[TenantInvoice]:
    key = (col(BillingInvoice.created_at), col(BillingInvoice.tenant_id), col(BillingInvoice.id))
    conditions = after_cursor(key, after, descending=True)
    if status:
        conditions.append(col(BillingInvoice.status) == status)
    if needle:
        conditions.append(
            or_(
                func.lower(col(BillingInvoice.number)) == needle,
                func.lower(col(BillingInvoice.id)) == needle,
                col(Tenant.id) == needle,
                contains_text(col(Tenant.name), needle),
            )
        )
    statement = (
        select(BillingInvoice, col(Tenant.name))
        .join(Tenant, col(Tenant.id) == col(BillingInvoice.tenant_id))
        .where(and_(True, *conditions))
        .order_by(*(column.desc() for column in key))
        .limit(limit)
    )
    return [TenantInvoice(*row) for row in (await session.exec(statement)).all()]


def get_drift_cursor(row: TenantDrift) -> str:
    return encode_cursor(row.drift.at, row.drift.tenant_id, row.drift.id)


def get_invoice_cursor(row: TenantInvoice) -> str:
    return encode_cursor(row.invoice.created_at, row.invoice.tenant_id, row.invoice.id)
