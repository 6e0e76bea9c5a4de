"""A tenant's current subscription as of the last sync, in terms of the catalog.

Callers check the permission. `entitlements.subscription_grants` derives access from it.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from shared.billing import repository
from shared.billing.models import BillingSnapshot, BillingSubscription, Price
from shared.billing.pricing import prices
from shared.billing.provider_values import CanceledAddon, OrderLine, Subscription
from shared.billing.sync import access_schedule, provider_records
from shared.core.config import settings
from shared.core.context import Ctx
from shared.core.db import now
from shared.entitlements import assignments
from shared.entitlements.catalog import Catalog, PlanOffer
from shared.entitlements.models import Plan, PlanVersion
from shared.tenancy import seats

INCOMPLETE = "incomplete"  # the first payment is open


@dataclass(frozen=True, slots=True)
class PlanSubscription:
    """`prices`: of its lines, by id.

    `addons`: quantities by version id. `canceled_by_version`: cancelled but still paid for.
    """

    id: str
    customer_id: str
    snapshot: Subscription
    offer: PlanOffer | None  # None: the provider reports an unknown price
    period: str
    seats: int | None  # purchased seats; None where the plan has no price per seat
    addons: Mapping[str, int]
    canceled_by_version: Mapping[str, CanceledAddon]
    prices: Mapping[str, Price]
    ticket: int  # of the sync that read it

    @property
    def renews_at(self) -> datetime | None:
        return min((line.ends_at for line in self.snapshot.lines if line.ends_at), default=None)

    @property
    def starts_at(self) -> datetime | None:
        return min((line.starts_at for line in self.snapshot.lines if line.starts_at), default=None)

    @property
    def order_lines(self) -> tuple[OrderLine, ...]:
        """The lines for an order of the same subscription."""
        return tuple(
            OrderLine(
                line.price_id,
                line.external_price_id,
                None if self.prices[line.price_id].kind == "metered" else line.quantity,
            )
            for line in self.snapshot.lines
            if line.price_id in self.prices
        )

    @property
    def canceled_addons(self) -> tuple[CanceledAddon, ...]:
        at = now()
        return tuple(addon for addon in self.snapshot.kept if addon.until > at)

    @property
    def metered_prices(self) -> tuple[Price, ...]:
        return tuple(price for price in self.prices.values() if price.kind == "metered")

    def fingerprint(self) -> str:
        """A hash of the state that a change is based on."""
        line_values = [[line.price_id, line.quantity] for line in self.order_lines]
        addon_values = [
            [addon.price_id, addon.quantity, addon.until.isoformat()] for addon in self.canceled_addons
        ]
        ends = self.snapshot.cancel_at.isoformat() if self.snapshot.cancel_at else ""
        return short_hash(
            self.id, self.snapshot.status, ends, sorted(line_values, key=str), sorted(addon_values)
        )


def short_hash(*values: object) -> str:
    return hashlib.sha256(json.dumps(values).encode()).hexdigest()[:32]


def sum_recurring_amount(lines: tuple[OrderLine, ...], prices_by_id: Mapping[str, Price]) -> int:
    """The amount of every period, without metered prices."""
    return sum(
        prices_by_id[line.price_id].amount * line.quantity
        for line in lines
        if line.quantity is not None and line.price_id in prices_by_id
    )


def describe_tax(
    lines: Iterable[OrderLine],
    prices_by_id: Mapping[str, Price],
    snapshot: Subscription,
    *,
    is_prorated: bool = False,
) -> str:
    """Of the recurring amount, as in "plus tax"; "" where no tax is calculated.

    `is_prorated`: the change is; only such a change turns the calculation on for a subscription that was sold without it.
    """
    if not (snapshot.is_taxed or (settings().automatic_tax and is_prorated)):
        return ""
    return prices.describe_tax(prices_by_id[line.price_id] for line in lines if line.price_id in prices_by_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class SubscriptionRecords:
    """What a subscription is made of, read once."""

    snapshot: BillingSnapshot | None
    subscriptions: Sequence[BillingSubscription]  # ended ones included, the oldest first
    priced_versions: Sequence[tuple[Price, PlanVersion, Plan]]
    catalog: Catalog


async def read_records(ctx: Ctx) -> SubscriptionRecords:
    return SubscriptionRecords(
        snapshot=await repository.get_billing_snapshot(ctx),
        subscriptions=await repository.list_subscriptions(ctx),
        priced_versions=await prices.list_with_versions(ctx.session),
        catalog=await assignments.get_catalog(ctx),
    )


async def get_plan_subscription(ctx: Ctx) -> PlanSubscription | None:
    """The subscription that gives access; None without one."""
    return build_plan_subscription(await read_records(ctx))


async def list_plan_subscriptions(ctx: Ctx) -> list[PlanSubscription]:
    """All live subscriptions to a plan, the one that gives access first. More than one is charged twice."""
    return build_plan_subscriptions(await read_records(ctx))


def build_plan_subscriptions(records: SubscriptionRecords) -> list[PlanSubscription]:
    """As `list_plan_subscriptions`; [] without one that gives access."""
    main_row = _find_live_subscription(records)
    if main_row is None:
        return []
    rows_by_id = {row.id: row for row in records.subscriptions}
    live_subscriptions = access_schedule.list_live_subscriptions(
        (provider_records.to_subscription(row) for row in records.subscriptions),
        prices.map_catalog_prices(records.priced_versions),
    )
    other_rows = [
        rows_by_id[subscription.id]
        for subscription in live_subscriptions
        if subscription.id != main_row.id and subscription.status != INCOMPLETE
    ]
    return [_build_plan_subscription(records, row) for row in (main_row, *other_rows)]


def build_plan_subscription(records: SubscriptionRecords) -> PlanSubscription | None:
    """The subscription that gives access; None without one."""
    row = _find_live_subscription(records)
    return _build_plan_subscription(records, row) if row else None


def _build_plan_subscription(records: SubscriptionRecords, row: BillingSubscription) -> PlanSubscription:
    snapshot = provider_records.to_subscription(row)
    prices_by_id = {price.id: price for price, _, _ in records.priced_versions}
    catalog_prices = prices.map_catalog_prices(records.priced_versions)
    our_lines = [line for line in snapshot.lines if line.price_id in prices_by_id]
    plan_lines = [line for line in our_lines if not catalog_prices[line.price_id].is_addon]
    seat_quantities = [line.quantity for line in plan_lines if catalog_prices[line.price_id].is_per_seat]
    plan_line = max(plan_lines, key=lambda line: catalog_prices[line.price_id].position, default=None)
    return PlanSubscription(
        row.id,
        row.customer_id,
        snapshot,
        records.catalog.offers.get(catalog_prices[plan_line.price_id].version_id) if plan_line else None,
        prices_by_id[plan_line.price_id].period if plan_line else "month",
        sum(seat_quantities) if seat_quantities else None,
        access_schedule.count_addons(our_lines, catalog_prices),
        {
            catalog_prices[addon.price_id].version_id: addon
            for addon in sorted(snapshot.kept, key=lambda addon: addon.quantity)
            if addon.until > now() and addon.price_id in catalog_prices
        },
        {line.price_id: prices_by_id[line.price_id] for line in our_lines},
        row.ticket,
    )


def _find_live_subscription(records: SubscriptionRecords) -> BillingSubscription | None:
    snapshot = records.snapshot
    subscription_id = snapshot.schedule.get("subscription", "") if snapshot else ""
    if not snapshot or not subscription_id or not is_live_status(snapshot.status):
        return None
    return next(
        (row for row in records.subscriptions if row.id == subscription_id and row.absent_at is None), None
    )


async def get_snapshot(ctx: Ctx) -> BillingSnapshot | None:
    """The tenant's billing as of the last sync; None before the first one."""
    return await repository.get_billing_snapshot(ctx)


async def list_records(ctx: Ctx) -> Sequence[BillingSubscription]:
    """All synced subscriptions, ended ones included."""
    return await repository.list_subscriptions(ctx)


async def list_charged_subscriptions(ctx: Ctx) -> list[Subscription]:
    """Of every product and status that can still lead to a charge."""
    return [
        subscription
        for row in await repository.list_subscriptions(ctx)
        if row.absent_at is None
        and (subscription := provider_records.to_subscription(row)).status
        not in access_schedule.ENDED_STATUSES
    ]


async def get_incomplete_subscription(ctx: Ctx) -> Subscription | None:
    """The subscription whose first payment is open; None without one."""
    return find_incomplete_subscription(await repository.list_subscriptions(ctx))


def find_incomplete_subscription(rows: Sequence[BillingSubscription]) -> Subscription | None:
    """As `get_incomplete_subscription`, among rows that have been read, the oldest first."""
    subscriptions = [provider_records.to_subscription(row) for row in rows]
    return next(
        (subscription for subscription in reversed(subscriptions) if subscription.status == INCOMPLETE), None
    )


def is_live_status(status: str) -> bool:
    """Whether the status gives access. Unknown statuses do: they keep the access as it was."""
    meaning = access_schedule.ACCESS_TABLE.get(status)
    return meaning is None or meaning.status != "none"


def get_seat_capacity(
    offer: PlanOffer, bought_seats: int | None, addons: Mapping[str, int], catalogue: Catalog
) -> int | None:
    """Number of seats; None for unlimited. `bought_seats`: None where the plan has no price per seat."""
    limit = offer.limits[seats.SEAT_LIMIT]
    capacity = limit.amount if limit.hard else None
    if bought_seats is not None:
        capacity = bought_seats if capacity is None else min(capacity, bought_seats)
    for version, number in addons.items():
        extra_limit = (
            catalogue.offers[version].limits.get(seats.SEAT_LIMIT) if version in catalogue.offers else None
        )
        if capacity is None or extra_limit is None:
            continue
        capacity = None if extra_limit.amount is None else capacity + extra_limit.amount * number
    return capacity


async def find_seat_obstacle(
    ctx: Ctx, offer: PlanOffer, capacity: int | None, current_capacity: int | None
) -> tuple[str, str] | None:
    """As `describe_seat_obstacle`, for the seats that are used now."""
    return describe_seat_obstacle(
        offer, used_seats=await seats.count(ctx), capacity=capacity, current_capacity=current_capacity
    )


def describe_seat_obstacle(
    offer: PlanOffer, *, used_seats: int, capacity: int | None, current_capacity: int | None = None
) -> tuple[str, str] | None:
    """Why `capacity` is too small for the used seats, and the next step; None where it isn't.

    `current_capacity`: before the change.
    """
    if (
        capacity is None
        or used_seats <= capacity
        or (current_capacity is not None and capacity >= current_capacity)
    ):
        return None
    excess = used_seats - capacity
    people_text = "1 member or invitation" if excess == 1 else f"{excess} members or invitations"
    return (
        f"You’re using {used_seats} seats, but {offer.name} would have only {capacity}.",
        f"Remove {people_text}, or choose more seats.",
    )
