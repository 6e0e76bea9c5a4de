"""Plans that are sold in several currencies: what a customer sees and can order, and what operators set."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from shared.billing.pricing import price_sync, prices
from shared.billing.subscriptions import checkout, overview
from shared.core.errors import Conflict, Invalid
from tenant_app.pages.billing.addon_rows import addon_rows
from tenant_app.pages.billing.plan_rows import plan_rows
from tests.billing.test_selling import subscribe_person
from tests.conftest import Cast, Person
from tests.support.billing import shared_provider, sold_plans
from tests.support.billing.memory_provider import MemoryProvider

EUR_FLAT = {"amount": 2_500, "currency": "eur", "tax_behavior": "inclusive"}


@pytest.fixture
async def seller() -> AsyncIterator[MemoryProvider]:
    yield await shared_provider.install_provider()
    shared_provider.remove_provider()


async def sell_to(cast: Cast, person: Person, *parts: dict[str, Any]) -> str:
    """A plan that only this person's tenant can buy, so that nobody else's price list changes."""
    assert person is cast.gil
    version = await sold_plans.publish_with_prices(cast, *parts, for_tenant=cast.globex)
    assert (await price_sync.push_prices("operator")).failures == ()
    return version.id


async def get_overview(person: Person, currency: str = "") -> overview.BillingOverview:
    async with person.ctx() as ctx:
        return await overview.get_overview(ctx, currency)


async def prepare(person: Person, version_id: str, currency: str = "") -> checkout.CheckoutRequest:
    async with person.ctx() as ctx:
        return await checkout.prepare(ctx, version_id, "month", currency=currency)


def find_card(billing: overview.BillingOverview, version_id: str) -> Any:
    return next(row for row in plan_rows(billing, "month", "") if row.id == version_id)


async def test_new_customer_chooses_the_currency_of_the_plan_cards_and_the_order(
    cast: Cast, seller: MemoryProvider
) -> None:
    await cast.gil.gets("free")
    version_id = await sell_to(cast, cast.gil, {"amount": 2_900}, EUR_FLAT)
    billing = await get_overview(cast.gil)
    assert (billing.shown_currency, billing.currency_choices) == ("usd", ("usd", "eur"))
    assert find_card(billing, version_id).price_text == "$29"
    in_euros = await get_overview(cast.gil, "eur")
    assert find_card(in_euros, version_id).price_text == "€25"
    for currency, amount in (("", 2_900), ("eur", 2_500)):
        (line,) = (await prepare(cast.gil, version_id, currency)).lines
        assert seller.offers[line.external_price_id].tag.amount == amount
        assert seller.offers[line.external_price_id].tag.currency == (currency or "usd")


async def test_plan_without_a_price_in_the_currency_says_so_with_the_next_step(
    cast: Cast, seller: MemoryProvider
) -> None:
    await cast.gil.gets("free")
    await sell_to(cast, cast.gil, EUR_FLAT)
    in_euros = await get_overview(cast.gil, "eur")
    card = find_card(in_euros, "plv_starter_1")
    assert (card.price_text, card.action_label) == ("Not in EUR", "")
    assert card.note == "USD only. Contact sales."
    addon = next(row for row in addon_rows(in_euros, "month") if row.id == "plv_extra_seats_1")
    assert (addon.cost, addon.refusal) == ("Not in EUR", "USD only. Contact sales.")
    with pytest.raises(Conflict, match=r"Starter isn’t sold in EUR.*"):
        await prepare(cast.gil, "plv_starter_1", "eur")


async def test_customer_who_paid_once_keeps_the_currency(cast: Cast, seller: MemoryProvider) -> None:
    await subscribe_person(seller, cast.gil)
    version_id = await sell_to(cast, cast.gil, EUR_FLAT)
    billing = await get_overview(cast.gil, "eur")
    assert (billing.shown_currency, billing.currency_choices) == ("usd", ())
    assert find_card(billing, version_id).note == "EUR only. Contact sales."


async def test_order_in_another_currency_than_the_customers_is_refused(
    cast: Cast, seller: MemoryProvider
) -> None:
    """An earlier tab can still show the prices to choose from."""
    deal = await subscribe_person(seller, cast.gil)
    await seller.cancel_subscription(deal, at_period_end=False, key=f"end-{deal}")
    assert await shared_provider.return_from_provider(cast.gil)
    version_id = await sell_to(cast, cast.gil, EUR_FLAT)
    with pytest.raises(Conflict, match="pays in USD"):
        await prepare(cast.gil, version_id, "eur")


async def test_price_in_a_second_currency_is_another_part_of_the_price_list(cast: Cast) -> None:
    version = await sold_plans.publish_with_prices(cast, {"amount": 2_900}, EUR_FLAT, for_tenant=cast.acme)
    euro = await sold_plans.set_price(cast, version.id, amount=2_600, currency="eur")
    assert prices.format_price_with_tax(euro) == "€26.00"
    with pytest.raises(Conflict, match="already has this price"):
        await sold_plans.set_price(cast, version.id, amount=2_600, currency="eur")
    inclusive = await sold_plans.set_price(
        cast, version.id, amount=2_600, currency="eur", tax_behavior="inclusive"
    )
    assert prices.format_price_with_tax(inclusive) == "€26.00, tax included"


@pytest.mark.parametrize(
    ("price", "message"),
    [
        ({"currency": "kwd", "amount": 5_001}, "multiples of KWD 0.010"),
        ({"tax_behavior": "sometimes"}, "includes tax or doesn’t"),
    ],
    ids=["a fils too fine", "unknown tax behavior"],
)
async def test_price_that_could_not_be_billed_is_refused(
    cast: Cast, price: dict[str, Any], message: str
) -> None:
    with pytest.raises(Invalid, match=message):
        await sold_plans.set_price(cast, "plv_starter_1", **{"amount": 2_000, **price})
