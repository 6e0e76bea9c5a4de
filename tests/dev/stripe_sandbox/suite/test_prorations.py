"""To the second and to the cent: every figure here was computed by hand, from Stripe's rule.

January 2025 has 2,678,400 seconds. What is left at noon of the 16th is exactly half; on the 11th at 00:00 it is
21/31, on the 21st 11/31.
"""

from copy import deepcopy
from typing import Any

import pytest
import stripe

from shared.dev.stripe_sandbox.store import Account
from tests.dev.stripe_sandbox.suite.stand import Shop, at

START, HALF = "2025-01-01", "2025-01-16 12:00"


def begun(shop: Shop, *items: Any, until: str = HALF) -> tuple[Any, Any]:
    clock = shop.clock(START)
    subscription = shop.subscribe(shop.customer(clock), *items)
    shop.advance(clock, until)
    return clock, subscription


def item(subscription: Any, number: int = 0) -> str:
    found: str = subscription["items"].data[number].id
    return found


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
def test_seats(shop: Shop, amount: int, seats: int, until: str, then: int, credit: int, charge: int) -> None:
    _, subscription = begun(shop, (shop.price(amount), seats), until=until)
    change = {"items": [{"id": item(subscription), "quantity": then}]}
    shop.v1.subscriptions.update(subscription.id, change)
    found = shop.v1.invoice_items.list({"customer": subscription.customer, "pending": True}).data[::-1]
    assert [one.amount for one in found] == [one for one in (credit, charge) if one]
    assert all(one.proration for one in found)


def test_pending_prorations_wait_for_the_next_invoice(shop: Shop) -> None:
    clock, subscription = begun(shop, (shop.price(2000), 3))
    shop.v1.subscriptions.update(subscription.id, {"items": [{"id": item(subscription), "quantity": 5}]})
    preview = shop.v1.invoices.create_preview({"subscription": subscription.id})
    shop.advance(clock, "2025-02-01 02:00")
    invoice = shop.again(subscription).latest_invoice
    assert shop.lines(invoice) == shop.lines(preview) == [(5, 10_000), (3, -3000), (5, 5000)]
    assert invoice.amount_paid == preview.amount_due == 12_000
    line = invoice.lines.data[1]
    assert line.description == "Unused time on 3 × Seats after 16 Jan 2025"
    assert line.parent.subscription_item_details.proration
    assert (line.period.start, line.period.end) == (at(HALF), at("2025-02-01"))
    assert line.pricing.price_details.price == subscription["items"].data[0].price.id


def test_billed_at_once_or_not_at_all(shop: Shop) -> None:
    _, subscription = begun(shop, (shop.price(2000), 3))
    more = {"items": [{"id": item(subscription), "quantity": 4}]}
    preview = shop.v1.invoices.create_preview(
        {
            "subscription": subscription.id,
            "subscription_details": {**more, "proration_behavior": "always_invoice"},
        }
    )
    assert shop.again(subscription)["items"].data[0].quantity == 3  # nothing happened
    shop.v1.subscriptions.update(subscription.id, {**more, "proration_behavior": "always_invoice"})
    invoice = shop.again(subscription).latest_invoice
    assert (invoice.billing_reason, invoice.status, invoice.amount_paid) == (
        "subscription_update",
        "paid",
        1000,
    )
    assert shop.lines(invoice) == shop.lines(preview) == [(3, -3000), (4, 4000)]
    less = {"items": [{"id": item(subscription), "quantity": 1}], "proration_behavior": "none"}
    shop.v1.subscriptions.update(subscription.id, less)
    assert shop.v1.invoice_items.list({"customer": subscription.customer, "pending": True}).data == []


def test_credit_is_for_what_was_charged(shop: Shop) -> None:
    """After a change without proration, the rest of the period was paid at the old quantity."""
    _, subscription = begun(shop, (shop.price(2000), 3))
    ten = {"items": [{"id": item(subscription), "quantity": 10}]}
    shop.v1.subscriptions.update(subscription.id, {**ten, "proration_behavior": "none"})
    shop.v1.subscriptions.update(subscription.id, {"items": [{"id": item(subscription), "quantity": 1}]})
    found = shop.v1.invoice_items.list({"customer": subscription.customer, "pending": True}).data[::-1]
    assert [one.amount for one in found] == [-3000, 1000]


def test_less_leaves_credit_for_later_invoices(shop: Shop) -> None:
    clock, subscription = begun(shop, (shop.price(2000), 5))
    change = {"items": [{"id": item(subscription), "quantity": 1}], "proration_behavior": "always_invoice"}
    shop.v1.subscriptions.update(subscription.id, change)
    invoice = shop.again(subscription).latest_invoice
    assert (invoice.total, invoice.amount_due, invoice.status) == (-4000, 0, "paid")
    assert shop.v1.customers.retrieve(subscription.customer).balance == -4000
    shop.advance(clock, "2025-02-01 02:00")
    invoice = shop.again(subscription).latest_invoice
    assert (invoice.starting_balance, invoice.amount_due, invoice.ending_balance) == (-4000, 0, -2000)
    moved = shop.v1.customers.balance_transactions.list(subscription.customer).data
    assert [one.amount for one in moved] == [2000, -4000]


def test_another_price_of_the_same_interval(shop: Shop) -> None:
    _, subscription = begun(shop, (shop.price(1000), 2))
    dear = shop.price(3000)
    change = {"items": [{"id": item(subscription), "price": dear.id, "quantity": 2}]}
    subscription = shop.v1.subscriptions.update(subscription.id, change)
    assert subscription["items"].data[0].current_period_end == at("2025-02-01")
    found = shop.v1.invoice_items.list({"customer": subscription.customer, "pending": True}).data[::-1]
    assert [one.amount for one in found] == [-1000, 3000]
    change = {"items": [{"id": item(subscription), "price": shop.price(500).id}]}
    assert shop.v1.subscriptions.update(subscription.id, change)["items"].data[0].quantity == 1


def test_from_month_to_year_a_new_period_begins(shop: Shop) -> None:
    _, subscription = begun(shop, (shop.price(2000), 3))
    change = {
        "items": [{"id": item(subscription), "price": shop.price(20_000, interval="year").id, "quantity": 3}]
    }
    subscription = shop.v1.subscriptions.update(subscription.id, change)
    found = subscription["items"].data[0]
    assert (found.current_period_start, found.current_period_end) == (at(HALF), at("2026-01-16 12:00"))
    assert subscription.billing_cycle_anchor == at(HALF)
    invoice = shop.again(subscription).latest_invoice
    assert shop.lines(invoice) == [(3, 60_000), (3, -3000)]
    assert invoice.amount_paid == 57_000


def test_from_free_to_paid_a_new_period_begins(shop: Shop) -> None:
    _, subscription = begun(shop, shop.price(0))
    change = {"items": [{"id": item(subscription), "price": shop.price(900).id}]}
    subscription = shop.v1.subscriptions.update(subscription.id, change)
    assert subscription["items"].data[0].current_period_start == at(HALF)
    assert shop.again(subscription).latest_invoice.amount_paid == 900


def test_the_anchor_can_be_moved_here(shop: Shop) -> None:
    _, subscription = begun(shop, (shop.price(2000), 1))
    shop.v1.subscriptions.update(subscription.id, {"billing_cycle_anchor": {"type": "now"}})
    invoice = shop.again(subscription).latest_invoice
    assert shop.lines(invoice) == [(1, 2000), (1, -1000)]


def test_an_anchor_in_the_future_makes_a_first_part(shop: Shop) -> None:
    clock = shop.clock(HALF)
    customer, price = shop.customer(clock), shop.price(2000)
    anchor = at("2025-02-01")
    subscription = shop.subscribe(customer, price, billing_cycle_anchor=anchor)
    assert shop.again(subscription).latest_invoice.amount_paid == 1000
    free = shop.subscribe(customer, price, billing_cycle_anchor=anchor, proration_behavior="none")
    assert free.status == "active"
    shop.advance(clock, "2025-02-01 02:00")
    assert shop.again(subscription).latest_invoice.amount_paid == 2000
    assert shop.again(free).latest_invoice.amount_paid == 2000


def test_items_come_and_go(shop: Shop) -> None:
    _, subscription = begun(shop, (shop.price(2000), 1))
    addon = shop.v1.subscription_items.create(
        {"subscription": subscription.id, "price": shop.price(500).id, "quantity": 2}
    )
    shop.v1.subscription_items.update(addon.id, {"quantity": 4})
    shop.v1.subscription_items.delete(addon.id)
    found = shop.v1.invoice_items.list({"customer": subscription.customer, "pending": True}).data[::-1]
    assert [one.amount for one in found] == [500, -500, 1000, -1000]
    with pytest.raises(stripe.InvalidRequestError, match="at least one item"):
        shop.v1.subscription_items.delete(item(subscription))


def test_use_of_an_item_that_goes_is_billed(shop: Shop) -> None:
    clock, subscription = begun(shop, (shop.price(2000), 1), until="2025-01-02")
    meter = shop.meter()
    customer = shop.v1.customers.retrieve(subscription.customer)
    shop.use_units(meter, customer, 1_000)  # before there was a price for it
    shop.advance(clock, "2025-01-03")
    calls = shop.v1.subscription_items.create(
        {"subscription": subscription.id, "price": shop.metered(meter, 10).id}
    )
    assert "quantity" not in calls
    shop.use_units(meter, customer, 30)
    shop.advance(clock, HALF)
    shop.v1.subscription_items.delete(calls.id)
    shop.advance(clock, "2025-02-01 02:00")
    assert shop.lines(shop.again(subscription).latest_invoice) == [(1, 2000), (30, 300)]


def test_a_metered_item_counts_from_when_it_was_added(shop: Shop) -> None:
    clock, subscription = begun(shop, (shop.price(2000), 1), until="2025-01-05")
    meter = shop.meter()
    customer = shop.v1.customers.retrieve(subscription.customer)
    shop.use_units(meter, customer, 1_000, at("2025-01-04"))
    shop.v1.subscription_items.create({"subscription": subscription.id, "price": shop.metered(meter, 10).id})
    shop.use_units(meter, customer, 7)
    shop.advance(clock, "2025-02-01 02:00")
    invoice = shop.again(subscription).latest_invoice
    assert shop.lines(invoice) == [(1, 2000), (7, 70)]
    assert invoice.lines.data[1].period.start == at("2025-01-05")


def test_previews_show_what_would_be_and_leave_no_trace(shop: Shop, account: Account) -> None:
    clock, subscription = begun(shop, (shop.price(2000), 3), until="2025-01-10")
    customer, meter = subscription.customer, shop.meter()
    shop.v1.subscription_items.create({"subscription": subscription.id, "price": shop.metered(meter, 10).id})
    shop.use_units(meter, shop.v1.customers.retrieve(customer), 4)
    shop.advance(clock, HALF)
    year = shop.price(20_000, interval="year")
    before = {kind: deepcopy(found) for kind, found in account.objects.items() if kind != "_idempotency"}

    def preview(**sent: Any) -> list[tuple[int, int]]:
        return shop.lines(shop.v1.invoices.create_preview(sent))

    def changed(**details: Any) -> list[tuple[int, int]]:
        return preview(subscription=subscription.id, subscription_details=details)

    assert preview(subscription=subscription.id) == [(3, 6000), (4, 40)]
    assert changed(items=[{"id": item(subscription), "quantity": 5}]) == [
        (5, 10_000),
        (4, 40),
        (3, -3000),
        (5, 5000),
    ]
    assert changed(items=[{"id": item(subscription), "price": year.id, "quantity": 1}]) == [
        (1, 20_000),
        (3, -3000),
        (4, 40),
    ]
    assert changed(cancel_now=True) == [(3, -3000), (4, 40)]
    assert preview(subscription=subscription.id, preview_mode="recurring") == [(3, 6000), (4, 40)]
    assert preview(customer=customer, subscription_details={"items": [{"price": year.id}]}) == [(1, 20_000)]
    with pytest.raises(stripe.InvalidRequestError) as none:
        changed(cancel_at_period_end=True)
    assert none.value.code == "invoice_upcoming_none"
    assert {kind: account.objects[kind] for kind in before} == before


def test_a_proration_date_fixes_the_preview(shop: Shop) -> None:
    clock, subscription = begun(shop, (shop.price(2000), 3))
    sent = {
        "items": [{"id": item(subscription), "quantity": 5}],
        "proration_behavior": "always_invoice",
        "proration_date": at(HALF),
    }
    preview = shop.v1.invoices.create_preview({"subscription": subscription.id, "subscription_details": sent})
    assert preview.parent.subscription_details.subscription_proration_date == at(HALF)
    assert preview.id.startswith("upcoming_in_")
    shop.advance(clock, at(HALF) + 3000)  # the person thought about it
    shop.v1.subscriptions.update(subscription.id, sent)
    assert shop.again(subscription).latest_invoice.amount_paid == preview.amount_due == 2000


def test_months_and_years_together(shop: Shop) -> None:
    clock = shop.clock(START)
    customer, meter = shop.customer(clock), shop.meter()
    subscription = shop.subscribe(customer, (shop.price(20_000, interval="year"), 2), shop.metered(meter, 10))
    shop.use_units(meter, customer, 50)
    shop.advance(clock, "2025-02-01 02:00")
    subscription = shop.again(subscription)
    assert shop.lines(subscription.latest_invoice) == [(50, 500)]
    ends = [one.current_period_end for one in subscription["items"].data]
    assert ends == [at("2026-01-01"), at("2025-03-01")]


def test_what_is_there_is_refused_without_a_trace(shop: Shop) -> None:
    _, subscription = begun(shop, (shop.price(2000), 1))
    shop.use(shop.v1.customers.retrieve(subscription.customer), "pm_card_chargeCustomerFail")
    change = {
        "items": [{"id": item(subscription), "quantity": 9}],
        "proration_behavior": "always_invoice",
        "payment_behavior": "error_if_incomplete",
    }
    with pytest.raises(stripe.CardError):
        shop.v1.subscriptions.update(subscription.id, change)
    assert shop.again(subscription)["items"].data[0].quantity == 1
    del change["payment_behavior"]
    assert shop.v1.subscriptions.update(subscription.id, change).status == "past_due"
