"""What is kept of taxes: of invoices, previews and refunds, and what pages say of them."""

from datetime import UTC, datetime
from typing import Any

import pytest

from shared.billing.models import BillingInvoice
from shared.billing.provider_values import UpcomingCharges, UpcomingInvoice
from shared.billing.stripe_adapter import invoice_mapping, payment_mapping
from shared.billing.sync import provider_records
from tenant_app.pages.billing.rows import invoice_row, line_rows

AT = datetime(2027, 1, 1, tzinfo=UTC)


def build_tax(amount: int, behavior: str) -> dict[str, Any]:
    return {"amount": amount, "tax_behavior": behavior, "type": "tax_rate_details"}


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ({"total_taxes": [build_tax(19, "exclusive")]}, (19, 0)),
        ({"total_taxes": [build_tax(19, "inclusive"), build_tax(7, "exclusive")]}, (26, 19)),
        ({"total_tax_amounts": [{"amount": 19, "inclusive": True}]}, (19, 19)),
        ({}, (0, 0)),
    ],
    ids=["exclusive", "both", "older API", "none"],
)
def test_tax_of_an_invoice_tells_what_prices_contain(raw: dict[str, Any], expected: tuple[int, int]) -> None:
    invoice = invoice_mapping.to_invoice({"id": "in_1", "subtotal": 100, **raw})
    assert (invoice.tax, invoice.included_tax) == expected
    assert invoice.subtotal == 100


@pytest.mark.parametrize(("amount", "tax"), [(1_190, 190), (595, 95)], ids=["all of it", "half of it"])
def test_refund_has_its_part_of_the_tax_of_the_credit_note(amount: int, tax: int) -> None:
    refund = {"id": "re_1", "amount": amount, "currency": "eur", "status": "succeeded"}
    note = {"id": "cn_1", "invoice": "in_1", "total": 1_190, "refunds": [{"refund": "re_1"}]}
    note["total_taxes"] = [build_tax(190, "exclusive")]
    (kept,) = payment_mapping.to_refunds([{"id": "ch_1", "refunds": [refund]}], [note], [])
    assert (kept.amount, kept.tax) == (amount, tax)


def test_preview_separates_the_tax_of_the_change_from_that_of_earlier_ones() -> None:
    def line(amount: int, tax: int, start: int) -> dict[str, Any]:
        parent = {"subscription_item_details": {"proration": True}}
        period = {"start": start, "end": start + 100}
        taxes = [build_tax(tax, "exclusive")]
        return {"amount": amount, "parent": parent, "period": period, "taxes": taxes}

    as_of = 1_000
    raw = {
        "id": "upcoming_in_1",
        "currency": "eur",
        "total": 1_785,
        "amount_due": 785,
        "lines": {"data": [line(500, 95, as_of - 50), line(1_000, 190, as_of)]},
        "total_taxes": [build_tax(285, "exclusive")],
        "parent": {"subscription_details": {"subscription_proration_date": as_of}},
    }
    preview = invoice_mapping.to_preview(raw, [], AT)
    assert (preview.tax, preview.change_tax, preview.balance) == (285, 190, -1_000)


def test_upcoming_charges_are_read_as_they_were_stored_and_without_the_included_tax() -> None:
    invoice = UpcomingInvoice(
        subscription_id="sub_1", currency="eur", at=AT, total=100, due=100, included_tax=16
    )
    upcoming = UpcomingCharges((invoice,))
    stored = provider_records.upcoming_to_json(upcoming)
    assert provider_records.to_upcoming(stored) == upcoming
    assert "included_tax" not in stored["invoices"][0], "the version before doesn't know it"
    del stored[provider_records.INCLUDED_TAXES]
    read = provider_records.to_upcoming(stored)
    assert read is not None
    assert read.invoices[0].included_tax == 0


def build_invoice(**values: Any) -> BillingInvoice:
    return BillingInvoice(
        **{
            "id": "in_1",
            "status": "paid",
            "currency": "eur",
            "due": 0,
            "paid": 0,
            "created_at": AT,
            "lines": [{"said": "Team", "amount": 10_000}],
            **values,
        }
    )


def test_invoice_dialog_leads_from_the_lines_to_the_total() -> None:
    invoice = build_invoice(subtotal=10_000, discount=1_000, tax=1_710, total=10_710)
    assert [(row.text, row.amount) for row in line_rows(invoice)] == [
        ("Team", "€100.00"),
        ("Subtotal", "€100.00"),
        ("Discount", "−€10.00"),
        ("Tax", "€17.10"),
    ]
    assert invoice_row(invoice).tax_note == ""


def test_invoice_dialog_says_which_tax_the_prices_contain() -> None:
    invoice = build_invoice(subtotal=10_000, tax=1_597, included_tax=1_597, total=10_000)
    assert [row.text for row in line_rows(invoice)] == ["Team"]
    assert invoice_row(invoice).tax_note == "Includes €15.97 tax"


def test_invoice_of_an_earlier_sync_shows_its_lines_only() -> None:
    assert [row.text for row in line_rows(build_invoice(total=10_000))] == ["Team"]
