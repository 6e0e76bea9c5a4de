"""The invoice that would be: a change or the next renewal, played through on a copy."""

from copy import deepcopy
from typing import Any

from shared.dev.stripe_sandbox import billing_cycle, changes, drafts, pauses, schedules, subscriptions, taxes
from shared.dev.stripe_sandbox.customers import get_customer
from shared.dev.stripe_sandbox.objects import fetch_object
from shared.dev.stripe_sandbox.refusals import ApiError, UnsupportedError
from shared.dev.stripe_sandbox.routes import ApiCall, route
from shared.dev.stripe_sandbox.store import Account, Object, Sandbox, new_id

DETAIL_PARAMS = (
    "items.id items.price items.quantity items.deleted items.metadata proration_behavior proration_date trial_end"
    " cancel_at_period_end cancel_at cancel_now billing_cycle_anchor.type=now|unchanged"
    " billing_mode.type=flexible metadata resume_at=now pause.type=subscription pause.invoicing_behavior=invoice"
    " pause.bill_for.unused_time_from.type=now pause.bill_for.outstanding_usage_through.type=now"
)
ACCEPTED_PARAMS = " ".join(
    [
        "customer subscription schedule preview_mode currency automatic_tax.enabled",
        *(f"subscription_details.{name}" for name in DETAIL_PARAMS.split()),
    ]
)


@route("POST", "/v1/invoices/create_preview", "InvoiceCreatePreviewParams", ACCEPTED_PARAMS)
def create_preview(call: ApiCall) -> Object:
    account, details = call.account, dict(call.get("subscription_details", {}))
    details.pop("billing_mode", None)
    is_taxed = (call.get("automatic_tax") or {}).get("enabled")
    if is_taxed:
        taxes.require_active(account)
    if "schedule" in call.params:
        return _preview_schedule(call)
    if subscription_id := call.get("subscription"):
        original = fetch_object(account, "subscription", subscription_id, "subscription")
        if call.get("customer", original["customer"]) != original["customer"]:
            raise ApiError("The subscription belongs to another customer.", param="customer")
        copy = _copy_account(account, original["customer"])
        subscription = copy.objects["subscription"][original["id"]]
        if is_taxed is not None:
            subscription["automatic_tax"] = taxes.build_automatic_tax(enabled=is_taxed)
        invoice = _preview_change(copy, subscription, details, call.get("preview_mode"))
    elif details.get("items") and not is_taxed:
        copy = _copy_account(account, get_customer(account, call.get("customer"))["id"])
        invoice = _preview_new(copy, {**details, "customer": call.get("customer")})
    else:
        raise UnsupportedError("a preview of anything but a subscription")
    return _build_preview(invoice, details)


def _preview_schedule(call: ApiCall) -> Object:
    """The next invoice of the subscription of a schedule, with what it has by then."""
    if "subscription" in call.params or "subscription_details" in call.params:
        raise ApiError("`schedule` cannot be used with `subscription`.", param="schedule")
    original = fetch_object(call.account, schedules.KIND, call.get("schedule"), "schedule")
    if call.get("customer", original["customer"]) != original["customer"]:
        raise ApiError("The schedule belongs to another customer.", param="customer")
    if original["status"] != "active":
        raise ApiError("No upcoming invoices for customer", status=404, code="invoice_upcoming_none")
    copy = _copy_account(call.account, original["customer"])
    subscription = copy.objects["subscription"][original["subscription"]]
    return _build_preview(_preview_renewal(copy, subscription, call.get("preview_mode")), {})


def _preview_change(copy: Account, subscription: Object, details: Object, mode: str | None) -> Object:
    if subscription["status"] in ("canceled", "incomplete_expired"):
        raise ApiError("No upcoming invoices for customer", status=404, code="invoice_upcoming_none")
    ends_now = details.pop("cancel_now", False)
    if ends_now:
        return _preview_cancellation(copy, subscription, details)
    earlier_invoice_ids = set(copy.objects.get("invoice", {}))
    if "pause" in details:
        return _preview_pause(copy, subscription)
    if details.pop("resume_at", None):
        return _preview_resumption(copy, subscription)
    if subscription["status"] == "paused":
        raise ApiError("No upcoming invoices for customer", status=404, code="invoice_upcoming_none")
    if subscription["schedule"] and not details:
        raise UnsupportedError("a preview of a subscription with a schedule without naming the schedule")
    if details:
        changes.apply_change(copy, subscription, details)
    for id_, invoice in copy.objects.get("invoice", {}).items():
        if id_ not in earlier_invoice_ids:
            return invoice
    return _preview_renewal(copy, subscription, mode)


def _preview_pause(copy: Account, subscription: Object) -> Object:
    pauses.pause_subscription(copy, subscription)
    invoice = billing_cycle.bill_pending_items(copy, subscription, "subscription_update", charge_now=False)
    if invoice is None:
        raise ApiError("No upcoming invoices for customer", status=404, code="invoice_upcoming_none")
    return invoice


def _preview_resumption(copy: Account, subscription: Object) -> Object:
    if subscription["status"] != "paused":
        raise ApiError("The subscription is not paused.", param="subscription_details[resume_at]")
    billing_cycle.restart_periods(copy, subscription, copy.now(subscription))
    invoice = billing_cycle.bill_first_period(copy, subscription, "subscription_update", charge_now=False)
    if invoice is None:
        raise ApiError("No upcoming invoices for customer", status=404, code="invoice_upcoming_none")
    return invoice


def _preview_renewal(copy: Account, subscription: Object, mode: str | None) -> Object:
    renews_at = min(item["current_period_end"] for item in subscription["items"]["data"])
    if subscription["cancel_at"] and subscription["cancel_at"] <= renews_at:
        raise ApiError("No upcoming invoices for customer", status=404, code="invoice_upcoming_none")
    trialing = subscription["status"] == "trialing"
    if mode == "recurring":
        for item in drafts.list_pending_items(copy, subscription["customer"], subscription):
            item["invoice"] = "left out"
    copy.clock_times[subscription["test_clock"]] = renews_at
    subscription["status"] = "active"
    schedule = copy.get(schedules.KIND, subscription["schedule"])
    if schedule is not None and schedule["current_phase"]["end_date"] <= renews_at:
        schedules.enter_next_phase(copy, schedule)
    invoice = billing_cycle.draft_renewal(copy, subscription, after_trial=trialing)
    if invoice is None:
        raise ApiError("No upcoming invoices for customer", status=404, code="invoice_upcoming_none")
    return invoice


def _preview_cancellation(copy: Account, subscription: Object, details: Object) -> Object:
    prorate = details.get("proration_behavior", "create_prorations") != "none"
    subscriptions.cancel_subscription(copy, subscription, prorate=prorate, invoice_now=True)
    invoice = copy.get("invoice", subscription["latest_invoice"])
    if invoice is None or invoice["status"] != "draft":
        raise ApiError("No upcoming invoices for customer", status=404, code="invoice_upcoming_none")
    return invoice


def _preview_new(copy: Account, params: Object) -> Object:
    subscription = subscriptions.start_subscription(
        copy, {**params, "payment_behavior": "default_incomplete"}
    )
    invoice = copy.get("invoice", subscription["latest_invoice"])
    if invoice is None:
        raise ApiError("No upcoming invoices for customer", status=404, code="invoice_upcoming_none")
    return invoice


def _copy_account(account: Account, customer: str) -> Account:
    """Everything can be read; what belongs to the customer can be changed without a trace."""
    copy = Account(Sandbox(clock=account.sandbox.clock), account.key, account.id, is_preview=True)
    copy.clock_times = dict(account.clock_times)
    copy.objects = {kind: dict(objects_by_id) for kind, objects_by_id in account.objects.items()}
    copy.objects["customer"][customer] = deepcopy(account.objects["customer"][customer])
    for kind in ("subscription", schedules.KIND, "invoice", "invoiceitem", "tax_id", "_meter_event"):
        for obj in account.list_for_customer(kind, customer)[::-1]:
            copy.index_object(deepcopy(obj))
    for id_, coupon in account.objects.get("coupon", {}).items():
        copy.objects["coupon"][id_] = dict(coupon)
    return copy


def _build_preview(invoice: Object, details: Object) -> Object:
    preview: Any = {**invoice, "id": new_id("upcoming_in"), "automatically_finalizes_at": None}
    subscription_details = preview["parent"]["subscription_details"]
    if "proration_date" in details:
        subscription_details["subscription_proration_date"] = details["proration_date"]
    for line in preview["lines"]["data"]:
        line["invoice"] = preview["id"]
    preview["lines"]["url"] = (
        f"/v1/invoices/upcoming/lines?subscription={subscription_details['subscription']}"
    )
    return preview  # type: ignore[no-any-return]
