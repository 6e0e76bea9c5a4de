"""Automatic tax of the Stripe stand-in: rates by country, inclusive and exclusive, and what is refused."""

from decimal import Decimal
from typing import Any

import pytest
import stripe

from shared.dev.stripe_sandbox import checkout
from shared.dev.stripe_sandbox.buyer_details import BuyerDetails
from shared.dev.stripe_sandbox.store import Account
from tests.dev.stripe_sandbox.suite.stand import SdkMerchant

TAXED = {"automatic_tax": {"enabled": True}}
CARD = "4242424242424242"


@pytest.fixture
def seller(merchant: SdkMerchant, account: Account) -> SdkMerchant:
    """In Germany, and registered wherever the stand-in knows a rate."""
    assert account
    merchant.v1.tax.settings.update({"head_office": {"address": {"country": "DE"}}})
    return merchant


def create_customer(merchant: SdkMerchant, country: str, *, clock: Any = None, **more: Any) -> Any:
    return merchant.create_customer(clock, address={"country": country}, **more)


def list_taxes(invoice: Any) -> list[tuple[int, str, int | None, str]]:
    return [
        (tax.amount, tax.tax_behavior, tax.taxable_amount, tax.taxability_reason)
        for tax in invoice.total_taxes
    ]


def test_exclusive_tax_is_added_and_rounded_for_each_line(seller: SdkMerchant) -> None:
    prices = [seller.create_price(amount, currency="eur", tax_behavior="exclusive") for amount in (1_003, 77)]
    subscription = seller.subscribe(create_customer(seller, "DE"), *prices, **TAXED)
    invoice = seller.reload_subscription(subscription).latest_invoice
    # 10.03 × 19 % = 1.9057, 0.77 × 19 % = 0.1463
    assert [line.taxes[0].amount for line in invoice.lines.data] == [191, 15]
    assert list_taxes(invoice) == [(206, "exclusive", 1_080, "standard_rated")]
    assert (invoice.subtotal, invoice.total, invoice.amount_paid) == (1_080, 1_286, 1_286)
    assert (invoice.total_excluding_tax, invoice.automatic_tax.status) == (1_080, "complete")


def test_inclusive_tax_is_within_the_total_after_the_discount(seller: SdkMerchant) -> None:
    price = seller.create_price(11_900, currency="eur", tax_behavior="inclusive")
    coupon = seller.v1.coupons.create({"percent_off": Decimal(10), "duration": "once"})
    subscription = seller.subscribe(
        create_customer(seller, "DE"), price, discounts=[{"coupon": coupon.id}], **TAXED
    )
    invoice = seller.reload_subscription(subscription).latest_invoice
    assert list_taxes(invoice) == [(1_710, "inclusive", 9_000, "standard_rated")]
    assert (invoice.subtotal, invoice.total, invoice.total_excluding_tax) == (11_900, 10_710, 9_000)


@pytest.mark.parametrize(
    ("country", "tax_id", "tax"),
    [("FR", "FR12345678901", 0), ("DE", "DE123456789", 190), ("KW", "", 0), ("JP", "", 100)],
    ids=["reverse charge", "in the seller's country", "not collecting", "another rate"],
)
def test_tax_depends_on_the_country_and_the_tax_id(
    seller: SdkMerchant, country: str, tax_id: str, tax: int
) -> None:
    customer = create_customer(seller, country)
    if tax_id:
        seller.v1.customers.tax_ids.create(customer.id, {"type": "eu_vat", "value": tax_id})
    price = seller.create_price(1_000, tax_behavior="exclusive")
    subscription = seller.subscribe(customer, price, **TAXED)
    invoice = seller.reload_subscription(subscription).latest_invoice
    assert (invoice.total, sum(entry.amount for entry in invoice.total_taxes)) == (1_000 + tax, tax)
    preview = seller.v1.invoices.create_preview({"subscription": subscription.id})
    assert sum(entry.amount for entry in preview.total_taxes) == tax


def test_preview_of_a_change_has_the_tax_that_the_change_is_billed_with(seller: SdkMerchant) -> None:
    clock = seller.create_clock("2025-01-01")
    price = seller.create_price(1_000, currency="eur", tax_behavior="exclusive")
    subscription = seller.subscribe(create_customer(seller, "DE", clock=clock), (price, 1), **TAXED)
    seller.advance_clock(clock, "2025-01-16 12:00")
    change = {
        "items": [{"id": subscription["items"].data[0].id, "quantity": 3}],
        "proration_behavior": "always_invoice",
    }
    preview = seller.v1.invoices.create_preview(
        {"subscription": subscription.id, "subscription_details": change}
    )
    seller.v1.subscriptions.update(subscription.id, {**change, "payment_behavior": "pending_if_incomplete"})
    billed = seller.reload_subscription(subscription).latest_invoice
    # Half of the month: 3 × 5.00 + 19 % = 17.85, less 5.00 + 19 % = 5.95
    assert (preview.total, list_taxes(preview)) == (1_190, [(190, "exclusive", 1_000, "standard_rated")])
    assert (billed.total, list_taxes(billed)) == (preview.total, list_taxes(preview))


def test_credit_note_by_amount_contains_its_part_of_the_tax(seller: SdkMerchant) -> None:
    price = seller.create_price(10_000, currency="eur", tax_behavior="exclusive")
    subscription = seller.subscribe(create_customer(seller, "DE"), price, **TAXED)
    invoice = seller.reload_subscription(subscription).latest_invoice
    note = seller.v1.credit_notes.create({"invoice": invoice.id, "amount": 2_380, "refund_amount": 2_380})
    assert (note.total, note.subtotal, note.total_excluding_tax) == (2_380, 2_000, 2_000)
    assert [(tax.amount, tax.taxable_amount) for tax in note.total_taxes] == [(380, 2_000)]
    by_line = {"type": "invoice_line_item", "invoice_line_item": invoice.lines.data[0].id, "amount": 1_000}
    with pytest.raises(stripe.InvalidRequestError, match="must equal the credit note amount"):
        seller.v1.credit_notes.create({"invoice": invoice.id, "lines": [by_line], "refund_amount": 1_000})
    note = seller.v1.credit_notes.create({"invoice": invoice.id, "lines": [by_line], "refund_amount": 1_190})
    assert (note.total, note.total_excluding_tax) == (1_190, 1_000)


def test_automatic_tax_without_an_origin_address_is_refused(merchant: SdkMerchant, account: Account) -> None:
    assert account
    assert merchant.v1.tax.settings.retrieve().status_details.pending.missing_fields == ["head_office"]
    price = merchant.create_price(1_000, tax_behavior="exclusive")
    with pytest.raises(stripe.InvalidRequestError, match="valid origin address"):
        merchant.subscribe(create_customer(merchant, "DE"), price, **TAXED)


@pytest.mark.parametrize("address", [None, {"country": "US"}], ids=["none", "without a postal code"])
def test_taxed_subscription_without_a_location_is_refused(seller: SdkMerchant, address: Any) -> None:
    customer = seller.create_customer(**({"address": address} if address else {}))
    price = seller.create_price(1_000, tax_behavior="exclusive")
    with pytest.raises(stripe.InvalidRequestError) as refusal:
        seller.subscribe(customer, price, **TAXED)
    assert refusal.value.code == "customer_tax_location_invalid"


def test_price_without_a_tax_behavior_is_refused_until_there_is_a_default(seller: SdkMerchant) -> None:
    customer, price = create_customer(seller, "DE"), seller.create_price(11_900, currency="eur")
    with pytest.raises(stripe.InvalidRequestError) as refusal:
        seller.subscribe(customer, price, **TAXED)
    assert refusal.value.error.param == "items[0][price]"
    seller.v1.tax.settings.update({"defaults": {"tax_behavior": "inferred_by_currency"}})
    invoice = seller.reload_subscription(seller.subscribe(customer, price, **TAXED)).latest_invoice
    assert list_taxes(invoice) == [(1_900, "inclusive", 10_000, "standard_rated")]


def test_invoice_becomes_final_without_tax_where_the_location_is_lost(seller: SdkMerchant) -> None:
    clock = seller.create_clock("2025-01-01")
    customer = create_customer(seller, "DE", clock=clock)
    price = seller.create_price(1_000, currency="eur", tax_behavior="exclusive")
    subscription = seller.subscribe(customer, price, **TAXED)
    seller.v1.customers.update(customer.id, {"address": ""})
    seller.advance_clock(clock, "2025-02-01 02:00")
    subscription = seller.reload_subscription(subscription)
    invoice = subscription.latest_invoice
    assert (invoice.status, invoice.total, invoice.total_taxes) == ("paid", 1_000, [])
    assert invoice.automatic_tax.disabled_reason == "finalization_requires_location_inputs"
    assert subscription.automatic_tax.disabled_reason == "requires_location_inputs"


def create_session(merchant: SdkMerchant, customer: Any, **more: Any) -> Any:
    price = merchant.create_price(10_000, currency="eur", tax_behavior="exclusive")
    return merchant.v1.checkout.sessions.create(
        {
            "mode": "subscription",
            "customer": customer.id,
            "success_url": "https://acme.test/ok",
            "line_items": [{"price": price.id, "quantity": 1}],
            **more,
        }
    )


def test_checkout_collects_the_address_and_the_tax_id_of_a_business(
    seller: SdkMerchant, account: Account
) -> None:
    customer = seller.create_customer(card=None)
    update = {"customer_update": {"address": "auto", "name": "auto"}}
    session = create_session(seller, customer, tax_id_collection={"enabled": True}, **update, **TAXED)
    assert session.automatic_tax.status == "requires_location_inputs"
    assert not checkout.pay_with_card(account, session.id, CARD).paid
    checkout.enter_details(account, session.id, BuyerDetails(country="fr"))
    assert seller.v1.checkout.sessions.retrieve(session.id).amount_total == 12_000
    business = BuyerDetails(country="FR", business_name="Acme SARL", tax_id="FR12345678901")
    checkout.enter_details(account, session.id, business)
    assert checkout.pay_with_card(account, session.id, CARD).paid
    session = seller.v1.checkout.sessions.retrieve(session.id, {"expand": ["invoice", "customer"]})
    assert (session.amount_total, session.invoice.total) == (10_000, 10_000)
    assert (session.customer.name, session.customer.address.country) == ("Acme SARL", "FR")
    assert [tax_id.value for tax_id in session.customer_details.tax_ids] == ["FR12345678901"]
    assert [tax.taxability_reason for tax in session.invoice.total_taxes] == ["reverse_charge"]


def test_checkout_refuses_what_it_could_not_save_to_an_existing_customer(
    seller: SdkMerchant, account: Account
) -> None:
    assert account
    customer = seller.create_customer(card=None)
    with pytest.raises(stripe.InvalidRequestError) as refusal:
        create_session(seller, customer, **TAXED)
    assert refusal.value.code == "customer_tax_location_invalid"
    with pytest.raises(stripe.InvalidRequestError, match="updating business name"):
        create_session(seller, customer, tax_id_collection={"enabled": True})


def test_checkout_in_another_currency_than_the_customers_is_refused(
    seller: SdkMerchant, account: Account
) -> None:
    assert account
    customer = seller.create_customer()
    seller.subscribe(customer, seller.create_price(2_000, currency="usd"))
    with pytest.raises(stripe.InvalidRequestError, match="cannot combine currencies"):
        create_session(seller, customer)
