"""Tiered prices, compared with amounts computed by hand."""

from typing import Any

import pytest

from shared.dev.stripe_sandbox import prices
from shared.dev.stripe_sandbox.amounts import compute_cost
from shared.dev.stripe_sandbox.store import Sandbox
from tests.dev.stripe_sandbox.suite.stand import SdkMerchant

# 5 cents each for the first 100, 3 up to 1,000, 1 and a fee of 20.00 beyond
GRADUATED = [
    {"up_to": 100, "unit_amount": 5},
    {"up_to": 1000, "unit_amount": 3},
    {"up_to": "inf", "unit_amount": 1, "flat_amount": 2000},
]
FEE = [{"up_to": 10, "unit_amount": 0, "flat_amount": 900}, {"up_to": "inf", "unit_amount_decimal": "0.25"}]


@pytest.mark.parametrize(
    ("tiers", "mode", "used", "amount"),
    [
        (GRADUATED, "graduated", 0, 0),
        (GRADUATED, "graduated", 100, 500),
        (GRADUATED, "graduated", 101, 503),
        (GRADUATED, "graduated", 1000, 3200),
        (GRADUATED, "graduated", 1001, 5201),
        (GRADUATED, "graduated", 1500, 5700),
        (GRADUATED, "volume", 0, 0),
        (GRADUATED, "volume", 100, 500),
        (GRADUATED, "volume", 101, 303),
        (GRADUATED, "volume", 1000, 3000),
        (GRADUATED, "volume", 1001, 3001),
        (FEE, "graduated", 0, 900),
        (FEE, "graduated", 10, 900),
        (FEE, "graduated", 11, 900),  # a quarter of a cent
        (FEE, "graduated", 12, 901),  # half a cent, away from zero
        (FEE, "graduated", 1010, 1150),
        (FEE, "volume", 10, 900),
        (FEE, "volume", 1010, 253),  # 252.5
    ],
)
def test_tiered_quantity_costs_the_computed_amount(
    tiers: list[Any], mode: str, used: int, amount: int
) -> None:
    account = Sandbox().get_account("sk_test_tiers")
    recurring = {"interval": "month"}
    params = {
        "currency": "usd",
        "product_data": {"name": "Calls"},
        "recurring": recurring,
        "billing_scheme": "tiered",
    }
    assert (
        compute_cost(prices.add_price(account, {**params, "tiers_mode": mode, "tiers": tiers}), used)
        == amount
    )


@pytest.mark.parametrize(
    ("mode", "lines"), [("graduated", [(100, 500), (400, 1200)]), ("volume", [(500, 1500)])]
)
def test_metered_tiers_are_listed_on_the_invoice(merchant: SdkMerchant, mode: str, lines: list[Any]) -> None:
    clock = merchant.create_clock("2025-01-01")
    customer, meter = merchant.create_customer(clock), merchant.create_meter()
    price = merchant.create_metered_price(meter, billing_scheme="tiered", tiers_mode=mode, tiers=GRADUATED)
    subscription = merchant.subscribe(customer, price)
    merchant.report_usage(meter, customer, 500)
    merchant.advance_clock(clock, "2025-02-01 02:00")
    invoice = merchant.reload_subscription(subscription).latest_invoice
    assert merchant.list_lines(invoice) == lines
    assert invoice.amount_paid == sum(amount for _, amount in lines)


def test_seats_are_priced_by_tiers(merchant: SdkMerchant) -> None:
    tiers = [{"up_to": 5, "flat_amount": 5000}, {"up_to": "inf", "unit_amount": 800}]
    recurring = {"interval": "month"}
    price = merchant.v1.prices.create(
        {
            "currency": "usd",
            "product_data": {"name": "Team"},
            "recurring": recurring,
            "billing_scheme": "tiered",
            "tiers_mode": "graduated",
            "tiers": tiers,
        }
    )
    subscription = merchant.subscribe(merchant.create_customer(), (price, 8))
    assert merchant.reload_subscription(subscription).latest_invoice.amount_paid == 5000 + 3 * 800
    reloaded = merchant.v1.prices.retrieve(price.id)
    assert "tiers" not in reloaded
    reloaded = merchant.v1.prices.retrieve(price.id, {"expand": ["tiers"]})
    assert [tier.up_to for tier in reloaded.tiers] == [5, None]


def test_packages_are_rounded_up(merchant: SdkMerchant) -> None:
    price = merchant.create_price(100, transform_quantity={"divide_by": 10, "round": "up"})
    subscription = merchant.subscribe(merchant.create_customer(), (price, 21))
    assert merchant.reload_subscription(subscription).latest_invoice.amount_paid == 300


def test_three_plans_over_three_periods_cost_the_computed_amounts(merchant: SdkMerchant) -> None:
    """Seats, usage, and both; January has 31 days, February 28, March 31."""
    clock = merchant.create_clock("2025-01-01")
    customer, meter = merchant.create_customer(clock), merchant.create_meter()
    seat, call = merchant.create_price(1500), merchant.create_metered_price(meter, 2)
    plans = [
        merchant.subscribe(customer, (seat, 4)),
        merchant.subscribe(customer, call),
        merchant.subscribe(customer, (seat, 2), call),
    ]
    billed: list[list[int]] = [[6000], [], [3000]]
    merchant.report_usage(meter, customer, 1_000)
    for month, change in (("02", 6), ("03", 3), ("04", None)):
        merchant.advance_clock(clock, f"2025-{month}-01 02:00")
        for totals, subscription in zip(billed, plans, strict=True):
            totals.append(merchant.reload_subscription(subscription).latest_invoice.total)
        if change:
            merchant.advance_clock(clock, f"2025-{month}-15")
            for subscription in (plans[0], plans[2]):
                seats = {"id": subscription["items"].data[0].id, "quantity": change}
                merchant.v1.subscriptions.update(subscription.id, {"items": [seats]})
            merchant.report_usage(meter, customer, 500)
    # February: on the 15th 14 of 28 days are left: 2 more seats cost 1,500, 4 more 3,000.
    # March: 17 of 31 days are left: of 9,000 remain 4,935 (4935.48), and of 4,500 2,468 (2467.74): 2,467 are given back.
    assert billed == [
        [6000, 6000, 9000 + 1500, 4500 - 2467],
        [2000, 1000, 1000],
        [3000, 3000 + 2000, 9000 + 3000 + 1000, 4500 - 2467 + 1000],
    ]
