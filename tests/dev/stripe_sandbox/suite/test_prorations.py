"""To the second and to the cent: every figure here was computed by hand, from Stripe's rule.

January 2025 has 2,678,400 seconds. What is left at noon of the 16th is exactly half; on the 11th at 00:00 it is
21/31, on the 21st 11/31.
"""

from copy import deepcopy
from typing import Any

import pytest
import stripe

from shared.dev.stripe_sandbox.store import Account
from tests.dev.stripe_sandbox.suite.stand import SdkMerchant, to_timestamp

START, HALF = "2025-01-01", "2025-01-16 12:00"


def start_subscription(merchant: SdkMerchant, *items: Any, until: str = HALF) -> tuple[Any, Any]:
    clock = merchant.create_clock(START)
    subscription = merchant.subscribe(merchant.create_customer(clock), *items)
    merchant.advance_clock(clock, until)
    return clock, subscription


def get_item_id(subscription: Any, number: int = 0) -> str:
    item_id: str = subscription["items"].data[number].id
    return item_id


@pytest.mark.parametrize(
    ("amount", "seats", "until", "then", "credit", "charge"),
    [
        (2000, 3, HALF, 5, -3000, 5000),
        (2000, 5, HALF, 3, -5000, 3000),
        (1000, 1, "2025-01-11", 2, -677, 1355),  # 677.4 and 1354.8
        (1000, 1, "2025-01-21", 2, -355, 710),  # 354.8 and 709.7
        (999, 7, "2025-01-11", 8, -4737, 5414),  # 6993 and 7992 times 21/31: 4737.19, 5413.94
        (1, 1, HALF, 2, -1, 1),  # half a cent is rounded away from zero
        (2000, 2, "2025-01-31 23:59:59", 90, 0, 0),  # a second costs 0.07 cents
    ],
)
def test_changed_quantity_is_prorated_to_the_second(
    merchant: SdkMerchant, amount: int, seats: int, until: str, then: int, credit: int, charge: int
) -> None:
    _, subscription = start_subscription(merchant, (merchant.create_price(amount), seats), until=until)
    change = {"items": [{"id": get_item_id(subscription), "quantity": then}]}
    merchant.v1.subscriptions.update(subscription.id, change)
    invoice_items = merchant.v1.invoice_items.list({"customer": subscription.customer, "pending": True}).data[
        ::-1
    ]
    assert [invoice_item.amount for invoice_item in invoice_items] == [
        amount for amount in (credit, charge) if amount
    ]
    assert all(invoice_item.proration for invoice_item in invoice_items)


def test_pending_prorations_are_billed_with_the_next_invoice(merchant: SdkMerchant) -> None:
    clock, subscription = start_subscription(merchant, (merchant.create_price(2000), 3))
    merchant.v1.subscriptions.update(
        subscription.id, {"items": [{"id": get_item_id(subscription), "quantity": 5}]}
    )
    preview = merchant.v1.invoices.create_preview({"subscription": subscription.id})
    merchant.advance_clock(clock, "2025-02-01 02:00")
    invoice = merchant.reload_subscription(subscription).latest_invoice
    assert (
        merchant.list_lines(invoice) == merchant.list_lines(preview) == [(5, 10_000), (3, -3000), (5, 5000)]
    )
    assert invoice.amount_paid == preview.amount_due == 12_000
    line = invoice.lines.data[1]
    assert line.description == "Unused time on 3 × Seats after 16 Jan 2025"
    assert line.parent.subscription_item_details.proration
    assert (line.period.start, line.period.end) == (to_timestamp(HALF), to_timestamp("2025-02-01"))
    assert line.pricing.price_details.price == subscription["items"].data[0].price.id


def test_proration_is_billed_at_once_or_not_at_all(merchant: SdkMerchant) -> None:
    _, subscription = start_subscription(merchant, (merchant.create_price(2000), 3))
    increase = {"items": [{"id": get_item_id(subscription), "quantity": 4}]}
    preview = merchant.v1.invoices.create_preview(
        {
            "subscription": subscription.id,
            "subscription_details": {**increase, "proration_behavior": "always_invoice"},
        }
    )
    assert merchant.reload_subscription(subscription)["items"].data[0].quantity == 3  # nothing happened
    merchant.v1.subscriptions.update(subscription.id, {**increase, "proration_behavior": "always_invoice"})
    invoice = merchant.reload_subscription(subscription).latest_invoice
    assert (invoice.billing_reason, invoice.status, invoice.amount_paid) == (
        "subscription_update",
        "paid",
        1000,
    )
    assert merchant.list_lines(invoice) == merchant.list_lines(preview) == [(3, -3000), (4, 4000)]
    decrease = {"items": [{"id": get_item_id(subscription), "quantity": 1}], "proration_behavior": "none"}
    merchant.v1.subscriptions.update(subscription.id, decrease)
    assert merchant.v1.invoice_items.list({"customer": subscription.customer, "pending": True}).data == []


def test_credit_is_limited_to_what_was_charged(merchant: SdkMerchant) -> None:
    """After a change without proration, the rest of the period was paid at the old quantity."""
    _, subscription = start_subscription(merchant, (merchant.create_price(2000), 3))
    increase = {"items": [{"id": get_item_id(subscription), "quantity": 10}]}
    merchant.v1.subscriptions.update(subscription.id, {**increase, "proration_behavior": "none"})
    merchant.v1.subscriptions.update(
        subscription.id, {"items": [{"id": get_item_id(subscription), "quantity": 1}]}
    )
    invoice_items = merchant.v1.invoice_items.list({"customer": subscription.customer, "pending": True}).data[
        ::-1
    ]
    assert [invoice_item.amount for invoice_item in invoice_items] == [-3000, 1000]


def test_reduced_quantity_leaves_credit_for_later_invoices(merchant: SdkMerchant) -> None:
    clock, subscription = start_subscription(merchant, (merchant.create_price(2000), 5))
    change = {
        "items": [{"id": get_item_id(subscription), "quantity": 1}],
        "proration_behavior": "always_invoice",
    }
    merchant.v1.subscriptions.update(subscription.id, change)
    invoice = merchant.reload_subscription(subscription).latest_invoice
    assert (invoice.total, invoice.amount_due, invoice.status) == (-4000, 0, "paid")
    assert merchant.v1.customers.retrieve(subscription.customer).balance == -4000
    merchant.advance_clock(clock, "2025-02-01 02:00")
    invoice = merchant.reload_subscription(subscription).latest_invoice
    assert (invoice.starting_balance, invoice.amount_due, invoice.ending_balance) == (-4000, 0, -2000)
    transactions = merchant.v1.customers.balance_transactions.list(subscription.customer).data
    assert [transaction.amount for transaction in transactions] == [2000, -4000]


def test_changed_price_of_the_same_interval_is_prorated(merchant: SdkMerchant) -> None:
    _, subscription = start_subscription(merchant, (merchant.create_price(1000), 2))
    dearer_price = merchant.create_price(3000)
    change = {"items": [{"id": get_item_id(subscription), "price": dearer_price.id, "quantity": 2}]}
    subscription = merchant.v1.subscriptions.update(subscription.id, change)
    assert subscription["items"].data[0].current_period_end == to_timestamp("2025-02-01")
    invoice_items = merchant.v1.invoice_items.list({"customer": subscription.customer, "pending": True}).data[
        ::-1
    ]
    assert [invoice_item.amount for invoice_item in invoice_items] == [-1000, 3000]
    change = {"items": [{"id": get_item_id(subscription), "price": merchant.create_price(500).id}]}
    assert merchant.v1.subscriptions.update(subscription.id, change)["items"].data[0].quantity == 1


def test_change_from_month_to_year_starts_a_new_period(merchant: SdkMerchant) -> None:
    _, subscription = start_subscription(merchant, (merchant.create_price(2000), 3))
    change = {
        "items": [
            {
                "id": get_item_id(subscription),
                "price": merchant.create_price(20_000, interval="year").id,
                "quantity": 3,
            }
        ]
    }
    subscription = merchant.v1.subscriptions.update(subscription.id, change)
    changed_item = subscription["items"].data[0]
    assert (changed_item.current_period_start, changed_item.current_period_end) == (
        to_timestamp(HALF),
        to_timestamp("2026-01-16 12:00"),
    )
    assert subscription.billing_cycle_anchor == to_timestamp(HALF)
    invoice = merchant.reload_subscription(subscription).latest_invoice
    assert merchant.list_lines(invoice) == [(3, 60_000), (3, -3000)]
    assert invoice.amount_paid == 57_000


def test_change_from_free_to_paid_starts_a_new_period(merchant: SdkMerchant) -> None:
    _, subscription = start_subscription(merchant, merchant.create_price(0))
    change = {"items": [{"id": get_item_id(subscription), "price": merchant.create_price(900).id}]}
    subscription = merchant.v1.subscriptions.update(subscription.id, change)
    assert subscription["items"].data[0].current_period_start == to_timestamp(HALF)
    assert merchant.reload_subscription(subscription).latest_invoice.amount_paid == 900


def test_billing_anchor_moved_to_now_starts_a_new_period(merchant: SdkMerchant) -> None:
    _, subscription = start_subscription(merchant, (merchant.create_price(2000), 1))
    merchant.v1.subscriptions.update(subscription.id, {"billing_cycle_anchor": {"type": "now"}})
    invoice = merchant.reload_subscription(subscription).latest_invoice
    assert merchant.list_lines(invoice) == [(1, 2000), (1, -1000)]


def test_billing_anchor_in_the_future_prorates_the_first_period(merchant: SdkMerchant) -> None:
    clock = merchant.create_clock(HALF)
    customer, price = merchant.create_customer(clock), merchant.create_price(2000)
    anchor = to_timestamp("2025-02-01")
    subscription = merchant.subscribe(customer, price, billing_cycle_anchor=anchor)
    assert merchant.reload_subscription(subscription).latest_invoice.amount_paid == 1000
    free = merchant.subscribe(customer, price, billing_cycle_anchor=anchor, proration_behavior="none")
    assert free.status == "active"
    merchant.advance_clock(clock, "2025-02-01 02:00")
    assert merchant.reload_subscription(subscription).latest_invoice.amount_paid == 2000
    assert merchant.reload_subscription(free).latest_invoice.amount_paid == 2000


def test_added_and_removed_items_are_prorated(merchant: SdkMerchant) -> None:
    _, subscription = start_subscription(merchant, (merchant.create_price(2000), 1))
    addon = merchant.v1.subscription_items.create(
        {"subscription": subscription.id, "price": merchant.create_price(500).id, "quantity": 2}
    )
    merchant.v1.subscription_items.update(addon.id, {"quantity": 4})
    merchant.v1.subscription_items.delete(addon.id)
    invoice_items = merchant.v1.invoice_items.list({"customer": subscription.customer, "pending": True}).data[
        ::-1
    ]
    assert [invoice_item.amount for invoice_item in invoice_items] == [500, -500, 1000, -1000]
    with pytest.raises(stripe.InvalidRequestError, match="at least one item"):
        merchant.v1.subscription_items.delete(get_item_id(subscription))


def test_usage_of_a_removed_item_is_billed(merchant: SdkMerchant) -> None:
    clock, subscription = start_subscription(merchant, (merchant.create_price(2000), 1), until="2025-01-02")
    meter = merchant.create_meter()
    customer = merchant.v1.customers.retrieve(subscription.customer)
    merchant.report_usage(meter, customer, 1_000)  # before there was a price for it
    merchant.advance_clock(clock, "2025-01-03")
    calls = merchant.v1.subscription_items.create(
        {"subscription": subscription.id, "price": merchant.create_metered_price(meter, 10).id}
    )
    assert "quantity" not in calls
    merchant.report_usage(meter, customer, 30)
    merchant.advance_clock(clock, HALF)
    merchant.v1.subscription_items.delete(calls.id)
    merchant.advance_clock(clock, "2025-02-01 02:00")
    assert merchant.list_lines(merchant.reload_subscription(subscription).latest_invoice) == [
        (1, 2000),
        (30, 300),
    ]


def test_added_metered_item_counts_from_its_start(merchant: SdkMerchant) -> None:
    clock, subscription = start_subscription(merchant, (merchant.create_price(2000), 1), until="2025-01-05")
    meter = merchant.create_meter()
    customer = merchant.v1.customers.retrieve(subscription.customer)
    merchant.report_usage(meter, customer, 1_000, to_timestamp("2025-01-04"))
    merchant.v1.subscription_items.create(
        {"subscription": subscription.id, "price": merchant.create_metered_price(meter, 10).id}
    )
    merchant.report_usage(meter, customer, 7)
    merchant.advance_clock(clock, "2025-02-01 02:00")
    invoice = merchant.reload_subscription(subscription).latest_invoice
    assert merchant.list_lines(invoice) == [(1, 2000), (7, 70)]
    assert invoice.lines.data[1].period.start == to_timestamp("2025-01-05")


def test_preview_shows_the_amounts_and_changes_nothing(merchant: SdkMerchant, account: Account) -> None:
    clock, subscription = start_subscription(merchant, (merchant.create_price(2000), 3), until="2025-01-10")
    customer, meter = subscription.customer, merchant.create_meter()
    merchant.v1.subscription_items.create(
        {"subscription": subscription.id, "price": merchant.create_metered_price(meter, 10).id}
    )
    merchant.report_usage(meter, merchant.v1.customers.retrieve(customer), 4)
    merchant.advance_clock(clock, HALF)
    yearly_price = merchant.create_price(20_000, interval="year")
    objects_before = {
        kind: deepcopy(objects) for kind, objects in account.objects.items() if kind != "_idempotency"
    }

    def preview(**params: Any) -> list[tuple[int, int]]:
        return merchant.list_lines(merchant.v1.invoices.create_preview(params))

    def preview_change(**details: Any) -> list[tuple[int, int]]:
        return preview(subscription=subscription.id, subscription_details=details)

    assert preview(subscription=subscription.id) == [(3, 6000), (4, 40)]
    assert preview_change(items=[{"id": get_item_id(subscription), "quantity": 5}]) == [
        (5, 10_000),
        (4, 40),
        (3, -3000),
        (5, 5000),
    ]
    assert preview_change(
        items=[{"id": get_item_id(subscription), "price": yearly_price.id, "quantity": 1}]
    ) == [
        (1, 20_000),
        (3, -3000),
        (4, 40),
    ]
    assert preview_change(cancel_now=True) == [(3, -3000), (4, 40)]
    assert preview(subscription=subscription.id, preview_mode="recurring") == [(3, 6000), (4, 40)]
    assert preview(customer=customer, subscription_details={"items": [{"price": yearly_price.id}]}) == [
        (1, 20_000)
    ]
    with pytest.raises(stripe.InvalidRequestError) as excinfo:
        preview_change(cancel_at_period_end=True)
    assert excinfo.value.code == "invoice_upcoming_none"
    assert {kind: account.objects[kind] for kind in objects_before} == objects_before


def test_proration_date_fixes_the_preview(merchant: SdkMerchant) -> None:
    clock, subscription = start_subscription(merchant, (merchant.create_price(2000), 3))
    details = {
        "items": [{"id": get_item_id(subscription), "quantity": 5}],
        "proration_behavior": "always_invoice",
        "proration_date": to_timestamp(HALF),
    }
    preview = merchant.v1.invoices.create_preview(
        {"subscription": subscription.id, "subscription_details": details}
    )
    assert preview.parent.subscription_details.subscription_proration_date == to_timestamp(HALF)
    assert preview.id.startswith("upcoming_in_")
    merchant.advance_clock(clock, to_timestamp(HALF) + 3000)  # the person thought about it
    merchant.v1.subscriptions.update(subscription.id, details)
    assert merchant.reload_subscription(subscription).latest_invoice.amount_paid == preview.amount_due == 2000


def test_items_of_different_intervals_are_billed_together(merchant: SdkMerchant) -> None:
    clock = merchant.create_clock(START)
    customer, meter = merchant.create_customer(clock), merchant.create_meter()
    subscription = merchant.subscribe(
        customer,
        (merchant.create_price(20_000, interval="year"), 2),
        merchant.create_metered_price(meter, 10),
    )
    merchant.report_usage(meter, customer, 50)
    merchant.advance_clock(clock, "2025-02-01 02:00")
    subscription = merchant.reload_subscription(subscription)
    assert merchant.list_lines(subscription.latest_invoice) == [(50, 500)]
    period_ends = [subscription_item.current_period_end for subscription_item in subscription["items"].data]
    assert period_ends == [to_timestamp("2026-01-01"), to_timestamp("2025-03-01")]


def test_refused_item_change_leaves_the_subscription_unchanged(merchant: SdkMerchant) -> None:
    _, subscription = start_subscription(merchant, (merchant.create_price(2000), 1))
    merchant.set_card(merchant.v1.customers.retrieve(subscription.customer), "pm_card_chargeCustomerFail")
    change = {
        "items": [{"id": get_item_id(subscription), "quantity": 9}],
        "proration_behavior": "always_invoice",
        "payment_behavior": "error_if_incomplete",
    }
    with pytest.raises(stripe.CardError):
        merchant.v1.subscriptions.update(subscription.id, change)
    assert merchant.reload_subscription(subscription)["items"].data[0].quantity == 1
    del change["payment_behavior"]
    assert merchant.v1.subscriptions.update(subscription.id, change).status == "past_due"


@pytest.mark.parametrize(
    ("coupon", "first_total", "credit", "charge"),
    [
        ({"percent_off": 50, "duration": "forever"}, 1000, -500, 1500),
        ({"percent_off": 50, "duration": "once"}, 1000, -500, 3000),  # used up by the first invoice
        ({"amount_off": 500, "currency": "usd", "duration": "forever"}, 1500, -750, 2750),
    ],
    ids=["percentage", "percentage used up", "amount"],
)
def test_change_of_a_discounted_subscription_credits_what_was_charged(
    merchant: SdkMerchant, coupon: dict[str, Any], first_total: int, credit: int, charge: int
) -> None:
    """Of one seat at 20.00 to three, in the middle of the period: the credit is half of what the first invoice took.

    https://docs.stripe.com/billing/subscriptions/billing-mode/compare
    """
    clock = merchant.create_clock(START)
    discounts = [{"coupon": merchant.v1.coupons.create(coupon).id}]
    customer, price = merchant.create_customer(clock), merchant.create_price(2000)
    subscription = merchant.subscribe(customer, (price, 1), discounts=discounts)
    assert merchant.reload_subscription(subscription).latest_invoice.total == first_total
    merchant.advance_clock(clock, HALF)
    change = {"items": [{"id": get_item_id(subscription), "quantity": 3}]}
    merchant.v1.subscriptions.update(subscription.id, change)
    invoice_items = merchant.v1.invoice_items.list({"customer": customer.id, "pending": True}).data[::-1]
    assert [item.amount for item in invoice_items] == [credit, charge]
    assert not any(item.discountable for item in invoice_items), (
        "or the next invoice would discount them again"
    )


def test_discount_of_an_amount_is_spread_over_the_items(merchant: SdkMerchant) -> None:
    """10.00 and 30.00 less 4.00: the first was charged 9.00, of which half is left."""
    clock = merchant.create_clock(START)
    coupon = merchant.v1.coupons.create({"amount_off": 400, "currency": "usd", "duration": "forever"})
    small, large = merchant.create_price(1000), merchant.create_price(3000)
    subscription = merchant.subscribe(
        merchant.create_customer(clock), (small, 1), (large, 1), discounts=[{"coupon": coupon.id}]
    )
    merchant.advance_clock(clock, HALF)
    change = {"items": [{"id": get_item_id(subscription), "deleted": True}]}
    merchant.v1.subscriptions.update(subscription.id, change)
    (invoice_item,) = merchant.v1.invoice_items.list(
        {"customer": subscription.customer, "pending": True}
    ).data
    assert invoice_item.amount == -450
