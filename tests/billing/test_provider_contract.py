"""The contract of every payment provider: the Stripe stand-in over HTTP and a provider in memory."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta

import pytest

from shared.billing.provider import SUBSCRIBED, Provider, ProviderRefused
from shared.billing.provider_values import (
    NO_REASON,
    BillingDetails,
    CanceledAddon,
    Cancellation,
    CheckoutOrder,
    OpenCheckouts,
    OrderLine,
    PriceTag,
    RemotePrice,
    Subscription,
    TaxId,
    TransferOrder,
)
from shared.billing.stripe_adapter.gateway import StripeGateway
from shared.dev.stripe_sandbox.refusals import ApiError
from shared.dev.stripe_sandbox.store import Sandbox
from tests.support.billing import provider_scenarios
from tests.support.billing.provider_scenarios import CALLS, FLAT, SEAT, SEAT_YEAR, SUPPORT, ProviderWorld

DAY, MONTH = timedelta(days=1), timedelta(days=30)
A_WHILE = timedelta(hours=2)  # until a new invoice is closed and collected


@pytest.fixture(scope="module")
async def stand_in(anyio_backend: str) -> AsyncIterator[tuple[Sandbox, str]]:
    async with provider_scenarios.run_stripe() as sandbox_and_url:
        yield sandbox_and_url


@pytest.fixture(params=["stripe", "memory"])
async def world(
    request: pytest.FixtureRequest, stand_in: tuple[Sandbox, str]
) -> AsyncIterator[ProviderWorld]:
    if request.param == "memory":
        yield provider_scenarios.MemoryWorld()
        return
    stripe_world = provider_scenarios.StripeWorld(*stand_in)
    yield stripe_world
    await stripe_world.provider.close()


class Shop:
    """A customer and the means to order for it."""

    def __init__(self, world: ProviderWorld, customer: str) -> None:
        self.world, self.customer, self.provider = world, customer, world.provider

    async def line(self, tag: PriceTag, quantity: int | None = 1) -> OrderLine:
        external_price_id = await self.provider.push_price(tag)
        return OrderLine(tag.id, external_price_id, None if tag.kind == "metered" else quantity)

    async def subscribe(self, *lines: OrderLine, trial: int = 0, card: bool | None = True) -> Subscription:
        page = await self.provider.create_checkout(self.order(*lines, trial=trial))
        self.world.pay(page.url, card=card)
        return await self.only()

    def order(self, *lines: OrderLine, trial: int = 0, key: str = "order_1") -> CheckoutOrder:
        return CheckoutOrder(
            customer_id=self.customer,
            lines=lines,
            trial_days=trial,
            return_url="http://localhost:3000/back?session={CHECKOUT_SESSION_ID}",
            cancel_url="http://localhost:3000/left",
            key=key,
            metadata={"tenant_id": "ten_acme"},
        )

    async def only(self) -> Subscription:
        (subscription,) = (await self.provider.fetch_customer(self.customer)).subscriptions
        return subscription


@pytest.fixture
async def shop(world: ProviderWorld) -> Shop:
    return Shop(
        world, await world.provider.create_customer("ten_acme", "Acme", "ann@acme.test", "cus:ten_acme")
    )


async def test_account_id_is_stable(world: ProviderWorld) -> None:
    assert await world.provider.get_account_id() == await world.provider.get_account_id() != ""


async def test_create_customer_returns_the_same_customer_for_a_tenant(shop: Shop) -> None:
    ask = shop.provider.create_customer
    assert await ask("ten_acme", "Acme", "ann@acme.test", "cus:ten_acme") == shop.customer
    assert await ask("ten_acme", "Acme", "ann@acme.test", "much later, the key forgotten") == shop.customer
    assert await ask("ten_acme", "Acme renamed", "ann@acme.test", "cus:ten_acme") == shop.customer
    assert await ask("ten_globex", "Globex", "ann@acme.test", "cus:ten_globex") != shop.customer


async def test_create_customer_makes_another_one_after_a_deletion(shop: Shop) -> None:
    shop.world.delete_customer(shop.customer)
    ask = shop.provider.create_customer
    new_id = await ask("ten_acme", "Acme", "ann@acme.test", "cus:ten_acme-1")
    assert new_id != shop.customer
    assert not (await shop.provider.fetch_customer(new_id)).deleted


VAT, OTHER_VAT = TaxId("eu_vat", "DE123456789"), TaxId("eu_vat", "DE987654321")
FULL_DETAILS = BillingDetails(
    name="Acme GmbH",
    email="bills@acme.test",
    line1="Hauptstr. 1",
    line2="2nd floor",
    postal_code="10115",
    city="Berlin",
    state="BE",
    country="DE",
)


async def list_numbers(shop: Shop) -> list[str]:
    details = await shop.provider.fetch_billing_details(shop.customer)
    return [tax_id.value for tax_id in details.tax_ids]


async def test_billing_details_are_replaced_and_read_as_they_were_written(shop: Shop) -> None:
    provider = shop.provider
    assert await provider.fetch_billing_details(shop.customer) == BillingDetails(
        name="Acme", email="ann@acme.test"
    )
    for details in (FULL_DETAILS, FULL_DETAILS, replace(FULL_DETAILS, line2=""), BillingDetails(name="A")):
        changed = replace(details, email="bills@acme.test")
        await provider.update_billing_details(shop.customer, changed)
        assert await provider.fetch_billing_details(shop.customer) == changed
    shop.world.delete_customer(shop.customer)
    for call in (
        provider.fetch_billing_details(shop.customer),
        provider.update_billing_details(shop.customer, FULL_DETAILS),
    ):
        with pytest.raises(ProviderRefused) as raised:
            await call
        assert raised.value.kind == "customer"


async def test_tax_ids_are_added_once_and_removed_by_id(shop: Shop) -> None:
    update = shop.provider.update_billing_details
    for _ in range(2):
        await update(shop.customer, replace(FULL_DETAILS, tax_ids=(VAT,)))
        assert await list_numbers(shop) == [VAT.value]
    await update(shop.customer, replace(FULL_DETAILS, tax_ids=(TaxId("au_abn", "51824753556"),)))
    assert await list_numbers(shop) == ["51824753556", VAT.value]
    old_ids = [each.id for each in (await shop.provider.fetch_billing_details(shop.customer)).tax_ids[1:]]
    for _ in range(2):
        await update(shop.customer, replace(FULL_DETAILS, tax_ids=(OTHER_VAT,)), removed_tax_ids=old_ids)
        assert await list_numbers(shop) == [OTHER_VAT.value, "51824753556"]


async def test_refused_tax_id_leaves_the_former_one(shop: Shop) -> None:
    await shop.provider.update_billing_details(shop.customer, replace(FULL_DETAILS, tax_ids=(VAT,)))
    (former,) = (await shop.provider.fetch_billing_details(shop.customer)).tax_ids
    malformed = replace(FULL_DETAILS, name="B", tax_ids=(TaxId("eu_vat", "123456789"),))
    with pytest.raises(ProviderRefused) as raised:
        await shop.provider.update_billing_details(shop.customer, malformed, removed_tax_ids=[former.id])
    assert raised.value.kind == "tax_id"
    assert await shop.provider.fetch_billing_details(shop.customer) == replace(
        FULL_DETAILS, name="B", tax_ids=(former,)
    )


async def test_refused_customer_leaves_the_tax_ids_alone(stand_in: tuple[Sandbox, str]) -> None:
    """An invoice would have a number that the person was told wasn't saved."""
    world = provider_scenarios.StripeWorld(*stand_in)
    customer_id = await world.provider.create_customer("ten_acme", "Acme", "ann@acme.test", "cus:ten_acme")
    with pytest.raises(ProviderRefused):
        await world.provider.update_billing_details(
            customer_id, replace(FULL_DETAILS, email="nobody", tax_ids=(VAT,))
        )
    assert (await world.provider.fetch_billing_details(customer_id)).tax_ids == ()
    await world.provider.close()


async def test_tenant_of_a_customer_is_known(shop: Shop) -> None:
    assert await shop.provider.get_tenant_id(shop.customer) == "ten_acme"
    with pytest.raises(ProviderRefused):
        await shop.provider.get_tenant_id("cus_nobody")
    shop.world.delete_customer(shop.customer)
    assert await shop.provider.get_tenant_id(shop.customer) == ""


async def test_customer_of_an_object_is_found(shop: Shop) -> None:
    subscription = await shop.subscribe(await shop.line(FLAT))
    (bill,) = (await shop.provider.fetch_customer(shop.customer)).invoices
    for object_id in (subscription.id, bill.id):
        assert await shop.provider.find_customer_id(object_id) == shop.customer
    for object_id in ("sub_nobody", "ed_1", "../customers/x", ""):
        assert await shop.provider.find_customer_id(object_id) == ""


async def test_concurrent_create_customer_makes_one_customer(world: ProviderWorld) -> None:
    ask = world.provider.create_customer
    customer_ids = await asyncio.gather(
        *(ask("ten_acme", "Acme", "ann@acme.test", "cus:ten_acme") for _ in range(5))
    )
    assert len(set(customer_ids)) == 1


async def test_new_customer_has_no_subscription_and_no_invoice(shop: Shop) -> None:
    state = await shop.provider.fetch_customer(shop.customer)
    assert (state.id, state.deleted, state.balance) == (shop.customer, False, 0)
    assert (state.subscriptions, state.invoices, state.method) == ((), (), "")


async def test_unknown_customer_is_refused(world: ProviderWorld) -> None:
    with pytest.raises(ProviderRefused):
        await world.provider.fetch_customer("cus_nobody")


async def test_deleted_customer_is_reported_as_deleted(shop: Shop) -> None:
    await shop.subscribe(await shop.line(FLAT))
    shop.world.delete_customer(shop.customer)
    state = await shop.provider.fetch_customer(shop.customer)
    assert state.deleted
    assert all(subscription.status == "canceled" for subscription in state.subscriptions)


@pytest.mark.parametrize("tag", [FLAT, SEAT, SEAT_YEAR, CALLS], ids=lambda tag: tag.id)
async def test_price_is_read_as_it_was_pushed(world: ProviderWorld, tag: PriceTag) -> None:
    assert (await world.provider.read_price(tag)).tag is None
    external_price_id = await world.provider.push_price(tag)
    remote_price = await world.provider.read_price(tag)
    assert (remote_price.external_id, remote_price.tag, remote_price.active) == (external_price_id, tag, True)
    assert await world.provider.push_price(tag) == external_price_id


async def test_changed_price_is_reported_and_repaired_by_a_push(world: ProviderWorld) -> None:
    external_price_id = await world.provider.push_price(FLAT)
    world.stop_selling(external_price_id)
    assert not (await world.provider.read_price(FLAT)).active
    assert await world.provider.push_price(FLAT) == external_price_id
    assert (await world.provider.read_price(FLAT)).active
    renamed = replace(FLAT, product_name="Starter of old")
    remote_tag = (await world.provider.read_price(renamed)).tag
    assert remote_tag == FLAT != renamed
    await world.provider.push_price(renamed)
    assert (await world.provider.read_price(renamed)).tag == renamed


async def test_price_with_another_amount_is_replaced_by_a_push(world: ProviderWorld) -> None:
    """A pushed price is sold from then on, also where the provider cannot change the earlier one."""
    await world.provider.push_price(replace(SEAT, amount=1))
    assert (await world.provider.read_price(SEAT)).tag == replace(SEAT, amount=1)
    external_price_id = await world.provider.push_price(SEAT)
    assert await world.provider.read_price(SEAT) == RemotePrice(external_price_id, SEAT, active=True)


async def test_checkout_is_created_once_and_paid(shop: Shop) -> None:
    lines = [await shop.line(SEAT, 3), await shop.line(SUPPORT), await shop.line(CALLS)]
    order = shop.order(*lines)
    page = await shop.provider.create_checkout(order)
    assert await shop.provider.create_checkout(order) == page  # asked twice, it is one
    shop.world.pay(page.url)
    state = await shop.provider.fetch_customer(shop.customer)
    (subscription,) = state.subscriptions
    assert subscription.status == "active"
    assert {(line.price_id, line.external_price_id, line.quantity) for line in subscription.lines} == {
        (SEAT.id, lines[0].external_price_id, 3),
        (SUPPORT.id, lines[1].external_price_id, 1),
        (CALLS.id, lines[2].external_price_id, 0),
    }
    assert {(line.starts_at, line.ends_at) for line in subscription.lines} == {
        (shop.world.now, shop.world.now + MONTH)
    }
    assert (subscription.created_at, subscription.currency, subscription.pays) == (
        shop.world.now,
        "usd",
        True,
    )
    assert (
        subscription.trial_ends_at,
        subscription.cancel_at,
        subscription.ended_at,
        subscription.failed_since,
    ) == (None,) * 4
    (bill,) = state.invoices
    assert (bill.status, bill.total, bill.due, bill.paid) == ("paid", 3 * 2000 + 14900, 0, 3 * 2000 + 14900)
    assert (bill.subscription_id, bill.created_at) == (subscription.id, shop.world.now)
    assert (bill.starts_at, bill.ends_at) == (shop.world.now, shop.world.now + MONTH)
    assert bill.page_url.startswith("http")
    assert state.method
    assert (await shop.provider.create_portal(shop.customer, "http://localhost:3000")).startswith("http")


async def test_portal_settings_are_saved_once(shop: Shop) -> None:
    assert not await shop.provider.has_portal_settings()
    assert await shop.provider.save_portal_settings()
    assert not await shop.provider.save_portal_settings()
    assert await shop.provider.has_portal_settings()


async def test_closed_checkout_cannot_be_paid(shop: Shop) -> None:
    line = await shop.line(FLAT)
    assert await shop.provider.close_checkouts(shop.customer) == OpenCheckouts(None, "")
    orders = [
        replace(shop.order(line, key=key), fingerprint=fingerprint)
        for key, fingerprint in (("order_1", "starter"), ("order_2", "starter"), ("order_3", "pro"))
    ]
    first, second, third = [await shop.provider.create_checkout(order) for order in orders]
    assert await shop.provider.close_checkouts(shop.customer, keep="starter") == OpenCheckouts(
        second, third.id
    )
    for closed in (first, third):
        with pytest.raises((ApiError, AssertionError)):
            shop.world.pay(closed.url)
    shop.world.pay(second.url)
    assert (await shop.provider.close_checkouts(shop.customer, keep="starter")).kept is None
    assert (await shop.only()).status == "active"  # a paid page is left alone


async def test_checkout_closes_by_itself_within_an_hour(shop: Shop) -> None:
    page = await shop.provider.create_checkout(shop.order(await shop.line(FLAT)))
    shop.world.advance(timedelta(hours=1))
    with pytest.raises((ApiError, AssertionError)):
        shop.world.pay(page.url)


async def test_checkout_is_refused_for_an_unknown_price(shop: Shop) -> None:
    with pytest.raises(ProviderRefused):
        await shop.provider.create_checkout(shop.order(OrderLine("prc_none", "price_none", 1)))


async def test_archived_price_is_refused_as_such(shop: Shop) -> None:
    line = await shop.line(FLAT)
    shop.world.stop_selling(line.external_price_id)
    with pytest.raises(ProviderRefused) as raised:
        await shop.provider.create_checkout(shop.order(line))
    assert raised.value.kind == "price"


async def test_deleted_customer_is_refused_as_such(shop: Shop) -> None:
    line = await shop.line(FLAT)
    shop.world.delete_customer(shop.customer)
    for call in (
        shop.provider.create_checkout(shop.order(line)),
        shop.provider.create_portal(shop.customer, "http://localhost:3000"),
    ):
        with pytest.raises(ProviderRefused) as raised:
            await call
        assert raised.value.kind == "customer"


async def test_changes_of_an_ended_subscription_are_refused_as_such(shop: Shop) -> None:
    line = await shop.line(SEAT, 3)
    subscription = await shop.subscribe(line)
    await shop.provider.cancel_subscription(subscription.id, at_period_end=False, key="cancel_1")
    more = [replace(line, quantity=4)]
    for call in (
        shop.provider.change_subscription(subscription.id, more, as_of=None, prorate=False, key="change_1"),
        shop.provider.resume_subscription(subscription.id, "resume_1"),
    ):
        with pytest.raises(ProviderRefused) as raised:
            await call
        assert raised.value.kind == "subscription"


async def test_trial_without_a_card_ends_by_itself(shop: Shop) -> None:
    subscription = await shop.subscribe(await shop.line(SEAT, 2), trial=14, card=None)
    assert (subscription.status, subscription.pays, subscription.after_trial) == ("trialing", False, "cancel")
    assert subscription.trial_ends_at == shop.world.now + 14 * DAY
    shop.world.advance(14 * DAY + A_WHILE)
    subscription = await shop.only()
    assert subscription.status == "canceled"
    assert subscription.ended_at == subscription.trial_ends_at


async def test_trial_with_a_card_becomes_active(shop: Shop) -> None:
    subscription = await shop.subscribe(await shop.line(SEAT, 2), trial=14)
    assert (subscription.status, subscription.pays) == ("trialing", True)
    shop.world.advance(14 * DAY + A_WHILE)
    state = await shop.provider.fetch_customer(shop.customer)
    assert state.subscriptions[0].status == "active"
    assert 4000 in [bill.paid for bill in state.invoices]


async def test_previewed_change_is_billed_as_shown(shop: Shop) -> None:
    seat, calls = await shop.line(SEAT, 3), await shop.line(CALLS)
    subscription = await shop.subscribe(seat, calls)
    shop.world.advance(10 * DAY)
    more = [replace(seat, quantity=5), calls]
    shown = await shop.provider.preview_change(shop.customer, subscription.id, more)
    assert shown.as_of == shop.world.now
    # two thirds of the period are left: back 3 x 20.00 x 2/3, and 5 x 20.00 x 2/3; then five seats
    assert sorted(line.amount for line in shown.lines if line.proration) == [-4000, 6667]
    assert (shown.due, shown.currency) == (6667 - 4000 + 10000, "usd")
    assert (await shop.only()) == subscription  # nothing happened yet
    shop.world.advance(timedelta(minutes=10))  # somebody reads it
    for _ in range(2):
        await shop.provider.change_subscription(
            subscription.id, more, as_of=shown.as_of, prorate=True, key="change_1"
        )
    assert _quantities(await shop.only()) == {SEAT.id: 5, CALLS.id: 0}
    shop.world.advance(20 * DAY + A_WHILE)
    newest = max(
        (await shop.provider.fetch_customer(shop.customer)).invoices, key=lambda bill: bill.created_at
    )
    assert (newest.total, newest.status) == (shown.due, "paid")
    assert sum(line.amount for line in newest.lines) == newest.total
    assert [line.amount for line in newest.lines if line.proration] in ([-4000, 6667], [6667, -4000])


async def test_change_of_a_year_is_billed_at_once_as_shown(shop: Shop) -> None:
    seat = await shop.line(SEAT_YEAR, 1)
    subscription = await shop.subscribe(seat)
    shop.world.advance(73 * DAY)
    more = [replace(seat, quantity=3)]
    shown = await shop.provider.preview_change(shop.customer, subscription.id, more, bill_now=True)
    # four fifths of the year are left: back 200.00 x 4/5, and 3 x 200.00 x 4/5
    assert sorted(line.amount for line in shown.lines) == [-16000, 48000]
    assert shown.due == 32000
    for _ in range(2):
        await shop.provider.change_subscription(
            subscription.id, more, as_of=shown.as_of, prorate=True, bill_now=True, key="change_1"
        )
    state = await shop.provider.fetch_customer(shop.customer)
    newest = max(state.invoices, key=lambda bill: bill.created_at)
    assert (newest.total, newest.status, newest.created_at) == (shown.due, "paid", shop.world.now)
    changed = await shop.only()
    assert _quantities(changed) == {SEAT_YEAR.id: 3}
    assert changed.lines[0].ends_at == subscription.lines[0].ends_at
    shop.world.advance(292 * DAY + A_WHILE)
    state = await shop.provider.fetch_customer(shop.customer)
    assert max(state.invoices, key=lambda bill: bill.created_at).total == 3 * 20000


@pytest.mark.parametrize("target", [SEAT, SEAT_YEAR], ids=["another period", "more"])
async def test_change_that_is_not_paid_leaves_everything_as_it_was(shop: Shop, target: PriceTag) -> None:
    """And takes effect, once, as soon as it is paid."""
    year = await shop.line(SEAT_YEAR, 1)
    subscription = await shop.subscribe(year if target is SEAT_YEAR else await shop.line(SEAT, 1))
    shop.world.advance(10 * DAY)
    shop.world.set_card(shop.customer, pays=False)
    lines = [replace(year, quantity=3)]
    shown = await shop.provider.preview_change(shop.customer, subscription.id, lines, bill_now=True)
    pending = [
        await shop.provider.change_subscription(
            subscription.id, lines, as_of=shown.as_of, prorate=True, bill_now=True, key="change_1"
        )
        for _ in range(2)
    ]
    assert pending[0] is not None
    assert pending[0] == pending[1]
    assert pending[0].expires_at == shop.world.now + timedelta(hours=23)
    state = await shop.provider.fetch_customer(shop.customer)
    (waiting,) = state.subscriptions
    assert (waiting.status, waiting.lines, waiting.failed_since) == ("active", subscription.lines, None)
    assert waiting.pending_change == pending[0]
    (bill,) = [bill for bill in state.invoices if bill.id == pending[0].invoice_id]
    assert (bill.status, bill.due) == ("open", shown.due)
    shop.world.set_card(shop.customer, pays=True)
    changed = await shop.only()
    assert (_quantities(changed), changed.pending_change) == ({SEAT_YEAR.id: 3}, None)
    state = await shop.provider.fetch_customer(shop.customer)
    assert [bill.status for bill in state.invoices] == ["paid", "paid"]


async def test_unpaid_change_is_dropped_after_a_day(shop: Shop) -> None:
    seat = await shop.line(SEAT_YEAR, 1)
    subscription = await shop.subscribe(seat)
    shop.world.advance(10 * DAY)
    shop.world.set_card(shop.customer, pays=False)
    await shop.provider.change_subscription(
        subscription.id, [replace(seat, quantity=3)], as_of=None, prorate=True, bill_now=True, key="change_1"
    )
    shop.world.advance(DAY)
    state = await shop.provider.fetch_customer(shop.customer)
    (kept,) = state.subscriptions
    assert (kept.status, kept.lines, kept.pending_change) == ("active", subscription.lines, None)
    assert sorted(bill.status for bill in state.invoices) == ["paid", "void"]
    shop.world.set_card(shop.customer, pays=True)
    assert (await shop.only()).lines == subscription.lines


async def test_preview_separates_open_amounts_of_an_earlier_change(shop: Shop) -> None:
    seat = await shop.line(SEAT, 3)
    subscription = await shop.subscribe(seat)
    shop.world.advance(10 * DAY)
    more = [replace(seat, quantity=5)]
    first = await shop.provider.preview_change(shop.customer, subscription.id, more)
    await shop.provider.change_subscription(
        subscription.id, more, as_of=first.as_of, prorate=True, key="change_1"
    )
    shop.world.advance(5 * DAY)
    shown = await shop.provider.preview_change(shop.customer, subscription.id, [replace(seat, quantity=6)])
    assert shown.as_of == shop.world.now, "or five days that are over would be charged for"
    new_lines = [line for line in shown.lines if line.proration and line.starts_at == shown.as_of]
    # half of the period is left: back 5 x 20.00 / 2, and 6 x 20.00 / 2
    assert sorted(line.amount for line in new_lines) == [-5000, 6000]
    assert len([line for line in shown.lines if line.proration]) == 4


async def test_equal_changes_at_different_times_are_separate(shop: Shop) -> None:
    seat = await shop.line(SEAT, 3)
    subscription = await shop.subscribe(seat)
    for key, quantity in (("change_1", 5), ("change_2", 3), ("change_3", 5)):
        changed = [replace(seat, quantity=quantity)]
        await shop.provider.change_subscription(subscription.id, changed, as_of=None, prorate=False, key=key)
        assert _quantities(await shop.only()) == {SEAT.id: quantity}


async def test_change_during_a_trial_costs_nothing_now(shop: Shop) -> None:
    seat = await shop.line(SEAT, 3)
    subscription = await shop.subscribe(seat, trial=14)
    shop.world.advance(3 * DAY)
    more = [replace(seat, quantity=4)]
    shown = await shop.provider.preview_change(shop.customer, subscription.id, more)
    assert not [line for line in shown.lines if line.proration]
    assert shown.due == 8000
    await shop.provider.change_subscription(
        subscription.id, more, as_of=shown.as_of, prorate=True, key="change_1"
    )
    assert _quantities(await shop.only()) == {SEAT.id: 4}


async def test_change_without_proration_costs_from_the_next_period_on(shop: Shop) -> None:
    seat = await shop.line(SEAT, 5)
    subscription = await shop.subscribe(seat)
    shop.world.advance(10 * DAY)
    await shop.provider.change_subscription(
        subscription.id, [replace(seat, quantity=2)], as_of=None, prorate=False, key="change_1"
    )
    shop.world.advance(20 * DAY + A_WHILE)
    newest = max(
        (await shop.provider.fetch_customer(shop.customer)).invoices, key=lambda bill: bill.created_at
    )
    assert [line.amount for line in newest.lines] == [4000]


async def test_plan_change_replaces_the_lines_of_the_subscription(shop: Shop) -> None:
    flat, seat, calls = await shop.line(FLAT), await shop.line(SEAT, 4), await shop.line(CALLS)
    subscription = await shop.subscribe(flat)
    await shop.provider.change_subscription(
        subscription.id, [seat, calls], as_of=shop.world.now, prorate=True, key="change_1"
    )
    changed = await shop.only()
    assert (changed.id, changed.status) == (subscription.id, "active")
    assert _quantities(changed) == {SEAT.id: 4, CALLS.id: 0}


async def test_change_from_month_to_year_bills_the_year_at_once(shop: Shop) -> None:
    subscription = await shop.subscribe(await shop.line(SEAT, 2))
    shop.world.advance(10 * DAY)
    yearly = [await shop.line(SEAT_YEAR, 2)]
    shown = await shop.provider.preview_change(shop.customer, subscription.id, yearly)
    assert shown.due == 40000 - 2667  # the rest of the month comes back
    await shop.provider.change_subscription(
        subscription.id, yearly, as_of=shown.as_of, prorate=True, key="change_1"
    )
    changed = await shop.only()
    (line,) = changed.lines
    assert (line.price_id, line.starts_at) == (SEAT_YEAR.id, shop.world.now)
    assert line.ends_at == shop.world.now + timedelta(days=365)
    newest = max(
        (await shop.provider.fetch_customer(shop.customer)).invoices, key=lambda bill: bill.created_at
    )
    assert (newest.total, newest.status) == (shown.due, "paid")


async def test_cancelled_addon_is_remembered_until_its_end(shop: Shop) -> None:
    seat, support = await shop.line(SEAT, 1), await shop.line(SUPPORT)
    subscription = await shop.subscribe(seat, support)
    kept = CanceledAddon(SUPPORT.id, 1, shop.world.now + MONTH)
    await shop.provider.change_subscription(
        subscription.id, [seat], as_of=None, prorate=False, canceled_addons=[kept], key="change_1"
    )
    changed = await shop.only()
    assert changed.kept == (kept,)
    assert _quantities(changed) == {SEAT.id: 1}
    await shop.provider.change_subscription(
        subscription.id, [seat, support], as_of=None, prorate=False, key="change_2"
    )
    assert (await shop.only()).kept == ()


async def test_cancellation_at_period_end_can_be_taken_back(shop: Shop) -> None:
    subscription = await shop.subscribe(await shop.line(FLAT))
    for key in ("cancel_1", "cancel_1", "cancel_2"):
        await shop.provider.cancel_subscription(subscription.id, at_period_end=True, key=key)
    ending = await shop.only()
    assert (ending.status, ending.cancel_at) == ("active", shop.world.now + MONTH)
    await shop.provider.resume_subscription(subscription.id, "resume_1")
    assert (await shop.only()).cancel_at is None
    await shop.provider.resume_subscription(subscription.id, "resume_2")  # which changes nothing
    await shop.provider.cancel_subscription(subscription.id, at_period_end=True, key="cancel_3")
    shop.world.advance(MONTH + A_WHILE)
    over = await shop.only()
    assert (over.status, over.ended_at) == ("canceled", over.cancel_at)


@pytest.mark.parametrize("at_period_end", [True, False])
async def test_reason_of_a_cancellation_is_kept_until_it_is_taken_back(
    shop: Shop, at_period_end: bool
) -> None:
    subscription = await shop.subscribe(await shop.line(FLAT))
    assert subscription.cancellation == NO_REASON
    reason = Cancellation(feedback="too_complex", comment="Too many buttons")
    cancel = shop.provider.cancel_subscription
    await cancel(subscription.id, at_period_end=True, key="cancel_1")
    assert (await shop.only()).cancellation == Cancellation(canceled_at=shop.world.now)
    await shop.provider.resume_subscription(subscription.id, "resume_1")
    await cancel(subscription.id, at_period_end=at_period_end, reason=reason, key="cancel_2")
    assert (await shop.only()).cancellation == replace(reason, canceled_at=shop.world.now)
    if at_period_end:
        await shop.provider.resume_subscription(subscription.id, "resume_2")
        assert (await shop.only()).cancellation == NO_REASON
        await cancel(subscription.id, at_period_end=True, key="cancel_3")
        assert (await shop.only()).cancellation == Cancellation(canceled_at=shop.world.now)


async def test_upcoming_invoice_is_billed_as_told(shop: Shop) -> None:
    seat, calls = await shop.line(SEAT, 3), await shop.line(CALLS)
    subscription = await shop.subscribe(seat, calls)
    shop.world.advance(10 * DAY)
    await shop.provider.change_subscription(
        subscription.id,
        [replace(seat, quantity=5), calls],
        as_of=shop.world.now,
        prorate=True,
        key="change_1",
    )
    await shop.provider.report_usage(shop.customer, "api_calls", 130, shop.world.now, "u1")
    await shop.provider.add_credit(shop.customer, 500, "usd", "An hour of outage", "adj_1")
    state = await shop.provider.fetch_customer(shop.customer)
    (upcoming,) = state.upcoming.invoices
    assert (upcoming.subscription_id, upcoming.at) == (subscription.id, subscription.lines[0].ends_at)
    assert sorted(line.amount for line in upcoming.lines if line.from_item) == [-4000, 6667]
    assert upcoming.total == 6667 - 4000 + 10000 + 30 * 2 + 50 == sum(line.amount for line in upcoming.lines)
    assert (upcoming.due, upcoming.currency, upcoming.is_last) == (upcoming.total - 500, "usd", False)
    shop.world.advance(20 * DAY + A_WHILE)
    newest = max(
        (await shop.provider.fetch_customer(shop.customer)).invoices, key=lambda bill: bill.created_at
    )
    assert (newest.total, newest.paid) == (upcoming.total, upcoming.due)


async def test_upcoming_invoice_of_a_trial_comes_at_its_end(shop: Shop) -> None:
    subscription = await shop.subscribe(await shop.line(SEAT, 2), trial=14)
    (upcoming,) = (await shop.provider.fetch_customer(shop.customer)).upcoming.invoices
    assert (upcoming.due, upcoming.at) == (4000, subscription.trial_ends_at)


async def test_pending_items_are_charged_when_a_cancelled_subscription_ends(shop: Shop) -> None:
    seat = await shop.line(SEAT, 3)
    subscription = await shop.subscribe(seat)
    shop.world.advance(10 * DAY)
    await shop.provider.change_subscription(
        subscription.id, [replace(seat, quantity=5)], as_of=shop.world.now, prorate=True, key="change_1"
    )
    await shop.provider.cancel_subscription(subscription.id, at_period_end=True, key="cancel_1")
    state = await shop.provider.fetch_customer(shop.customer)
    (last,) = state.upcoming.invoices
    assert (last.total, last.due, last.is_last) == (2667, 2667, True)
    assert (last.at, {line.from_item for line in last.lines}) == (state.subscriptions[0].cancel_at, {True})
    shop.world.advance(20 * DAY + A_WHILE)
    state = await shop.provider.fetch_customer(shop.customer)
    assert state.subscriptions[0].status == "canceled"
    newest = max(state.invoices, key=lambda bill: bill.created_at)
    assert (newest.total, newest.paid, newest.created_at) == (2667, 2667, last.at)
    assert state.upcoming.invoices == ()


async def test_cancelled_subscription_without_pending_items_charges_nothing(shop: Shop) -> None:
    subscription = await shop.subscribe(await shop.line(FLAT))
    await shop.provider.cancel_subscription(subscription.id, at_period_end=True, key="cancel_1")
    state = await shop.provider.fetch_customer(shop.customer)
    assert (state.upcoming.invoices, state.upcoming.unknown_ids) == ((), ())
    shop.world.advance(MONTH + A_WHILE)
    assert len((await shop.provider.fetch_customer(shop.customer)).invoices) == len(state.invoices)


async def test_voided_invoice_is_never_collected(shop: Shop) -> None:
    subscription = await shop.subscribe(await shop.line(FLAT), card=False)
    shop.world.advance(MONTH + A_WHILE)
    state = await shop.provider.fetch_customer(shop.customer)
    (owed,) = [bill for bill in state.invoices if bill.status == "open"]
    (settled,) = [bill for bill in state.invoices if bill.status == "paid"]
    await shop.provider.cancel_subscription(subscription.id, at_period_end=False, key="cancel_1")
    for key in ("void_1", "void_1", "void_2"):
        await shop.provider.void_invoice(owed.id, key)
    with pytest.raises(ProviderRefused):
        await shop.provider.void_invoice(settled.id, "void_3")
    shop.world.set_card(shop.customer, pays=True)
    shop.world.advance(MONTH)
    state = await shop.provider.fetch_customer(shop.customer)
    assert {bill.id: bill.status for bill in state.invoices} == {owed.id: "void", settled.id: "paid"}


async def test_immediate_cancellation_ends_the_subscription(shop: Shop) -> None:
    subscription = await shop.subscribe(await shop.line(FLAT))
    shop.world.advance(DAY)
    for key in ("cancel_1", "cancel_1", "cancel_2"):
        await shop.provider.cancel_subscription(subscription.id, at_period_end=False, key=key)
    over = await shop.only()
    assert (over.status, over.ended_at) == ("canceled", shop.world.now)


async def test_failed_renewal_is_paid_by_a_new_card(shop: Shop) -> None:
    await shop.subscribe(await shop.line(FLAT), card=False)
    began = shop.world.now
    shop.world.advance(MONTH + A_WHILE)
    state = await shop.provider.fetch_customer(shop.customer)
    (subscription,) = state.subscriptions
    assert (subscription.status, subscription.pays) == ("past_due", True)
    assert subscription.failed_since is not None
    assert timedelta(0) <= subscription.failed_since - (began + MONTH) <= A_WHILE
    (owed,) = [bill for bill in state.invoices if bill.status == "open"]
    assert (owed.due, owed.paid, owed.attempts) == (2900, 0, 1)
    shop.world.set_card(shop.customer, pays=True)
    state = await shop.provider.fetch_customer(shop.customer)
    assert (state.subscriptions[0].status, state.subscriptions[0].failed_since) == ("active", None)
    assert {bill.status for bill in state.invoices} == {"paid"}


async def test_credit_is_booked_once_and_pays_the_next_invoice(shop: Shop) -> None:
    await shop.subscribe(await shop.line(FLAT))
    entry = await shop.provider.add_credit(shop.customer, 500, "usd", "An hour of outage", "adj_1")
    assert await shop.provider.add_credit(shop.customer, 500, "usd", "An hour of outage", "adj_1") == entry
    await shop.provider.add_credit(shop.customer, -100, "usd", "Less than we thought", "adj_2")
    assert (await shop.provider.fetch_customer(shop.customer)).balance == -400
    shop.world.advance(MONTH + A_WHILE)
    state = await shop.provider.fetch_customer(shop.customer)
    newest = max(state.invoices, key=lambda bill: bill.created_at)
    assert (state.balance, newest.total, newest.paid) == (0, 2900, 2500)
    # Somebody asks again for what nobody had answered, long after every key is forgotten.
    assert await shop.provider.add_credit(shop.customer, 500, "usd", "An hour of outage", "adj_1") == entry
    assert (await shop.provider.fetch_customer(shop.customer)).balance == 0


async def test_partial_refund_is_booked_once(shop: Shop) -> None:
    await shop.subscribe(await shop.line(FLAT))
    (bill,) = (await shop.provider.fetch_customer(shop.customer)).invoices
    back = await shop.provider.refund_invoice(bill.id, 1000, "adj_1")
    assert await shop.provider.refund_invoice(bill.id, 1000, "adj_1") == back
    assert await shop.provider.refund_invoice(bill.id, 1900, "adj_2") != back
    with pytest.raises(ProviderRefused):
        await shop.provider.refund_invoice(bill.id, 1, "adj_3")
    shop.world.advance(2 * DAY)
    assert await shop.provider.refund_invoice(bill.id, 1000, "adj_1") == back, (
        "not refused, and not refunded twice"
    )


async def test_refund_that_fails_is_told_and_can_be_made_again(shop: Shop) -> None:
    await shop.subscribe(await shop.line(FLAT))
    (bill,) = (await shop.provider.fetch_customer(shop.customer)).invoices
    await shop.provider.refund_invoice(bill.id, 2900, "adj_1")
    (refund,) = (await shop.provider.fetch_customer(shop.customer)).refunds
    assert (refund.key, refund.invoice_id, refund.amount, refund.status) == (
        *("adj_1", bill.id, 2900, "succeeded"),
    )
    shop.world.fail_refund()
    (refund,) = (await shop.provider.fetch_customer(shop.customer)).refunds
    assert (refund.status, bool(refund.failure_reason)) == ("failed", True)
    for _ in range(2):
        await shop.provider.refund_invoice(bill.id, 2900, "adj_2")
    refunds = (await shop.provider.fetch_customer(shop.customer)).refunds
    assert {(refund.key, refund.status, refund.invoice_id) for refund in refunds} == {
        ("adj_1", "failed", bill.id),
        ("adj_2", "succeeded", bill.id),
    }
    with pytest.raises(ProviderRefused):
        await shop.provider.refund_invoice(bill.id, 1, "adj_3")


async def test_failed_refund_and_the_rest_are_refunded_together(shop: Shop) -> None:
    await shop.subscribe(await shop.line(FLAT))
    (bill,) = (await shop.provider.fetch_customer(shop.customer)).invoices
    await shop.provider.refund_invoice(bill.id, 2000, "adj_1")
    shop.world.fail_refund()
    first = await shop.provider.refund_invoice(bill.id, 2500, "adj_2")
    shop.world.advance(2 * DAY)
    assert await shop.provider.refund_invoice(bill.id, 2500, "adj_2") == first
    await shop.provider.refund_invoice(bill.id, 400, "adj_3")
    refunds = (await shop.provider.fetch_customer(shop.customer)).refunds
    sums = {
        key: sum(refund.amount for refund in refunds if refund.key == key and refund.status == "succeeded")
        for key in ("adj_1", "adj_2", "adj_3")
    }
    assert sums == {"adj_1": 0, "adj_2": 2500, "adj_3": 400}
    with pytest.raises(ProviderRefused):
        await shop.provider.refund_invoice(bill.id, 1, "adj_4")


async def test_disputed_payment_is_told_and_not_refunded(shop: Shop) -> None:
    await shop.subscribe(await shop.line(FLAT))
    state = await shop.provider.fetch_customer(shop.customer)
    assert (state.disputes, state.refunds) == ((), ())
    shop.world.dispute_payment(shop.customer)
    (dispute,) = (await shop.provider.fetch_customer(shop.customer)).disputes
    assert (dispute.invoice_id, dispute.amount, dispute.status, dispute.is_refundable) == (
        *(state.invoices[0].id, 2900, "needs_response", False),
    )
    with pytest.raises(ProviderRefused):
        await shop.provider.refund_invoice(state.invoices[0].id, 100, "adj_1")
    shop.world.end_dispute(won=True)
    assert [each.status for each in (await shop.provider.fetch_customer(shop.customer)).disputes] == ["won"]
    assert await shop.provider.refund_invoice(state.invoices[0].id, 100, "adj_2")


async def test_cancelled_pause_pays_its_credit_to_the_balance(shop: Shop) -> None:
    held = await shop.subscribe(await shop.line(FLAT))
    shop.world.advance(10 * DAY)
    preview = await shop.provider.preview_pause(shop.customer, held.id)
    await shop.provider.pause_subscription(held.id, "pause-1")
    for _ in range(2):
        await shop.provider.cancel_subscription(held.id, at_period_end=False, key="end-1")
    state = await shop.provider.fetch_customer(shop.customer)
    assert state.subscriptions[0].status == "canceled"
    assert state.balance == sum(line.amount for line in preview.lines) < 0


async def test_fraud_warning_is_told_until_its_payment_is_refunded(shop: Shop) -> None:
    await shop.subscribe(await shop.line(FLAT))
    shop.world.warn_of_fraud(shop.customer)
    state = await shop.provider.fetch_customer(shop.customer)
    (warning,) = state.fraud_warnings
    assert (warning.invoice_id, warning.amount, warning.currency) == (state.invoices[0].id, 2900, "usd")
    assert (warning.fraud_type, warning.is_actionable) == ("unauthorized_use_of_card", True)
    await shop.provider.refund_invoice(warning.invoice_id, 2900, "adj_1")
    (warning,) = (await shop.provider.fetch_customer(shop.customer)).fraud_warnings
    assert not warning.is_actionable


async def test_collection_is_paused_for_a_dispute_and_resumed_with_what_was_not_collected(shop: Shop) -> None:
    held = await shop.subscribe(await shop.line(FLAT))
    for _ in range(2):
        await shop.provider.pause_collection(held.id, "du_1", "pause-1")
    paused = await shop.only()
    assert (paused.status, paused.paused_collection, paused.dispute_mark) == (
        *("active", "keep_as_draft", "du_1"),
    )
    shop.world.advance(32 * DAY)
    invoices = (await shop.provider.fetch_customer(shop.customer)).invoices
    assert sorted(invoice.status for invoice in invoices) == ["draft", "paid"]
    for _ in range(2):
        await shop.provider.resume_collection(held.id, "resume-1")
    shop.world.advance(A_WHILE)
    state = await shop.provider.fetch_customer(shop.customer)
    (resumed,) = state.subscriptions
    assert (resumed.paused_collection, resumed.dispute_mark) == ("", "")
    assert [invoice.status for invoice in state.invoices] == ["paid", "paid"]


async def test_usage_is_counted_once_and_billed_after_the_period(shop: Shop) -> None:
    await shop.subscribe(await shop.line(FLAT), await shop.line(CALLS))
    shop.world.advance(DAY)
    for identifier, quantity in (("u1", 100), ("u2", 30), ("u2", 30), ("u1", 100)):
        await shop.provider.report_usage(shop.customer, "api_calls", quantity, shop.world.now, identifier)
    shop.world.advance(29 * DAY + A_WHILE)
    newest = max(
        (await shop.provider.fetch_customer(shop.customer)).invoices, key=lambda bill: bill.created_at
    )
    assert newest.total == 2900 + 30 * 2 + 50  # a hundred are free; whoever uses more pays 0.50 once


@pytest.mark.parametrize("verb", ["preview", "change", "cancel", "resume"])
async def test_unknown_subscription_is_refused_by_every_call(shop: Shop, verb: str) -> None:
    ask: Provider = shop.provider
    calls = {
        "preview": lambda: ask.preview_change(shop.customer, "sub_none", []),
        "change": lambda: ask.change_subscription("sub_none", [], as_of=None, prorate=True, key="k"),
        "cancel": lambda: ask.cancel_subscription("sub_none", at_period_end=False, key="k"),
        "resume": lambda: ask.resume_subscription("sub_none", "k"),
    }
    with pytest.raises(ProviderRefused):
        await calls[verb]()


def _quantities(subscription: Subscription) -> dict[str, int]:
    return {line.price_id: line.quantity for line in subscription.lines}


def test_gateways_satisfy_the_provider_protocol() -> None:
    providers: list[Provider] = [StripeGateway("sk_test_1"), provider_scenarios.MemoryWorld().provider]
    assert len(providers) == 2


async def test_ended_trial_is_charged_at_once(shop: Shop) -> None:
    held = await shop.subscribe(await shop.line(FLAT), trial=14)
    assert held.status == "trialing"
    for _ in range(2):  # the second call finds nothing to end
        await shop.provider.end_trial(held.id, "end-1")
    state = await shop.provider.fetch_customer(shop.customer)
    (ended,) = state.subscriptions
    assert ended.status == "active"
    assert [invoice.paid for invoice in state.invoices if invoice.total] == [FLAT.amount]


async def test_ending_a_trial_is_refused_and_changes_nothing_without_payment(shop: Shop) -> None:
    held = await shop.subscribe(await shop.line(FLAT), trial=14, card=False)
    with pytest.raises(ProviderRefused) as caught:
        await shop.provider.end_trial(held.id, "end-1")
    assert caught.value.kind == "card"
    assert (await shop.only()).status == "trialing"


async def test_fingerprint_is_that_of_the_card_and_not_of_the_payment_method(shop: Shop) -> None:
    assert (await shop.provider.fetch_customer(shop.customer)).card_fingerprints == {}
    held = await shop.subscribe(await shop.line(FLAT))
    fingerprints = (await shop.provider.fetch_customer(shop.customer)).card_fingerprints
    assert fingerprints[held.id]
    shop.world.set_card(shop.customer, pays=True)
    assert (await shop.provider.fetch_customer(shop.customer)).card_fingerprints == fingerprints


async def test_extended_trial_is_charged_at_its_new_end(shop: Shop) -> None:
    trial = await shop.subscribe(await shop.line(FLAT), trial=14)
    assert trial.trial_ends_at is not None
    until = trial.trial_ends_at + 10 * DAY
    for _ in range(2):
        await shop.provider.extend_trial(trial.id, until, "extend-1")
    shop.world.advance(15 * DAY)
    assert ((await shop.only()).status, (await shop.only()).trial_ends_at) == ("trialing", until)
    shop.world.advance(10 * DAY)
    state = await shop.provider.fetch_customer(shop.customer)
    assert state.subscriptions[0].status == "active"
    assert [invoice.paid for invoice in state.invoices if invoice.total] == [FLAT.amount]
    with pytest.raises(ProviderRefused) as caught:
        await shop.provider.extend_trial(trial.id, until + 10 * DAY, "extend-2")
    assert caught.value.kind == "subscription"


async def start_transfer(shop: Shop, days: int = 14) -> str:
    order = TransferOrder(
        customer_id=shop.customer, lines=(await shop.line(FLAT),), days_until_due=days, key="transfer-1"
    )
    return await shop.provider.start_transfer_subscription(order)


async def test_transfer_subscription_is_active_and_charges_nothing(shop: Shop) -> None:
    subscription_id = await start_transfer(shop)
    assert await start_transfer(shop) == subscription_id
    shop.world.advance(A_WHILE)
    state = await shop.provider.fetch_customer(shop.customer)
    (subscription,), (invoice,) = state.subscriptions, state.invoices
    assert (subscription.id, subscription.status, subscription.pays) == (subscription_id, "active", True)
    assert (subscription.days_until_due, invoice.status, invoice.due) == (14, "open", FLAT.amount)
    assert invoice.due_at == invoice.created_at + 14 * DAY


async def test_transfer_subscription_is_refused_beside_another_one(shop: Shop) -> None:
    await shop.subscribe(await shop.line(FLAT))
    with pytest.raises(ProviderRefused) as caught:
        await start_transfer(shop)
    assert caught.value.code == SUBSCRIBED


async def test_overdue_transfer_is_past_due_until_it_is_marked_as_paid(shop: Shop) -> None:
    await start_transfer(shop)
    shop.world.advance(13 * DAY)
    assert (await shop.only()).status == "active"
    shop.world.advance(2 * DAY)
    overdue = await shop.only()
    (invoice,) = (await shop.provider.fetch_customer(shop.customer)).invoices
    assert (overdue.status, overdue.failed_since) == ("past_due", invoice.due_at)
    for _ in range(2):
        await shop.provider.mark_paid(invoice.id, "paid-1")
    state = await shop.provider.fetch_customer(shop.customer)
    assert (state.subscriptions[0].status, state.invoices[0].status) == ("active", "paid")
    assert state.invoices[0].paid == FLAT.amount


async def test_invoice_that_was_charged_is_not_marked_as_paid(shop: Shop) -> None:
    await shop.subscribe(await shop.line(FLAT))
    (invoice,) = (await shop.provider.fetch_customer(shop.customer)).invoices
    with pytest.raises(ProviderRefused):
        await shop.provider.mark_paid(invoice.id, "paid-1")
