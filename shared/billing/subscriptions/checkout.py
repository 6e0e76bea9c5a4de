"""Checkout: an order, and the provider's payment page.

A plan is assigned when the provider reports the subscription, never because the browser returned from its page.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from shared.access import actions, policy
from shared.audit import audit_log
from shared.billing import customer_calls, provider_errors, provider_registry, repository, trials
from shared.billing.models import PLATFORM
from shared.billing.pricing import prices
from shared.billing.provider import CHECKOUT_PAID, Provider, ProviderRefused
from shared.billing.provider_values import Checkout, CheckoutOrder, OpenCheckouts, OrderLine
from shared.billing.subscriptions import subscriptions
from shared.billing.sync import access_schedule
from shared.billing.sync.access_schedule import CatalogPrice
from shared.core import rate_limits
from shared.core.context import Ctx
from shared.core.db import now
from shared.core.errors import Conflict, Invalid, NotFound
from shared.core.rate_limits import RateLimit
from shared.entitlements import assignments
from shared.entitlements.catalog import Catalog, PlanOffer
from shared.tenancy import links, tenants
from shared.tenancy.seats import SEAT_LIMIT

MAX_SEATS = 10_000
MAX_PAGES = 2  # another order at the same time can close the first one


@dataclass(frozen=True, slots=True)
class CheckoutRequest:
    tenant_id: str
    lines: tuple[OrderLine, ...]
    trial_days: int
    return_url: str  # of the page to return to
    fingerprint: str  # equal for equal orders
    catalog_prices: Mapping[str, CatalogPrice]


async def prepare(
    ctx: Ctx,
    version_id: str,
    period: str,
    *,
    seats: int = 1,
    currency: str = "",
    expects_trial: bool | None = None,
) -> CheckoutRequest:
    """Raises Invalid, NotFound for a plan that isn't sold, Conflict with a subscription or too few seats.

    `expects_trial`: whether the page has promised a trial.
    `currency`: as chosen, "" for the plan's first. A customer who was billed before keeps the currency of then.

    Equal orders, by any member, lead to the same checkout page while it is open. The records can be older than
    what happened at the provider, so `submit` asks it again.
    """
    policy.require(ctx, actions.BILLING_CHANGE)
    await rate_limits.enforce_rate_limit(RateLimit.BILLING_TENANT, ctx.tenant_id)
    _, catalogue = await assignments.get_snapshot(ctx)
    offer = get_offer_on_sale(ctx, catalogue, version_id)
    await tenants.lock(ctx)
    await tenants.require_not_ending(ctx)
    if await subscriptions.get_plan_subscription(ctx) is not None:
        raise Conflict("You already have a subscription.", "Change its plan instead.")
    if await subscriptions.get_incomplete_subscription(ctx) is not None:
        raise _build_incomplete_error()
    chosen_currency = await choose_currency(ctx, currency)
    bought_seats = await check_seats(ctx, offer, period, seats, currency=chosen_currency)
    capacity = subscriptions.get_seat_capacity(offer, bought_seats, {}, catalogue)
    if (obstacle := await subscriptions.find_seat_obstacle(ctx, offer, capacity, None)) is not None:
        raise Conflict(*obstacle)
    lines = await prices.build_order_lines(
        ctx.session, PLATFORM, version_id, period, seats=bought_seats or 1, currency=chosen_currency
    )
    past_subscriptions = await repository.list_subscriptions(ctx)
    trial_days = await trials.reserve(
        ctx, offer, has_subscribed=bool(past_subscriptions), expected=expects_trial
    )
    after = {
        "plan": offer.label,
        "period": period,
        **({"seats": bought_seats} if bought_seats is not None else {}),
    }
    audit_log.record(ctx, "billing.checkout_started", version_id, after=after)
    line_values = [[line.price_id, line.quantity] for line in lines]
    return CheckoutRequest(
        ctx.tenant_id,
        lines,
        trial_days,
        links.build_link(ctx.tenant_id, "billing"),
        subscriptions.short_hash(ctx.tenant_id, line_values, trial_days, len(past_subscriptions)),
        await prices.get_catalog_prices(ctx.session),
    )


async def choose_currency(ctx: Ctx, currency: str) -> str | None:
    """Raises Conflict for another currency than the customer's. https://docs.stripe.com/billing/customer"""
    snapshot = await repository.get_billing_snapshot(ctx)
    customer_currency = snapshot.currency if snapshot else ""
    if customer_currency and currency and currency != customer_currency:
        raise Conflict(
            f"Your organisation pays in {customer_currency.upper()}.",
            "Reload the page to see the prices in this currency.",
        )
    return customer_currency or currency or None


async def submit(order: CheckoutRequest) -> str:
    """Creates the checkout, outside of any transaction. Returns the address of the provider's page.

    Afterwards it is the only page on which this tenant can subscribe, and nothing is subscribed yet: open pages are
    closed before the subscriptions are fetched, so that none can be paid unseen. Raises Conflict.
    """
    async with provider_errors.translate_provider_errors():
        provider = await provider_registry.get(PLATFORM)
        page = await customer_calls.call_with_customer(
            order.tenant_id, lambda customer_id: _open_page(provider, order, customer_id)
        )
    return page.url


async def _open_page(provider: Provider, order: CheckoutRequest, customer_id: str) -> Checkout:
    """Raises Conflict, and the provider's errors."""
    open_pages = await _close_checkouts(provider, order, customer_id, keep=order.fingerprint)
    await _require_unsubscribed(provider, order, customer_id)
    for _ in range(MAX_PAGES):
        if open_pages.kept is None:
            await _create_page(provider, order, customer_id, open_pages.newest_id)
        # Another order can have opened a page meanwhile, and even have been paid.
        open_pages = await _close_checkouts(provider, order, customer_id, keep=order.fingerprint)
        try:
            await _require_unsubscribed(provider, order, customer_id)
        except Conflict:
            await _close_checkouts(provider, order, customer_id)
            raise
        if open_pages.kept is not None:
            return open_pages.kept
    raise Conflict(
        "Another order was started at the same time.", "Continue on its payment page, or order again here."
    )


async def _create_page(
    provider: Provider, order: CheckoutRequest, customer_id: str, newest_page_id: str
) -> None:
    await provider.create_checkout(
        CheckoutOrder(
            customer_id,
            order.lines,
            order.trial_days,
            f"{order.return_url}?session={{CHECKOUT_SESSION_ID}}",
            f"{order.return_url}?left=checkout",
            # Equal orders at the same time are one request. A later one, or one of another customer, is another one.
            f"checkout-{subscriptions.short_hash(order.fingerprint, customer_id, newest_page_id)}",
            order.fingerprint,
            {"tenant_id": order.tenant_id},
        )
    )


async def _close_checkouts(
    provider: Provider, order: CheckoutRequest, customer_id: str, *, keep: str = ""
) -> OpenCheckouts:
    """Closes all pages but that of `keep`. Raises Conflict where one was just paid; then none stays open."""
    try:
        return await provider.close_checkouts(customer_id, keep=keep)
    except ProviderRefused as refusal:
        if refusal.code != CHECKOUT_PAID:
            raise
        if keep:
            await _close_checkouts(provider, order, customer_id)
        await provider_errors.try_sync_customer(order.tenant_id, customer_id)
        raise _build_subscribed_error() from refusal


async def _require_unsubscribed(provider: Provider, order: CheckoutRequest, customer_id: str) -> None:
    """Asks the provider. Raises Conflict, and the billing page then shows what was found; ProviderRefused for a deleted
    customer.
    """
    state = await provider.fetch_customer(customer_id)
    if state.deleted:
        raise ProviderRefused(f"{customer_id} was deleted.", kind="customer")
    live_subscriptions = access_schedule.list_live_subscriptions(state.subscriptions, order.catalog_prices)
    if not live_subscriptions:
        return
    await provider_errors.try_sync_customer(order.tenant_id, customer_id)
    if all(subscription.status == subscriptions.INCOMPLETE for subscription in live_subscriptions):
        raise _build_incomplete_error()
    raise _build_subscribed_error()


def _build_subscribed_error() -> Conflict:
    return Conflict("You already have a subscription.", "Reload the page and change its plan instead.")


def _build_incomplete_error() -> Conflict:
    return Conflict(
        "The first payment of an earlier checkout is still open.", "Finish that payment, or wait a day."
    )


def get_offer_on_sale(ctx: Ctx, catalogue: Catalog, version_id: str) -> PlanOffer:
    """A plan that this tenant can choose now. Raises NotFound."""
    for offer in list_offers_on_sale(ctx, catalogue):
        if offer.id == version_id:
            return offer
    raise NotFound("This plan is no longer sold.", "Reload the page and choose another plan.")


def list_offers_on_sale(ctx: Ctx, catalogue: Catalog) -> list[PlanOffer]:
    """Plans that all tenants can choose, and those for this tenant only, from the smallest to the largest."""
    at = now()
    tenant_offers = [
        newest
        for plan in catalogue.plans.values()
        if plan.kind == "plan" and plan.for_tenant == ctx.tenant_id and plan.retired_at is None
        if (newest := catalogue.newest_offer(plan.id, at)) is not None
    ]
    return [*catalogue.list_offers(at), *tenant_offers]


async def check_seats(
    ctx: Ctx, offer: PlanOffer, period: str, seats: int, *, currency: str | None = None
) -> int | None:
    """The number of seats to buy; None where the plan has no price per seat. Seats in use are not compared.

    Raises Invalid for a number that the plan does not allow, Conflict where it isn't sold in this period or currency.
    """
    plan_prices = await prices.get_plan_prices(ctx.session, now(), currency)
    parts = plan_prices.get((offer.id, period))
    if parts is None and currency and not any(version_id == offer.id for version_id, _ in plan_prices):
        raise Conflict(
            f"{offer.name} isn’t sold in {currency.upper()}.", "Choose another plan, or contact sales."
        )
    if parts is None:
        raise Conflict(
            f"{offer.name} isn’t sold for this billing period.", "Choose another period, or contact sales."
        )
    if parts.seat is None:
        return None
    if not isinstance(seats, int) or isinstance(seats, bool) or not 1 <= seats <= MAX_SEATS:
        raise Invalid(
            f"The number of seats must be from 1 to {MAX_SEATS:,}.",
            "Enter another number.",
            fields={"seats": "Not a number"},
        )
    max_seats = offer.limits[SEAT_LIMIT].amount
    if max_seats is not None and seats > max_seats:
        raise Invalid(
            f"{offer.name} can have at most {max_seats} seats.",
            "Choose fewer seats, or a larger plan.",
            fields={"seats": f"At most {max_seats}"},
        )
    return seats
