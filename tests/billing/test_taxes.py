"""Taxes through the gateway, over HTTP, at the Stripe stand-in: checkout, changes and their previews, and refusals."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from itertools import count

import pytest

from shared.billing.provider import ProviderRefused
from shared.billing.provider_values import BillingDetails, CheckoutOrder, OrderLine, PriceTag, Subscription
from shared.billing.stripe_adapter.gateway import StripeGateway
from shared.billing.stripe_adapter.rate_limit import RateLimiter
from shared.dev.stripe_sandbox import checkout, collection, portal, taxes, timeline
from shared.dev.stripe_sandbox.api import build_app
from shared.dev.stripe_sandbox.buyer_details import BuyerDetails
from shared.dev.stripe_sandbox.store import Account, Sandbox
from tests.support.billing.stub_server import serve_app

CARD = "4242424242424242"
LATER_FAILING_CARD = "4000000000000341"
DAY = 86_400
LINE_TAG = PriceTag("prc_1", "plv_1", "Team", "month", "seat", "eur", 1_000)
_accounts = count()


class Shop:
    """A seller in Germany with automatic tax, whose only price is without tax."""

    def __init__(self, sandbox: Sandbox, base: str) -> None:
        self.key, self.base, self.sandbox = f"sk_test_taxes_{next(_accounts)}", base, sandbox
        self.account: Account = sandbox.get_account(self.key)
        self.gateway = self.open_gateway(automatic_tax=True)
        self.customer_id = ""
        self.external_price_id = ""

    def open_gateway(self, *, automatic_tax: bool) -> StripeGateway:
        gateway = StripeGateway(
            self.key,
            self.base,
            automatic_tax=automatic_tax,
            get_time=lambda: datetime.fromtimestamp(self.sandbox.clock(), UTC),
        )
        gateway._transport._rate_limiter = RateLimiter(self.key, rate=1_000, burst=100)
        return gateway

    def lines(self, seats: int) -> tuple[OrderLine, ...]:
        return (OrderLine("prc_1", self.external_price_id, seats),)

    async def open_checkout(self, gateway: StripeGateway, seats: int = 1) -> str:
        order = CheckoutOrder(
            self.customer_id, self.lines(seats), 0, "https://b.test/paid", "https://b.test/left", "key"
        )
        return (await gateway.create_checkout(order)).id

    async def subscribe(self, gateway: StripeGateway, seats: int = 1) -> str:
        page_id = await self.open_checkout(gateway, seats)
        checkout.enter_details(self.account, page_id, BuyerDetails(country="DE"))
        assert checkout.pay_with_card(self.account, page_id, CARD).paid
        (subscription,) = (await gateway.fetch_customer(self.customer_id)).subscriptions
        return subscription.id

    async def only(self) -> Subscription:
        (subscription,) = (await self.gateway.fetch_customer(self.customer_id)).subscriptions
        return subscription


@pytest.fixture(scope="module")
async def served(anyio_backend: str) -> AsyncIterator[tuple[Sandbox, str]]:
    assert anyio_backend
    sandbox = Sandbox()
    async with serve_app(build_app(sandbox)) as base:
        yield sandbox, base


@pytest.fixture
async def shop(served: tuple[Sandbox, str]) -> AsyncIterator[Shop]:
    shop = Shop(*served)
    taxes.set_up(shop.account, country="DE", behavior="exclusive")
    shop.external_price_id = await shop.gateway.push_price(LINE_TAG)
    shop.customer_id = await shop.gateway.create_customer("ten_1", "Acme", "ann@acme.test", "key")
    yield shop
    await shop.gateway.close()


async def test_checkout_asks_for_the_address_and_the_first_invoice_has_the_tax(shop: Shop) -> None:
    page_id = await shop.open_checkout(shop.gateway, seats=3)
    assert checkout.pay_with_card(shop.account, page_id, CARD).message == "Enter your billing address."
    checkout.enter_details(shop.account, page_id, BuyerDetails(country="DE"))
    assert checkout.pay_with_card(shop.account, page_id, CARD).paid
    state = await shop.gateway.fetch_customer(shop.customer_id)
    assert [invoice.total for invoice in state.invoices] == [3_570]
    assert (await shop.gateway.fetch_billing_details(shop.customer_id)).country == "DE"


async def test_checkout_keeps_the_name_and_tax_id_of_a_business_without_automatic_tax(shop: Shop) -> None:
    plain_gateway = shop.open_gateway(automatic_tax=False)
    page_id = await shop.open_checkout(plain_gateway)
    details = BuyerDetails(country="FR", business_name="Acme SARL", tax_id="FR12345678901")
    checkout.enter_details(shop.account, page_id, details)
    assert checkout.pay_with_card(shop.account, page_id, CARD).paid
    saved = await plain_gateway.fetch_billing_details(shop.customer_id)
    assert (saved.name, [tax_id.value for tax_id in saved.tax_ids]) == ("Acme SARL", ["FR12345678901"])
    await plain_gateway.close()


@pytest.mark.parametrize("was_taxed", [True, False], ids=["taxed", "older than the setting"])
async def test_change_is_billed_with_the_tax_of_its_preview(shop: Shop, was_taxed: bool) -> None:
    first_gateway = shop.open_gateway(automatic_tax=was_taxed)
    subscription_id = await shop.subscribe(first_gateway)
    await first_gateway.close()
    timeline.advance_account(shop.account, 10 * DAY)
    preview = await shop.gateway.preview_change(
        shop.customer_id, subscription_id, shop.lines(2), bill_now=True
    )
    await shop.gateway.change_subscription(
        subscription_id, shop.lines(2), as_of=preview.as_of, prorate=True, bill_now=True, key="change"
    )
    billed = (await shop.gateway.fetch_customer(shop.customer_id)).invoices[0]
    net = sum(line.amount for line in billed.lines)
    assert (preview.due, billed.paid) == (billed.total, billed.total)
    assert 1.18 * net < billed.total < 1.20 * net


async def subscribe_untaxed(shop: Shop) -> str:
    """Before the setting."""
    plain_gateway = shop.open_gateway(automatic_tax=False)
    subscription_id = await shop.subscribe(plain_gateway)
    await plain_gateway.close()
    return subscription_id


async def change(shop: Shop, subscription_id: str, *, pays: bool) -> Subscription:
    if not pays:
        portal.replace_card(shop.account, shop.customer_id, LATER_FAILING_CARD)
    await shop.gateway.change_subscription(
        subscription_id, shop.lines(5), as_of=None, prorate=True, bill_now=True, key="change"
    )
    return await shop.only()


async def test_tax_of_a_change_that_lapses_is_turned_off_again(shop: Shop) -> None:
    subscription_id = await subscribe_untaxed(shop)
    waiting = await change(shop, subscription_id, pays=False)
    assert (waiting.is_taxed, waiting.unpaid_tax_at) == (True, None)
    assert waiting.pending_change is not None
    await shop.gateway.void_invoice(waiting.pending_change.invoice_id, "void")
    dropped = await shop.only()
    assert (dropped.is_taxed, dropped.pending_change) == (True, None)
    turned_on_at = dropped.unpaid_tax_at
    assert turned_on_at is not None
    await shop.gateway.undo_unpaid_tax(subscription_id, turned_on_at - timedelta(seconds=1), "undo_1")
    assert (await shop.only()).is_taxed, "it was turned on again meanwhile"
    for _ in range(2):
        await shop.gateway.undo_unpaid_tax(subscription_id, turned_on_at, "undo_2")
    subscription = await shop.only()
    assert (subscription.is_taxed, subscription.unpaid_tax_at) == (False, None)


async def test_tax_of_a_change_that_is_paid_stays(shop: Shop) -> None:
    subscription_id = await subscribe_untaxed(shop)
    waiting = await change(shop, subscription_id, pays=False)
    assert waiting.pending_change is not None
    portal.replace_card(shop.account, shop.customer_id, CARD)
    invoice = shop.account.objects["invoice"][waiting.pending_change.invoice_id]
    if invoice["status"] == "open":
        collection.pay_invoice(shop.account, invoice)
    await shop.gateway.undo_unpaid_tax(subscription_id, datetime.now(UTC), "undo")
    paid = await shop.only()
    assert (paid.is_taxed, paid.unpaid_tax_at, paid.lines[0].quantity) == (True, None, 5)


async def test_change_without_an_address_is_refused_with_the_next_step(shop: Shop) -> None:
    subscription_id = await shop.subscribe(shop.gateway)
    shop.account.objects["customer"][shop.customer_id]["address"] = None
    with pytest.raises(ProviderRefused) as refusal:
        await shop.gateway.preview_change(shop.customer_id, subscription_id, shop.lines(2))
    assert refusal.value.kind == "tax_location"
    await shop.gateway.update_billing_details(
        shop.customer_id, BillingDetails(name="Acme", email="ann@acme.test", country="FR")
    )
    preview = await shop.gateway.preview_change(shop.customer_id, subscription_id, shop.lines(2))
    assert preview.lines


async def test_older_subscription_without_an_address_is_left_as_it_was(shop: Shop) -> None:
    plain_gateway = shop.open_gateway(automatic_tax=False)
    subscription_id = await shop.subscribe(plain_gateway)
    await plain_gateway.close()
    shop.account.objects["customer"][shop.customer_id]["address"] = None
    with pytest.raises(ProviderRefused) as refusal:
        await shop.gateway.change_subscription(
            subscription_id, shop.lines(2), as_of=None, prorate=True, key="change"
        )
    assert refusal.value.kind == "tax_location"
    (subscription,) = (await shop.gateway.fetch_customer(shop.customer_id)).subscriptions
    assert [line.quantity for line in subscription.lines] == [1]


async def test_checkout_without_an_origin_address_is_refused_as_our_problem(
    served: tuple[Sandbox, str],
) -> None:
    shop = Shop(*served)
    shop.external_price_id = await shop.gateway.push_price(LINE_TAG)
    shop.customer_id = await shop.gateway.create_customer("ten_1", "Acme", "ann@acme.test", "key")
    assert not (await shop.gateway.get_tax_setup()).is_ready
    with pytest.raises(ProviderRefused) as refusal:
        await shop.open_checkout(shop.gateway)
    assert refusal.value.kind == "tax_setup"
    await shop.gateway.close()
