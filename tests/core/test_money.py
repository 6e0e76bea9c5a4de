"""Money is formatted and parsed exactly, also in currencies without decimals."""

import pytest

from shared.core import money
from shared.core.errors import Invalid


@pytest.mark.parametrize(
    ("amount", "currency", "text"),
    [
        (2_900, "usd", "$29.00"),
        (5, "usd", "$0.05"),
        (0, "eur", "€0.00"),
        (-129_900, "usd", "−$1,299.00"),
        (1_250, "chf", "CHF 12.50"),
        (50_000, "jpy", "¥50,000"),
        (7, "xyz", "XYZ 7"),
    ],
)
def test_amount_is_formatted_with_its_currency(amount: int, currency: str, text: str) -> None:
    assert money.format_amount(amount, currency) == text


@pytest.mark.parametrize(
    ("text", "currency", "amount"),
    [
        ("29", "usd", 2_900),
        ("29.5", "usd", 2_950),
        (" 1,299.00 ", "usd", 129_900),
        ("0.05", "eur", 5),
        ("50,000", "jpy", 50_000),
    ],
)
def test_typed_amount_is_parsed_exactly(text: str, currency: str, amount: int) -> None:
    assert money.parse_amount(text, currency) == amount
    assert money.parse_amount(money.format_number(amount, currency), currency) == amount


@pytest.mark.parametrize(
    "text", ["", "-1", "1.005", "1,00", "29 USD", "1e3", "٣", "0x10", "1.", ".5", "9" * 13]
)
def test_ambiguous_amount_is_refused(text: str) -> None:
    with pytest.raises(Invalid, match="isn't an amount"):
        money.parse_amount(text, "usd")


def test_amount_with_decimals_is_refused_in_yen() -> None:
    with pytest.raises(Invalid):
        money.parse_amount("100.50", "jpy")


def test_unknown_currency_is_refused() -> None:
    for unknown in ("", "xyz", "USD"):
        with pytest.raises(Invalid, match="isn't a currency"):
            money.require_currency(unknown)
