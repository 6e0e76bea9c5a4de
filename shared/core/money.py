"""Money as people write it. Inside it is always a whole number of the smallest unit, and the currency beside it."""

import re
from typing import NamedTuple

from shared.core.errors import Invalid


class Currency(NamedTuple):
    digits: int  # after the point
    symbol: str = ""  # before the amount; "" for those that are known by their code


CURRENCIES = {
    "aud": Currency(2, "A$"),
    "cad": Currency(2, "CA$"),
    "chf": Currency(2),
    "czk": Currency(2),
    "dkk": Currency(2),
    "eur": Currency(2, "€"),
    "gbp": Currency(2, "£"),
    "jpy": Currency(0, "¥"),
    "krw": Currency(0, "₩"),
    "nok": Currency(2),
    "nzd": Currency(2, "NZ$"),
    "pln": Currency(2),
    "sek": Currency(2),
    "usd": Currency(2, "$"),
}
_AMOUNT_PATTERN = re.compile(r"(?P<whole>[0-9]{1,3}(?:,[0-9]{3})+|[0-9]{1,12})(?:\.(?P<part>[0-9]{1,3}))?")


def format_amount(amount: int, currency: str, *, short: bool = False) -> str:
    """As in "$1,299.00", "CHF 12.50", "−¥500". A currency of the provider that we do not know is shown in its units.

    `short`: a whole amount without its decimal places, as in "$1,299".
    """
    definition = CURRENCIES.get(currency)
    prefix = definition.symbol if definition and definition.symbol else f"{currency.upper()} "
    return f"{'−' if amount < 0 else ''}{prefix}{format_number(abs(amount), currency, short=short)}"


def format_number(amount: int, currency: str, *, short: bool = False) -> str:
    """Without the currency, as in a field of a form that names it elsewhere."""
    definition = CURRENCIES.get(currency)
    if definition is None or not definition.digits:
        return f"{amount:,}"
    whole, fraction = divmod(amount, 10**definition.digits)
    if short and not fraction:
        return f"{whole:,}"
    return f"{whole:,}.{fraction:0{definition.digits}}"


def parse_amount(text: str, currency: str, field: str = "amount") -> int:
    """The amount in the smallest unit, from text that a person typed.

    Raises Invalid, including for amounts that would have to be rounded.
    """
    digits = require_currency(currency).digits
    match = _AMOUNT_PATTERN.fullmatch(text.strip())
    fraction = (match["part"] or "") if match else ""
    if match is None or len(fraction) > digits:
        example = "29.00" if digits else "2900"
        raise Invalid(
            f"{text.strip()[:20] or 'Nothing'} isn't an amount in {currency.upper()}.",
            f"Write it as in {example}.",
            fields={field: "Not an amount"},
        )
    return int(match["whole"].replace(",", "") + fraction.ljust(digits, "0"))


def require_currency(currency: str) -> Currency:
    """Raises Invalid for one that we do not know."""
    definition = CURRENCIES.get(currency)
    if definition is None:
        raise Invalid(
            f"{currency[:10].upper() or 'Nothing'} isn't a currency that we sell in.",
            f"Choose one of {', '.join(code.upper() for code in CURRENCIES)}.",
            fields={"currency": "Unknown"},
        )
    return definition
