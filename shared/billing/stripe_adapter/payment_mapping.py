"""Maps Stripe's payment methods, refunds, disputes and fraud warnings to ours."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from fractions import Fraction

from shared.billing.provider_values import (
    FAILED_REFUND_STATUSES,
    Dispute,
    FraudWarning,
    PaymentMethod,
    Refund,
)
from shared.billing.stripe_adapter.invoice_mapping import sum_taxes
from shared.billing.stripe_adapter.metadata_keys import ADJUSTMENT_KEY
from shared.billing.stripe_adapter.stripe_values import (
    SEND_INVOICE,
    Raw,
    get_data,
    get_object_id,
    get_path,
    to_datetime,
)

CARD_BRANDS = {"amex": "American Express", "diners": "Diners Club", "jcb": "JCB", "unionpay": "UnionPay"}


def to_payment_method(subscription: Raw, customer: Raw) -> PaymentMethod | None:
    """What pays this subscription's invoices; None where it is paid by invoice, or Stripe didn't send the details."""
    raw = get_charged_method(subscription, customer)
    if raw is None:
        return None
    return PaymentMethod(
        id=get_object_id(raw), text=describe_payment_method(raw), expires_at=_get_card_expiry(raw)
    )


def get_charged_method(subscription: Raw, customer: Raw) -> Raw | None:
    """The subscription's own method comes before the customer's, and payment methods before legacy sources.
    https://docs.stripe.com/api/subscriptions/object#subscription_object-default_payment_method
    """
    if subscription.get("collection_method") == SEND_INVOICE:
        return None
    methods = (
        subscription.get("default_payment_method"),
        subscription.get("default_source"),
        get_path(customer, "invoice_settings", "default_payment_method"),
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


def has_refunds(charge: Raw) -> bool:
    return bool(list(get_data(charge.get("refunds"))))


def to_refunds(
    charges: Iterable[Raw], credit_notes: Iterable[Raw], invoices: Iterable[Raw]
) -> tuple[Refund, ...]:
    """The refunds of these charges. `Refund.key` is in the metadata of the credit note, or of the refund where it has no note."""
    invoice_ids = _get_invoice_ids(invoices)
    notes_by_refund = {
        get_object_id(part.get("refund")): note for note in credit_notes for part in note.get("refunds") or ()
    }
    refunds = []
    for charge in charges:
        for raw in get_data(charge.get("refunds")):
            note = notes_by_refund.get(raw["id"], {})
            refunds.append(
                Refund(
                    id=raw["id"],
                    invoice_id=get_object_id(note.get("invoice"))
                    or invoice_ids.get(get_object_id(charge.get("payment_intent")), ""),
                    credit_note_id=note.get("id") or "",
                    key=str(
                        get_path(note, "metadata", ADJUSTMENT_KEY)
                        or get_path(raw, "metadata", ADJUSTMENT_KEY)
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
    total, tax = note.get("total") or 0, sum(sum_taxes(note))
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
            respond_by=to_datetime(get_path(raw, "evidence_details", "due_by")),
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
        get_object_id(get_path(payment, "payment", "payment_intent")): invoice["id"]
        for invoice in invoices
        for payment in get_data(invoice.get("payments"))
    }


def describe_payment_method(raw: Raw) -> str:
    """As in "Visa ending in 4242"."""
    kind = str(raw.get("type") or raw.get("object") or "")
    detail = raw.get(kind) or raw
    brand = str(detail.get("display_brand") or detail.get("brand") or "")
    name = CARD_BRANDS.get(brand, brand.replace("_", " ").title()) or str(
        detail.get("bank_name") or kind.replace("_", " ").capitalize()
    )
    last = detail.get("last4")
    return f"{name} ending in {last}" if last else name


def get_fingerprint(raw: Raw | None) -> str:
    """Of the card's number, or of the bank account. Legacy sources have it at the top."""
    if raw is None:
        return ""
    kind = str(raw.get("type") or raw.get("object") or "")
    return str((raw.get(kind) or raw).get("fingerprint") or "")
