"""SQL of a tenant's timeline. Each list is newest first, from a point in time and an id on."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, SQLColumnExpression, and_, false, func, not_, or_
from sqlalchemy import select as columns
from sqlmodel import col, select

from shared.audit.models import AuditEvent
from shared.backoffice.tenant_timeline_rows import DailyEmission
from shared.billing.models import BillingInvoice
from shared.core import rows
from shared.core.context import Ctx
from shared.core.paging import after_cursor
from shared.metering.models import UsageEmission, UsageWindow, WindowSize


async def list_events(
    ctx: Ctx, prefixes: Sequence[str], *, excluded: bool, after: str, limit: int
) -> Sequence[AuditEvent]:
    """Events whose action has one of these prefixes; where `excluded`, those with none of them."""
    key = (col(AuditEvent.at), col(AuditEvent.id))
    matches = or_(
        false(), *(col(AuditEvent.action).startswith(prefix, autoescape=True) for prefix in prefixes)
    )
    statement = (
        select(AuditEvent)
        .where(AuditEvent.tenant_id == ctx.tenant_id)
        .where(_after(key, after))
        .where(not_(matches) if excluded else matches)
    )
    return await rows.all(ctx, statement.order_by(*(column.desc() for column in key)).limit(limit))


async def list_months(ctx: Ctx, *, after: str, limit: int) -> Sequence[UsageWindow]:
    """Usage by meter and month, at the time when it was computed last."""
    key = (col(UsageWindow.computed_at), col(UsageWindow.id))
    statement = (
        select(UsageWindow)
        .where(UsageWindow.tenant_id == ctx.tenant_id)
        .where(UsageWindow.size == WindowSize.MONTH)
        .where(col(UsageWindow.quantity) > 0)
        .where(_after(key, after))
    )
    return await rows.all(ctx, statement.order_by(*(column.desc() for column in key)).limit(limit))


async def list_emissions(ctx: Ctx, *, after: str, limit: int) -> Sequence[DailyEmission]:
    days = (
        columns(
            func.max(col(UsageEmission.created_at)).label("at"),
            func.max(col(UsageEmission.id)).label("id"),
            col(UsageEmission.meter).label("meter"),
            func.sum(col(UsageEmission.units)).label("units"),
            func.count().label("report_count"),
        )
        .where(col(UsageEmission.tenant_id) == ctx.tenant_id)
        .group_by(col(UsageEmission.meter), func.date_trunc("day", col(UsageEmission.created_at)))
        .subquery("days")
    )
    key = (days.c.at, days.c.id)
    statement = (
        columns(days).where(_after(key, after)).order_by(*(column.desc() for column in key)).limit(limit)
    )
    connection = await ctx.session.connection()
    return [
        DailyEmission(record.at, record.id, record.meter, int(record.units), record.report_count)
        for record in await connection.execute(statement)
    ]


async def list_invoices(ctx: Ctx, *, after: str, limit: int) -> Sequence[BillingInvoice]:
    key = (col(BillingInvoice.created_at), col(BillingInvoice.id))
    statement = (
        select(BillingInvoice)
        .where(BillingInvoice.tenant_id == ctx.tenant_id)
        .where(col(BillingInvoice.absent_at).is_(None))
        .where(_after(key, after))
    )
    return await rows.all(ctx, statement.order_by(*(column.desc() for column in key)).limit(limit))


def _after(key: Sequence[SQLColumnExpression[Any]], cursor: str) -> ColumnElement[bool]:
    return and_(True, *after_cursor(key, cursor, descending=True))
