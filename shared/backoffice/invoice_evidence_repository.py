"""SQL of what an invoice is made of, inside one tenant."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import func, or_
from sqlmodel import col, select

from shared.audit.models import AuditEvent
from shared.billing.models import BillingInvoice, BillingUsage, Price
from shared.core import rows
from shared.core.context import Ctx
from shared.metering.models import UsageChange, UsageEmission, UsageWindow

NOUNS = ("addon", "billing", "override", "plan", "subscription", "usage")  # of events that can change a bill


async def get_invoice(ctx: Ctx, invoice_id: str) -> BillingInvoice | None:
    return await ctx.session.get(BillingInvoice, (ctx.tenant_id, invoice_id))


async def list_usage(ctx: Ctx, *, since: datetime, until: datetime, limit: int) -> Sequence[BillingUsage]:
    """By the time that it counts under."""
    at = func.coalesce(BillingUsage.counted_at, BillingUsage.at)
    statement = (
        select(BillingUsage)
        .where(BillingUsage.tenant_id == ctx.tenant_id)
        .where(at >= since, at < until)
        .order_by(at, BillingUsage.id)
        .limit(limit)
    )
    return await rows.all(ctx, statement)


async def list_emitted_windows(ctx: Ctx, emission_ids: Sequence[str]) -> dict[str, UsageWindow]:
    """By the id of the emission, which is the identifier at the sink."""
    statement = (
        select(UsageEmission.id, UsageWindow)
        .join(
            UsageWindow,
            (col(UsageWindow.tenant_id) == UsageEmission.tenant_id)
            & (col(UsageWindow.id) == UsageEmission.window_id),
        )
        .where(UsageEmission.tenant_id == ctx.tenant_id)
        .where(col(UsageEmission.id).in_(emission_ids))
    )
    return dict((await ctx.session.exec(statement)).all())


async def list_window_changes(ctx: Ctx, window_ids: Sequence[str], *, limit: int) -> Sequence[UsageChange]:
    """Oldest first."""
    statement = (
        select(UsageChange)
        .where(UsageChange.tenant_id == ctx.tenant_id)
        .where(col(UsageChange.window_id).in_(window_ids))
        .order_by(col(UsageChange.created_at), UsageChange.id)
        .limit(limit)
    )
    return await rows.all(ctx, statement)


async def list_prices(ctx: Ctx, version_ids: Sequence[str], *, until: datetime) -> Sequence[Price]:
    """Of these plan versions, in force by that time, the oldest first."""
    statement = (
        select(Price)
        .where(col(Price.plan_version_id).in_(version_ids), col(Price.effective_at) < until)
        .order_by(col(Price.plan_version_id), col(Price.effective_at), Price.id)
    )
    return (await ctx.session.exec(statement)).all()


async def list_changes(ctx: Ctx, *, since: datetime, until: datetime, limit: int) -> Sequence[AuditEvent]:
    """Of plan, prices, usage and bill; the newest first."""
    is_about_bill = or_(*(col(AuditEvent.action).startswith(f"{noun}.") for noun in NOUNS))
    statement = (
        select(AuditEvent)
        .where(AuditEvent.tenant_id == ctx.tenant_id)
        .where(col(AuditEvent.at) >= since, col(AuditEvent.at) < until, is_about_bill)
        .order_by(col(AuditEvent.at).desc(), col(AuditEvent.id).desc())
        .limit(limit)
    )
    return await rows.all(ctx, statement)
