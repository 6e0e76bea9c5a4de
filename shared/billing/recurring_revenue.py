"""Recurring revenue of a tenant: what its running subscriptions cost, and how that changed from month to month.

A sync records it. Prices are those of our list for the items that the provider charges; trials, pauses, usage, discounts and
taxes are left out. Amounts are for twelve months, in the smallest unit of the currency.
"""

from collections.abc import Sequence
from datetime import UTC, date, datetime

from shared.billing import recurring_revenue_repository as repository
from shared.billing.models import Price, RecurringRevenue, RevenueChange
from shared.billing.provider_values import Subscription
from shared.core.context import Ctx
from shared.entitlements.models import Plan, PlanVersion

MONTHS = {"month": 12, "year": 1}  # how often a price is charged in twelve months
RUNNING_STATUSES = ("active", "past_due")


async def record(
    ctx: Ctx,
    subscriptions: Sequence[Subscription],
    priced_versions: Sequence[tuple[Price, PlanVersion, Plan]],
    *,
    at: datetime,
) -> None:
    """For a sync, which holds the lock of the tenant. Writes a row where the month ends with another amount."""
    month = at.astimezone(UTC).date().replace(day=1)
    amounts = compute_annual(subscriptions, priced_versions)
    latest = {row.currency: row for row in await repository.list_latest(ctx)}
    for currency in sorted(amounts.keys() | latest.keys()):
        by_plan = amounts.get(currency, {})
        annual, row = sum(by_plan.values()), latest.get(currency)
        if (row.annual, row.by_plan) == (annual, by_plan) if row else annual == 0:
            continue
        if row is None or row.month < month:
            # A subscription that is older than the records began in its own month.
            first_month = month if row else min(month, _find_first_month(subscriptions, month))
            row = RecurringRevenue(
                tenant_id=ctx.tenant_id,
                id=f"{first_month:%Y-%m}-{currency}",
                month=first_month,
                currency=currency,
                annual=0,
                previous_annual=row.annual if row else 0,
                has_paid_before=bool(row and (row.has_paid_before or row.annual)),
                change=RevenueChange.NONE,
            )
        row.annual, row.by_plan = annual, by_plan
        row.change = find_change(row.previous_annual, annual, has_paid_before=row.has_paid_before)
        ctx.session.add(row)


def _find_first_month(subscriptions: Sequence[Subscription], month: date) -> date:
    running = [each for each in subscriptions if each.status in RUNNING_STATUSES]
    months = [each.created_at.astimezone(UTC).date().replace(day=1) for each in running]
    return min(months, default=month)


def compute_annual(
    subscriptions: Sequence[Subscription], priced_versions: Sequence[tuple[Price, PlanVersion, Plan]]
) -> dict[str, dict[str, int]]:
    """By currency and plan id."""
    prices_by_id = {price.id: (price, plan) for price, _, plan in priced_versions}
    amounts: dict[str, dict[str, int]] = {}
    for subscription in subscriptions:
        if subscription.status not in RUNNING_STATUSES or subscription.pause_cause:
            continue
        for line in subscription.lines:
            price, plan = prices_by_id.get(line.price_id, (None, None))
            if price is None or plan is None or price.kind == "metered":
                continue
            by_plan = amounts.setdefault(price.currency, {})
            amount = price.amount * line.quantity * MONTHS[price.period]
            by_plan[plan.id] = by_plan.get(plan.id, 0) + amount
    return amounts


def find_change(previous: int, annual: int, *, has_paid_before: bool) -> RevenueChange:
    if annual == previous:
        return RevenueChange.NONE
    if previous == 0:
        return RevenueChange.REACTIVATION if has_paid_before else RevenueChange.NEW
    if annual == 0:
        return RevenueChange.CHURN
    return RevenueChange.EXPANSION if annual > previous else RevenueChange.CONTRACTION
