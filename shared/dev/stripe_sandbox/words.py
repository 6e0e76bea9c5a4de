"""Amounts, dates, prices and cards in words: the same on the hosted pages and in the PDF."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

SIGNS = {"eur": "€", "gbp": "£", "usd": "$"}
# https://docs.stripe.com/currencies: an amount of these is whole units, not hundredths.
WHOLE = frozenset("bif clp djf gnf jpy kmf krw mga pyg rwf ugx vnd vuv xaf xof xpf".split())
STANDING = {
    "active": ("Active", "ok"),
    "canceled": ("Canceled", ""),
    "incomplete": ("First payment missing", "warn"),
    "incomplete_expired": ("Never paid", ""),
    "past_due": ("Past due", "bad"),
    "paused": ("Paused", "warn"),
    "trialing": ("Trial", "ok"),
    "unpaid": ("Unpaid", "bad"),
}
INVOICES = {
    "draft": ("Draft", ""),
    "open": ("Open", "warn"),
    "paid": ("Paid", "ok"),
    "uncollectible": ("Not collected", "bad"),
    "void": ("Void", ""),
}
BRANDS = {"amex": "American Express", "mastercard": "Mastercard", "visa": "Visa"}


def money(amount: int | Decimal, currency: str) -> str:
    """`-2050` of dollars is "−$20.50"; parts of a cent are kept, as unit prices have them."""
    places = 0 if currency in WHOLE else 2
    value = abs(Decimal(amount)).scaleb(-places)
    exact = max(places, -int(value.normalize().as_tuple().exponent))
    sign = SIGNS.get(currency) or f"{currency.upper()} "
    return f"{'−' if amount < 0 else ''}{sign}{value:,.{exact}f}"


def day(at: int | None) -> str:
    """ "1 December 2026", or a dash."""
    return f"{_utc(at):%-d %B %Y}" if at is not None else "–"


def moment(at: float) -> str:
    """To the second, for people who compare logs."""
    return f"{_utc(at):%-d %b %Y, %H:%M:%S} UTC"


def span(period: dict[str, Any]) -> str:
    return f"{day(period['start'])} to {day(period['end'])}"


def each(price: dict[str, Any]) -> str:
    """How often a price comes: "a month", "every 3 months", or nothing when it comes once."""
    recurring = price.get("recurring")
    if not recurring:
        return ""
    count, interval = recurring["interval_count"], recurring["interval"]
    return f"a {interval}" if count == 1 else f"every {count} {interval}s"


def metered(price: dict[str, Any]) -> bool:
    return (price.get("recurring") or {}).get("usage_type") == "metered"


def unit(price: dict[str, Any]) -> str:
    """What one costs, or that it depends."""
    exact = price.get("unit_amount_decimal")
    if exact is None:
        return "in steps, by how much is used" if metered(price) else "in steps"
    return money(Decimal(str(exact)), price["currency"])


def card(method: dict[str, Any] | None) -> str:
    if method is None:
        return "No payment method"
    if not method.get("card"):
        return str(method["type"]).replace("_", " ").capitalize()
    brand = BRANDS.get(method["card"]["brand"], str(method["card"]["brand"]).capitalize())
    return f"{brand} ending {method['card']['last4']}"


def expiry(method: dict[str, Any] | None) -> str:
    found = (method or {}).get("card")
    return f"Expires {found['exp_month']:02}/{found['exp_year'] % 100:02}" if found else ""


def standing(subscription: dict[str, Any]) -> tuple[str, str, str]:
    """A word, its tone, and what happens next with the day on which it does."""
    word, tone = STANDING[subscription["status"]]
    end = min((one["current_period_end"] for one in subscription["items"]["data"]), default=None)
    if subscription["ended_at"]:
        return word, tone, f"Ended on {day(subscription['ended_at'])}"
    if subscription["cancel_at_period_end"]:
        return word, "warn", f"Ends on {day(subscription['cancel_at'] or end)}, not renewed"
    if subscription["status"] == "trialing":
        return word, tone, f"The trial ends on {day(subscription['trial_end'])}"
    if subscription["status"] in ("past_due", "unpaid"):
        return word, tone, "The last payment failed: replace the card to pay what is open"
    return word, tone, f"Renews on {day(end)}"


def link(address: str | None) -> str:
    """An address somebody else gave us, as far as a browser may be sent there."""
    return address if address and address.startswith(("http://", "https://")) else ""


def _utc(at: float | None) -> datetime:
    return datetime.fromtimestamp(at or 0, UTC)
