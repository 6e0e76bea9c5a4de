"""Behaviour that only Stripe has: paused trials, nested lists of ten, moving lookup keys, unique meters."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
import stripe
import structlog

from shared.billing.provider import CHECKOUT_PAID, ProviderDown, ProviderRefused
from shared.billing.provider_values import (
    Checkout,
    CheckoutOrder,
    OrderLine,
    PriceTag,
    SingleCharge,
    Subscription,
)
from shared.billing.stripe_adapter import checkouts
from shared.billing.stripe_adapter.gateway import StripeGateway
from shared.dev.stripe_sandbox import collection, coupons, disputes, payment_methods, taxes
from shared.dev.stripe_sandbox.cards import BANK_ACCOUNTS
from shared.dev.stripe_sandbox.objects import fetch_object
from shared.dev.stripe_sandbox.store import Fault, Sandbox
from tests.support.billing import provider_scenarios
from tests.support.billing.provider_scenarios import CALLS, FLAT, SEAT, StripeWorld


@pytest.fixture(scope="module")
async def stand_in(anyio_backend: str) -> AsyncIterator[tuple[Sandbox, str]]:
    async with provider_scenarios.run_stripe() as sandbox_and_url:
        yield sandbox_and_url


@pytest.fixture
async def world(stand_in: tuple[Sandbox, str]) -> AsyncIterator[StripeWorld]:
    stripe_world = StripeWorld(*stand_in)
    yield stripe_world
    await stripe_world.provider.close()


@pytest.fixture
def sdk(world: StripeWorld) -> stripe.StripeClient:
    return world.provider._client


@pytest.fixture
async def customer(world: StripeWorld) -> str:
    return await world.provider.create_customer("ten_acme", "Acme", "ann@acme.test", "cus:ten_acme")


async def test_stripe_customer_carries_the_tenant_in_its_metadata(
    sdk: stripe.StripeClient, customer: str, world: StripeWorld
) -> None:
    remote_customer = await sdk.v1.customers.retrieve_async(customer)
    assert (remote_customer.to_dict()["metadata"], remote_customer.name, remote_customer.email) == (
        {"tenant_id": "ten_acme"},
        "Acme",
        "ann@acme.test",
    )
    assert len(world.account.list_objects("customer")) == 1


async def test_customer_of_another_product_has_no_tenant(
    world: StripeWorld, sdk: stripe.StripeClient
) -> None:
    other = await sdk.v1.customers.create_async({"metadata": {"shop": "books"}})
    assert await world.provider.get_tenant_id(other.id) == ""


async def test_customer_of_a_refund_is_that_of_its_charge(world: StripeWorld, customer: str) -> None:
    await subscribe(world, customer)
    (bill,) = (await world.provider.fetch_customer(customer)).invoices
    await world.provider.refund_invoice(bill.id, 100, "adj_1")
    (refund,) = world.account.list_objects("refund")
    assert await world.provider.find_customer_id(refund["id"]) == customer
    refund["charge"] = None
    assert await world.provider.find_customer_id(refund["id"]) == customer
    assert await world.provider.find_customer_id("re_nobody") == ""


async def test_object_of_an_unknown_kind_is_logged(world: StripeWorld) -> None:
    with structlog.testing.capture_logs() as records:
        assert await world.provider.find_customer_id("new_1ABC") == ""
    assert [(record["event"], record["prefix"]) for record in records] == [("stripe_object_unknown", "new")]


async def test_paused_trial_is_resumed(world: StripeWorld, sdk: stripe.StripeClient, customer: str) -> None:
    price = await world.provider.push_price(FLAT)
    made = await sdk.v1.subscriptions.create_async(
        {
            "customer": customer,
            "items": [{"price": price}],
            "trial_period_days": 7,
            "trial_settings": {"end_behavior": {"missing_payment_method": "pause"}},
        }
    )
    (subscription,) = (await world.provider.fetch_customer(customer)).subscriptions
    assert subscription.after_trial == "pause"
    world.advance(timedelta(days=7, hours=2))
    (subscription,) = (await world.provider.fetch_customer(customer)).subscriptions
    assert (subscription.status, subscription.pause_cause) == ("paused", "trial")
    world.set_card(customer, pays=True)
    for _ in range(2):
        await world.provider.resume_subscription(made.id, "resume_1")
    (subscription,) = (await world.provider.fetch_customer(customer)).subscriptions
    assert (subscription.status, subscription.pause_cause) == ("active", "")


async def test_items_and_lines_beyond_the_first_page_are_fetched(
    world: StripeWorld, sdk: stripe.StripeClient, customer: str
) -> None:
    tags = [replace(FLAT, id=f"prc_{n}", amount=n) for n in range(1, 13)]
    prices = [await world.provider.push_price(tag) for tag in tags]
    lines = (OrderLine(tag.id, price, 1) for tag, price in zip(tags, prices, strict=True))
    world.pay((await world.provider.create_checkout(_order(customer, *lines))).url)
    state = await world.provider.fetch_customer(customer)
    (subscription,), (bill,) = state.subscriptions, state.invoices
    assert {line.price_id for line in subscription.lines} == {tag.id for tag in tags}
    assert sum(line.amount for line in bill.lines) == sum(tag.amount for tag in tags) == bill.total


async def test_upcoming_invoice_with_a_full_discount_and_many_lines_is_told_to_the_cent(
    world: StripeWorld, sdk: stripe.StripeClient, customer: str
) -> None:
    tags = [replace(FLAT, id=f"prc_{n}", amount=100 * n) for n in range(1, 13)]
    prices = [await world.provider.push_price(tag) for tag in tags]
    lines = [OrderLine(tag.id, price, 1) for tag, price in zip(tags, prices, strict=True)]
    world.pay((await world.provider.create_checkout(_order(customer, *lines))).url)
    (subscription,) = (await world.provider.fetch_customer(customer)).subscriptions
    coupon = await sdk.v1.coupons.create_async({"percent_off": 100, "duration": "forever"})
    await sdk.v1.subscriptions.update_async(subscription.id, {"discounts": [{"coupon": coupon.id}]})
    (upcoming,) = (await world.provider.fetch_customer(customer)).upcoming.invoices
    assert (upcoming.total, upcoming.due, upcoming.discount) == (0, 0, 7_800)
    assert sum(line.amount for line in upcoming.lines) == 7_800, "though Stripe shows only ten of twelve"


async def test_scheduled_change_keeps_the_discount_of_the_subscription(
    world: StripeWorld, sdk: stripe.StripeClient, customer: str
) -> None:
    """https://docs.stripe.com/api/subscription_schedules/update: a phase that names none has none of them."""
    price = await world.provider.push_price(FLAT)
    line = OrderLine(FLAT.id, price, 1)
    world.pay((await world.provider.create_checkout(_order(customer, line))).url)
    (subscription,) = (await world.provider.fetch_customer(customer)).subscriptions
    coupon = await sdk.v1.coupons.create_async({"percent_off": 50, "duration": "forever"})
    await sdk.v1.subscriptions.update_async(subscription.id, {"discounts": [{"coupon": coupon.id}]})
    await world.provider.schedule_change(subscription.id, [replace(line, quantity=2)], "change_1")
    (upcoming,) = (await world.provider.fetch_customer(customer)).upcoming.invoices
    assert (upcoming.discount, upcoming.total) == (FLAT.amount, FLAT.amount), "half of two"
    await world.provider.drop_scheduled_change(subscription.id, "keep_1")
    (upcoming,) = (await world.provider.fetch_customer(customer)).upcoming.invoices
    assert upcoming.total == FLAT.amount / 2


async def test_change_is_not_scheduled_for_a_subscription_that_was_cancelled_meanwhile(
    world: StripeWorld, sdk: stripe.StripeClient, customer: str
) -> None:
    price = await world.provider.push_price(FLAT)
    line = OrderLine(FLAT.id, price, 1)
    world.pay((await world.provider.create_checkout(_order(customer, line))).url)
    (subscription,) = (await world.provider.fetch_customer(customer)).subscriptions
    await sdk.v1.subscriptions.update_async(subscription.id, {"cancel_at_period_end": True})
    with pytest.raises(ProviderRefused) as caught:
        await world.provider.schedule_change(subscription.id, [replace(line, quantity=2)], "change_1")
    assert caught.value.code == "not_schedulable"


async def test_items_of_one_subscription_are_not_charged_by_another(
    world: StripeWorld, sdk: stripe.StripeClient, customer: str
) -> None:
    price = await world.provider.push_price(FLAT)
    for key in ("order_1", "order_2"):
        order = replace(_order(customer, OrderLine(FLAT.id, price, 1)), key=key)
        world.pay((await world.provider.create_checkout(order)).url)
    ending, running = (await world.provider.fetch_customer(customer)).subscriptions
    for subscription, amount in ((ending, 700), (running, 90)):
        await sdk.v1.invoice_items.create_async(
            {"customer": customer, "amount": amount, "currency": "usd", "subscription": subscription.id}
        )
    await world.provider.cancel_subscription(ending.id, at_period_end=True, key="cancel_1")
    upcoming = (await world.provider.fetch_customer(customer)).upcoming.invoices
    assert {invoice.subscription_id: (invoice.total, invoice.is_last) for invoice in upcoming} == {
        running.id: (2900 + 90, False),
        ending.id: (700, True),
    }


async def test_checkout_session_names_tenant_and_trial(
    world: StripeWorld, sdk: stripe.StripeClient, customer: str
) -> None:
    price = await world.provider.push_price(FLAT)
    order = replace(_order(customer, OrderLine(FLAT.id, price, 1)), trial_days=14)
    session = await sdk.v1.checkout.sessions.retrieve_async((await world.provider.create_checkout(order)).id)
    assert session.client_reference_id == "ten_acme"
    assert session.to_dict()["metadata"] == {"tenant_id": "ten_acme", "order": "7"}
    assert session.payment_method_collection == "if_required"
    world.pay(session.url or "", card=None)
    (remote_subscription,) = (await sdk.v1.subscriptions.list_async({"customer": customer})).data
    assert remote_subscription.to_dict()["metadata"] == {"tenant_id": "ten_acme", "order": "7"}


async def test_checkout_that_was_paid_before_it_could_be_closed_is_reported(
    world: StripeWorld, sdk: stripe.StripeClient, customer: str
) -> None:
    """A list can say "open" a moment before the payment: https://docs.stripe.com/api/checkout/sessions/expire"""
    price = await world.provider.push_price(FLAT)
    order = _order(customer, OrderLine(FLAT.id, price, 1))
    paid, closed = [await world.provider.create_checkout(replace(order, key=key)) for key in ("a", "b")]
    world.pay(paid.url)
    with pytest.raises(ProviderRefused) as caught:
        await checkouts.expire_checkout(sdk.v1, paid.id)
    assert (caught.value.code, caught.value.kind) == (CHECKOUT_PAID, "checkout")
    await checkouts.expire_checkout(sdk.v1, closed.id)
    await checkouts.expire_checkout(sdk.v1, closed.id)  # by somebody else, which is as good


async def create_pages(world: StripeWorld, customer: str) -> list[Checkout]:
    """Open payment pages, each of another order: "order_1", "order_2", "order_3"."""
    order = _order(customer, OrderLine(FLAT.id, await world.provider.push_price(FLAT), 1))
    fingerprints = [f"order_{number}" for number in (1, 2, 3)]
    return [
        await world.provider.create_checkout(replace(order, key=fingerprint, fingerprint=fingerprint))
        for fingerprint in fingerprints
    ]


async def test_other_checkouts_are_closed_beside_one_that_was_paid(
    world: StripeWorld, sdk: stripe.StripeClient, customer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pages = await create_pages(world, customer)
    expire = checkouts.expire_checkout

    async def pay_instead(v1: "stripe.V1Services", session_id: str) -> None:
        if session_id == pages[1].id:
            world.pay(pages[1].url)
        await expire(v1, session_id)

    monkeypatch.setattr(checkouts, "expire_checkout", pay_instead)
    with pytest.raises(ProviderRefused) as caught:
        await world.provider.close_checkouts(customer)
    assert caught.value.code == CHECKOUT_PAID
    sessions = (await sdk.v1.checkout.sessions.list_async({"customer": customer})).data
    assert [session.status for session in sessions] == ["expired", "complete", "expired"]


async def test_checkout_that_another_order_closed_meanwhile_is_not_kept(
    world: StripeWorld, customer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pages = await create_pages(world, customer)
    expire = checkouts.expire_checkout

    async def expire_kept_page_too(v1: "stripe.V1Services", session_id: str) -> None:
        await expire(v1, session_id)
        await expire(v1, pages[2].id)

    monkeypatch.setattr(checkouts, "expire_checkout", expire_kept_page_too)
    assert (await world.provider.close_checkouts(customer, keep="order_3")).kept is None


async def test_checkout_that_expires_soon_is_not_kept(
    world: StripeWorld, customer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = (await create_pages(world, customer))[2]
    assert (await world.provider.close_checkouts(customer, keep="order_3")).kept == page
    later = world.provider._get_time() + timedelta(minutes=41)
    monkeypatch.setattr(world.provider, "_get_time", lambda: later)
    assert (await world.provider.close_checkouts(customer, keep="order_3")).kept is None


async def test_repeated_change_after_another_one_is_refused(
    world: StripeWorld, sdk: stripe.StripeClient, customer: str
) -> None:
    """Only the last key is stored. A request with an older key is refused rather than repeated."""
    price = await world.provider.push_price(SEAT)
    world.pay((await world.provider.create_checkout(_order(customer, OrderLine(SEAT.id, price, 1)))).url)
    (subscription,) = (await world.provider.fetch_customer(customer)).subscriptions

    async def change_quantity(quantity: int, key: str) -> int:
        lines = [OrderLine(SEAT.id, price, quantity)]
        await world.provider.change_subscription(subscription.id, lines, as_of=None, prorate=False, key=key)
        return (await world.provider.fetch_customer(customer)).subscriptions[0].lines[0].quantity

    assert await change_quantity(5, "change_1") == 5
    assert await change_quantity(7, "change_2") == 7
    assert await change_quantity(9, "change_2") == 7
    with pytest.raises(ProviderRefused):
        await change_quantity(6, "change_1")
    assert (await world.provider.fetch_customer(customer)).subscriptions[0].lines[0].quantity == 7


async def test_lookup_key_moves_to_the_right_price(world: StripeWorld, sdk: stripe.StripeClient) -> None:
    external_price_id = await world.provider.push_price(SEAT)
    other = await sdk.v1.prices.create_async(
        {
            "product": SEAT.product_id,
            "currency": "eur",
            "unit_amount_decimal": Decimal("0.5"),
            "recurring": {"interval": "month", "interval_count": 3},
            "lookup_key": SEAT.id,
            "transfer_lookup_key": True,
        }
    )
    remote_price = await world.provider.read_price(SEAT)
    assert remote_price.external_id == other.id
    assert remote_price.tag == PriceTag("", SEAT.product_id, "Pro", "3 month", "flat", "eur", -1)  # type: ignore[arg-type]
    right = await world.provider.push_price(SEAT)
    assert right not in (external_price_id, other.id)
    assert (await world.provider.read_price(SEAT)).tag == SEAT


async def test_removed_lookup_key_is_restored(world: StripeWorld, sdk: stripe.StripeClient) -> None:
    external_price_id = await world.provider.push_price(SEAT)
    await sdk.v1.prices.update_async(external_price_id, {"lookup_key": "", "active": False})
    assert (await world.provider.read_price(SEAT)).tag is None
    assert await world.provider.push_price(SEAT) == external_price_id
    remote_price = await world.provider.read_price(SEAT)
    assert (remote_price.external_id, remote_price.tag, remote_price.active) == (
        external_price_id,
        SEAT,
        True,
    )


async def test_concurrent_pushes_create_one_meter_per_name(
    world: StripeWorld, sdk: stripe.StripeClient
) -> None:
    tags = [replace(CALLS, id=f"prc_{n}", product_id=f"plv_{n}") for n in range(4)]
    await asyncio.gather(*(world.provider.push_price(tag) for tag in tags))
    meters = [meter async for meter in (await sdk.v1.billing.meters.list_async({})).auto_paging_iter()]
    assert [meter.event_name for meter in meters] == ["api_calls"]
    prices = {await world.provider.push_price(tag) for tag in tags}
    assert len(prices) == 4


async def test_concurrent_pushes_create_one_price(world: StripeWorld) -> None:
    assert len(set(await asyncio.gather(*(world.provider.push_price(SEAT) for _ in range(4))))) == 1


async def test_stripe_accounts_are_separate(
    world: StripeWorld, stand_in: tuple[Sandbox, str], customer: str
) -> None:
    other = StripeGateway("sk_test_somebody_else", stand_in[1])
    with pytest.raises(ProviderRefused):
        await other.fetch_customer(customer)
    assert await other.get_account_id() != await world.provider.get_account_id()
    await other.close()


# ── answers that Stripe saved under an idempotency key ───────────────────────────────────────────────────────────


@pytest.fixture(params=["500", "500-done"])
def break_next(request: pytest.FixtureRequest, world: StripeWorld) -> Callable[..., None]:
    """Plants a server error that is saved under the key, without or with the effect of the request."""
    return lambda path, method="POST": world.account.faults.append(
        Fault(request.param, path=path, method=method)
    )


async def subscribe(world: StripeWorld, customer: str) -> tuple[Subscription, OrderLine]:
    line = OrderLine(SEAT.id, await world.provider.push_price(SEAT), 1)
    world.pay((await world.provider.create_checkout(_order(customer, line))).url)
    (subscription,) = (await world.provider.fetch_customer(customer)).subscriptions
    return subscription, line


async def test_card_that_pays_a_subscription_tells_when_it_expires(
    world: StripeWorld, sdk: stripe.StripeClient, customer: str
) -> None:
    subscription, _ = await subscribe(world, customer)
    methods = (await world.provider.fetch_customer(customer)).methods
    method = methods[subscription.id]
    assert method.text == "Visa ending in 4242"
    expiry: stripe.params.PaymentMethodUpdateParams = {"card": {"exp_month": 12, "exp_year": 2030}}
    await sdk.v1.payment_methods.update_async(method.id, expiry)
    methods = (await world.provider.fetch_customer(customer)).methods
    assert methods[subscription.id] == replace(method, expires_at=datetime(2031, 1, 1, tzinfo=UTC))
    await world.provider.cancel_subscription(subscription.id, at_period_end=False, key="end")
    assert (await world.provider.fetch_customer(customer)).methods == {}


@pytest.mark.parametrize(
    ("card", "code"),
    [
        ({"exp_month": 13, "exp_year": 2030}, "invalid_expiry_month"),
        ({"exp_month": 1, "exp_year": 2019}, "invalid_expiry_year"),
    ],
)
async def test_sandbox_refuses_an_expiry_that_stripe_refuses(
    world: StripeWorld, sdk: stripe.StripeClient, customer: str, card: dict[str, int], code: str
) -> None:
    subscription, _ = await subscribe(world, customer)
    method = (await world.provider.fetch_customer(customer)).methods[subscription.id]
    with pytest.raises(stripe.CardError) as refusal:
        await sdk.v1.payment_methods.update_async(method.id, {"card": card})  # type: ignore[typeddict-item]
    assert refusal.value.code == code


async def test_single_charge_is_an_invoice_of_its_own_and_made_once(
    world: StripeWorld, sdk: stripe.StripeClient, customer: str
) -> None:
    subscription, _ = await subscribe(world, customer)
    method = (await world.provider.fetch_customer(customer)).methods[subscription.id]
    pending: stripe.params.InvoiceItemCreateParams = {"customer": customer, "amount": 70, "currency": "usd"}
    await sdk.v1.invoice_items.create_async(pending)
    invoice_ids = {await charge(world, customer, method.id) for _ in range(2)}
    (invoice_id,) = invoice_ids
    invoices = (await world.provider.fetch_customer(customer)).invoices
    (invoice,) = [invoice for invoice in invoices if invoice.id == invoice_id]
    assert (invoice.status, invoice.total, invoice.paid) == ("paid", 5_000, 5_000)
    assert [(line.said, line.amount) for line in invoice.lines] == [("Prepaid credits", 5_000)]
    assert len(invoices) == 2, "the subscription's and this one"


@pytest.mark.parametrize("step", ["/v1/invoices", "/v1/invoiceitems", "/finalize", "/pay"])
async def test_single_charge_is_completed_after_a_saved_server_error(
    world: StripeWorld, customer: str, break_next: Callable[..., None], step: str
) -> None:
    subscription, _ = await subscribe(world, customer)
    method = (await world.provider.fetch_customer(customer)).methods[subscription.id]
    break_next(step)
    with suppress(ProviderDown):
        await charge(world, customer, method.id)
    invoice_id = await charge(world, customer, method.id)
    charged = [row for row in world.account.list_objects("invoice") if row["amount_paid"] == 5_000]
    assert [row["id"] for row in charged] == [invoice_id]


@pytest.mark.parametrize("card", ["pm_card_chargeCustomerFail", "pm_card_authenticationRequired"])
async def test_single_charge_that_fails_leaves_a_void_invoice(
    world: StripeWorld, sdk: stripe.StripeClient, customer: str, card: str
) -> None:
    method = await sdk.v1.payment_methods.attach_async(card, {"customer": customer})
    for _ in range(2):
        with pytest.raises(ProviderRefused) as refusal:
            await charge(world, customer, method.id)
        assert refusal.value.kind == "card"
    (invoice,) = (await world.provider.fetch_customer(customer)).invoices
    assert (invoice.status, invoice.paid) == ("void", 0)


async def test_single_charge_of_a_removed_card_leaves_a_void_invoice(
    world: StripeWorld, sdk: stripe.StripeClient, customer: str
) -> None:
    method = await sdk.v1.payment_methods.attach_async("pm_card_visa", {"customer": customer})
    await sdk.v1.payment_methods.detach_async(method.id)
    with pytest.raises(ProviderRefused):
        await charge(world, customer, method.id)
    (invoice,) = (await world.provider.fetch_customer(customer)).invoices
    assert (invoice.status, invoice.paid) == ("void", 0)


async def test_pause_of_collection_that_was_made_in_the_dashboard_stays(
    world: StripeWorld, sdk: stripe.StripeClient, customer: str
) -> None:
    subscription, _ = await subscribe(world, customer)
    void_pause: stripe.params.SubscriptionUpdateParams = {"pause_collection": {"behavior": "void"}}
    await sdk.v1.subscriptions.update_async(subscription.id, void_pause)
    await world.provider.pause_collection(subscription.id, "du_1", "pause_1")
    await world.provider.resume_collection(subscription.id, "resume_1")
    assert await get_collection(world, customer) == ("void", "")
    await sdk.v1.subscriptions.update_async(subscription.id, {"pause_collection": ""})
    await world.provider.pause_collection(subscription.id, "du_1", "pause_2")
    await sdk.v1.subscriptions.update_async(subscription.id, void_pause)  # replaces ours
    await world.provider.resume_collection(subscription.id, "resume_2")
    assert await get_collection(world, customer) == ("void", "")


async def test_pause_of_collection_that_was_ended_in_the_dashboard_is_not_made_again(
    world: StripeWorld, sdk: stripe.StripeClient, customer: str
) -> None:
    subscription, _ = await subscribe(world, customer)
    await world.provider.pause_collection(subscription.id, "du_1", "pause_1")
    await sdk.v1.subscriptions.update_async(subscription.id, {"pause_collection": ""})
    await world.provider.pause_collection(subscription.id, "du_1", "pause_2")
    assert await get_collection(world, customer) == ("", "du_1")


async def get_collection(world: StripeWorld, customer: str) -> tuple[str, str]:
    (subscription,) = (await world.provider.fetch_customer(customer)).subscriptions
    return subscription.paused_collection, subscription.dispute_mark


async def test_single_charge_that_another_card_paid_is_found_by_its_key(
    world: StripeWorld, sdk: stripe.StripeClient, customer: str
) -> None:
    method = await sdk.v1.payment_methods.attach_async("pm_card_visa", {"customer": customer})
    invoice_id = await charge(world, customer, method.id)
    await sdk.v1.payment_methods.detach_async(method.id)
    assert await charge(world, customer, "pm_gone") == invoice_id


async def test_sandbox_adds_items_to_drafts_of_their_customer_only(
    world: StripeWorld, sdk: stripe.StripeClient, customer: str
) -> None:
    other = await world.provider.create_customer("ten_globex", "Globex", "gil@globex.test", "cus:ten_globex")
    invoice = await sdk.v1.invoices.create_async({"customer": customer, "currency": "usd"})
    item: stripe.params.InvoiceItemCreateParams = {
        "customer": customer,
        "invoice": str(invoice.id),
        "amount": 100,
        "currency": "usd",
    }
    for wrong in ({"customer": other}, {"currency": "eur"}, {"invoice": "in_none"}):
        with pytest.raises(stripe.InvalidRequestError):
            await sdk.v1.invoice_items.create_async({**item, **wrong})  # type: ignore[typeddict-item]
    await sdk.v1.invoice_items.create_async(item)
    await sdk.v1.invoices.finalize_invoice_async(str(invoice.id))
    with pytest.raises(stripe.InvalidRequestError) as refusal:
        await sdk.v1.invoice_items.create_async(item)
    assert refusal.value.code == "invoice_not_editable"


async def test_single_charge_of_a_bank_account_waits_for_the_bank(
    world: StripeWorld, sdk: stripe.StripeClient, customer: str
) -> None:
    method = payment_methods.create_from_card(world.account, BANK_ACCOUNTS[0], customer)
    pending = await charge_once(world, customer, method["id"])
    assert not pending.is_paid
    assert await charge_once(world, customer, method["id"]) == pending
    assert await world.provider.close_charge(customer, "top_1") == pending
    collection.settle_debit(
        world.account, fetch_object(world.account, "invoice", pending.invoice_id), "succeeded"
    )
    assert (await world.provider.close_charge(customer, "top_1")) == replace(pending, is_paid=True)
    (invoice,) = (await world.provider.fetch_customer(customer)).invoices
    assert (invoice.status, invoice.paid, invoice.key) == ("paid", 5_000, "top_1")


async def test_single_charge_that_the_bank_sends_back_is_closed(
    world: StripeWorld, sdk: stripe.StripeClient, customer: str
) -> None:
    method = payment_methods.create_from_card(world.account, BANK_ACCOUNTS[0], customer)
    pending = await charge_once(world, customer, method["id"])
    with pytest.raises(stripe.InvalidRequestError):
        await sdk.v1.invoices.void_invoice_async(pending.invoice_id)
    collection.settle_debit(
        world.account, fetch_object(world.account, "invoice", pending.invoice_id), "failed"
    )
    assert await world.provider.close_charge(customer, "top_1") is None
    assert await world.provider.close_charge(customer, "top_unknown") is None
    (invoice,) = (await world.provider.fetch_customer(customer)).invoices
    assert invoice.status == "void"


async def test_single_charge_ignores_the_coupon_of_the_customer(
    world: StripeWorld, sdk: stripe.StripeClient, customer: str
) -> None:
    coupon = await sdk.v1.coupons.create_async({"percent_off": 50, "duration": "forever"})
    coupons.give_to_customer(world.account, fetch_object(world.account, "customer", customer), str(coupon.id))
    method = await sdk.v1.payment_methods.attach_async("pm_card_visa", {"customer": customer})
    await charge(world, customer, method.id)
    (invoice,) = (await world.provider.fetch_customer(customer)).invoices
    assert (invoice.paid, invoice.discount) == (5_000, 0)


async def test_single_charge_of_a_taxed_platform_adds_the_tax(
    world: StripeWorld, sdk: stripe.StripeClient, customer: str
) -> None:
    taxes.set_up(world.account, country="DE")
    world.provider._automatic_tax = True
    method = await sdk.v1.payment_methods.attach_async("pm_card_visa", {"customer": customer})
    with pytest.raises(ProviderRefused) as refusal:
        await charge(world, customer, method.id)
    assert refusal.value.kind == "tax_location"
    assert (await world.provider.fetch_customer(customer)).invoices == ()
    await sdk.v1.customers.update_async(customer, {"address": {"country": "DE"}})
    paid = await charge_once(world, customer, method.id, key="top_2")
    (invoice,) = (await world.provider.fetch_customer(customer)).invoices
    assert (invoice.id, invoice.subtotal, invoice.tax, invoice.paid) == (paid.invoice_id, 5_000, 950, 5_950)


async def charge(world: StripeWorld, customer: str, method_id: str) -> str:
    return (await charge_once(world, customer, method_id)).invoice_id


async def charge_once(world: StripeWorld, customer: str, method_id: str, key: str = "top_1") -> SingleCharge:
    return await world.provider.charge_once(
        customer, 5_000, "usd", "Prepaid credits", method_id=method_id, key=key
    )


async def test_customer_is_created_once_after_a_saved_server_error(
    world: StripeWorld, break_next: Callable[..., None]
) -> None:
    break_next("/v1/customers")
    customers = {
        await world.provider.create_customer("ten_acme", "Acme", "ann@acme.test", "cus:ten_acme")
        for _ in range(3)
    }
    assert [customer["id"] for customer in world.account.list_objects("customer")] == list(customers)


async def test_adjustment_is_booked_once_after_a_saved_server_error(
    world: StripeWorld, customer: str, break_next: Callable[..., None]
) -> None:
    await subscribe(world, customer)
    (bill,) = (await world.provider.fetch_customer(customer)).invoices
    break_next("/balance_transactions")
    entries = {await world.provider.add_credit(customer, 500, "usd", "Outage", "adj_1") for _ in range(2)}
    assert (len(entries), (await world.provider.fetch_customer(customer)).balance) == (1, -500)
    break_next("/v1/credit_notes")
    notes = {await world.provider.refund_invoice(bill.id, 100, "adj_2") for _ in range(2)}
    assert [note["id"] for note in world.account.list_objects("credit_note")] == list(notes)


async def test_changes_are_made_once_after_a_saved_server_error(
    world: StripeWorld, customer: str, break_next: Callable[..., None]
) -> None:
    subscription, line = await subscribe(world, customer)
    path, provider = f"/v1/subscriptions/{subscription.id}", world.provider
    for quantity, key in ((5, "change_1"), (7, "change_2")):
        break_next(path)
        await provider.change_subscription(
            subscription.id, [replace(line, quantity=quantity)], as_of=None, prorate=True, key=key
        )
        (changed,) = (await provider.fetch_customer(customer)).subscriptions
        assert changed.lines[0].quantity == quantity
    break_next(path)
    await provider.cancel_subscription(subscription.id, at_period_end=True, key="cancel_1")
    assert (await provider.fetch_customer(customer)).subscriptions[0].cancel_at is not None
    break_next(path)
    await provider.resume_subscription(subscription.id, "resume_1")
    assert (await provider.fetch_customer(customer)).subscriptions[0].cancel_at is None
    break_next(path, "DELETE")
    await provider.cancel_subscription(subscription.id, at_period_end=False, key="cancel_2")
    assert (await provider.fetch_customer(customer)).subscriptions[0].status == "canceled"


async def test_price_is_pushed_once_after_a_saved_server_error(
    world: StripeWorld, break_next: Callable[..., None]
) -> None:
    break_next("/v1/prices")
    pushed = {await world.provider.push_price(FLAT) for _ in range(2)}
    assert [price["id"] for price in world.account.list_objects("price")] == list(pushed)


async def test_order_of_a_refused_price_is_taken_later_under_its_key(
    world: StripeWorld, customer: str
) -> None:
    """A price that was archived for a minute may be bought again under the same key."""
    price = await world.provider.push_price(FLAT)
    order = _order(customer, OrderLine(FLAT.id, price, 1))
    world.stop_selling(price)
    for _ in range(2):
        with pytest.raises(ProviderRefused):
            await world.provider.create_checkout(order)
    await world.provider.push_price(FLAT)
    url = await world.provider.create_checkout(order)
    assert await world.provider.create_checkout(order) == url


def _order(customer: str, *lines: OrderLine) -> CheckoutOrder:
    return CheckoutOrder(
        customer_id=customer,
        lines=lines,
        trial_days=0,
        return_url="http://localhost:3000/back",
        cancel_url="http://localhost:3000/left",
        key="order_1",
        metadata={"tenant_id": "ten_acme", "order": "7"},
    )


async def test_portal_of_a_new_account_offers_what_our_settings_say(
    world: StripeWorld, sdk: stripe.StripeClient, customer: str
) -> None:
    """Without settings Stripe refuses; those that were deactivated in the dashboard are replaced."""
    assert (await world.provider.create_portal(customer, "http://localhost:3000")).startswith("http")
    (configuration,) = (await sdk.v1.billing_portal.configurations.list_async()).data
    enabled = {name for name, feature in configuration.features.to_dict().items() if feature.get("enabled")}
    assert enabled == {"invoice_history", "payment_method_update", "subscription_cancel"}
    assert not await world.provider.save_portal_settings()
    await sdk.v1.billing_portal.configurations.update_async(configuration.id, {"active": False})
    assert (await world.provider.create_portal(customer, "http://localhost:3000")).startswith("http")
    assert len((await sdk.v1.billing_portal.configurations.list_async({"active": True})).data) == 1


async def test_portal_settings_of_another_version_are_replaced(
    world: StripeWorld, sdk: stripe.StripeClient
) -> None:
    features = {"subscription_cancel": {"enabled": True, "mode": "immediately"}}
    former = await sdk.v1.billing_portal.configurations.create_async(
        {"features": features, "metadata": {"bulkhead_portal": "former"}}
    )
    assert not await world.provider.has_portal_settings()
    assert await world.provider.save_portal_settings()
    present = await sdk.v1.billing_portal.configurations.retrieve_async(former.id)
    assert present.features.subscription_cancel.mode == "at_period_end"
    assert await world.provider.has_portal_settings()


async def test_portal_settings_that_were_edited_in_the_dashboard_are_noticed(
    world: StripeWorld, sdk: stripe.StripeClient
) -> None:
    await world.provider.save_portal_settings()
    (configuration,) = (await sdk.v1.billing_portal.configurations.list_async()).data
    edited = {"features": {"payment_method_update": {"enabled": False}}}
    await sdk.v1.billing_portal.configurations.update_async(configuration.id, edited)
    assert not await world.provider.has_portal_settings()
    assert await world.provider.save_portal_settings()
    assert await world.provider.has_portal_settings()


async def test_pending_refund_and_inquiry_are_told_as_they_are(
    world: StripeWorld, sdk: stripe.StripeClient, customer: str
) -> None:
    price = await world.provider.push_price(FLAT)
    world.pay((await world.provider.create_checkout(_order(customer, OrderLine(FLAT.id, price, 1)))).url)
    world.account.objects["customer"][customer]["_pending_refunds"] = 1
    charge = (await sdk.v1.charges.list_async({"customer": customer})).data[0]
    disputes.open_dispute(world.account, world.account.objects["charge"][charge.id], is_inquiry=True)
    await sdk.v1.refunds.create_async({"charge": charge.id, "amount": 900})  # in the dashboard
    state = await world.provider.fetch_customer(customer)
    (refund,), (dispute,) = state.refunds, state.disputes
    assert (refund.status, refund.key, refund.credit_note_id) == ("pending", "", "")
    assert refund.invoice_id == dispute.invoice_id == state.invoices[0].id
    assert (dispute.status, dispute.is_refundable) == ("warning_needs_response", True)
    event = next(
        each for each in world.account.list_objects("event") if each["type"].startswith("charge.disp")
    )
    assert "customer" not in event["data"]["object"]
