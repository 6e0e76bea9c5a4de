"""A change that hasn't taken effect: at the end of the period, or when it is paid. It is shown and can be dropped."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from shared.access import actions, policy
from shared.audit import audit_log
from shared.billing import provider_errors, provider_registry
from shared.billing.models import PLATFORM
from shared.billing.pricing import prices
from shared.billing.provider import Provider
from shared.billing.provider_values import PendingChange, ScheduledChange
from shared.billing.subscriptions import subscriptions
from shared.billing.subscriptions.subscriptions import PlanSubscription, SubscriptionRecords
from shared.billing.sync import access_schedule
from shared.core import rate_limits
from shared.core.context import Ctx
from shared.core.errors import Conflict
from shared.core.rate_limits import RateLimit
from shared.entitlements.catalog import PlanOffer
from shared.tenancy import tenants


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduledPlan:
    """What a subscription has from `at` on. `amount`: of every period, without metered prices."""

    at: datetime
    offer: PlanOffer | None  # None: a price that isn't ours
    period: str
    seats: int | None  # None where the plan has no price per seat
    amount: int
    currency: str
    has_metered: bool
    tax_text: str  # of `amount`, as in "plus tax"; "" where no tax is calculated
    excess_seats: int  # that are in use and not included from then on


@dataclass(frozen=True, slots=True, kw_only=True)
class KeepRequest:
    """The plan stays as it is: a scheduled change and one that waits for its payment are dropped."""

    tenant_id: str
    customer_id: str
    subscription_id: str
    key: str
    scheduled: ScheduledChange | None
    pending: PendingChange | None


def find_scheduled_plan(
    records: SubscriptionRecords, subscription: PlanSubscription, *, used_seats: int
) -> ScheduledPlan | None:
    """The plan that a scheduled change leads to; None without one."""
    change = subscription.snapshot.scheduled_change
    if change is None:
        return None
    prices_by_id = {price.id: price for price, _, _ in records.priced_versions}
    catalog_prices = prices.map_catalog_prices(records.priced_versions)
    lines = [line for line in change.lines if line.price_id in prices_by_id]
    plan_lines = [line for line in lines if not catalog_prices[line.price_id].is_addon]
    plan_line = max(plan_lines, key=lambda line: catalog_prices[line.price_id].position, default=None)
    offer = records.catalog.offers.get(catalog_prices[plan_line.price_id].version_id) if plan_line else None
    seat_quantities = [line.quantity or 0 for line in plan_lines if catalog_prices[line.price_id].is_per_seat]
    seats = sum(seat_quantities) if seat_quantities else None
    addons = access_schedule.count_addons(lines, catalog_prices)
    capacity = subscriptions.get_seat_capacity(offer, seats, addons, records.catalog) if offer else None
    return ScheduledPlan(
        at=change.at,
        offer=offer,
        period=prices_by_id[plan_line.price_id].period if plan_line else subscription.period,
        seats=seats,
        amount=subscriptions.sum_recurring_amount(tuple(lines), prices_by_id),
        currency=subscription.snapshot.currency,
        has_metered=any(line.quantity is None for line in lines),
        tax_text=subscriptions.describe_tax(lines, prices_by_id, subscription.snapshot),
        excess_seats=max(0, used_seats - capacity) if capacity is not None else 0,
    )


async def prepare_keep(ctx: Ctx) -> KeepRequest:
    """Prepares dropping the change that hasn't taken effect. Raises Conflict without one."""
    policy.require(ctx, actions.BILLING_CHANGE)
    await rate_limits.enforce_rate_limit(RateLimit.BILLING_TENANT, ctx.tenant_id)
    await tenants.lock(ctx)
    subscription = _find_changing(await subscriptions.list_plan_subscriptions(ctx))
    if subscription is None:
        raise Conflict("No change is scheduled, and none waits for its payment.", "No action is needed.")
    scheduled, pending = subscription.snapshot.scheduled_change, subscription.snapshot.pending_change
    audit_log.record(
        ctx,
        "billing.change_dropped",
        subscription.id,
        before={
            **({"from": scheduled.at.isoformat()} if scheduled else {}),
            **({"invoice": pending.invoice_id} if pending else {}),
        },
    )
    return KeepRequest(
        tenant_id=ctx.tenant_id,
        customer_id=subscription.customer_id,
        subscription_id=subscription.id,
        key=f"keep-{subscriptions.short_hash(subscription.id, subscription.ticket)}",
        scheduled=scheduled,
        pending=pending,
    )


async def submit_keep(request: KeepRequest) -> bool:
    """Submits it to the provider, outside of any transaction. Returns whether our records show it already.

    Raises Conflict where the change took effect in the meantime.
    """
    is_synced = False
    try:
        async with provider_errors.translate_provider_errors():
            provider = await provider_registry.get(PLATFORM)
            await _require_unchanged(provider, request)
            if request.scheduled is not None:
                await provider.drop_scheduled_change(request.subscription_id, request.key)
            if request.pending is not None:
                await provider.void_invoice(request.pending.invoice_id, f"{request.key}-void")
    finally:
        is_synced = await provider_errors.try_sync_customer(request.tenant_id, request.customer_id)
    return is_synced


async def _require_unchanged(provider: Provider, request: KeepRequest) -> None:
    """Our records may be minutes old: a change that was paid since has taken effect."""
    state = await provider.fetch_customer(request.customer_id)
    current = next((each for each in state.subscriptions if each.id == request.subscription_id), None)
    if (
        current is None
        or current.scheduled_change != request.scheduled
        or current.pending_change != request.pending
    ):
        raise Conflict(
            "The change took effect or was dropped in the meantime.",
            "Reload the page to see your current plan.",
        )


def _find_changing(live_subscriptions: Sequence[PlanSubscription]) -> PlanSubscription | None:
    return next(
        (
            subscription
            for subscription in live_subscriptions
            if subscription.snapshot.scheduled_change or subscription.snapshot.pending_change
        ),
        None,
    )
