"""Amounts, dates, prices and cards in words: the same on the hosted pages and in the PDF."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

CURRENCY_SIGNS = {"eur": "€", "gbp": "£", "usd": "$"}
# https://docs.stripe.com/currencies: an amount of these is in whole units, or in thousandths. Others are in hundredths, also
# UGX, which that page lists as a special case.
ZERO_DECIMAL_CURRENCIES = frozenset("bif clp djf gnf jpy kmf krw mga pyg rwf vnd vuv xaf xof xpf".split())
THREE_DECIMAL_CURRENCIES = frozenset("bhd jod kwd omr tnd".split())
SUBSCRIPTION_LABELS = {
    "active": ("Active", "ok"),
    "canceled": ("Canceled", ""),
    "incomplete": ("First payment missing", "warn"),
    "incomplete_expired": ("Never paid", ""),
    "past_due": ("Past due", "bad"),
    "paused": ("Paused", "warn"),
    "trialing": ("Trial", "ok"),
    "unpaid": ("Unpaid", "bad"),
}
INVOICE_LABELS = {
    "draft": ("Draft", ""),
    "open": ("Open", "warn"),
    "paid": ("Paid", "ok"),
    "uncollectible": ("Not collected", "bad"),
    "void": ("Void", ""),
}
BRAND_NAMES = {"amex": "American Express", "mastercard": "Mastercard", "visa": "Visa"}


def format_money(amount: int | Decimal, currency: str) -> str:
    """`-2050` of dollars is "−$20.50"; parts of a cent are kept, as unit prices have them."""
    places = 0 if currency in ZERO_DECIMAL_CURRENCIES else 3 if currency in THREE_DECIMAL_CURRENCIES else 2
    value = abs(Decimal(amount)).scaleb(-places)
    decimals = max(places, -int(value.normalize().as_tuple().exponent))
    sign = CURRENCY_SIGNS.get(currency) or f"{currency.upper()} "
    return f"{'−' if amount < 0 else ''}{sign}{value:,.{decimals}f}"


def format_day(timestamp: int | None) -> str:
    """ "1 December 2026", or a dash."""
    return f"{_to_utc(timestamp):%-d %B %Y}" if timestamp is not None else "–"


def format_time(timestamp: float) -> str:
    """The time to the second, for comparing logs."""
    return f"{_to_utc(timestamp):%-d %b %Y, %H:%M:%S} UTC"


def format_period(period: dict[str, Any]) -> str:
    return f"{format_day(period['start'])} to {format_day(period['end'])}"


def format_interval(price: dict[str, Any], *, determiner: str = "a") -> str:
    """How often a price comes: "a month", "every 3 months", or nothing when it comes once.

    `determiner`: for an interval of one; "every" makes "every month".
    """
    recurring = price.get("recurring")
    if not recurring:
        return ""
    count, interval = recurring["interval_count"], recurring["interval"]
    return f"{determiner} {interval}" if count == 1 else f"every {count} {interval}s"


def is_metered_price(price: dict[str, Any]) -> bool:
    return (price.get("recurring") or {}).get("usage_type") == "metered"


def format_unit_price(price: dict[str, Any]) -> str:
    """The price of one unit, or a text for tiered prices."""
    unit_amount = price.get("unit_amount_decimal")
    if unit_amount is None:
        return "tiered, by usage" if is_metered_price(price) else "tiered"
    return format_money(Decimal(str(unit_amount)), price["currency"])


def format_card(method: dict[str, Any] | None) -> str:
    if method is None:
        return "No payment method"
    if not method.get("card"):
        return str(method["type"]).replace("_", " ").capitalize()
    brand = BRAND_NAMES.get(method["card"]["brand"], str(method["card"]["brand"]).capitalize())
    return f"{brand} ending {method['card']['last4']}"


def format_card_expiry(method: dict[str, Any] | None) -> str:
    card_details = (method or {}).get("card")
    return (
        f"Expires {card_details['exp_month']:02}/{card_details['exp_year'] % 100:02}" if card_details else ""
    )


def describe_status(subscription: dict[str, Any]) -> tuple[str, str, str]:
    """The status, its tone, and the next change with its day."""
    label, tone = SUBSCRIPTION_LABELS[subscription["status"]]
    end = min((item["current_period_end"] for item in subscription["items"]["data"]), default=None)
    if subscription["ended_at"]:
        return label, tone, f"Ended on {format_day(subscription['ended_at'])}"
    if subscription["cancel_at_period_end"]:
        return label, "warn", f"Ends on {format_day(subscription['cancel_at'] or end)}, not renewed"
    if subscription["status"] == "trialing":
        return label, tone, f"The trial ends on {format_day(subscription['trial_end'])}"
    if subscription["status"] in ("past_due", "unpaid"):
        return label, tone, "The last payment failed: replace the card to pay what is open"
    return label, tone, f"Renews on {format_day(end)}"


def allow_web_url(address: str | None) -> str:
    """A web address from outside input; empty where a browser shouldn't be sent there."""
    return address if address and address.startswith(("http://", "https://")) else ""


def _to_utc(timestamp: float | None) -> datetime:
    return datetime.fromtimestamp(timestamp or 0, UTC)
