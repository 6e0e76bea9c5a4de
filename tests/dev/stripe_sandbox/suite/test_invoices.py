"""Manual invoices, credit notes, refunds, customer balance and coupons."""

import pytest
import stripe

from tests.dev.stripe_sandbox.suite.stand import SdkMerchant


def create_paid_invoice(merchant: SdkMerchant, amount: int = 2000) -> object:
    subscription = merchant.subscribe(merchant.create_customer(), merchant.create_price(amount))
    return merchant.v1.invoices.retrieve(subscription.latest_invoice, {"expand": ["payments"]})


def test_manual_invoice_is_finalized_and_paid(merchant: SdkMerchant) -> None:
    customer = merchant.create_customer()
    merchant.v1.invoice_items.create(
        {"customer": customer.id, "amount": 700, "currency": "usd", "description": "Onboarding"}
    )
    invoice = merchant.v1.invoices.create(
        {"customer": customer.id, "pending_invoice_items_behavior": "include"}
    )
    assert (invoice.status, invoice.amount_due, invoice.number) == ("draft", 700, None)
    invoice = merchant.v1.invoices.finalize_invoice(invoice.id)
    assert (invoice.status, invoice.lines.data[0].description) == ("open", "Onboarding")
    assert invoice.hosted_invoice_url
    assert invoice.invoice_pdf
    with pytest.raises(stripe.InvalidRequestError):
        merchant.v1.invoices.finalize_invoice(invoice.id)
    assert merchant.v1.invoices.pay(invoice.id).amount_paid == 700
    with pytest.raises(stripe.InvalidRequestError) as excinfo:
        merchant.v1.invoices.pay(invoice.id)
    assert excinfo.value.code == "invoice_already_paid"


def test_open_invoice_is_voided_written_off_or_paid_out_of_band(merchant: SdkMerchant) -> None:
    customer = merchant.create_customer(card="pm_card_chargeCustomerFail")

    def create_open_invoice() -> str:
        merchant.v1.invoice_items.create({"customer": customer.id, "amount": 700, "currency": "usd"})
        invoice = merchant.v1.invoices.create(
            {"customer": customer.id, "pending_invoice_items_behavior": "include"}
        )
        with pytest.raises(stripe.CardError):
            merchant.v1.invoices.pay(invoice.id)
        return str(invoice.id)

    first, second, third = create_open_invoice(), create_open_invoice(), create_open_invoice()
    assert merchant.v1.invoices.void_invoice(first).status == "void"
    assert merchant.v1.invoices.mark_uncollectible(second).status == "uncollectible"
    assert merchant.v1.customers.retrieve(customer.id).delinquent
    assert merchant.v1.invoices.pay(third, {"paid_out_of_band": True}).status == "paid"
    assert not merchant.v1.customers.retrieve(customer.id).delinquent
    with pytest.raises(stripe.InvalidRequestError, match="isn't open"):
        merchant.v1.invoices.void_invoice(third)


def test_deleted_draft_releases_its_items(merchant: SdkMerchant) -> None:
    customer = merchant.create_customer()
    item = merchant.v1.invoice_items.create({"customer": customer.id, "amount": 700, "currency": "usd"})
    invoice = merchant.v1.invoices.create(
        {"customer": customer.id, "pending_invoice_items_behavior": "include"}
    )
    assert merchant.v1.invoices.delete(invoice.id).deleted
    pending_items = merchant.v1.invoice_items.list({"customer": customer.id, "pending": True}).data
    assert [pending_item.id for pending_item in pending_items] == [item.id]
    assert merchant.v1.invoice_items.delete(item.id).deleted


def test_refunds_are_limited_to_the_charge(merchant: SdkMerchant) -> None:
    intent = create_paid_invoice(merchant).payments.data[0].payment.payment_intent  # type: ignore[attr-defined]
    refund = merchant.v1.refunds.create(
        {"payment_intent": intent, "amount": 500, "reason": "requested_by_customer"}
    )
    assert (refund.status, refund.amount) == ("succeeded", 500)
    charge = merchant.v1.charges.retrieve(refund.charge)
    assert (charge.amount_refunded, charge.refunded) == (500, False)
    with pytest.raises(stripe.InvalidRequestError, match="greater than unrefunded"):
        merchant.v1.refunds.create({"charge": charge.id, "amount": 1501})
    assert merchant.v1.refunds.create({"charge": charge.id}).amount == 1500
    with pytest.raises(stripe.InvalidRequestError) as excinfo:
        merchant.v1.refunds.create({"charge": charge.id})
    assert excinfo.value.code == "charge_already_refunded"
    assert merchant.list_event_types(charge) == ["charge.succeeded", "charge.refunded", "charge.refunded"]
    assert merchant.list_event_types(refund) == ["refund.created"]


def test_credit_note_after_payment_returns_money(merchant: SdkMerchant) -> None:
    invoice = create_paid_invoice(merchant)
    params = {"invoice": invoice.id, "amount": 900}  # type: ignore[attr-defined]
    with pytest.raises(stripe.InvalidRequestError, match="must equal"):
        merchant.v1.credit_notes.create(params)
    note = merchant.v1.credit_notes.create(
        {**params, "refund_amount": 300, "credit_amount": 600, "reason": "order_change", "memo": "Sorry"}
    )
    assert (note.type, note.total, note.post_payment_amount) == ("post_payment", 900, 900)
    assert merchant.v1.refunds.retrieve(note.refunds[0].refund).amount == 300
    assert merchant.v1.customers.retrieve(note.customer).balance == -600
    assert merchant.v1.invoices.retrieve(note.invoice).post_payment_credit_notes_amount == 900
    with pytest.raises(stripe.InvalidRequestError, match="not yet credited"):
        merchant.v1.credit_notes.create({"invoice": note.invoice, "amount": 1101, "credit_amount": 1101})
    assert [
        credit_note.id for credit_note in merchant.v1.credit_notes.list({"invoice": note.invoice}).data
    ] == [note.id]


def test_credit_note_before_payment_reduces_the_amount_due(merchant: SdkMerchant) -> None:
    customer = merchant.create_customer(card="pm_card_chargeCustomerFail")
    subscription = merchant.subscribe(customer, merchant.create_price(2000))
    line = merchant.v1.invoices.retrieve(subscription.latest_invoice).lines.data[0]
    lines = [{"type": "invoice_line_item", "invoice_line_item": line.id, "amount": 500}]
    note = merchant.v1.credit_notes.create({"invoice": subscription.latest_invoice, "lines": lines})
    assert note.type == "pre_payment"
    invoice = merchant.v1.invoices.retrieve(subscription.latest_invoice)
    assert (invoice.amount_due, invoice.pre_payment_credit_notes_amount) == (1500, 500)
    assert merchant.v1.credit_notes.void_credit_note(note.id).status == "void"
    merchant.v1.credit_notes.create({"invoice": invoice.id, "amount": 2000})
    invoice = merchant.v1.invoices.retrieve(invoice.id)
    assert (invoice.status, invoice.amount_paid) == ("paid", 0)
    assert merchant.reload_subscription(subscription).status == "active"


def test_customer_balance_is_applied_to_invoices(merchant: SdkMerchant) -> None:
    customer = merchant.create_customer()
    transaction = merchant.v1.customers.balance_transactions.create(
        customer.id, {"amount": -1500, "currency": "usd", "description": "Goodwill"}
    )
    assert (transaction.type, transaction.ending_balance) == ("adjustment", -1500)
    invoice = merchant.reload_subscription(
        merchant.subscribe(customer, merchant.create_price(2000))
    ).latest_invoice
    assert (invoice.starting_balance, invoice.amount_paid, invoice.ending_balance) == (-1500, 500, 0)
    small = merchant.reload_subscription(
        merchant.subscribe(customer, merchant.create_price(30))
    ).latest_invoice  # too little to charge
    assert (small.total, small.amount_due, small.ending_balance) == (30, 0, 30)
    large = merchant.reload_subscription(
        merchant.subscribe(customer, merchant.create_price(970))
    ).latest_invoice
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
def test_coupon_reduces_invoices_for_its_duration(
    merchant: SdkMerchant, coupon: dict[str, object], billed: list[int]
) -> None:
    clock = merchant.create_clock("2025-01-01")
    created_coupon = merchant.v1.coupons.create(coupon)
    subscription = merchant.subscribe(
        merchant.create_customer(clock),
        (merchant.create_price(1000), 2),
        discounts=[{"coupon": created_coupon.id}],
    )
    invoices = [merchant.reload_subscription(subscription).latest_invoice]
    for month in ("02", "03"):
        merchant.advance_clock(clock, f"2025-{month}-01 02:00")
        invoices.append(merchant.reload_subscription(subscription).latest_invoice)
    assert [invoice.amount_paid for invoice in invoices] == billed
    first = invoices[0]
    assert first.subtotal - sum(discount.amount for discount in first.total_discount_amounts) == first.total
    assert first.lines.data[0].discount_amounts[0].amount == 2000 - billed[0]
