"""The invoice that would be: a change or the next renewal, played through on a copy."""

from copy import deepcopy
from typing import Any

from shared.dev.stripe_sandbox import bills, changes, drafts, subscriptions
from shared.dev.stripe_sandbox.customers import known
from shared.dev.stripe_sandbox.objects import fetch
from shared.dev.stripe_sandbox.refusals import Refusal, Unbuilt
from shared.dev.stripe_sandbox.routes import Call, route
from shared.dev.stripe_sandbox.store import Account, Object, Sandbox, new_id

DETAILS = (
    "items.id items.price items.quantity items.deleted items.metadata proration_behavior proration_date trial_end"
    " cancel_at_period_end cancel_at cancel_now billing_cycle_anchor.type=now|unchanged"
    " billing_mode.type=flexible metadata"
)
TAKES = " ".join(
    [
        "customer subscription preview_mode currency",
        *(f"subscription_details.{name}" for name in DETAILS.split()),
    ]
)


@route("POST", "/v1/invoices/create_preview", "InvoiceCreatePreviewParams", TAKES)
def create(call: Call) -> Object:
    account, details = call.account, dict(call.get("subscription_details", {}))
    details.pop("billing_mode", None)
    if subscription_id := call.get("subscription"):
        real = fetch(account, "subscription", subscription_id, "subscription")
        if call.get("customer", real["customer"]) != real["customer"]:
            raise Refusal("The subscription belongs to another customer.", param="customer")
        copy = _copy(account, real["customer"])
        invoice = _of_running(
            copy, copy.objects["subscription"][real["id"]], details, call.get("preview_mode")
        )
    elif details.get("items"):
        copy = _copy(account, known(account, call.get("customer"))["id"])
        invoice = _of_new(copy, {**details, "customer": call.get("customer")})
    else:
        raise Unbuilt("a preview of anything but a subscription")
    return _shown(invoice, details)


def _of_running(copy: Account, subscription: Object, details: Object, mode: str | None) -> Object:
    if subscription["status"] in ("canceled", "incomplete_expired"):
        raise Refusal("No upcoming invoices for customer", status=404, code="invoice_upcoming_none")
    ends_now = details.pop("cancel_now", False)
    if ends_now:
        return _ending(copy, subscription, details)
    known_before = set(copy.objects.get("invoice", {}))
    if details:
        changes.apply(copy, subscription, details)
    for id_, invoice in copy.objects.get("invoice", {}).items():
        if id_ not in known_before:
            return invoice
    return _next(copy, subscription, mode)


def _next(copy: Account, subscription: Object, mode: str | None) -> Object:
    at = min(item["current_period_end"] for item in subscription["items"]["data"])
    if subscription["cancel_at"] and subscription["cancel_at"] <= at:
        raise Refusal("No upcoming invoices for customer", status=404, code="invoice_upcoming_none")
    trialing = subscription["status"] == "trialing"
    if mode == "recurring":
        for item in drafts.pending_of(copy, subscription["customer"], subscription):
            item["invoice"] = "left out"
    copy.moments[subscription["test_clock"]] = at
    subscription["status"] = "active"
    invoice = bills.renewal(copy, subscription, free=trialing)
    if invoice is None:
        raise Refusal("No upcoming invoices for customer", status=404, code="invoice_upcoming_none")
    return invoice


def _ending(copy: Account, subscription: Object, details: Object) -> Object:
    prorate = details.get("proration_behavior", "create_prorations") != "none"
    subscriptions.cancel_now(copy, subscription, prorate=prorate, bills_now=True)
    invoice = copy.get("invoice", subscription["latest_invoice"])
    if invoice is None or invoice["status"] != "draft":
        raise Refusal("No upcoming invoices for customer", status=404, code="invoice_upcoming_none")
    return invoice


def _of_new(copy: Account, sent: Object) -> Object:
    subscription = subscriptions.begin(copy, {**sent, "payment_behavior": "default_incomplete"})
    invoice = copy.get("invoice", subscription["latest_invoice"])
    if invoice is None:
        raise Refusal("No upcoming invoices for customer", status=404, code="invoice_upcoming_none")
    return invoice


def _copy(account: Account, customer: str) -> Account:
    """Everything can be read; what belongs to the customer can be changed without a trace."""
    copy = Account(Sandbox(clock=account.sandbox.clock), account.key, account.id, dry=True)
    copy.moments = dict(account.moments)
    copy.objects = {kind: dict(found) for kind, found in account.objects.items()}
    copy.objects["customer"][customer] = deepcopy(account.objects["customer"][customer])
    for kind in ("subscription", "invoice", "invoiceitem", "_meter_event"):
        for one in account.of(kind, customer)[::-1]:
            copy.learn(deepcopy(one))
    for id_, coupon in account.objects.get("coupon", {}).items():
        copy.objects["coupon"][id_] = dict(coupon)
    return copy


def _shown(invoice: Object, details: Object) -> Object:
    shown: Any = {**invoice, "id": new_id("upcoming_in"), "automatically_finalizes_at": None}
    about = shown["parent"]["subscription_details"]
    if "proration_date" in details:
        about["subscription_proration_date"] = details["proration_date"]
    for line in shown["lines"]["data"]:
        line["invoice"] = shown["id"]
    shown["lines"]["url"] = f"/v1/invoices/upcoming/lines?subscription={about['subscription']}"
    return shown  # type: ignore[no-any-return]
