"""Three plans over three periods, each with a change in the middle, against what was computed by hand.

Everything between our price list and the invoice is real: prices pushed, usage recorded and reported, subscriptions
ordered, changed and repriced through the gateway, over HTTP, at the Stripe stand-in with its clock. The numbers below
were worked out on paper from the published rules, and not by the code under test.

                           January 2027 (31 days)      February (28)               March (31)
seat    $20.00 a seat      5, and 8 from the 11th      8; $22.00 from the 15th on  8
usage   100 units free,    used 250                    used 60, then 70;           used 400
        then $0.10                                     50 free, then $0.12
                                                       from the 15th on
hybrid  $199.00            used 5,400                  used 6,000                  used 5,001
        + $15.00 a seat    10, and 7 from the          7, one add-on at $90.00     7, one add-on
        + 5,000 units      21st, 12:00                 from the 15th;
        free, then $0.05                               $219.00 from the 20th on
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from shared.billing import customers, provider_registry, usage
from shared.billing.models import PLATFORM
from shared.billing.pricing import price_sync, prices, repricing
from shared.billing.pricing import prices_repository as repository
from shared.billing.pricing.prices import Tier
from shared.billing.provider_values import CheckoutOrder, Invoice, Subscription
from shared.billing.stripe_adapter.gateway import StripeGateway
from shared.billing.stripe_adapter.rate_limit import RateLimiter
from shared.billing.sync import customer_sync
from shared.core import db
from shared.dev.stripe_sandbox import checkout
from shared.dev.stripe_sandbox.api import build_app
from shared.dev.stripe_sandbox.buyer_details import BuyerDetails
from shared.dev.stripe_sandbox.store import Account, Sandbox
from shared.tenancy import entry
from tests.conftest import Operating, own_database
from tests.support import factories
from tests.support.billing import sold_plans
from tests.support.billing.stub_server import serve_app

KEY = "sk_test_to_the_cent"


def at(month: int, day: int, hour: int = 0) -> datetime:
    return datetime(2027, month, day, hour, tzinfo=UTC)


# What an invoice says: its total, and how it comes about. Amounts in cents.
SEAT = [
    10_000,  # 1 January: 5 × 2,000
    # 1 February: 8 × 2,000 = 16,000, and for the three seats more since the 11th, 21 of 31 days:
    #   charge 8 × 2,000 × 21/31 = 10,838.71 → 10,839; credit 5 × 2,000 × 21/31 = 6,774.19 → 6,774; together 4,065
    20_065,
    17_600,  # 1 March: 8 × 2,200, the price since 15 February; February was paid at the old one
    17_600,  # 1 April: 8 × 2,200
]
USAGE = [
    # 1 January: nothing used yet, and an invoice with no line, if there is one, does not count
    1_500,  # 1 February, for January: (250 − 100) × 10
    300,  # 1 March, for February, which began under the old price: (60 + 70 − 100) × 10
    4_200,  # 1 April, for March, under the new one: (400 − 50) × 12
]
HYBRID = [
    34_900,  # 1 January: 19,900 + 10 × 1,500
    # 1 February: 19,900 + 7 × 1,500 = 30,400; for January (5,400 − 5,000) × 5 = 2,000; three seats fewer since the
    # 21st at noon, 10.5 of 31 days:
    #   charge 7 × 1,500 × 10.5/31 = 3,556.45 → 3,556; credit 10 × 1,500 × 10.5/31 = 5,080.65 → 5,081; together −1,525
    30_875,
    # 1 March: 21,900 since 20 February + 7 × 1,500 + 9,000 for the add-on = 41,400; for February
    # (6,000 − 5,000) × 5 = 5,000; the add-on in February since the 15th, 14 of 28 days: 9,000 × 14/28 = 4,500
    50_900,
    41_405,  # 1 April: 41,400, and for March (5,001 − 5,000) × 5 = 5
]


@dataclass
class World:
    """A stand-in with a clock of ours, and the three who buy."""

    gateway: StripeGateway
    account: Account
    operator: Operating
    now: datetime
    buyers: dict[str, "Buyer"] = field(default_factory=dict)

    async def until(self, moment: datetime) -> None:
        """In the meantime everything happens at its time, and the worker has made its rounds."""
        self.now = moment
        await usage.report()
        await repricing.reprice_subscriptions(moment)


@dataclass
class Buyer:
    world: World
    tenant_id: str
    version_id: str
    customer_id: str = ""
    currency: str | None = None
    details: BuyerDetails = field(default_factory=BuyerDetails)

    async def subscription(self) -> Subscription:
        (subscription,) = (await self.world.gateway.fetch_customer(self.customer_id)).subscriptions
        return subscription

    async def buys(self, seats: int = 1) -> None:
        self.customer_id = await customers.ensure(self.tenant_id)
        async with db.transaction() as session:
            lines = await prices.build_order_lines(
                session, PLATFORM, self.version_id, "month", seats=seats, currency=self.currency
            )
        order = CheckoutOrder(
            self.customer_id,
            lines,
            0,
            "https://bulkhead.test/paid",
            "https://bulkhead.test/left",
            self.tenant_id,
        )
        page = await self.world.gateway.create_checkout(order)
        checkout.enter_details(self.world.account, page.id, self.details)
        assert checkout.pay_with_card(self.world.account, page.id, "4242424242424242").paid
        await self.looked_at()

    async def changes(self, seats: int = 1, addons: Mapping[str, int] | None = None) -> None:
        moment = self.world.now
        async with db.transaction() as session:
            lines = await prices.build_order_lines(
                session,
                PLATFORM,
                self.version_id,
                "month",
                seats=seats,
                addons=addons,
                currency=self.currency,
                at=moment,
            )
        subscription = await self.subscription()
        await self.world.gateway.change_subscription(
            subscription.id, lines, as_of=moment, prorate=True, key=f"{self.tenant_id}-{moment.isoformat()}"
        )
        await self.looked_at()

    async def uses(self, meter: str, quantity: int, used_at: datetime | None = None) -> None:
        async with entry.enter_billing_sync(self.tenant_id, "tests") as ctx:
            moment = used_at or self.world.now
            assert await usage.record(ctx, meter, quantity, moment, moment.isoformat())

    async def looked_at(self) -> None:
        """As a webhook would have asked for."""
        await customer_sync.sync_customer(PLATFORM, self.customer_id, self.tenant_id, cause="webhook")

    async def bills(self) -> list[Invoice]:
        state = await self.world.gateway.fetch_customer(self.customer_id)
        return sorted(
            (invoice for invoice in state.invoices if invoice.lines), key=lambda invoice: invoice.created_at
        )


@asynccontextmanager
async def open_world(schema: str, *, automatic_tax: bool = False) -> AsyncIterator[World]:
    """Prices are everybody's, so that this has a database, and the provider an account, of its own."""
    async with own_database(schema, "cents"):
        registered_providers, sandbox = dict(provider_registry._providers), Sandbox()
        async with serve_app(build_app(sandbox)) as base:
            gateway = StripeGateway(
                KEY,
                base,
                automatic_tax=automatic_tax,
                get_time=lambda: datetime.fromtimestamp(sandbox.clock(), UTC),
            )
            gateway._transport._rate_limiter = RateLimiter(
                KEY, rate=1_000, burst=100
            )  # nobody else asks here
            made = World(
                gateway,
                sandbox.get_account(KEY),
                Operating(await factories.create_operator("Olga")),
                at(1, 1),
            )
            sandbox.clock = lambda: made.now.timestamp()
            sandbox.base_url = base
            provider_registry.register(PLATFORM, gateway)
            yield made
            await gateway.close()
        provider_registry._providers.clear()
        provider_registry._providers.update(registered_providers)


@pytest.fixture
async def world(schema: str) -> AsyncIterator[World]:
    async with open_world(schema) as made:
        await _sell(made)
        yield made


async def _sell(world: World) -> None:
    units = {"kind": "metered", "meter": "api_calls", "tiers": (Tier(100, 0), Tier(None, 10))}
    events = {"kind": "metered", "meter": "usage_events", "tiers": (Tier(5_000, 0), Tier(None, 5))}
    seat = {"kind": "seat", "amount": 2_000}
    listed: dict[str, Sequence[Mapping[str, Any]]] = {
        "seat": (seat,),
        "usage": (units,),
        "hybrid": ({"amount": 19_900}, {"kind": "seat", "amount": 1_500}, events),
    }
    for name, parts in listed.items():
        version = await sold_plans.publish_with_prices(_as_cast(world), *parts)
        founder = await factories.create_account(name.title())
        tenant = await factories.create_tenant(founder, name.title())
        world.buyers[name] = Buyer(world, tenant.id, version.id)
    later = (
        ("seat", {**seat, "amount": 2_200, "effective_at": at(2, 15)}),
        ("usage", {**units, "tiers": (Tier(50, 0), Tier(None, 12)), "effective_at": at(2, 15)}),
        ("hybrid", {"amount": 21_900, "effective_at": at(2, 20)}),
    )
    for name, part in later:
        await sold_plans.set_price(_as_cast(world), world.buyers[name].version_id, **part)
    assert (await price_sync.push_prices()).failures == ()
    assert (await price_sync.compare_prices()).drifted_count == 0  # what came back is what was meant


def _as_cast(world: World) -> Any:
    """Of the cast, only Olga sells."""
    return type("Sellers", (), {"olga": world.operator})


async def test_invoices_of_three_plans_equal_the_amounts_computed_by_hand(world: World) -> None:
    seat, use, hybrid = (world.buyers[name] for name in ("seat", "usage", "hybrid"))
    await seat.buys(seats=5)
    await use.buys()
    await hybrid.buys(seats=10)

    await world.until(at(1, 11))
    await seat.changes(seats=8)
    await use.uses("api_calls", 250)
    await world.until(at(1, 21, 12))
    await hybrid.changes(seats=7)
    await hybrid.uses("usage_events", 5_400)
    await world.until(at(1, 31))

    await world.until(at(2, 1, 1))
    await world.until(at(2, 10))
    await use.uses("api_calls", 60)
    await world.until(at(2, 15))
    await hybrid.changes(seats=7, addons={"plv_extra_seats_1": 1})
    await world.until(at(2, 20))
    await use.uses("api_calls", 70)
    await hybrid.uses("usage_events", 6_000)
    await world.until(at(2, 28))

    await world.until(at(3, 1, 1))
    await world.until(at(3, 10))
    await use.uses("api_calls", 400)
    await hybrid.uses("usage_events", 5_001)
    await world.until(at(3, 31))

    await world.until(at(4, 1, 2))
    for buyer, expected in ((seat, SEAT), (use, USAGE), (hybrid, HYBRID)):
        bills = await buyer.bills()
        assert [bill.total for bill in bills] == expected, [
            (line.said, line.amount) for bill in bills for line in bill.lines
        ]
        assert {bill.status for bill in bills} == {"paid"}
        assert [sum(line.amount for line in bill.lines) for bill in bills] == expected
    _, february, *_ = await seat.bills()
    assert sorted((line.amount, line.proration) for line in february.lines) == [
        *((-6_774, True), (10_839, True), (16_000, False)),
    ]


async def test_usage_that_comes_after_the_draft_hour_is_billed_with_the_running_period(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stripe leaves it out of the invoice that is final, and would never bill it under its own time."""
    monkeypatch.setattr(usage, "now", lambda: world.now)
    use = world.buyers["usage"]
    await use.buys()
    await world.until(at(2, 1, 1) + timedelta(minutes=2))
    await use.uses("api_calls", 300, used_at=at(1, 31, 23) + timedelta(minutes=50))
    await world.until(at(2, 14))
    await world.until(at(3, 1, 2))
    # January: nothing arrived in time. February, which began under the old price: (300 − 100) × 10
    assert [bill.total for bill in await use.bills()] == [0, 2_000]


async def test_price_archived_at_the_provider_is_noticed_and_restored(world: World) -> None:
    async with db.transaction() as session:
        provider_prices = await repository.get_provider_prices_by_id(session, PLATFORM)
    world.account.objects["price"][provider_prices["prc_starter_flat_month"].external_id]["active"] = False
    assert (await price_sync.compare_prices()).drifted_count == 1
    async with db.transaction() as session:
        provider_price = (await repository.get_provider_prices_by_id(session, PLATFORM))[
            "prc_starter_flat_month"
        ]
    assert provider_price.drift == {"Sold": ["yes", "archived"]}
    assert (await price_sync.push_prices("operator", repair=True)).count == 1
    assert (await price_sync.compare_prices()).drifted_count == 0
