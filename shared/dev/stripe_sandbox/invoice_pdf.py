"""An invoice on paper: from whom, to whom, the lines with their periods, the totals."""

from decimal import Decimal
from typing import Any

from shared.dev.stripe_sandbox import pdf, words
from shared.dev.stripe_sandbox.pdf import MARGIN, WIDTH, Page

RIGHT = WIDTH - MARGIN
QUANTITY, UNIT = 395, 470  # where these columns end
FIRST, OTHERS = 9, 15  # lines on the first page and on later ones, with room for the totals
MARK = "Test stand-in: no money moved, nothing is owed."


def totals(invoice: dict[str, Any]) -> list[tuple[str, int]]:
    """From the lines to what is left to pay; parts that are nothing are left out."""
    off = sum(one["amount"] for one in invoice.get("total_discount_amounts") or [])
    tax = sum(one["amount"] for one in invoice.get("total_taxes") or [])
    credit = invoice["amount_due"] - invoice["total"]
    parts = [("Discount", -off), ("Tax", tax)]
    after = [
        ("Credit balance used" if credit < 0 else "Carried over", credit),
        ("Paid", -invoice["amount_paid"]),
    ]
    return [
        ("Subtotal", invoice["subtotal"]),
        *((name, amount) for name, amount in parts if amount),
        ("Total", invoice["total"]),
        *((name, amount) for name, amount in after if amount),
        ("Left to pay", invoice["amount_remaining"]),
    ]


def render(invoice: dict[str, Any], seller: str) -> bytes:
    lines = invoice["lines"]["data"]
    sheets = [lines[:FIRST], *(lines[at : at + OTHERS] for at in range(FIRST, len(lines), OTHERS))]
    pages = []
    for number, some in enumerate(sheets, 1):
        page = Page()
        y = _head(page, invoice, seller) if number == 1 else 770.0
        y = _table(page, some, y)
        if number == len(sheets):
            _sum(page, invoice, y)
        page.text(MARGIN, 40, MARK, size=8, grey=0.45)
        page.right(RIGHT, 40, f"{_number(invoice)} · page {number} of {len(sheets)}", size=8, grey=0.45)
        pages.append(page)
    return pdf.document(pages, title=f"Invoice {_number(invoice)}")


def _head(page: Page, invoice: dict[str, Any], seller: str) -> float:
    page.text(MARGIN, 770, "Invoice", size=22, bold=True)
    page.right(RIGHT, 772, seller, size=12, bold=True)
    facts = [
        ("Number", _number(invoice)),
        ("Date", words.day(invoice["effective_at"] or invoice["created"])),
        ("Period", words.span({"start": invoice["period_start"], "end": invoice["period_end"]})),
        ("Status", str(invoice["status"]).capitalize()),
    ]
    y = 735.0
    for name, value in facts:
        page.text(MARGIN, y, name, grey=0.4)
        page.text(MARGIN + 70, y, value)
        y -= 16
    page.text(MARGIN, y - 14, "Bill to", grey=0.4)
    for part in (invoice.get("customer_name"), invoice.get("customer_email")):
        if part:
            page.text(MARGIN + 70, y - 14, pdf.fitting(part, 380))
            y -= 16
    page.text(MARGIN, y - 34, _headline(invoice), size=14, bold=True)
    return y - 74


def _table(page: Page, lines: list[dict[str, Any]], y: float) -> float:
    page.text(MARGIN, y, "Description", size=9, grey=0.4)
    page.right(QUANTITY, y, "Quantity", size=9, grey=0.4)
    page.right(UNIT, y, "Unit price", size=9, grey=0.4)
    page.right(RIGHT, y, "Amount", size=9, grey=0.4)
    page.rule(y - 7)
    for line in lines:
        y -= 26
        page.text(MARGIN, y, pdf.fitting(line["description"] or "", QUANTITY - MARGIN - 60))
        if line["quantity"] is not None:
            page.right(QUANTITY, y, f"{line['quantity']:,}")
        unit = (line.get("pricing") or {}).get("unit_amount_decimal")
        if unit is not None:
            page.right(UNIT, y, words.money(Decimal(str(unit)), line["currency"]))
        page.right(RIGHT, y, words.money(line["amount"], line["currency"]))
        page.text(MARGIN, y - 12, words.span(line["period"]), size=8, grey=0.45)
        y -= 10
    page.rule(y - 10)
    return y - 10


def _sum(page: Page, invoice: dict[str, Any], y: float) -> None:
    for name, amount in totals(invoice):
        y -= 18
        strong = name in ("Total", "Left to pay")
        page.text(330, y, name, bold=strong)
        page.right(RIGHT, y, words.money(amount, invoice["currency"]), bold=strong)


def _number(invoice: dict[str, Any]) -> str:
    return invoice["number"] or "Draft"


def _headline(invoice: dict[str, Any]) -> str:
    currency = invoice["currency"]
    if invoice["status"] == "paid":
        return f"{words.money(invoice['total'], currency)} paid"
    if invoice["status"] in ("void", "uncollectible"):
        return f"{words.money(invoice['total'], currency)}, not collected"
    return f"{words.money(invoice['amount_remaining'], currency)} due"
