"""The PDF of an invoice: readable by its cross-reference table, with the contents of the invoice."""

import re
from typing import Any

import pytest

from shared.dev.stripe_sandbox import invoice_pdf, pdf
from shared.dev.stripe_sandbox.contract import build_skeleton

DAY = 86_400


def build_line(number: int, **fields: Any) -> dict[str, Any]:
    defaults = {"amount": 2000, "currency": "usd", "description": f"Seat {number}", "quantity": 1}
    period = {"start": number * DAY, "end": (number + 30) * DAY}
    pricing = {"type": "price_details", "unit_amount_decimal": "2000"}
    return build_skeleton("line_item", **defaults | {"period": period, "pricing": pricing} | fields)


def build_invoice(*lines: dict[str, Any], **fields: Any) -> dict[str, Any]:
    total = sum(line["amount"] for line in lines)
    amounts = {
        "subtotal": total,
        "total": total,
        "amount_due": total,
        "amount_paid": total,
        "amount_remaining": 0,
    }
    customer = {"customer_name": "Acme (Boats) \\ Söhne", "customer_email": "ann@acme.test"}
    defaults = {
        "number": "ACME-0001",
        "status": "paid",
        "currency": "usd",
        "created": 0,
        "effective_at": 20_000 * DAY,
    }
    line_list = {"object": "list", "data": list(lines), "has_more": False, "url": ""}
    return build_skeleton("invoice", **defaults | amounts | customer | {"lines": line_list} | fields)


def parse_objects(raw: bytes) -> dict[int, bytes]:
    """Every object by its number, found as a reader does: from the end, through the table."""
    assert raw.startswith(b"%PDF-1.4\n")
    start_match = re.search(rb"startxref\n(\d+)\n%%EOF\n$", raw)
    assert start_match
    table = raw[int(start_match[1]) :]
    head = re.match(rb"xref\n0 (\d+)\n", table)
    assert head
    count = int(head[1])
    rows = [table[head.end() + 20 * index :][:20] for index in range(count)]
    assert rows[0] == b"0000000000 65535 f \n"
    assert all(re.fullmatch(rb"\d{10} 00000 n \n", row) for row in rows[1:])
    assert table[head.end() + 20 * count :].startswith(b"trailer\n<< /Size %d /Root 1 0 R" % count)
    objects = {}
    for number, row in enumerate(rows[1:], 1):
        body = raw[int(row[:10]) :]
        assert body.startswith(b"%d 0 obj\n" % number)
        objects[number] = body.split(b"\nendobj\n")[0]
    return objects


def extract_texts(raw: bytes) -> list[list[str]]:
    """What stands on each page."""
    objects = parse_objects(raw)
    kids = re.findall(rb"(\d+) 0 R", objects[2].split(b"/Kids")[1])
    pages = []
    for kid in kids:
        content = re.search(rb"/Contents (\d+) 0 R", objects[int(kid)])
        assert content
        stream = re.search(
            rb"<< /Length (\d+) >>\nstream\n(.*)\nendstream", objects[int(content[1])], re.DOTALL
        )
        assert stream
        assert len(stream[2]) == int(stream[1])
        literals = re.findall(rb"\(((?:\\.|[^\\()])*)\) Tj", stream[2])
        pages.append([re.sub(rb"\\(.)", rb"\1", literal).decode("cp1252") for literal in literals])
    return pages


def test_invoice_names_seller_buyer_items_and_amounts() -> None:
    credit_line = build_line(1, amount=-1050, description="Unused time on Starter", quantity=1)
    [page] = extract_texts(
        invoice_pdf.render_pdf(
            build_invoice(build_line(0), build_line(0, quantity=None, pricing=None), credit_line), "Bulkhead"
        )
    )
    expected = (
        "Bulkhead",
        "ACME-0001",
        "4 October 2024",
        "Acme (Boats) \\ Söhne",
        "ann@acme.test",
        "$29.50 paid",
    )
    assert set(expected) < set(page)
    assert {"Seat 0", "Unused time on Starter", "-$10.50", "1 January 1970 to 31 January 1970"} < set(page)
    assert page[page.index("Total") + 1] == "$29.50"
    assert page[page.index("Amount due") + 1] == "$0.00"
    assert invoice_pdf.TEST_NOTICE in page


def test_long_invoice_continues_on_further_pages() -> None:
    pages = extract_texts(
        invoice_pdf.render_pdf(build_invoice(*(build_line(number) for number in range(39))), "Bulkhead")
    )
    assert len(pages) == 3
    assert [text for page in pages for text in page if text.startswith("Seat ")] == [
        f"Seat {number}" for number in range(39)
    ]
    assert ["Total" in page for page in pages] == [False, False, True]


@pytest.mark.parametrize(
    "count",
    [
        0,
        invoice_pdf.LINES_ON_FIRST_PAGE,
        invoice_pdf.LINES_ON_FIRST_PAGE + 1,
        invoice_pdf.LINES_ON_FIRST_PAGE + invoice_pdf.LINES_ON_LATER_PAGES,
    ],
)
def test_long_invoice_writes_nothing_below_the_margin(count: int) -> None:
    full = build_invoice(
        *(build_line(at) for at in range(count)),
        amount_paid=1,
        amount_due=-1,
        total_discount_amounts=[{"amount": 500, "discount": "di_1"}],
        total_taxes=[{"amount": 100}],
    )
    raw = invoice_pdf.render_pdf(full, "Bulkhead")
    heights = [float(y) for y in re.findall(rb"[\d.]+ (-?[\d.]+) Td", raw)]
    assert heights.count(40.0) == 2 * len(extract_texts(raw)), "a footer of two parts on every page"
    assert min(y for y in heights if y != 40) > 60


def test_long_description_stays_in_its_column() -> None:
    endless = "Seats for a very long name " * 20 + "日本\n"
    [page] = extract_texts(
        invoice_pdf.render_pdf(build_invoice(build_line(0, description=endless)), "Bulkhead")
    )
    [shortened] = [text for text in page if text.startswith("Seats")]
    assert shortened.endswith("…")
    assert pdf.measure_width(shortened, 10) < 300


def test_amounts_are_right_aligned() -> None:
    page = pdf.PdfPage()
    page.draw_right_aligned(500, 10, "$1,234.50")
    x = float(re.search(rb"Tf ([\d.]+)", page.commands[0])[1])  # type: ignore[index]
    # Helvetica's own table: seven digits and the dollar at 556, comma and point at 278
    assert x == pytest.approx(500 - (7 * 556 + 2 * 278) / 100, abs=0.01)


@pytest.mark.parametrize(
    ("status", "headline"),
    [
        ("open", "$20.00 due"),
        ("void", "$20.00, not collected"),
        ("paid", "$20.00 paid"),
        ("uncollectible", "$20.00, not collected"),
    ],
)
def test_headline_names_the_status(status: str, headline: str) -> None:
    paid = status == "paid"
    invoice_object = build_invoice(
        build_line(0), status=status, amount_paid=2000 * paid, amount_remaining=2000 * (not paid)
    )
    assert headline in extract_texts(invoice_pdf.render_pdf(invoice_object, "Bulkhead"))[0]


def test_deductions_are_listed_and_add_up() -> None:
    invoice_object = build_invoice(
        build_line(0), total_discount_amounts=[{"amount": 500, "discount": "di_1"}]
    )
    invoice_object |= {"total": 1500, "amount_due": 1200, "amount_paid": 1200}
    totals = [(total.name, total.amount) for total in invoice_pdf.compute_totals(invoice_object)]
    assert totals == [
        ("Subtotal", 2000),
        ("Discount", -500),
        ("Total", 1500),
        ("Credit balance used", -300),
        ("Paid", -1200),
        ("Amount due", 0),
    ]
