"""The PDF opens by its own cross-reference table, and says what the invoice says."""

import re
from typing import Any

import pytest

from shared.dev.stripe_sandbox import invoice_pdf, pdf
from shared.dev.stripe_sandbox.contract import skeleton

DAY = 86_400


def line(at: int, **known: Any) -> dict[str, Any]:
    plain = {"amount": 2000, "currency": "usd", "description": f"Seat {at}", "quantity": 1}
    period = {"start": at * DAY, "end": (at + 30) * DAY}
    pricing = {"type": "price_details", "unit_amount_decimal": "2000"}
    return skeleton("line_item", **plain | {"period": period, "pricing": pricing} | known)


def invoice(*lines: dict[str, Any], **known: Any) -> dict[str, Any]:
    total = sum(one["amount"] for one in lines)
    money = {
        "subtotal": total,
        "total": total,
        "amount_due": total,
        "amount_paid": total,
        "amount_remaining": 0,
    }
    who = {"customer_name": "Acme (Boats) \\ Söhne", "customer_email": "ann@acme.test"}
    plain = {
        "number": "ACME-0001",
        "status": "paid",
        "currency": "usd",
        "created": 0,
        "effective_at": 20_000 * DAY,
    }
    some = {"object": "list", "data": list(lines), "has_more": False, "url": ""}
    return skeleton("invoice", **plain | money | who | {"lines": some} | known)


def opened(raw: bytes) -> dict[int, bytes]:
    """Every object by its number, found as a reader does: from the end, through the table."""
    assert raw.startswith(b"%PDF-1.4\n")
    found = re.search(rb"startxref\n(\d+)\n%%EOF\n$", raw)
    assert found
    table = raw[int(found[1]) :]
    head = re.match(rb"xref\n0 (\d+)\n", table)
    assert head
    count = int(head[1])
    rows = [table[head.end() + 20 * at :][:20] for at in range(count)]
    assert rows[0] == b"0000000000 65535 f \n"
    assert all(re.fullmatch(rb"\d{10} 00000 n \n", row) for row in rows[1:])
    assert table[head.end() + 20 * count :].startswith(b"trailer\n<< /Size %d /Root 1 0 R" % count)
    objects = {}
    for number, row in enumerate(rows[1:], 1):
        body = raw[int(row[:10]) :]
        assert body.startswith(b"%d 0 obj\n" % number)
        objects[number] = body.split(b"\nendobj\n")[0]
    return objects


def texts(raw: bytes) -> list[list[str]]:
    """What stands on each page."""
    objects = opened(raw)
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
        said = re.findall(rb"\(((?:\\.|[^\\()])*)\) Tj", stream[2])
        pages.append([re.sub(rb"\\(.)", rb"\1", one).decode("cp1252") for one in said])
    return pages


def test_an_invoice_says_from_whom_to_whom_for_what_and_how_much() -> None:
    gone = line(1, amount=-1050, description="Unused time on Starter", quantity=1)
    [page] = texts(
        invoice_pdf.render(invoice(line(0), line(0, quantity=None, pricing=None), gone), "Bulkhead")
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
    assert page[page.index("Left to pay") + 1] == "$0.00"
    assert invoice_pdf.MARK in page


def test_many_lines_go_on_over_pages_and_none_is_lost() -> None:
    pages = texts(invoice_pdf.render(invoice(*(line(at) for at in range(39))), "Bulkhead"))
    assert len(pages) == 3
    assert [one for page in pages for one in page if one.startswith("Seat ")] == [
        f"Seat {at}" for at in range(39)
    ]
    assert ["Total" in page for page in pages] == [False, False, True]


@pytest.mark.parametrize(
    "count", [0, invoice_pdf.FIRST, invoice_pdf.FIRST + 1, invoice_pdf.FIRST + invoice_pdf.OTHERS]
)
def test_nothing_is_written_below_the_edge(count: int) -> None:
    full = invoice(
        *(line(at) for at in range(count)),
        amount_paid=1,
        amount_due=-1,
        total_discount_amounts=[{"amount": 500, "discount": "di_1"}],
        total_taxes=[{"amount": 100}],
    )
    raw = invoice_pdf.render(full, "Bulkhead")
    heights = [float(y) for y in re.findall(rb"[\d.]+ (-?[\d.]+) Td", raw)]
    assert heights.count(40.0) == 2 * len(texts(raw)), "a footer of two parts on every page"
    assert min(y for y in heights if y != 40) > 60


def test_long_and_strange_words_stay_in_their_column() -> None:
    endless = "Seats for a very long name " * 20 + "日本\n"
    [page] = texts(invoice_pdf.render(invoice(line(0, description=endless)), "Bulkhead"))
    [shown] = [one for one in page if one.startswith("Seats")]
    assert shown.endswith("…")
    assert pdf.width(shown, 10) < 300


def test_money_ends_at_the_right_edge() -> None:
    page = pdf.Page()
    page.right(500, 10, "$1,234.50")
    x = float(re.search(rb"Tf ([\d.]+)", page.marks[0])[1])  # type: ignore[index]
    # Helvetica's own table: seven digits and the dollar at 556, comma and point at 278
    assert x == pytest.approx(500 - (7 * 556 + 2 * 278) / 100, abs=0.01)


@pytest.mark.parametrize(
    ("status", "said"),
    [
        ("open", "$20.00 due"),
        ("void", "$20.00, not collected"),
        ("paid", "$20.00 paid"),
        ("uncollectible", "$20.00, not collected"),
    ],
)
def test_the_headline_says_how_it_stands(status: str, said: str) -> None:
    paid = status == "paid"
    one = invoice(line(0), status=status, amount_paid=2000 * paid, amount_remaining=2000 * (not paid))
    assert said in texts(invoice_pdf.render(one, "Bulkhead"))[0]


def test_what_takes_from_the_total_is_shown_and_adds_up() -> None:
    one = invoice(line(0), total_discount_amounts=[{"amount": 500, "discount": "di_1"}])
    one |= {"total": 1500, "amount_due": 1200, "amount_paid": 1200}
    assert invoice_pdf.totals(one) == [
        ("Subtotal", 2000),
        ("Discount", -500),
        ("Total", 1500),
        ("Credit balance used", -300),
        ("Paid", -1200),
        ("Left to pay", 0),
    ]
