"""Money as people write it. Inside it is always a whole number of the smallest unit, and the currency beside it."""

import re
from functools import cache
from typing import NamedTuple

from babel import Locale
from babel.core import get_global
from babel.numbers import get_currency_symbol, get_territory_currencies

from shared.core.errors import Invalid

# Amounts are in the unit of Stripe's API, which for some currencies is another one than their own: charges in shillings of
# Uganda are in hundredths, because they once were (docs.stripe.com/currencies, "Special cases").
ZERO_DECIMAL = frozenset(
    "bif clp djf gnf jpy kmf krw mga pyg rwf vnd vuv xaf xof xpf".split()
)  # docs.stripe.com/currencies, "Zero-decimal currencies"
THREE_DECIMAL = frozenset("bhd jod kwd omr tnd".split())  # "Three-decimal currencies": the last digit is 0
WHOLE_IN_HUNDREDTHS = frozenset(("isk", "ugx"))  # "Special cases": the hundredths are 00
LOCALE = Locale("en", "US")


class Currency(NamedTuple):
    digits: int  # after the point
    step: int  # amounts are multiples of it, in the smallest unit
    symbol: str  # before the amount


def _list_currencies() -> dict[str, Currency]:
    """Those that some country uses at present, by their lower-case code."""
    codes = {
        code
        for territory in get_global("territory_currencies")
        for code in get_territory_currencies(territory)
    }
    return {code.lower(): _define_currency(code) for code in sorted(codes)}


def _define_currency(code: str) -> Currency:
    name, symbol = code.lower(), get_currency_symbol(code, LOCALE)
    digits = 0 if name in ZERO_DECIMAL else 3 if name in THREE_DECIMAL else 2
    step = 10 if name in THREE_DECIMAL else 100 if name in WHOLE_IN_HUNDREDTHS else 1
    return Currency(digits, step, f"{symbol} " if symbol[-1].isalnum() or symbol[-1] == "." else symbol)


CURRENCIES = _list_currencies()


@cache
def _find_currency(currency: str) -> Currency | None:
    """Former currencies as well: old invoices are in them."""
    code = currency.upper()
    is_known = currency.islower() and code in LOCALE.currencies
    return _define_currency(code) if is_known else None


_AMOUNT_PATTERN = re.compile(r"(?P<whole>[0-9]{1,3}(?:,[0-9]{3})+|[0-9]{1,12})(?:\.(?P<part>[0-9]{1,3}))?")


def format_amount(amount: int, currency: str, *, short: bool = False) -> str:
    """As in "$1,299.00", "CHF 12.50", "−¥500". An unknown currency is shown in the provider's units.

    `short`: a whole amount without its decimal places, as in "$1,299".
    """
    definition = _find_currency(currency)
    prefix = definition.symbol if definition else f"{currency.upper()} "
    return f"{'−' if amount < 0 else ''}{prefix}{format_number(abs(amount), currency, short=short)}"


def format_number(amount: int, currency: str, *, short: bool = False) -> str:
    """Without the currency, as in a field of a form that names it elsewhere."""
    definition = _find_currency(currency)
    if definition is None or not definition.digits:
        return f"{amount:,}"
    whole, fraction = divmod(amount, 10**definition.digits)
    if short and not fraction:
        return f"{whole:,}"
    return f"{whole:,}.{fraction:0{definition.digits}}"


def format_plain(amount: int, currency: str) -> str:
    """For programs and spreadsheets: as in "-1299.00", without the currency."""
    return f"{'-' if amount < 0 else ''}{format_number(abs(amount), currency).replace(',', '')}"


def parse_amount(text: str, currency: str, field: str = "amount") -> int:
    """The amount in the smallest unit, from text that a person typed.

    Raises Invalid, including for amounts that would have to be rounded.
    """
    digits, step, _ = require_currency(currency)
    match = _AMOUNT_PATTERN.fullmatch(text.strip())
    fraction = (match["part"] or "") if match else ""
    amount = int(match["whole"].replace(",", "") + fraction.ljust(digits, "0")) if match else 0
    if match is None or len(fraction) > digits or amount % step:
        raise Invalid(
            f"{text.strip()[:20] or 'Nothing'} isn’t an amount in {currency.upper()}.",
            f"Write it as in {format_number(29 * 10**digits, currency, short=step == 100)}.",
            fields={field: "Not an amount"},
        )
    return amount


def require_currency(currency: str) -> Currency:
    """Raises Invalid for one that no country uses."""
    definition = CURRENCIES.get(currency)
    if definition is None:
        raise Invalid(
            f"{currency[:10].upper() or 'Nothing'} isn’t a currency.",
            "Write its three letters, as in USD.",
            fields={"currency": "Unknown"},
        )
    return definition
