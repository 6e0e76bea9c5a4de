"""Maps Stripe's objects, as plain dictionaries, to ours. The only module that knows the paths of Stripe's fields.

Reads two generations of the API: periods on the items and the owner of an invoice in `parent` (since 2025-03-31), and
both at the top level as before. Unknown statuses pass through; null and absent fields are treated alike.
"""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import Any, NamedTuple

from shared.billing.provider import (
    FAILED_REFUND_STATUSES,
    NO_REASON,
    AfterTrial,
    BillingDetails,
    CanceledAddon,
    Cancellation,
    ChangePreview,
    CustomerState,
    Dispute,
    FraudWarning,
    Invoice,
    InvoiceLine,
    OrderLine,
    PauseCause,
    PaymentMethod,
    PendingChange,
    Refund,
    ScheduledChange,
    Subscription,
    SubscriptionItem,
    TaxId,
    UpcomingCharges,
    UpcomingInvoice,
)

Raw = Mapping[str, Any]
CHANGE_KEY = "bulkhead_change"  # in metadata of subscriptions and schedules: the key of the last change
PRICE_ID_KEY = "bulkhead_price"  # in a price's metadata
DISPUTE_KEY = (
    "bulkhead_dispute"  # in a subscription's metadata: the dispute because of which we paused collection
)
# Beside it: the Unix time of the newest draft that staff had stopped before the pause.
STOPPED_UNTIL_KEY = "bulkhead_dispute_stopped_until"
# In a subscription's metadata: "<unix time>:<key>" of the change for which its tax was turned on, until it is paid.
TAX_KEY = "bulkhead_taxed_for"
TENANT_KEY = "tenant_id"  # in a customer's metadata
ADJUSTMENT_KEY = (
    "bulkhead_adjustment"  # in metadata of balance entries, credit notes, refunds: the idempotency key
)
CANCELED_ADDON_PREFIX = "kept."  # plus our price id, in a subscription's metadata: "<quantity>:<unix time>"
AFTER_TRIAL: dict[str, AfterTrial] = {"cancel": "cancel", "pause": "pause", "create_invoice": "invoice"}
# By `status_details.paused.subscription.type`; "system" and later ones stay unknown.
PAUSE_CAUSES: dict[str, PauseCause] = {
    "final_payment_failure": "payment",
    "first_payment_failure": "payment",
    "pause_requested": "request",
    "trial_end_without_payment_method": "trial",
}
MAX_COMMENT_LENGTH = 5_000  # of a comment about a cancellation, which is Stripe's limit too
ADDRESS_FIELDS = ("line1", "line2", "postal_code", "city", "state", "country")
SEND_INVOICE = "send_invoice"  # collection method: the invoice has a due date and isn't charged automatically
CARD_BRANDS = {"amex": "American Express", "diners": "Diners Club", "jcb": "JCB", "unionpay": "UnionPay"}


def to_customer_state(
    customer: Raw,
    subscriptions: Iterable[Raw],
    invoices: Iterable[Raw],
    upcoming: UpcomingCharges = UpcomingCharges(),  # noqa: B008  immutable
    *,
    refunds: tuple[Refund, ...] = (),
    disputes: tuple[Dispute, ...] = (),
    fraud_warnings: tuple[FraudWarning, ...] = (),
) -> CustomerState:
    raw_invoices, raw_subscriptions = list(invoices), list(subscriptions)
    raw_subscriptions.sort(key=lambda raw: (raw.get("created") or 0, raw["id"]))
    live_subscriptions = [
        raw for raw in raw_subscriptions if raw.get("status") not in ("canceled", "incomplete_expired")
    ]
    default_method = _get_path(customer, "invoice_settings", "default_payment_method") or customer.get(
        "default_source"
    )
    methods = [default_method, *(raw.get("default_payment_method") for raw in reversed(raw_subscriptions))]
    charged_method = next((method for method in methods if isinstance(method, Mapping)), None)
    return CustomerState(
        customer["id"],
        deleted=bool(customer.get("deleted")),
        method=_describe_payment_method(charged_method) if charged_method is not None else "",
        balance=customer.get("balance") or 0,
        currency=customer.get("currency") or "",
        subscriptions=tuple(
            to_subscription(raw, raw_invoices, pays=bool(default_method)) for raw in raw_subscriptions
        ),
        invoices=tuple(to_invoice(raw) for raw in raw_invoices),
        upcoming=upcoming,
        refunds=refunds,
        disputes=disputes,
        fraud_warnings=fraud_warnings,
        methods={
            raw["id"]: method
            for raw in live_subscriptions
            if (method := to_payment_method(raw, customer)) is not None
        },
        card_fingerprints={
            raw["id"]: fingerprint
            for raw in live_subscriptions
            if (fingerprint := _get_fingerprint(_get_charged_method(raw, customer)))
        },
    )


def to_payment_method(subscription: Raw, customer: Raw) -> PaymentMethod | None:
    """What pays this subscription's invoices; None where it is paid by invoice, or Stripe didn't send the details."""
    raw = _get_charged_method(subscription, customer)
    if raw is None:
        return None
    return PaymentMethod(
        id=get_object_id(raw), text=_describe_payment_method(raw), expires_at=_get_card_expiry(raw)
    )


def _get_charged_method(subscription: Raw, customer: Raw) -> Raw | None:
    """The subscription's own method comes before the customer's, and payment methods before legacy sources.
    https://docs.stripe.com/api/subscriptions/object#subscription_object-default_payment_method
    """
    if subscription.get("collection_method") == SEND_INVOICE:
        return None
    methods = (
        subscription.get("default_payment_method"),
        subscription.get("default_source"),
        _get_path(customer, "invoice_settings", "default_payment_method"),
        customer.get("default_source"),
    )
    raw = next(filter(None, methods), None)
    return raw if isinstance(raw, Mapping) else None


def _get_card_expiry(raw: Raw) -> datetime | None:
    """A card can be charged until its month ends."""
    card = raw.get("card") or raw
    month, year = card.get("exp_month"), card.get("exp_year")
    if not (isinstance(month, int) and isinstance(year, int) and 1 <= month <= 12):
        return None
    return datetime(year + month // 12, month % 12 + 1, 1, tzinfo=UTC)


def to_billing_details(customer: Raw, tax_ids: Iterable[Raw]) -> BillingDetails:
    address = customer.get("address") or {}
    return BillingDetails(
        name=customer.get("name") or "",
        email=customer.get("email") or "",
        tax_ids=tuple(to_tax_id(tax_id) for tax_id in tax_ids),
        **{field: address.get(field) or "" for field in ADDRESS_FIELDS},
    )


def to_tax_id(raw: Raw) -> TaxId:
    return TaxId(str(raw.get("type") or ""), raw.get("value") or "", raw["id"])


def to_subscription(raw: Raw, invoices: Iterable[Raw] = (), *, pays: bool = False) -> Subscription:
    """`pays`: the customer has a payment method, even if the subscription has none."""
    lines = tuple(_to_item(item, raw) for item in _get_data(raw.get("items")))
    pending_change = to_pending_change(raw)
    cancel_at = to_datetime(raw.get("cancel_at"))
    if cancel_at is None and raw.get("cancel_at_period_end"):
        cancel_at = max((line.ends_at for line in lines if line.ends_at), default=None)
    return Subscription(
        id=raw["id"],
        status=str(raw.get("status") or ""),
        created_at=to_datetime(raw.get("created")) or datetime.fromtimestamp(0, UTC),
        lines=lines,
        kept=_to_canceled_addons(raw.get("metadata") or {}),
        trial_ends_at=to_datetime(raw.get("trial_end")),
        after_trial=AFTER_TRIAL.get(
            _get_path(raw, "trial_settings", "end_behavior", "missing_payment_method") or "", "invoice"
        ),
        pays=pays
        or bool(raw.get("default_payment_method") or raw.get("default_source"))
        or raw.get("collection_method") == SEND_INVOICE,
        cancel_at=cancel_at,
        ended_at=to_datetime(raw.get("ended_at")),
        failed_since=min(
            (
                _get_due_time(raw_invoice)
                for raw_invoice in invoices
                if _has_failed(raw_invoice)
                and get_subscription_id(raw_invoice) == raw["id"]
                and not (pending_change and raw_invoice["id"] == pending_change.invoice_id)
            ),
            default=None,
        ),
        currency=raw.get("currency") or "",
        pause_cause=_get_pause_cause(raw),
        paused_collection=str(_get_path(raw, "pause_collection", "behavior") or ""),
        pending_change=pending_change,
        is_taxed=bool(_get_path(raw, "automatic_tax", "enabled")),
        cancellation=_to_cancellation(raw),
        scheduled_change=to_scheduled_change(raw.get("schedule")),
        paused_at=to_datetime(_get_path(raw, "status_details", "paused", "transitioned_at"))
        if raw.get("status") == "paused"
        else None,
        unpaid_tax_at=get_unpaid_tax_time(raw),
        dispute_mark=str(_get_path(raw, "metadata", DISPUTE_KEY) or ""),
    )


def get_unpaid_tax_time(raw: Raw) -> datetime | None:
    """When the tax of this subscription was turned on for a change that wasn't paid and doesn't wait for it."""
    at, _, key = str(_get_path(raw, "metadata", TAX_KEY) or "").partition(":")
    is_open = not at.isdecimal() or key == _get_path(raw, "metadata", CHANGE_KEY) or raw.get("pending_update")
    if is_open or not _get_path(raw, "automatic_tax", "enabled"):
        return None
    return to_datetime(int(at))


def to_scheduled_change(schedule: Any) -> ScheduledChange | None:
    """From a schedule with expanded prices; None for one without a next phase, and for its mere id."""
    next_phase = find_next_phase(schedule) if isinstance(schedule, Mapping) else None
    if next_phase is None:
        return None
    return ScheduledChange(
        datetime.fromtimestamp(next_phase["start_date"], UTC),
        tuple(
            OrderLine(
                str(_get_path(item["price"], "metadata", PRICE_ID_KEY) or ""),
                get_object_id(item["price"]),
                item.get("quantity"),
            )
            for item in next_phase.get("items") or ()
        ),
    )


def find_next_phase(schedule: Raw) -> Raw | None:
    """The phase after the current one; None for the last one, and for a schedule that is over."""
    ends = _get_path(schedule, "current_phase", "end_date")
    if schedule.get("status") != "active" or ends is None:
        return None
    phases = sorted(schedule.get("phases") or (), key=lambda phase: phase["start_date"])
    return next((phase for phase in phases if phase["start_date"] >= ends), None)


def to_cancellation_answers(reason: Cancellation) -> Any:  # the SDK has a type for each call
    """The `cancellation_details` of a call; {} for a customer who didn't say why."""
    answers = {"feedback": reason.feedback, "comment": reason.comment}
    return {key: value for key, value in answers.items() if value}


def _to_cancellation(raw: Raw) -> Cancellation:
    """https://docs.stripe.com/api/subscriptions/object#subscription_object-cancellation_details"""
    if not raw.get("cancel_at") and not raw.get("cancel_at_period_end") and not raw.get("ended_at"):
        return NO_REASON  # the details stay after a cancellation was taken back
    return Cancellation(
        feedback=str(_get_path(raw, "cancellation_details", "feedback") or ""),
        comment=str(_get_path(raw, "cancellation_details", "comment") or "")[:MAX_COMMENT_LENGTH],
        canceled_at=to_datetime(raw.get("canceled_at")),
    )


def _get_pause_cause(raw: Raw) -> PauseCause:
    """The details stay after a subscription was resumed."""
    cause = _get_path(raw, "status_details", "paused", "subscription", "type")
    return PAUSE_CAUSES.get(str(cause), "") if raw.get("status") == "paused" else ""


def to_pending_change(raw: Raw) -> PendingChange | None:
    """The change of a subscription that waits for its payment; None without one."""
    expires_at = to_datetime(_get_path(raw, "pending_update", "expires_at"))
    return PendingChange(get_object_id(raw.get("latest_invoice")), expires_at) if expires_at else None


def to_invoice(raw: Raw) -> Invoice:
    lines = tuple(to_invoice_line(raw_line) for raw_line in _get_data(raw.get("lines")))
    # The period of an invoice is the previous one, so the line that ends last is used.
    periods = [(line.ends_at, line.starts_at) for line in lines if line.ends_at and line.starts_at]
    default_period = (to_datetime(raw.get("period_end")), to_datetime(raw.get("period_start")))
    ends_at, starts_at = max(periods, default=default_period)
    return Invoice(
        id=raw["id"],
        number=raw.get("number") or "",
        status=raw.get("status") or "draft",
        currency=raw.get("currency") or "",
        total=raw.get("total") or 0,
        due=raw.get("amount_remaining") or 0,
        paid=raw.get("amount_paid") or 0,
        attempts=raw.get("attempt_count") or 0,
        next_attempt_at=to_datetime(raw.get("next_payment_attempt")),
        created_at=to_datetime(raw.get("created")) or datetime.fromtimestamp(0, UTC),
        starts_at=starts_at,
        ends_at=ends_at,
        page_url=raw.get("hosted_invoice_url") or "",
        pdf_url=raw.get("invoice_pdf") or "",
        subscription_id=get_subscription_id(raw),
        lines=lines,
        credited=(raw.get("pre_payment_credit_notes_amount") or 0)
        + (raw.get("post_payment_credit_notes_amount") or 0),
        subtotal=raw.get("subtotal"),
        discount=_sum_discounts(raw),
        tax=sum(_sum_taxes(raw)),
        included_tax=_sum_taxes(raw).included,
        key=str(_get_path(raw, "metadata", ADJUSTMENT_KEY) or ""),
    )


def to_upcoming_invoice(raw: Raw, subscription_id: str) -> UpcomingInvoice:
    """From the preview of a renewal. Lines that Stripe left out of it are one line, so that the sum is right."""
    lines = tuple(to_invoice_line(raw_line) for raw_line in _get_data(raw.get("lines")))
    discount, taxes = _sum_discounts(raw), _sum_taxes(raw)
    total = raw.get("total") or 0
    if missing_amount := total + discount - taxes.added - sum(line.amount for line in lines):
        lines += (InvoiceLine("Other items", missing_amount, None, None, None, proration=False),)
    return UpcomingInvoice(
        subscription_id=subscription_id,
        currency=raw.get("currency") or "",
        at=to_datetime(raw.get("period_end")) or to_datetime(raw.get("next_payment_attempt")),
        total=total,
        due=raw.get("amount_due") or 0,
        lines=lines,
        discount=discount,
        tax=taxes.added,
        included_tax=taxes.included,
    )


def to_last_invoices(
    customer: Raw, subscriptions: Iterable[Raw], items: Iterable[Raw]
) -> list[UpcomingInvoice]:
    """What is charged when these subscriptions end: their pending items; the first one also charges those of none."""
    invoices, remaining_items = list[UpcomingInvoice](), list(items)
    for raw in subscriptions:
        own_items = [item for item in remaining_items if get_item_subscription_id(item) in ("", raw["id"])]
        remaining_items = [item for item in remaining_items if item not in own_items]
        if not own_items:
            continue
        lines = tuple(_to_pending_line(item) for item in own_items)
        total = sum(line.amount for line in lines)
        invoices.append(
            UpcomingInvoice(
                subscription_id=raw["id"],
                currency=own_items[0].get("currency") or "",
                at=to_subscription(raw).cancel_at,
                total=total,
                due=max(0, total + (customer.get("balance") or 0)),
                lines=lines,
                is_last=True,
            )
        )
    return invoices


def has_refunds(charge: Raw) -> bool:
    return bool(list(_get_data(charge.get("refunds"))))


def to_refunds(
    charges: Iterable[Raw], credit_notes: Iterable[Raw], invoices: Iterable[Raw]
) -> tuple[Refund, ...]:
    """Of all charges. A credit note names the request of its refund; one without a note names it itself."""
    invoice_ids = _get_invoice_ids(invoices)
    notes_by_refund = {
        get_object_id(part.get("refund")): note for note in credit_notes for part in note.get("refunds") or ()
    }
    refunds = []
    for charge in charges:
        for raw in _get_data(charge.get("refunds")):
            note = notes_by_refund.get(raw["id"], {})
            refunds.append(
                Refund(
                    id=raw["id"],
                    invoice_id=get_object_id(note.get("invoice"))
                    or invoice_ids.get(get_object_id(charge.get("payment_intent")), ""),
                    credit_note_id=note.get("id") or "",
                    key=str(
                        _get_path(note, "metadata", ADJUSTMENT_KEY)
                        or _get_path(raw, "metadata", ADJUSTMENT_KEY)
                        or ""
                    ),
                    amount=raw.get("amount") or 0,
                    currency=raw.get("currency") or "",
                    status=str(raw.get("status") or ""),
                    failure_reason=raw.get("failure_reason") or "",
                    created_at=to_datetime(raw.get("created")) or datetime.fromtimestamp(0, UTC),
                    tax=_get_refunded_tax(raw.get("amount") or 0, note),
                )
            )
    return tuple(refunds)


def _get_refunded_tax(amount: int, note: Raw) -> int:
    """In proportion, where the note also gives credit. https://docs.stripe.com/tax/invoicing/refunds"""
    total, tax = note.get("total") or 0, sum(_sum_taxes(note))
    return round(Fraction(tax * amount, total)) if total else 0


def list_credited_refunds(credit_notes: Iterable[Raw]) -> list[Raw]:
    """Refunds of credit notes with expanded refunds."""
    parts = [part for note in credit_notes for part in note.get("refunds") or ()]
    return [part["refund"] for part in parts if isinstance(part.get("refund"), Mapping)]


def is_refund_effective(raw: Raw) -> bool:
    return raw.get("status") not in FAILED_REFUND_STATUSES


def to_disputes(
    disputes: Iterable[Raw], charges: Iterable[Raw], invoices: Iterable[Raw]
) -> tuple[Dispute, ...]:
    invoice_ids = _get_invoice_ids(invoices)
    intent_ids = {charge["id"]: get_object_id(charge.get("payment_intent")) for charge in charges}
    return tuple(
        Dispute(
            id=raw["id"],
            invoice_id=invoice_ids.get(intent_ids.get(get_object_id(raw.get("charge")), ""), ""),
            amount=raw.get("amount") or 0,
            currency=raw.get("currency") or "",
            reason=raw.get("reason") or "",
            status=str(raw.get("status") or ""),
            is_refundable=bool(raw.get("is_charge_refundable")),
            respond_by=to_datetime(_get_path(raw, "evidence_details", "due_by")),
            created_at=to_datetime(raw.get("created")) or datetime.fromtimestamp(0, UTC),
        )
        for raw in disputes
    )


def to_fraud_warnings(
    warnings: Iterable[Raw], charges: Iterable[Raw], invoices: Iterable[Raw]
) -> tuple[FraudWarning, ...]:
    """Of these charges. https://docs.stripe.com/api/early_fraud_warnings/object"""
    invoice_ids, charges_by_id = _get_invoice_ids(invoices), {charge["id"]: charge for charge in charges}
    return tuple(
        FraudWarning(
            id=raw["id"],
            invoice_id=invoice_ids.get(get_object_id(charge.get("payment_intent")), ""),
            amount=charge.get("amount") or 0,
            currency=charge.get("currency") or "",
            fraud_type=raw.get("fraud_type") or "",
            is_actionable=bool(raw.get("actionable")),
            created_at=to_datetime(raw.get("created")) or datetime.fromtimestamp(0, UTC),
        )
        for raw in warnings
        if (charge := charges_by_id.get(get_object_id(raw.get("charge")))) is not None
    )


def _get_invoice_ids(invoices: Iterable[Raw]) -> dict[str, str]:
    """Invoices by the payment intents that paid them."""
    return {
        get_object_id(_get_path(payment, "payment", "payment_intent")): invoice["id"]
        for invoice in invoices
        for payment in _get_data(invoice.get("payments"))
    }


def ends_with_period(raw: Raw) -> bool:
    """Whether a subscription isn't renewed any more."""
    subscription = to_subscription(raw)
    renews_at = min((line.ends_at for line in subscription.lines if line.ends_at), default=None)
    cancel_at = subscription.cancel_at
    return cancel_at is not None and (renews_at is None or cancel_at <= renews_at)


def to_preview(raw: Raw, items: Iterable[Raw], now: datetime) -> ChangePreview:
    """`items`: of the subscription. Stripe's clock can differ from ours, so the start is read from the proration lines.

    Includes prorations of earlier changes that aren't invoiced yet; they started before this one.
    """
    preview_invoice = to_invoice(raw)
    proration_starts = [line.starts_at for line in preview_invoice.lines if line.proration and line.starts_at]
    proration_date = to_datetime(
        _get_path(raw, "parent", "subscription_details", "subscription_proration_date")
    )
    as_of = proration_date or max(proration_starts, default=None) or _clamp_to_period(now, items)
    taxes, due, total = _sum_taxes(raw), raw.get("amount_due") or 0, raw.get("total") or 0
    raw_lines = zip(_get_data(raw.get("lines")), preview_invoice.lines, strict=True)
    new_taxes = [
        _sum_taxes(raw_line)
        for raw_line, line in raw_lines
        if line.proration and (line.starts_at is None or line.starts_at >= as_of)
    ]
    return ChangePreview(
        preview_invoice.currency,
        due,
        preview_invoice.lines,
        as_of,
        discount=preview_invoice.discount,
        tax=taxes.added,
        included_tax=taxes.included,
        balance=due - total if total >= 0 else 0,
        change_tax=sum(tax.added for tax in new_taxes),
        change_included_tax=sum(tax.included for tax in new_taxes),
    )


def to_invoice_line(raw: Raw) -> InvoiceLine:
    parent = raw.get("parent") or {}
    detail = parent.get("subscription_item_details") or parent.get("invoice_item_details") or raw
    return InvoiceLine(
        said=raw.get("description") or "",
        amount=raw.get("amount") or 0,
        quantity=raw.get("quantity"),
        starts_at=to_datetime(_get_path(raw, "period", "start")),
        ends_at=to_datetime(_get_path(raw, "period", "end")),
        proration=bool(detail.get("proration")),
        from_item=bool(detail.get("invoice_item") or detail.get("proration")),
        item_id=get_object_id(detail.get("invoice_item")),
    )


class TaxSums(NamedTuple):
    added: int  # on top of the prices
    included: int


def _sum_taxes(raw: Raw) -> TaxSums:
    """Of an invoice, one of its lines, or a credit note."""
    taxes = raw.get("total_taxes") or raw.get("taxes") or ()
    if not taxes:  # before 2025-03-31
        taxes = raw.get("total_tax_amounts") or raw.get("tax_amounts") or ()
    included = [tax for tax in taxes if tax.get("tax_behavior") == "inclusive" or tax.get("inclusive")]
    included_amount = sum(tax.get("amount") or 0 for tax in included)
    return TaxSums(sum(tax.get("amount") or 0 for tax in taxes) - included_amount, included_amount)


def _sum_discounts(raw: Raw) -> int:
    return sum(discount.get("amount") or 0 for discount in raw.get("total_discount_amounts") or ())


def is_processing(invoice: Raw) -> bool:
    """Whether a bank settles its payment. `invoice`: with expanded payment intents."""
    intents = (
        _get_path(payment, "payment", "payment_intent") for payment in _get_data(invoice.get("payments"))
    )
    return any(_get_path(intent, "status") == "processing" for intent in intents)


def get_subscription_id(invoice: Raw) -> str:
    """ "" for an invoice without a subscription."""
    return get_object_id(
        _get_path(invoice, "parent", "subscription_details", "subscription") or invoice.get("subscription")
    )


def get_object_id(value: Any) -> str:
    """The id of a field that holds an id, an expanded object, or nothing."""
    return str(value.get("id") or "") if isinstance(value, Mapping) else str(value or "")


def to_datetime(seconds: Any) -> datetime | None:
    return datetime.fromtimestamp(seconds, UTC) if isinstance(seconds, int | float) and seconds else None


def to_canceled_addon_metadata(addons: Iterable[CanceledAddon], metadata: Raw) -> dict[str, str]:
    """The metadata update for cancelled add-ons; an empty text removes a key."""
    removed_keys = {key: "" for key in metadata if key.startswith(CANCELED_ADDON_PREFIX)}
    return removed_keys | {
        f"{CANCELED_ADDON_PREFIX}{addon.price_id}": f"{addon.quantity}:{int(addon.until.timestamp())}"
        for addon in addons
    }


def _to_item(item: Raw, raw_subscription: Raw) -> SubscriptionItem:
    price = item.get("price") or {}
    metered = _get_path(price, "recurring", "usage_type") == "metered"
    return SubscriptionItem(
        id=get_object_id(item),
        price_id=str(_get_path(price, "metadata", PRICE_ID_KEY) or ""),
        external_price_id=get_object_id(price),
        quantity=0 if metered else item.get("quantity") or 0,
        starts_at=to_datetime(
            item.get("current_period_start") or raw_subscription.get("current_period_start")
        ),
        ends_at=to_datetime(item.get("current_period_end") or raw_subscription.get("current_period_end")),
    )


def _to_pending_line(item: Raw) -> InvoiceLine:
    return InvoiceLine(
        said=item.get("description") or "",
        amount=item.get("amount") or 0,
        quantity=item.get("quantity"),
        starts_at=to_datetime(_get_path(item, "period", "start")),
        ends_at=to_datetime(_get_path(item, "period", "end")),
        proration=bool(item.get("proration")),
        from_item=True,
        item_id=get_object_id(item),
    )


def get_item_subscription_id(item: Raw) -> str:
    return get_object_id(
        _get_path(item, "parent", "subscription_details", "subscription") or item.get("subscription")
    )


def _clamp_to_period(at: datetime, items: Iterable[Raw]) -> datetime:
    """The nearest time within the current period."""
    for item in items:
        starts, ends = (
            to_datetime(item.get("current_period_start")),
            to_datetime(item.get("current_period_end")),
        )
        if starts and ends:
            at = max(starts, min(at, ends - timedelta(seconds=1)))
    return at.replace(microsecond=0)


def _to_canceled_addons(metadata: Raw) -> tuple[CanceledAddon, ...]:
    addons = []
    for key, value in sorted(metadata.items()):
        quantity, _, until = str(value).partition(":")
        if (
            key.startswith(CANCELED_ADDON_PREFIX) and quantity.isdecimal() and until.isdecimal()
        ):  # people can edit metadata too
            addons.append(
                CanceledAddon(
                    key.removeprefix(CANCELED_ADDON_PREFIX),
                    int(quantity),
                    datetime.fromtimestamp(int(until), UTC),
                )
            )
    return tuple(addons)


def _has_failed(invoice: Raw) -> bool:
    """Whether collecting it failed. Invoices paid by bank transfer, with a due date, count as tried."""
    tried = invoice.get("attempted") or invoice.get("attempt_count") or _is_paid_by_invoice(invoice)
    return invoice.get("status") == "open" and bool(tried)


def _is_paid_by_invoice(invoice: Raw) -> bool:
    return invoice.get("collection_method") == SEND_INVOICE and bool(invoice.get("due_date"))


def _get_due_time(invoice: Raw) -> datetime:
    if _is_paid_by_invoice(invoice):
        return datetime.fromtimestamp(invoice["due_date"], UTC)
    at = _get_path(invoice, "status_transitions", "finalized_at") or invoice.get("created") or 0
    return datetime.fromtimestamp(at, UTC)


def _describe_payment_method(raw: Raw) -> str:
    """As in "Visa ending in 4242"."""
    kind = str(raw.get("type") or raw.get("object") or "")
    detail = raw.get(kind) or raw
    brand = str(detail.get("display_brand") or detail.get("brand") or "")
    name = CARD_BRANDS.get(brand, brand.replace("_", " ").title()) or str(
        detail.get("bank_name") or kind.replace("_", " ").capitalize()
    )
    last = detail.get("last4")
    return f"{name} ending in {last}" if last else name


def _get_fingerprint(raw: Raw | None) -> str:
    """Of the card's number, or of the bank account. Legacy sources have it at the top."""
    if raw is None:
        return ""
    kind = str(raw.get("type") or raw.get("object") or "")
    return str((raw.get(kind) or raw).get("fingerprint") or "")


def _get_data(value: Any) -> Iterable[Raw]:
    """The items of a list object, or of a plain list."""
    return (value.get("data") or []) if isinstance(value, Mapping) else value or []


def _get_path(raw: Any, *path: str) -> Any:
    for key in path:
        raw = raw.get(key) if isinstance(raw, Mapping) else None
    return raw
