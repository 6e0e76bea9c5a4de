"""Maps everything that Stripe knows about a customer to ours."""

from collections.abc import Iterable, Mapping

from shared.billing.provider_values import (
    BillingDetails,
    CustomerState,
    Dispute,
    FraudWarning,
    Refund,
    TaxId,
    UpcomingCharges,
)
from shared.billing.stripe_adapter.invoice_mapping import to_invoice
from shared.billing.stripe_adapter.payment_mapping import (
    describe_payment_method,
    get_charged_method,
    get_fingerprint,
    to_payment_method,
)
from shared.billing.stripe_adapter.stripe_values import Raw, get_path
from shared.billing.stripe_adapter.subscription_mapping import to_subscription

ADDRESS_FIELDS = ("line1", "line2", "postal_code", "city", "state", "country")


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
    default_method = get_path(customer, "invoice_settings", "default_payment_method") or customer.get(
        "default_source"
    )
    methods = [default_method, *(raw.get("default_payment_method") for raw in reversed(raw_subscriptions))]
    charged_method = next((method for method in methods if isinstance(method, Mapping)), None)
    return CustomerState(
        customer["id"],
        deleted=bool(customer.get("deleted")),
        method=describe_payment_method(charged_method) if charged_method is not None else "",
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
            if (fingerprint := get_fingerprint(get_charged_method(raw, customer)))
        },
    )


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
