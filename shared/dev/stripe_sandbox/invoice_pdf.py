"""An invoice as a PDF: seller, customer, lines with their periods, totals."""

from decimal import Decimal
from typing import Any, NamedTuple

from shared.dev.stripe_sandbox import formatting, pdf
from shared.dev.stripe_sandbox.pdf import MARGIN, WIDTH, PdfPage

RIGHT_X = WIDTH - MARGIN
QUANTITY_X, UNIT_PRICE_X = 395, 470  # where these columns end
LINES_ON_FIRST_PAGE, LINES_ON_LATER_PAGES = (
    9,
    15,
)  # lines on the first page and on later ones, with room for the totals
TEST_NOTICE = "Test stand-in: no money was moved and none is owed."


class InvoiceTotal(NamedTuple):
    name: str
    amount: int
    is_sum: bool = False  # printed in bold


def compute_totals(invoice: dict[str, Any]) -> list[InvoiceTotal]:
    """The rows from the subtotal to the amount due, without amounts of zero."""
    discount_total = sum(discount["amount"] for discount in invoice.get("total_discount_amounts") or [])
    tax = sum(tax_line["amount"] for tax_line in invoice.get("total_taxes") or [])
    credit = invoice["amount_due"] - invoice["total"]
    parts = [("Discount", -discount_total), ("Tax", tax)]
    after = [
        ("Credit balance used" if credit < 0 else "Carried over", credit),
        ("Paid", -invoice["amount_paid"]),
    ]
    return [
        InvoiceTotal("Subtotal", invoice["subtotal"]),
        *(InvoiceTotal(name, amount) for name, amount in parts if amount),
        InvoiceTotal("Total", invoice["total"], is_sum=True),
        *(InvoiceTotal(name, amount) for name, amount in after if amount),
        InvoiceTotal("Amount due", invoice["amount_remaining"], is_sum=True),
    ]


def render_pdf(invoice: dict[str, Any], seller: str) -> bytes:
    lines = invoice["lines"]["data"]
    sheets = [
        lines[:LINES_ON_FIRST_PAGE],
        *(
            lines[start : start + LINES_ON_LATER_PAGES]
            for start in range(LINES_ON_FIRST_PAGE, len(lines), LINES_ON_LATER_PAGES)
        ),
    ]
    pages = []
    for number, page_lines in enumerate(sheets, 1):
        page = PdfPage()
        y = _draw_header(page, invoice, seller) if number == 1 else 770.0
        y = _draw_lines(page, page_lines, y)
        if number == len(sheets):
            _draw_totals(page, invoice, y)
        page.draw_text(MARGIN, 40, TEST_NOTICE, size=8, grey=0.45)
        page.draw_right_aligned(
            RIGHT_X, 40, f"{_format_number(invoice)} · page {number} of {len(sheets)}", size=8, grey=0.45
        )
        pages.append(page)
    return pdf.build_document(pages, title=f"Invoice {_format_number(invoice)}")


def _draw_header(page: PdfPage, invoice: dict[str, Any], seller: str) -> float:
    page.draw_text(MARGIN, 770, "Invoice", size=22, bold=True)
    page.draw_right_aligned(RIGHT_X, 772, seller, size=12, bold=True)
    facts = [
        ("Number", _format_number(invoice)),
        ("Date", formatting.format_day(invoice["effective_at"] or invoice["created"])),
        (
            "Period",
            formatting.format_period({"start": invoice["period_start"], "end": invoice["period_end"]}),
        ),
        ("Status", str(invoice["status"]).capitalize()),
    ]
    y = 735.0
    for name, value in facts:
        page.draw_text(MARGIN, y, name, grey=0.4)
        page.draw_text(MARGIN + 70, y, value)
        y -= 16
    page.draw_text(MARGIN, y - 14, "Bill to", grey=0.4)
    for contact in (invoice.get("customer_name"), invoice.get("customer_email")):
        if contact:
            page.draw_text(MARGIN + 70, y - 14, pdf.shorten_to_width(contact, 380))
            y -= 16
    page.draw_text(MARGIN, y - 34, _format_headline(invoice), size=14, bold=True)
    return y - 74


def _draw_lines(page: PdfPage, lines: list[dict[str, Any]], y: float) -> float:
    page.draw_text(MARGIN, y, "Description", size=9, grey=0.4)
    page.draw_right_aligned(QUANTITY_X, y, "Quantity", size=9, grey=0.4)
    page.draw_right_aligned(UNIT_PRICE_X, y, "Unit price", size=9, grey=0.4)
    page.draw_right_aligned(RIGHT_X, y, "Amount", size=9, grey=0.4)
    page.draw_rule(y - 7)
    for line in lines:
        y -= 26
        page.draw_text(MARGIN, y, pdf.shorten_to_width(line["description"] or "", QUANTITY_X - MARGIN - 60))
        if line["quantity"] is not None:
            page.draw_right_aligned(QUANTITY_X, y, f"{line['quantity']:,}")
        unit_amount = (line.get("pricing") or {}).get("unit_amount_decimal")
        if unit_amount is not None:
            page.draw_right_aligned(
                UNIT_PRICE_X, y, formatting.format_money(Decimal(str(unit_amount)), line["currency"])
            )
        page.draw_right_aligned(RIGHT_X, y, formatting.format_money(line["amount"], line["currency"]))
        page.draw_text(MARGIN, y - 12, formatting.format_period(line["period"]), size=8, grey=0.45)
        y -= 10
    page.draw_rule(y - 10)
    return y - 10


def _draw_totals(page: PdfPage, invoice: dict[str, Any], y: float) -> None:
    for name, amount, is_sum in compute_totals(invoice):
        y -= 18
        page.draw_text(330, y, name, bold=is_sum)
        page.draw_right_aligned(RIGHT_X, y, formatting.format_money(amount, invoice["currency"]), bold=is_sum)


def _format_number(invoice: dict[str, Any]) -> str:
    return invoice["number"] or "Draft"


def _format_headline(invoice: dict[str, Any]) -> str:
    currency = invoice["currency"]
    if invoice["status"] == "paid":
        return f"{formatting.format_money(invoice['total'], currency)} paid"
    if invoice["status"] in ("void", "uncollectible"):
        return f"{formatting.format_money(invoice['total'], currency)}, not collected"
    return f"{formatting.format_money(invoice['amount_remaining'], currency)} due"
