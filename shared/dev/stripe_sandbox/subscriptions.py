"""Subscriptions: begin, change, end, resume."""

from typing import Any

from shared.dev.stripe_sandbox import (
    billing_cycle,
    changes,
    collection,
    coupons,
    endings,
    items,
    lines,
    payments,
    periods,
    prorations,
    sent_invoices,
)
from shared.dev.stripe_sandbox.customers import get_customer
from shared.dev.stripe_sandbox.objects import fetch_object, make_object, merge_metadata, save_change
from shared.dev.stripe_sandbox.refusals import ApiError, UnsupportedError, card_declined_error
from shared.dev.stripe_sandbox.routes import PAGING, ApiCall, build_list, is_within, paginate, route
from shared.dev.stripe_sandbox.store import Account, Object, copy_visible

DAY = 86_400
ITEM_PARAMS = "items.price items.quantity items.metadata"
SHARED_PARAMS = (
    f"{ITEM_PARAMS} metadata description default_payment_method trial_end trial_settings cancel_at_period_end cancel_at"
    " proration_behavior off_session discounts.coupon discounts.discount"
    " automatic_tax.enabled"
)
CREATE_PARAMS = (
    f"{SHARED_PARAMS} customer trial_period_days currency billing_cycle_anchor billing_mode.type=flexible"
    " collection_method=charge_automatically|send_invoice days_until_due"
    " payment_behavior=allow_incomplete|default_incomplete|error_if_incomplete"
    " payment_settings.payment_method_types=card payment_settings.save_default_payment_method=off"
)
UPDATE_PARAMS = (
    f"{SHARED_PARAMS} items.id items.deleted proration_date pause_collection cancellation_details.comment"
    " cancellation_details.feedback billing_cycle_anchor.type collection_method=charge_automatically"
    " payment_behavior=allow_incomplete|error_if_incomplete|pending_if_incomplete"
)


@route("POST", "/v1/subscriptions", "SubscriptionCreateParams", CREATE_PARAMS)
def create_on_request(call: ApiCall) -> Object:
    return start_subscription(call.account, call.params)


def start_subscription(account: Account, params: Object) -> Object:
    customer = get_customer(account, params.get("customer"))
    subscription = _build_subscription(account, customer, params)
    method = account.get("payment_method", payments.get_default_method_id(account, subscription))
    behavior = params.get("payment_behavior", "allow_incomplete")
    is_sent = sent_invoices.is_sent(subscription)
    preview = 0 if is_sent else compute_first_charge(account, subscription)
    if preview and behavior != "default_incomplete":
        if method is None:
            raise ApiError(
                "This customer has no attached payment source or default payment method. Please consider adding"
                " a default payment method.",
                code="resource_missing",
            )
        if behavior == "error_if_incomplete" and not payments.can_pay(account, customer["id"], method):
            raise card_declined_error("Your card was declined.", "generic_decline")
    subscription["discounts"] = coupons.redeem_coupons(
        account, customer["id"], subscription, params.get("discounts") or []
    )
    if subscription["status"] != "trialing":
        subscription["status"] = "incomplete" if preview else "active"
    if customer["currency"] is None:
        previous = copy_visible(customer)
        customer["currency"] = subscription["currency"]
        save_change(account, customer, "customer.updated", previous)
    account.put(subscription)
    invoice = billing_cycle.draft_first_invoice(account, subscription, "subscription_create")
    account.emit("customer.subscription.created", subscription)
    if account.is_preview:
        return subscription
    if invoice is not None and not is_sent:
        collection.finalize_and_collect(account, invoice, charge_now=behavior != "default_incomplete")
    return subscription


@route("GET", "/v1/subscriptions/{id}", "SubscriptionRetrieveParams")
def retrieve_subscription(call: ApiCall) -> Object:
    return fetch_object(call.account, "subscription", call.ids["id"])


@route("POST", "/v1/subscriptions/{id}", "SubscriptionUpdateParams", UPDATE_PARAMS)
def change_subscription(call: ApiCall) -> Object:
    subscription = fetch_object(call.account, "subscription", call.ids["id"])
    changes.apply_change(call.account, subscription, call.params)
    return subscription


@route(
    "DELETE",
    "/v1/subscriptions/{id}",
    "SubscriptionCancelParams",
    "invoice_now prorate cancellation_details.comment cancellation_details.feedback",
)
def cancel_on_request(call: ApiCall) -> Object:
    subscription = fetch_object(call.account, "subscription", call.ids["id"])
    if subscription["status"] in endings.ENDED_STATUSES:
        raise ApiError(f"No such subscription: '{subscription['id']}'", status=404, code="resource_missing")
    if details := call.get("cancellation_details"):
        subscription["cancellation_details"] = {
            "comment": details.get("comment") or None,
            "feedback": details.get("feedback") or None,
            "reason": None,
        }
    cancel_subscription(
        call.account,
        subscription,
        prorate=call.get("prorate", False),
        invoice_now=call.get("invoice_now", False),
    )
    return subscription


def cancel_subscription(account: Account, subscription: Object, *, prorate: bool, invoice_now: bool) -> None:
    changes.discard_pending_update(account, subscription)
    now = account.now(subscription)
    if subscription["status"] in ("active", "past_due"):
        for item in subscription["items"]["data"]:
            if prorations.is_metered(item):
                if invoice_now:
                    prorations.bill_usage_so_far(account, subscription, item, now)
            elif prorate:
                prorations.credit_unused_time(account, subscription, item, now)
    if invoice_now:
        billing_cycle.bill_pending_items(account, subscription, "subscription_cycle")
    elif not prorate:
        lines.delete_pending_prorations(account, subscription)
    endings.end_subscription(account, subscription)


@route(
    "GET",
    "/v1/subscriptions",
    "SubscriptionListParams",
    f"{PAGING} customer status price created test_clock current_period_end current_period_start",
)
def list_subscriptions(call: ApiCall) -> Object:
    """Canceled ones only when asked for: `status=all`, `canceled`, `ended`."""
    account, status = call.account, call.get("status")
    subscriptions = account.list_objects("subscription")
    if "customer" in call.params:
        subscriptions = account.list_for_customer(
            "subscription", fetch_object(account, "customer", call.get("customer"), "customer")["id"]
        )
    subscriptions = [
        subscription for subscription in subscriptions if _matches_filter(call, subscription, status)
    ]
    return paginate(call, subscriptions, "subscription")


def _matches_filter(call: ApiCall, subscription: Object, status: str | None) -> bool:
    if status in (None, ""):
        matches_status = subscription["status"] not in ("canceled", "incomplete_expired")
    elif status == "ended":
        matches_status = subscription["status"] in endings.ENDED_STATUSES
    else:
        matches_status = status in ("all", subscription["status"])
    data = subscription["items"]["data"]
    return (
        matches_status
        and subscription["test_clock"] == call.get("test_clock", subscription["test_clock"])
        and ("price" not in call.params or any(item["price"]["id"] == call.get("price") for item in data))
        and ("created" not in call.params or is_within(subscription["created"], call.get("created")))
        and all(
            any(is_within(item[name], call.get(name)) for item in data)
            for name in ("current_period_end", "current_period_start")
            if name in call.params
        )
    )


def _build_subscription(account: Account, customer: Object, params: Object) -> Object:
    now = account.now(customer)
    subscription = make_object(
        account,
        "subscription",
        customer=customer["id"],
        test_clock=customer["test_clock"],
        created=now,
        start_date=now,
        billing_cycle_anchor=now,
        billing_mode={
            "type": "flexible",
            "flexible": {"proration_discounts": "included"},
            "updated_at": None,
        },
        description=params.get("description"),
        default_tax_rates=[],
        metadata={},
        **sent_invoices.read_collection_method(customer, params),
        invoice_settings={"account_tax_ids": None, "custom_fields": None, "description": None, "footer": None}
        | {"issuer": {"type": "self"}},
        payment_settings={
            "payment_method_options": None,
            "payment_method_types": None,
            "save_default_payment_method": "off",
        },
        _prorates=params.get("proration_behavior", "create_prorations") != "none",
        trial_settings=changes.build_trial_settings(
            params.get("trial_settings", {"end_behavior": {"missing_payment_method": "create_invoice"}})
        ),
    )
    merge_metadata(subscription, params.get("metadata"))
    if method_id := params.get("default_payment_method"):
        if (
            fetch_object(account, "payment_method", method_id, "default_payment_method")["customer"]
            != customer["id"]
        ):
            raise ApiError(
                "The customer does not have a payment method with this ID.", param="default_payment_method"
            )
        subscription["default_payment_method"] = method_id
    trial_end = _compute_trial_end(now, params)
    anchor = params.get("billing_cycle_anchor")
    if anchor is not None and (anchor <= now or trial_end):
        raise UnsupportedError("a billing_cycle_anchor in the past, or together with a trial")
    if trial_end:
        subscription |= {"status": "trialing", "trial_start": now, "trial_end": trial_end}
    subscription["billing_cycle_anchor"] = trial_end or anchor or now
    subscription_items = [
        items.build_item(account, subscription, item_params, (now, trial_end or 0))
        for item_params in params.get("items", [])
    ]
    items.check_items(subscription_items)
    for item in subscription_items:
        if not trial_end:
            item["current_period_end"] = periods.compute_period_end(
                subscription["billing_cycle_anchor"], item["price"]["recurring"], now
            )
    if customer["currency"] not in (None, subscription["currency"]):
        raise ApiError(
            "You cannot combine currencies on a single customer."
            f" This customer has had a subscription, coupon or invoice item with currency {customer['currency']}.",
        )
    changes.set_automatic_tax(account, subscription, subscription_items, params)
    subscription["items"] = build_list(
        subscription_items, f"/v1/subscription_items?subscription={subscription['id']}"
    )
    changes.schedule_cancellation(
        subscription, {k: params[k] for k in ("cancel_at_period_end", "cancel_at") if k in params}, now
    )
    return subscription


def _compute_trial_end(now: int, params: Object) -> int | None:
    if "trial_end" in params and "trial_period_days" in params:
        raise ApiError("You can only specify one of `trial_end` and `trial_period_days`.", param="trial_end")
    trial_end: Any = params.get("trial_end")
    if trial_end in ("now", None):
        days = params.get("trial_period_days", 0)
        return now + days * DAY if days else None
    if trial_end <= now:
        raise ApiError("Timestamp must be an integer Unix timestamp in the future.", param="trial_end")
    return int(trial_end)


def compute_first_charge(account: Account, subscription: Object) -> int:
    """What the first period costs before discounts and credit."""
    if subscription["status"] == "trialing":
        return 0
    invoice_lines: list[Object] = []
    for item in subscription["items"]["data"]:
        share = billing_cycle.compute_stub_share(subscription, item)
        if not prorations.is_metered(item) and (share is None or subscription.get("_prorates", True)):
            invoice_lines += lines.build_licensed_lines(
                account, subscription, item, billing_cycle.get_period(item), share
            )
    return sum(int(line["amount"]) for line in invoice_lines)
