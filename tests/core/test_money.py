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
        (1_000, "inr", "₹10.00"),
        (12_340, "kwd", "KWD 12.340"),
        (500, "ugx", "UGX 5.00"),
        (1_000, "xaf", "FCFA 1,000"),
        (200_000, "bgn", "BGN 2,000.00"),  # replaced by the euro
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
        ("12.34", "kwd", 12_340),
        ("5", "ugx", 500),
    ],
)
def test_typed_amount_is_parsed_exactly(text: str, currency: str, amount: int) -> None:
    assert money.parse_amount(text, currency) == amount
    assert money.parse_amount(money.format_number(amount, currency), currency) == amount


@pytest.mark.parametrize(
    "text", ["", "-1", "1.005", "1,00", "29 USD", "1e3", "٣", "0x10", "1.", ".5", "9" * 13]
)
def test_ambiguous_amount_is_refused(text: str) -> None:
    with pytest.raises(Invalid, match="isn’t an amount"):
        money.parse_amount(text, "usd")


@pytest.mark.parametrize(
    ("text", "currency", "example"),
    [("100.50", "jpy", "29"), ("5.50", "ugx", "29"), ("1.005", "kwd", "29.000"), ("1.005", "usd", "29.00")],
)
def test_amount_that_the_provider_would_refuse_is_refused(text: str, currency: str, example: str) -> None:
    with pytest.raises(Invalid) as refusal:
        money.parse_amount(text, currency)
    assert refusal.value.next_step == f"Write it as in {example}."


def test_digits_differ_from_the_currency_only_where_the_provider_says_so() -> None:
    """Of those that Stripe treats as its own documentation says; ISO 4217 has other digits for these two."""
    differing = {code for code, currency in money.CURRENCIES.items() if currency.step == 100}
    assert differing == {"isk", "ugx"}
    assert {code for code, currency in money.CURRENCIES.items() if currency.digits == 0} == money.ZERO_DECIMAL


def test_unknown_currency_is_refused() -> None:
    for unknown in ("", "xyz", "USD"):
        with pytest.raises(Invalid, match="isn’t a currency"):
            money.require_currency(unknown)
