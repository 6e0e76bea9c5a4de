"""Changing a subscription: quote the price, then make exactly that change.

The confirmed order is the quoted one: a quote is valid for a while and for an unchanged subscription, and proration
starts at the time of the quote.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from shared.access import actions, policy
from shared.audit import audit_log
from shared.billing import provider_errors, provider_registry
from shared.billing.models import PLATFORM, Price
from shared.billing.pricing import prices, prices_repository
from shared.billing.provider import Provider
from shared.billing.provider_values import CanceledAddon, ChangePreview, OrderLine, Subscription
from shared.billing.subscriptions import checkout, proration, subscriptions
from shared.billing.subscriptions.subscriptions import PlanSubscription
from shared.core import rate_limits
from shared.core.context import Ctx
from shared.core.db import now
from shared.core.errors import Conflict, Invalid, NotFound
from shared.core.rate_limits import RateLimit
from shared.entitlements import assignments
from shared.entitlements.catalog import Catalog, PlanOffer
from shared.tenancy import tenants

QUOTE_LIFETIME = timedelta(minutes=15)  # how long a quote can be confirmed
MAX_ADDONS = 100
TRIALING = "trialing"
QUOTE_OUTDATED = "preview_stale"
PAYMENT_OPEN = "payment_open"
STATUS_OBSTACLES = {  # status: why it can't be changed, next step
    "past_due": ("A payment is overdue.", "Pay the open invoice, then change the plan."),
    "unpaid": ("A payment is overdue.", "Pay the open invoice, then change the plan."),
    "paused": ("The subscription is paused.", "Resume it first."),
}


# When a change takes effect. "default": one that costs less waits for the end of the period, any other one doesn't.
Timing = Literal["now", "default"]


@dataclass(frozen=True, slots=True)
class ChangeRequest:
    """The requested changes; fields that are left out stay as they are."""

    version_id: str = ""  # of a plan
    period: str = ""
    seats: int | None = None
    addon_id: str = ""  # version of an add-on, with its new quantity
    addon_quantity: int = 0
    timing: Timing = "now"

    def with_seats(self, seats: int) -> "ChangeRequest":
        """The same for another number of seats."""
        return ChangeRequest(
            self.version_id, self.period, seats, self.addon_id, self.addon_quantity, self.timing
        )

    def with_timing(self, timing: Timing) -> "ChangeRequest":
        return ChangeRequest(
            self.version_id, self.period, self.seats, self.addon_id, self.addon_quantity, timing
        )


@dataclass(frozen=True, slots=True)
class PlannedChange:
    """A planned change. `lines`: the whole new subscription. `fingerprint`: of the state it was computed from."""

    tenant_id: str
    customer_id: str
    subscription_id: str
    request: ChangeRequest
    after: Mapping[str, object]  # for the audit event
    before: Mapping[str, object]
    lines: tuple[OrderLine, ...]
    canceled_addons: tuple[CanceledAddon, ...]
    prorate: bool
    fingerprint: str
    new_amount: int  # of every later period, without metered prices
    old_amount: int
    period: str
    starts_new_period: bool  # a new billing period starts today and is charged now
    renews_at: datetime | None
    has_metered: bool
    seats: int | None
    currency: str
    tax_text: str  # of `new_amount`, as in "plus tax"; "" where no tax is calculated
    can_wait: bool = False  # it costs less, so it may take effect at the end of the period
    at_period_end: bool = False

    @property
    def starts_at(self) -> datetime | None:
        """When the next price applies; None for now."""
        return None if self.starts_new_period else self.renews_at


@dataclass(frozen=True, slots=True)
class Quote:
    """A change with its price, as shown at `quoted_at`. `bill_now`: the difference is charged today."""

    change: PlannedChange
    preview: ChangePreview
    quoted_at: datetime
    bill_now: bool = False

    @property
    def is_due_today(self) -> bool:
        """Whether `preview` is the invoice of today."""
        return self.bill_now or self.change.starts_new_period


async def plan_change(ctx: Ctx, change_request: ChangeRequest) -> PlannedChange:
    """The change that a request leads to. Raises Invalid, NotFound, Conflict where it isn't possible now."""
    policy.require(ctx, actions.BILLING_CHANGE)
    await rate_limits.enforce_rate_limit(RateLimit.BILLING_TENANT, ctx.tenant_id)
    return await _plan_change(ctx, change_request)


async def quote_change(change: PlannedChange) -> Quote:
    """Fetches the price of a change from the provider, outside of any transaction. Raises Conflict."""
    at = now()
    if not change.prorate:
        return Quote(change, ChangePreview(change.currency, 0, (), at), at)
    async with provider_errors.translate_provider_errors():
        provider = await provider_registry.get(PLATFORM)
        preview = await provider.preview_change(change.customer_id, change.subscription_id, change.lines)
        bill_now = not change.starts_new_period and proration.is_billed_now(
            change.period, proration.sum_new_prorations(preview)
        )
        if bill_now:
            preview = await provider.preview_change(
                change.customer_id, change.subscription_id, change.lines, preview.as_of, bill_now=True
            )
    return Quote(change, preview, at, bill_now)


async def prepare(ctx: Ctx, quote: Quote) -> Quote:
    """Plans the change again under the lock and records it.

    Raises Conflict, with reason `QUOTE_OUTDATED` for an outdated quote.
    """
    policy.require(ctx, actions.BILLING_CHANGE)
    await rate_limits.enforce_rate_limit(RateLimit.BILLING_TENANT, ctx.tenant_id)
    change = quote.change
    if change.tenant_id != ctx.tenant_id:
        raise NotFound("This change doesn’t exist.", "Reload the page.")
    await tenants.lock(ctx)
    current_change = await _plan_change(ctx, change.request)
    if (
        current_change.fingerprint != change.fingerprint
        or current_change.lines != change.lines
        or current_change.canceled_addons != change.canceled_addons
    ):
        raise Conflict(
            "The subscription or its price has changed.", "Review the new total.", reason=QUOTE_OUTDATED
        )
    if now() - quote.quoted_at > QUOTE_LIFETIME:
        raise Conflict("This total is out of date.", "Review the new total.", reason=QUOTE_OUTDATED)
    audit_log.record(
        ctx,
        "billing.change_asked",
        change.subscription_id,
        before=dict(change.before),
        after={
            **change.after,
            **({"from": change.renews_at.isoformat()} if change.at_period_end and change.renews_at else {}),
        },
    )
    return quote


async def submit(quote: Quote) -> bool:
    """Submits the change, outside of any transaction. Returns whether our records show it already.

    Raises Conflict, with reason `PAYMENT_OPEN` where the change waits for its payment, and with `QUOTE_OUTDATED` where the
    provider would charge another sum than the quote says; nothing was changed then.
    """
    change = quote.change
    lines = [[line.price_id, line.quantity] for line in change.lines]
    canceled_addons = [
        [addon.price_id, addon.quantity, addon.until.isoformat()] for addon in change.canceled_addons
    ]
    digest = subscriptions.short_hash(
        change.subscription_id, change.fingerprint, lines, canceled_addons, quote.preview.as_of.isoformat()
    )
    if change.at_period_end:
        async with provider_errors.translate_provider_errors():
            provider = await provider_registry.get(PLATFORM)
            # The same change may be scheduled, dropped and scheduled again from another quote.
            key = f"schedule-{subscriptions.short_hash(digest, quote.quoted_at.isoformat())}"
            await provider.schedule_change(change.subscription_id, change.lines, key)
        return await provider_errors.try_sync_customer(change.tenant_id, change.customer_id)
    async with provider_errors.translate_provider_errors():
        provider = await provider_registry.get(PLATFORM)
        is_outdated = change.prorate and not await _is_shown_price(provider, quote)
    if is_outdated:
        await provider_errors.try_sync_customer(change.tenant_id, change.customer_id)
        raise Conflict(
            "The subscription or its price has changed.", "Review the new total.", reason=QUOTE_OUTDATED
        )
    async with provider_errors.translate_provider_errors():
        pending_change = await provider.change_subscription(
            change.subscription_id,
            change.lines,
            as_of=quote.preview.as_of if change.prorate else None,
            prorate=change.prorate,
            bill_now=quote.bill_now,
            canceled_addons=change.canceled_addons,
            key=f"change-{digest}",
        )
    is_shown = await provider_errors.try_sync_customer(change.tenant_id, change.customer_id)
    if pending_change is not None:
        raise Conflict(
            "The payment failed, or your bank needs your confirmation. Your plan is unchanged.",
            "Complete the payment from the billing page within a day; the change then takes effect.",
            reason=PAYMENT_OPEN,
        )
    return is_shown


async def _is_shown_price(provider: Provider, quote: Quote) -> bool:
    """Whether the provider still previews what the quote says. A webhook about an edit can be late.

    True where the change has been made already: by an earlier try whose answer was lost.
    """
    change = quote.change
    preview = await provider.preview_change(
        change.customer_id, change.subscription_id, change.lines, quote.preview.as_of, bill_now=quote.bill_now
    )
    if not proration.list_new_prorations(preview) and not change.starts_new_period:
        return True
    if quote.is_due_today:
        return preview.due == quote.preview.due
    return proration.sum_new_prorations(preview) == proration.sum_new_prorations(quote.preview)


async def _plan_change(ctx: Ctx, change_request: ChangeRequest) -> PlannedChange:
    subscription = await _require_changeable(ctx)
    offer = subscription.offer
    if offer is None or len(subscription.order_lines) < len(subscription.snapshot.lines):
        raise Conflict("This subscription was set up by our team.", "Contact support to change it.")
    _, catalogue = await assignments.get_snapshot(ctx)
    current_capacity = subscriptions.get_seat_capacity(
        offer, subscription.seats, subscription.addons, catalogue
    )
    target_offer = (
        checkout.get_offer_on_sale(ctx, catalogue, change_request.version_id)
        if change_request.version_id
        else offer
    )
    period = change_request.period or subscription.period
    requested_seats = change_request.seats if change_request.seats is not None else subscription.seats
    bought_seats = await checkout.check_seats(
        ctx,
        target_offer,
        period,
        requested_seats if requested_seats is not None else 1,
        currency=subscription.snapshot.currency or None,
    )
    addons = _get_addon_quantities(subscription, change_request, catalogue)
    capacity = subscriptions.get_seat_capacity(target_offer, bought_seats, addons, catalogue)
    if (
        obstacle := await subscriptions.find_seat_obstacle(ctx, target_offer, capacity, current_capacity)
    ) is not None:
        raise Conflict(*obstacle)
    new_lines = await prices.build_order_lines(
        ctx.session,
        PLATFORM,
        target_offer.id,
        period,
        seats=bought_seats or 1,
        addons=addons,
        currency=subscription.snapshot.currency or None,
    )
    prices_by_id = {
        price.id: price
        for price in await prices_repository.list_version_prices(
            ctx.session, {target_offer.id, offer.id, *addons, *subscription.addons}
        )
    }
    lines = (
        _keep_agreed_prices(new_lines, subscription, prices_by_id)
        if period == subscription.period
        else new_lines
    )
    canceled_addons, is_free = _get_canceled_addons(subscription, change_request, prices_by_id)
    if sorted(map(str, lines)) == sorted(map(str, subscription.order_lines)):
        raise Conflict("This is your current subscription.", "Choose another plan, period or quantity.")
    new_amount = subscriptions.sum_recurring_amount(lines, prices_by_id)
    old_amount = subscriptions.sum_recurring_amount(subscription.order_lines, subscription.prices)
    can_wait = (
        subscription.snapshot.status == "active"
        and subscription.snapshot.pending_change is None
        and subscription.renews_at is not None
        and not change_request.addon_id
        and (
            new_amount < old_amount
            if period == subscription.period
            else period == "month"
            and _get_position(target_offer, catalogue) <= _get_position(offer, catalogue)
        )
    )
    at_period_end = can_wait and change_request.timing == "default"
    is_prorated = not at_period_end and not (
        change_request.addon_id
        and (change_request.addon_quantity < subscription.addons.get(change_request.addon_id, 0) or is_free)
    )
    return PlannedChange(
        ctx.tenant_id,
        subscription.customer_id,
        subscription.id,
        change_request,
        _describe(target_offer, period, bought_seats, addons, catalogue),
        _describe(offer, subscription.period, subscription.seats, subscription.addons, catalogue),
        lines,
        canceled_addons,
        prorate=is_prorated,
        fingerprint=subscription.fingerprint(),
        new_amount=new_amount,
        old_amount=old_amount,
        period=period,
        # A trial goes on until its end, and the new period begins then.
        starts_new_period=not at_period_end
        and period != subscription.period
        and not _is_in_trial(subscription.snapshot),
        renews_at=subscription.renews_at,
        has_metered=any(line.quantity is None for line in lines),
        seats=bought_seats,
        currency=subscription.snapshot.currency,
        tax_text=subscriptions.describe_tax(
            lines, prices_by_id, subscription.snapshot, is_prorated=is_prorated
        ),
        can_wait=can_wait,
        at_period_end=at_period_end,
    )


def _get_position(offer: PlanOffer, catalogue: Catalog) -> int:
    return catalogue.plans[offer.plan_id].position


def _is_in_trial(snapshot: Subscription) -> bool:
    """The record can be older than the end of the trial."""
    ends_at = snapshot.trial_ends_at
    return snapshot.status == TRIALING and (ends_at is None or now() < ends_at)


async def _require_changeable(ctx: Ctx) -> PlanSubscription:
    live_subscriptions = await subscriptions.list_plan_subscriptions(ctx)
    if not live_subscriptions:
        raise Conflict("You don’t have a subscription.", "Choose a plan first.")
    if (obstacle := find_obstacle(live_subscriptions)) is not None:
        raise Conflict(*obstacle)
    return live_subscriptions[0]


def find_obstacle(live_subscriptions: Sequence[PlanSubscription]) -> tuple[str, str] | None:
    """Why the first subscription can't be changed now, and the next step; None where it can.

    A change of one of two subscriptions would leave the other one charged for the previous plan.
    """
    subscription, *others = live_subscriptions
    renewing_others = [other for other in others if other.snapshot.cancel_at is None]
    if renewing_others:
        return (
            f"You have {len(renewing_others) + 1} subscriptions.",
            "Contact support to end one of them and refund it.",
        )
    if subscription.snapshot.cancel_at is not None:
        return "The subscription is cancelled.", "Resume it first."
    if subscription.snapshot.scheduled_change is not None:
        return "A change is scheduled already.", "Keep the current plan first, then choose again."
    return STATUS_OBSTACLES.get(subscription.snapshot.status)


def _get_addon_quantities(
    subscription: PlanSubscription, change_request: ChangeRequest, catalogue: Catalog
) -> dict[str, int]:
    """The requested quantities by add-on version. Raises Invalid, NotFound."""
    quantities = dict(subscription.addons)
    if not change_request.addon_id:
        return quantities
    offer = catalogue.offers.get(change_request.addon_id)
    if offer is None or offer.kind != "addon":
        raise NotFound("This add-on doesn’t exist.", "Reload the page.")
    if change_request.addon_quantity not in range(MAX_ADDONS + 1):
        raise Invalid(f"The quantity must be from 0 to {MAX_ADDONS}.", "Enter another number.")
    if change_request.addon_quantity > 1 and not offer.limits:
        raise Invalid(f"{offer.name} can only be added once.", "Nothing was changed.")
    quantities[change_request.addon_id] = change_request.addon_quantity
    return {version: number for version, number in quantities.items() if number}


def _keep_agreed_prices(
    new_lines: tuple[OrderLine, ...], subscription: PlanSubscription, prices_by_id: Mapping[str, Price]
) -> tuple[OrderLine, ...]:
    """Current lines keep their agreed price; new prices apply from the next renewal."""
    agreed_price_ids = {prices.get_price_key(price): price.id for price in subscription.prices.values()}
    external_ids = {line.price_id: line.external_price_id for line in subscription.order_lines}
    agreed_lines = []
    for line in new_lines:
        price_id = agreed_price_ids.get(prices.get_price_key(prices_by_id[line.price_id]), line.price_id)
        agreed_lines.append(
            OrderLine(price_id, external_ids.get(price_id, line.external_price_id), line.quantity)
        )
    return tuple(agreed_lines)


def _get_canceled_addons(
    subscription: PlanSubscription, change_request: ChangeRequest, prices_by_id: Mapping[str, Price]
) -> tuple[tuple[CanceledAddon, ...], bool]:
    """Cancelled add-ons that stay until their paid period ends, and whether the request only resumes one."""
    canceled_addons = {addon.price_id: addon for addon in subscription.canceled_addons}
    if not change_request.addon_id:
        return tuple(canceled_addons.values()), False
    addon_price_ids = {
        price.id
        for price in [*prices_by_id.values(), *subscription.prices.values()]
        if price.plan_version_id == change_request.addon_id
    }
    current_quantity = subscription.addons.get(change_request.addon_id, 0)
    paid_quantity = max(
        (addon.quantity for addon in canceled_addons.values() if addon.price_id in addon_price_ids), default=0
    )
    if current_quantity < paid_quantity < change_request.addon_quantity:
        raise Conflict(f"{paid_quantity} of them are already paid for.", "Keep those first, then add more.")
    other_addons = tuple(addon for addon in canceled_addons.values() if addon.price_id not in addon_price_ids)
    until = subscription.renews_at
    if change_request.addon_quantity < max(current_quantity, paid_quantity) and until is not None:
        line = next((line for line in subscription.order_lines if line.price_id in addon_price_ids), None)
        price_id = (
            line.price_id
            if line
            else next(
                addon.price_id for addon in canceled_addons.values() if addon.price_id in addon_price_ids
            )
        )
        return (
            *other_addons,
            CanceledAddon(price_id, max(current_quantity, paid_quantity), until),
        ), current_quantity < change_request.addon_quantity
    return other_addons, current_quantity < change_request.addon_quantity <= paid_quantity


def _describe(
    offer: PlanOffer, period: str, bought_seats: int | None, addons: Mapping[str, int], catalogue: Catalog
) -> dict[str, object]:
    addon_quantities = {
        catalogue.offers[version_id].name: number
        for version_id, number in addons.items()
        if version_id in catalogue.offers
    }
    return {
        "plan": offer.label,
        "period": period,
        **({"seats": bought_seats} if bought_seats is not None else {}),
        **({"addons": addon_quantities} if addon_quantities else {}),
    }
