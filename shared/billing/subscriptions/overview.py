"""The billing page of a tenant: its subscription, and the offers that it can choose."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from shared.access import actions, policy
from shared.billing import repository, trials
from shared.billing.models import BillingInvoice
from shared.billing.pricing import prices
from shared.billing.pricing.prices import PlanPrices
from shared.billing.provider_values import PendingChange, Subscription, UpcomingInvoice
from shared.billing.subscriptions import (
    changes,
    checkout,
    pausing,
    remaining_charges,
    scheduled_changes,
    subscriptions,
)
from shared.billing.subscriptions.remaining_charges import ChargeObstacle, RemainingCharges, VoidableInvoices
from shared.billing.subscriptions.scheduled_changes import ScheduledPlan
from shared.billing.subscriptions.subscriptions import PlanSubscription
from shared.billing.sync import provider_records
from shared.billing.trials import TrialObstacle
from shared.core.config import settings
from shared.core.context import Ctx
from shared.core.db import now
from shared.entitlements.catalog import Catalog, PlanOffer
from shared.tenancy import seats


@dataclass(frozen=True, slots=True)
class PurchaseOption:
    """`prices_by_period`: without periods that are not sold. `currencies`: in which it is sold, for any period.

    `obstacle`: why it can't be chosen now, and the next step.
    """

    offer: PlanOffer
    sentence: str
    prices_by_period: Mapping[str, PlanPrices]
    currencies: tuple[str, ...] = ()
    obstacle: tuple[str, str] | None = None


@dataclass(frozen=True, slots=True)
class BillingOverview:
    """`currency`: of the customer, "" before the first payment. Prices of plans and add-ons are in `shown_currency`.

    `has_been_customer`: also where the customer was replaced and has no currency yet.
    """

    subscription: PlanSubscription | None
    other_subscriptions: Sequence[PlanSubscription]  # charged beside it until they are cancelled
    obstacle: tuple[str, str] | None  # why it can't be changed now, and the next step
    next_invoice: UpcomingInvoice | None  # as the provider previews it
    charge_obstacle: ChargeObstacle  # why invoices of the subscription aren't charged
    is_next_invoice_known: bool
    remaining_charges: RemainingCharges | None  # once the subscription is cancelled; None without one
    voidable: VoidableInvoices
    incomplete: Subscription | None  # its first payment is open
    unpaid_invoice: BillingInvoice | None  # the oldest open invoice
    pending_change: PendingChange | None  # waits for its payment
    pending_invoice: BillingInvoice | None  # of that payment
    scheduled_plan: ScheduledPlan | None  # from the end of the period on
    is_pause_offered: bool
    pause_obstacle: tuple[str, str] | None  # why it can't be paused now, and the next step
    method: str
    has_chargeable_method: bool  # a live subscription is paid with a saved method
    has_been_customer: bool
    balance: int  # credit is negative
    currency: str
    shown_currency: str
    currency_choices: tuple[str, ...]  # of prices; () where there is nothing to choose
    shows_tax: bool  # the provider calculates taxes, so that prices say whether they contain it
    ended_at: datetime | None  # of the last subscription, without a current one
    trial_obstacle: TrialObstacle  # why there is no trial
    used_seats: int  # seats
    plans: Sequence[PurchaseOption]
    addons: Sequence[PurchaseOption]
    fallback_offer: PlanOffer  # the plan without a subscription


async def get_overview(ctx: Ctx, currency: str = "") -> BillingOverview:
    """`currency`: the one in which prices are shown to a new customer. A customer who was billed before has one already."""
    policy.require(ctx, actions.BILLING_READ)
    records = await subscriptions.read_records(ctx)
    snapshot, catalogue = records.snapshot, records.catalog
    live_subscriptions = subscriptions.build_plan_subscriptions(records)
    subscription = live_subscriptions[0] if live_subscriptions else None
    pending_change = subscription.snapshot.pending_change if subscription else None
    unpaid_invoices = remaining_charges.group_unpaid_invoices(
        live_subscriptions, await repository.list_unpaid_invoices(ctx)
    )
    upcoming = provider_records.to_upcoming(snapshot.upcoming) if snapshot else None
    used_seats = await seats.count(ctx)
    all_prices = [price for price, _, _ in records.priced_versions]
    offers = _include_own_offer(checkout.list_offers_on_sale(ctx, catalogue), subscription)
    currencies = prices.list_currencies(all_prices, now())
    choices = prices.sort_currencies(code for offer in offers for code in currencies.get(offer.id, ()))
    customer_currency = (subscription.snapshot.currency if subscription else "") or (
        snapshot.currency if snapshot else ""
    )
    shown_currency = customer_currency or (currency if currency in choices else next(iter(choices), ""))
    plan_prices = prices.group_plan_prices(all_prices, now(), shown_currency)
    last_ended_at = max((row.state.get("ended_at") or "" for row in records.subscriptions), default="")
    return BillingOverview(
        subscription,
        [other for other in live_subscriptions[1:] if other.snapshot.cancel_at is None],
        changes.find_obstacle(live_subscriptions) if live_subscriptions else None,
        remaining_charges.find_next_invoice(
            upcoming, (subscription.snapshot for subscription in live_subscriptions)
        ),
        remaining_charges.find_charge_obstacle(subscription.snapshot) if subscription else "",
        upcoming is not None and not upcoming.unknown_ids,
        remaining_charges.find_remaining_charges(
            live_subscriptions,
            upcoming,
            unpaid_invoices,
            balance=snapshot.balance if snapshot else 0,
            at=now(),
        )
        if subscription
        else None,
        remaining_charges.find_voidable_invoices(records, unpaid_invoices, now()),
        subscriptions.find_incomplete_subscription(records.subscriptions),
        unpaid_invoices.open[0] if unpaid_invoices.open else None,
        pending_change,
        next(
            (
                invoice
                for invoice in unpaid_invoices.pending
                if pending_change and invoice.id == pending_change.invoice_id
            ),
            None,
        ),
        scheduled_changes.find_scheduled_plan(records, subscription, used_seats=used_seats)
        if subscription
        else None,
        pausing.is_offered(),
        pausing.find_pause_obstacle(live_subscriptions) if live_subscriptions else None,
        snapshot.method if snapshot else "",
        bool(snapshot and snapshot.payment_methods),
        snapshot is not None,
        snapshot.balance if snapshot else 0,
        snapshot.currency if snapshot else "",
        shown_currency,
        () if customer_currency or len(choices) < 2 else choices,
        settings().automatic_tax or (subscription is not None and subscription.snapshot.is_taxed),
        datetime.fromisoformat(last_ended_at) if last_ended_at and subscription is None else None,
        await trials.find_obstacle(ctx, has_subscribed=bool(records.subscriptions)),
        used_seats,
        [
            _build_plan_option(
                offer,
                catalogue,
                plan_prices,
                subscription,
                currencies=currencies.get(offer.id, ()),
                used_seats=used_seats,
            )
            for offer in offers
        ],
        [
            PurchaseOption(
                offer,
                catalogue.plans[offer.plan_id].sentence,
                _get_prices_by_period(offer, plan_prices),
                currencies.get(offer.id, ()),
            )
            for offer in catalogue.list_offers(now(), "addon")
        ],
        catalogue.fallback_offer(now()),
    )


def _build_plan_option(
    offer: PlanOffer,
    catalogue: Catalog,
    plan_prices: Mapping[tuple[str, str], PlanPrices],
    subscription: PlanSubscription | None,
    *,
    currencies: tuple[str, ...],
    used_seats: int,
) -> PurchaseOption:
    prices_by_period, obstacle = _get_prices_by_period(offer, plan_prices), None
    limit = offer.limits[seats.SEAT_LIMIT]
    addons = subscription.addons if subscription else {}
    capacity = subscriptions.get_seat_capacity(
        offer, limit.amount, addons, catalogue
    )  # the maximum number is bought
    if subscription is None or subscription.offer is None or subscription.offer.id != offer.id:
        obstacle = subscriptions.describe_seat_obstacle(offer, used_seats=used_seats, capacity=capacity)
    return PurchaseOption(
        offer, catalogue.plans[offer.plan_id].sentence, prices_by_period, currencies, obstacle
    )


def _get_prices_by_period(
    offer: PlanOffer, plan_prices: Mapping[tuple[str, str], PlanPrices]
) -> dict[str, PlanPrices]:
    return {
        period: plan_prices[offer.id, period]
        for period in prices.PERIODS
        if (offer.id, period) in plan_prices
    }


def _include_own_offer(offers: list[PlanOffer], subscription: PlanSubscription | None) -> list[PlanOffer]:
    """Adds the tenant's own version where it is older or no longer sold."""
    if subscription is None or subscription.offer is None:
        return offers
    own_offer = subscription.offer
    if any(offer.plan_id == own_offer.plan_id for offer in offers):
        return [own_offer if offer.plan_id == own_offer.plan_id else offer for offer in offers]
    return [own_offer, *offers]
