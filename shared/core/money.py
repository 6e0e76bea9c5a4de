"""Money as people write it. Inside it is always a whole number of the smallest unit, and the currency beside it."""

import re
from typing import NamedTuple

from shared.core.errors import Invalid


class Currency(NamedTuple):
    digits: int  # after the point
    sign: str = ""  # before the amount; "" for those that are known by their code


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
_TYPED = re.compile(r"(?P<whole>[0-9]{1,3}(?:,[0-9]{3})+|[0-9]{1,12})(?:\.(?P<part>[0-9]{1,3}))?")


def said(amount: int, currency: str) -> str:
    """As in "$1,299.00", "CHF 12.50", "−¥500". A currency of the provider that we do not know is shown in its units."""
    known = CURRENCIES.get(currency)
    before = known.sign if known and known.sign else f"{currency.upper()} "
    return f"{'−' if amount < 0 else ''}{before}{number(abs(amount), currency)}"


def number(amount: int, currency: str) -> str:
    """Without the currency, as in a field of a form that names it elsewhere."""
    known = CURRENCIES.get(currency)
    if known is None or not known.digits:
        return f"{amount:,}"
    whole, part = divmod(amount, 10**known.digits)
    return f"{whole:,}.{part:0{known.digits}}"


def typed(text: str, currency: str, name: str = "amount") -> int:
    """What somebody wrote into a field. Raises Invalid for what would have to be rounded, too."""
    digits = check(currency).digits
    found = _TYPED.fullmatch(text.strip())
    part = (found["part"] or "") if found else ""
    if found is None or len(part) > digits:
        example = "29.00" if digits else "2900"
        raise Invalid(
            f"{text.strip()[:20] or 'Nothing'} is not an amount in {currency.upper()}.",
            f"Write it as in {example}.",
            fields={name: "Not an amount"},
        )
    return int(found["whole"].replace(",", "") + part.ljust(digits, "0"))


def check(currency: str) -> Currency:
    """Raises Invalid for one that we do not know."""
    known = CURRENCIES.get(currency)
    if known is None:
        raise Invalid(
            f"{currency[:10].upper() or 'Nothing'} is not a currency that we sell in.",
            f"Choose one of {', '.join(one.upper() for one in CURRENCIES)}.",
            fields={"currency": "Unknown"},
        )
    return known
