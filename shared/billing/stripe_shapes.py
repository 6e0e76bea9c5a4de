"""From Stripe's objects, as plain dictionaries, to ours. The only place that knows where a field lives.

Two generations of the API are read: periods on the items and what an invoice belongs to in `parent` (since 2025-03-31),
and both on top as before. A word that nobody here knows passes through; what is null or absent is as good as not said.
"""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from shared.billing.provider import (
    AfterTrial,
    CustomerState,
    Invoice,
    InvoiceLine,
    Kept,
    Line,
    Preview,
    Subscription,
)

Raw = Mapping[str, Any]
OUR_PRICE = "bulkhead_price"  # in a price's metadata
KEPT = "kept."  # and our price's id, in a subscription's metadata: "<quantity>:<unix time>"
AFTER_TRIAL: dict[str, AfterTrial] = {"cancel": "cancel", "pause": "pause", "create_invoice": "invoice"}
BY_BILL = "send_invoice"  # way of collecting: they get a bill and some days, and nobody charges a card
CARDS = {"amex": "American Express", "diners": "Diners Club", "jcb": "JCB", "unionpay": "UnionPay"}


def customer_state(customer: Raw, subscriptions: Iterable[Raw], invoices: Iterable[Raw]) -> CustomerState:
    bills, told = list(invoices), list(subscriptions)
    told.sort(key=lambda one: (one.get("created") or 0, one["id"]))
    usual = _in(customer, "invoice_settings", "default_payment_method") or customer.get("default_source")
    methods = [usual, *(one.get("default_payment_method") for one in reversed(told))]
    return CustomerState(
        customer["id"],
        deleted=bool(customer.get("deleted")),
        method=next((_method(one) for one in methods if isinstance(one, Mapping)), ""),
        balance=customer.get("balance") or 0,
        currency=customer.get("currency") or "",
        subscriptions=tuple(subscription(one, bills, pays=bool(usual)) for one in told),
        invoices=tuple(invoice(one) for one in bills),
    )


def subscription(raw: Raw, invoices: Iterable[Raw] = (), *, pays: bool = False) -> Subscription:
    """`pays`: the customer has a way to pay, whatever the subscription says."""
    lines = tuple(_line(item, raw) for item in _list(raw.get("items")))
    cancel_at = moment(raw.get("cancel_at"))
    if cancel_at is None and raw.get("cancel_at_period_end"):
        cancel_at = max((line.ends_at for line in lines if line.ends_at), default=None)
    return Subscription(
        id=raw["id"],
        status=str(raw.get("status") or ""),
        created_at=moment(raw.get("created")) or datetime.fromtimestamp(0, UTC),
        lines=lines,
        kept=_kept(raw.get("metadata") or {}),
        trial_ends_at=moment(raw.get("trial_end")),
        after_trial=AFTER_TRIAL.get(
            _in(raw, "trial_settings", "end_behavior", "missing_payment_method") or "", "invoice"
        ),
        pays=pays
        or bool(raw.get("default_payment_method") or raw.get("default_source"))
        or raw.get("collection_method") == BY_BILL,
        cancel_at=cancel_at,
        ended_at=moment(raw.get("ended_at")),
        failed_since=min(
            (_fell_due(one) for one in invoices if _failed(one) and subscription_of(one) == raw["id"]),
            default=None,
        ),
        currency=raw.get("currency") or "",
    )


def invoice(raw: Raw) -> Invoice:
    lines = tuple(invoice_line(one) for one in _list(raw.get("lines")))
    # An invoice's own period is the one before; of its lines the last one to end is what it is for.
    periods = [(one.ends_at, one.starts_at) for one in lines if one.ends_at and one.starts_at]
    own = (moment(raw.get("period_end")), moment(raw.get("period_start")))
    ends_at, starts_at = max(periods, default=own)
    return Invoice(
        id=raw["id"],
        number=raw.get("number") or "",
        status=raw.get("status") or "draft",
        currency=raw.get("currency") or "",
        total=raw.get("total") or 0,
        due=raw.get("amount_remaining") or 0,
        paid=raw.get("amount_paid") or 0,
        attempts=raw.get("attempt_count") or 0,
        next_attempt_at=moment(raw.get("next_payment_attempt")),
        created_at=moment(raw.get("created")) or datetime.fromtimestamp(0, UTC),
        starts_at=starts_at,
        ends_at=ends_at,
        page_url=raw.get("hosted_invoice_url") or "",
        pdf_url=raw.get("invoice_pdf") or "",
        subscription_id=subscription_of(raw),
        lines=lines,
    )


def preview(raw: Raw, items: Iterable[Raw], now: datetime) -> Preview:
    """`items`: of the subscription. Their clock may not be ours: what they counted from is in what they counted.

    What an earlier change added, and no invoice has charged yet, is shown too; it began before this one.
    """
    shown = invoice(raw)
    counted = [one.starts_at for one in shown.lines if one.proration and one.starts_at]
    said = moment(_in(raw, "parent", "subscription_details", "subscription_proration_date"))
    as_of = said or max(counted, default=None) or _in_period(now, items)
    return Preview(shown.currency, raw.get("amount_due") or 0, shown.lines, as_of)


def invoice_line(raw: Raw) -> InvoiceLine:
    parent = raw.get("parent") or {}
    detail = parent.get("subscription_item_details") or parent.get("invoice_item_details") or raw
    return InvoiceLine(
        said=raw.get("description") or "",
        amount=raw.get("amount") or 0,
        quantity=raw.get("quantity"),
        starts_at=moment(_in(raw, "period", "start")),
        ends_at=moment(_in(raw, "period", "end")),
        proration=bool(detail.get("proration")),
    )


def subscription_of(invoice: Raw) -> str:
    """ "" for a bill that belongs to none."""
    return identity(
        _in(invoice, "parent", "subscription_details", "subscription") or invoice.get("subscription")
    )


def identity(value: Any) -> str:
    """Of an object that may be shown as its id, whole, or not at all."""
    return str(value.get("id") or "") if isinstance(value, Mapping) else str(value or "")


def moment(seconds: Any) -> datetime | None:
    return datetime.fromtimestamp(seconds, UTC) if isinstance(seconds, int | float) and seconds else None


def kept_metadata(kept: Iterable[Kept], before: Raw) -> dict[str, str]:
    """What to write for `kept`; an empty text takes a key away."""
    gone = {key: "" for key in before if key.startswith(KEPT)}
    return gone | {f"{KEPT}{one.price_id}": f"{one.quantity}:{int(one.until.timestamp())}" for one in kept}


def _line(item: Raw, of: Raw) -> Line:
    price = item.get("price") or {}
    metered = _in(price, "recurring", "usage_type") == "metered"
    return Line(
        id=identity(item),
        price_id=str(_in(price, "metadata", OUR_PRICE) or ""),
        external_price_id=identity(price),
        quantity=0 if metered else item.get("quantity") or 0,
        starts_at=moment(item.get("current_period_start") or of.get("current_period_start")),
        ends_at=moment(item.get("current_period_end") or of.get("current_period_end")),
    )


def _in_period(at: datetime, items: Iterable[Raw]) -> datetime:
    """The time in the current period that is nearest to it."""
    for item in items:
        starts, ends = moment(item.get("current_period_start")), moment(item.get("current_period_end"))
        if starts and ends:
            at = max(starts, min(at, ends - timedelta(seconds=1)))
    return at.replace(microsecond=0)


def _kept(metadata: Raw) -> tuple[Kept, ...]:
    found = []
    for key, value in sorted(metadata.items()):
        quantity, _, until = str(value).partition(":")
        if key.startswith(KEPT) and quantity.isdecimal() and until.isdecimal():  # people may write there too
            found.append(Kept(key.removeprefix(KEPT), int(quantity), datetime.fromtimestamp(int(until), UTC)))
    return tuple(found)


def _failed(invoice: Raw) -> bool:
    """Of one that is paid by bill nobody tries anything: it has a day until when, and is asked about where that passed."""
    tried = invoice.get("attempted") or invoice.get("attempt_count") or _by_bill(invoice)
    return invoice.get("status") == "open" and bool(tried)


def _by_bill(invoice: Raw) -> bool:
    return invoice.get("collection_method") == BY_BILL and bool(invoice.get("due_date"))


def _fell_due(invoice: Raw) -> datetime:
    if _by_bill(invoice):
        return datetime.fromtimestamp(invoice["due_date"], UTC)
    at = _in(invoice, "status_transitions", "finalized_at") or invoice.get("created") or 0
    return datetime.fromtimestamp(at, UTC)


def _method(raw: Raw) -> str:
    """As people call it: "Visa ending in 4242"."""
    kind = str(raw.get("type") or raw.get("object") or "")
    detail = raw.get(kind) or raw
    brand = str(detail.get("display_brand") or detail.get("brand") or "")
    name = CARDS.get(brand, brand.replace("_", " ").title()) or str(
        detail.get("bank_name") or kind.replace("_", " ").capitalize()
    )
    last = detail.get("last4")
    return f"{name} ending in {last}" if last else name


def _list(value: Any) -> Iterable[Raw]:
    """Of a list object, or of a list."""
    return (value.get("data") or []) if isinstance(value, Mapping) else value or []


def _in(raw: Any, *path: str) -> Any:
    for key in path:
        raw = raw.get(key) if isinstance(raw, Mapping) else None
    return raw
