"""SQL of the finance report: sums over all tenants. Across tenants, for a stated reason."""

from collections.abc import Sequence
from datetime import date, datetime
from typing import Any

from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

from shared.backoffice.finance_rows import (
    DueTenant,
    InvoiceSum,
    LineSum,
    Movement,
    PlanRevenue,
    TenantGrowth,
)

# What a customer owes or has paid. Drafts aren't issued yet, and void invoices never were owed.
ISSUED = "('open', 'paid', 'uncollectible')"
MOVEMENTS = text("""
    select currency, month, change, sum(annual - previous_annual)::bigint as annual, count(*) as tenants
    from recurring_revenue where month >= :since group by currency, month, change order by currency, month, change
""")
OPENING = text("""
    select currency, sum(annual - previous_annual)::bigint as annual
    from recurring_revenue where month < :since group by currency order by currency
""")
PLAN_REVENUE = text("""
    with latest as (
        select distinct on (tenant_id, currency) currency, by_plan from recurring_revenue
        order by tenant_id, currency, month desc
    )
    select latest.currency, coalesce(plan.name, part.key) as name, sum(part.value::bigint)::bigint as annual,
        count(*) as tenants
    from latest cross join lateral jsonb_each_text(latest.by_plan) part left join plan on plan.id = part.key
    group by latest.currency, plan.name, part.key order by latest.currency, annual desc, name
""")
INVOICE_SUMS = text(f"""
    select currency, date_trunc('month', created_at at time zone 'UTC')::date as month, count(*) as invoices,
        sum(total)::bigint as total, sum(tax)::bigint as tax, sum(included_tax)::bigint as included_tax,
        sum(discount)::bigint as discount, sum(paid)::bigint as paid, sum(credited)::bigint as credited
    from billing_invoice where status in {ISSUED} and created_at >= :since_time
    group by 1, 2 order by 1, 2
""")  # noqa: S608  no input
LINE_SUMS = text(f"""
    select invoice.currency, date_trunc('month', invoice.created_at at time zone 'UTC')::date as month,
        coalesce(plan.name, '') as name, coalesce(price.kind = 'metered', false) as is_usage,
        sum((line.value ->> 'amount')::bigint)::bigint as amount
    from billing_invoice invoice cross join lateral jsonb_array_elements(invoice.lines) line
    left join provider_price copy on copy.account_id = invoice.account_id
        and copy.external_id = nullif(line.value ->> 'external_price_id', '')
    left join price on price.id = copy.price_id
    left join plan_version version on version.id = price.plan_version_id
    left join plan on plan.id = version.plan_id
    where invoice.status in {ISSUED} and invoice.created_at >= :since_time
    group by 1, 2, 3, 4 order by 1, 2, 3, 4
""")  # noqa: S608  no input
GROWTH = text("""
    select month, sum(created)::bigint as created, sum(deleted)::bigint as deleted from (
        select date_trunc('month', created_at at time zone 'UTC')::date as month, 1 as created, 0 as deleted
        from tenant where created_at >= :since_time
        union all
        select date_trunc('month', deleted_at at time zone 'UTC')::date, 0, 1
        from tenant_deletion where deleted_at >= :since_time
    ) change group by month order by month
""")
TRIALS = text("""
    select subscription.tenant_id, tenant.name, (subscription.state ->> 'trial_ends_at')::timestamptz as at
    from billing_subscription subscription join tenant on tenant.id = subscription.tenant_id
    where subscription.status = 'trialing' and subscription.absent_at is null
        and (subscription.state ->> 'trial_ends_at')::timestamptz between :at and :until_time
    order by at, tenant_id limit :most
""")
PAST_DUE = text("""
    select snapshot.tenant_id, tenant.name, snapshot.changed_at as at
    from billing_snapshot snapshot join tenant on tenant.id = snapshot.tenant_id
    where snapshot.status in ('past_due', 'unpaid') order by at, tenant_id limit :most
""")


async def list_movements(session: AsyncSession, since: date) -> Sequence[Movement]:
    return [Movement(*row) for row in await _fetch(session, MOVEMENTS, since=since)]


async def get_opening(session: AsyncSession, since: date) -> dict[str, int]:
    """Annual amounts by currency, at the end of the month before."""
    return {row.currency: row.annual for row in await _fetch(session, OPENING, since=since)}


async def list_plan_revenue(session: AsyncSession) -> Sequence[PlanRevenue]:
    return [PlanRevenue(*row) for row in await _fetch(session, PLAN_REVENUE)]


async def list_invoice_sums(session: AsyncSession, since_time: datetime) -> Sequence[InvoiceSum]:
    return [InvoiceSum(*row) for row in await _fetch(session, INVOICE_SUMS, since_time=since_time)]


async def list_line_sums(session: AsyncSession, since_time: datetime) -> Sequence[LineSum]:
    return [LineSum(*row) for row in await _fetch(session, LINE_SUMS, since_time=since_time)]


async def list_growth(session: AsyncSession, since_time: datetime) -> Sequence[TenantGrowth]:
    return [TenantGrowth(*row) for row in await _fetch(session, GROWTH, since_time=since_time)]


async def list_ending_trials(
    session: AsyncSession, at: datetime, until_time: datetime, *, most: int
) -> Sequence[DueTenant]:
    """The first to end comes first."""
    return [DueTenant(*row) for row in await _fetch(session, TRIALS, at=at, until_time=until_time, most=most)]


async def list_past_due(session: AsyncSession, *, most: int) -> Sequence[DueTenant]:
    """The one that is past due for the longest time comes first."""
    return [DueTenant(*row) for row in await _fetch(session, PAST_DUE, most=most)]


# `Any`: rows of textual SQL, which the callers name.
async def _fetch(session: AsyncSession, statement: Any, **parameters: Any) -> Sequence[Any]:
    connection = await session.connection()
    return (await connection.execute(statement, parameters)).all()
