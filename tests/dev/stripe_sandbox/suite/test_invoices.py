"""Invoices by hand, credit notes, refunds, credit, coupons."""

import pytest
import stripe

from tests.dev.stripe_sandbox.suite.stand import Shop


def paid(shop: Shop, amount: int = 2000) -> object:
    subscription = shop.subscribe(shop.customer(), shop.price(amount))
    return shop.v1.invoices.retrieve(subscription.latest_invoice, {"expand": ["payments"]})


def test_made_by_hand_finalized_and_paid(shop: Shop) -> None:
    customer = shop.customer()
    shop.v1.invoice_items.create(
        {"customer": customer.id, "amount": 700, "currency": "usd", "description": "Onboarding"}
    )
    invoice = shop.v1.invoices.create({"customer": customer.id, "pending_invoice_items_behavior": "include"})
    assert (invoice.status, invoice.amount_due, invoice.number) == ("draft", 700, None)
    invoice = shop.v1.invoices.finalize_invoice(invoice.id)
    assert (invoice.status, invoice.lines.data[0].description) == ("open", "Onboarding")
    assert invoice.hosted_invoice_url
    assert invoice.invoice_pdf
    with pytest.raises(stripe.InvalidRequestError):
        shop.v1.invoices.finalize_invoice(invoice.id)
    assert shop.v1.invoices.pay(invoice.id).amount_paid == 700
    with pytest.raises(stripe.InvalidRequestError) as again:
        shop.v1.invoices.pay(invoice.id)
    assert again.value.code == "invoice_already_paid"


def test_void_uncollectible_or_paid_elsewhere(shop: Shop) -> None:
    customer = shop.customer(card="pm_card_chargeCustomerFail")

    def opened() -> str:
        shop.v1.invoice_items.create({"customer": customer.id, "amount": 700, "currency": "usd"})
        made = shop.v1.invoices.create({"customer": customer.id, "pending_invoice_items_behavior": "include"})
        with pytest.raises(stripe.CardError):
            shop.v1.invoices.pay(made.id)
        return str(made.id)

    first, second, third = opened(), opened(), opened()
    assert shop.v1.invoices.void_invoice(first).status == "void"
    assert shop.v1.invoices.mark_uncollectible(second).status == "uncollectible"
    assert shop.v1.customers.retrieve(customer.id).delinquent
    assert shop.v1.invoices.pay(third, {"paid_out_of_band": True}).status == "paid"
    assert not shop.v1.customers.retrieve(customer.id).delinquent
    with pytest.raises(stripe.InvalidRequestError, match="isn't open"):
        shop.v1.invoices.void_invoice(third)


def test_a_draft_can_be_deleted_and_its_items_wait_again(shop: Shop) -> None:
    customer = shop.customer()
    item = shop.v1.invoice_items.create({"customer": customer.id, "amount": 700, "currency": "usd"})
    invoice = shop.v1.invoices.create({"customer": customer.id, "pending_invoice_items_behavior": "include"})
    assert shop.v1.invoices.delete(invoice.id).deleted
    waiting = shop.v1.invoice_items.list({"customer": customer.id, "pending": True}).data
    assert [one.id for one in waiting] == [item.id]
    assert shop.v1.invoice_items.delete(item.id).deleted


def test_refunds_go_as_far_as_the_charge(shop: Shop) -> None:
    intent = paid(shop).payments.data[0].payment.payment_intent  # type: ignore[attr-defined]
    part = shop.v1.refunds.create(
        {"payment_intent": intent, "amount": 500, "reason": "requested_by_customer"}
    )
    assert (part.status, part.amount) == ("succeeded", 500)
    charge = shop.v1.charges.retrieve(part.charge)
    assert (charge.amount_refunded, charge.refunded) == (500, False)
    with pytest.raises(stripe.InvalidRequestError, match="greater than unrefunded"):
        shop.v1.refunds.create({"charge": charge.id, "amount": 1501})
    assert shop.v1.refunds.create({"charge": charge.id}).amount == 1500
    with pytest.raises(stripe.InvalidRequestError) as over:
        shop.v1.refunds.create({"charge": charge.id})
    assert over.value.code == "charge_already_refunded"
    assert shop.happened(charge) == ["charge.succeeded", "charge.refunded", "charge.refunded"]
    assert shop.happened(part) == ["refund.created"]


def test_credit_notes_after_payment(shop: Shop) -> None:
    invoice = paid(shop)
    sent = {"invoice": invoice.id, "amount": 900}  # type: ignore[attr-defined]
    with pytest.raises(stripe.InvalidRequestError, match="must equal"):
        shop.v1.credit_notes.create(sent)
    note = shop.v1.credit_notes.create(
        {**sent, "refund_amount": 300, "credit_amount": 600, "reason": "order_change", "memo": "Sorry"}
    )
    assert (note.type, note.total, note.post_payment_amount) == ("post_payment", 900, 900)
    assert shop.v1.refunds.retrieve(note.refunds[0].refund).amount == 300
    assert shop.v1.customers.retrieve(note.customer).balance == -600
    assert shop.v1.invoices.retrieve(note.invoice).post_payment_credit_notes_amount == 900
    with pytest.raises(stripe.InvalidRequestError, match="not yet credited"):
        shop.v1.credit_notes.create({"invoice": note.invoice, "amount": 1101, "credit_amount": 1101})
    assert [one.id for one in shop.v1.credit_notes.list({"invoice": note.invoice}).data] == [note.id]


def test_credit_notes_before_payment(shop: Shop) -> None:
    customer = shop.customer(card="pm_card_chargeCustomerFail")
    subscription = shop.subscribe(customer, shop.price(2000))
    line = shop.v1.invoices.retrieve(subscription.latest_invoice).lines.data[0]
    lines = [{"type": "invoice_line_item", "invoice_line_item": line.id, "amount": 500}]
    note = shop.v1.credit_notes.create({"invoice": subscription.latest_invoice, "lines": lines})
    assert note.type == "pre_payment"
    invoice = shop.v1.invoices.retrieve(subscription.latest_invoice)
    assert (invoice.amount_due, invoice.pre_payment_credit_notes_amount) == (1500, 500)
    assert shop.v1.credit_notes.void_credit_note(note.id).status == "void"
    shop.v1.credit_notes.create({"invoice": invoice.id, "amount": 2000})
    invoice = shop.v1.invoices.retrieve(invoice.id)
    assert (invoice.status, invoice.amount_paid) == ("paid", 0)
    assert shop.again(subscription).status == "active"


def test_credit_and_debt_of_a_customer(shop: Shop) -> None:
    customer = shop.customer()
    moved = shop.v1.customers.balance_transactions.create(
        customer.id, {"amount": -1500, "currency": "usd", "description": "Goodwill"}
    )
    assert (moved.type, moved.ending_balance) == ("adjustment", -1500)
    invoice = shop.again(shop.subscribe(customer, shop.price(2000))).latest_invoice
    assert (invoice.starting_balance, invoice.amount_paid, invoice.ending_balance) == (-1500, 500, 0)
    small = shop.again(shop.subscribe(customer, shop.price(30))).latest_invoice  # too little to charge
    assert (small.total, small.amount_due, small.ending_balance) == (30, 0, 30)
    large = shop.again(shop.subscribe(customer, shop.price(970))).latest_invoice
    assert (large.amount_paid, large.ending_balance) == (1000, 0)


@pytest.mark.parametrize(
    ("coupon", "billed"),
    [
        ({"percent_off": 25, "duration": "forever"}, [1500, 1500, 1500]),
        ({"percent_off": 33.3, "duration": "once"}, [1334, 2000, 2000]),
        (
            {"amount_off": 500, "currency": "usd", "duration": "repeating", "duration_in_months": 2},
            [1500, 1500, 2000],
        ),
        ({"amount_off": 5000, "currency": "usd", "duration": "once"}, [0, 2000, 2000]),
    ],
)
def test_coupons(shop: Shop, coupon: dict[str, object], billed: list[int]) -> None:
    clock = shop.clock("2025-01-01")
    made = shop.v1.coupons.create(coupon)
    subscription = shop.subscribe(
        shop.customer(clock), (shop.price(1000), 2), discounts=[{"coupon": made.id}]
    )
    found = [shop.again(subscription).latest_invoice]
    for month in ("02", "03"):
        shop.advance(clock, f"2025-{month}-01 02:00")
        found.append(shop.again(subscription).latest_invoice)
    assert [one.amount_paid for one in found] == billed
    first = found[0]
    assert first.subtotal - sum(one.amount for one in first.total_discount_amounts) == first.total
    assert first.lines.data[0].discount_amounts[0].amount == 2000 - billed[0]
