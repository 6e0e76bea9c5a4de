"""Subscriptions: begin, change, end, resume."""

from typing import Any

from shared.dev.stripe_sandbox import (
    bills,
    changes,
    collection,
    coupons,
    endings,
    items,
    lines,
    payments,
    periods,
    prorations,
)
from shared.dev.stripe_sandbox.customers import known
from shared.dev.stripe_sandbox.objects import fetch, make, merge_metadata, update
from shared.dev.stripe_sandbox.refusals import Refusal, Unbuilt, declined
from shared.dev.stripe_sandbox.routes import PAGING, Call, embedded, page, route, within
from shared.dev.stripe_sandbox.store import Account, Object, visible

DAY = 86_400
ITEMS = "items.price items.quantity items.metadata"
BOTH = (
    f"{ITEMS} metadata description default_payment_method trial_end trial_settings cancel_at_period_end cancel_at"
    " proration_behavior off_session discounts.coupon discounts.discount"
    " collection_method=charge_automatically automatic_tax.enabled=false"
)
CREATE = (
    f"{BOTH} customer trial_period_days currency billing_cycle_anchor billing_mode.type=flexible"
    " payment_behavior=allow_incomplete|default_incomplete|error_if_incomplete"
    " payment_settings.payment_method_types=card payment_settings.save_default_payment_method=off"
)
UPDATE = (
    f"{BOTH} items.id items.deleted proration_date pause_collection cancellation_details.comment"
    " cancellation_details.feedback billing_cycle_anchor.type"
    " payment_behavior=allow_incomplete|error_if_incomplete"
)


@route("POST", "/v1/subscriptions", "SubscriptionCreateParams", CREATE)
def create(call: Call) -> Object:
    return begin(call.account, call.sent)


def begin(account: Account, sent: Object) -> Object:
    customer = known(account, sent.get("customer"))
    subscription = _build(account, customer, sent)
    method = account.get("payment_method", payments.default_of(account, subscription))
    behavior = sent.get("payment_behavior", "allow_incomplete")
    preview = due_at_first(account, subscription)
    if preview and behavior != "default_incomplete":
        if method is None:
            raise Refusal(
                "This customer has no attached payment source or default payment method. Please consider adding"
                " a default payment method.",
                code="resource_missing",
            )
        if behavior == "error_if_incomplete" and not payments.would_pay(account, customer["id"], method):
            raise declined("Your card was declined.", "generic_decline")
    subscription["discounts"] = coupons.redeem(
        account, customer["id"], subscription, sent.get("discounts") or []
    )
    if subscription["status"] != "trialing":
        subscription["status"] = "incomplete" if preview else "active"
    if customer["currency"] is None:
        before = visible(customer)
        customer["currency"] = subscription["currency"]
        update(account, customer, "customer.updated", before)
    account.put(subscription)
    invoice = bills.first_draft(account, subscription, "subscription_create")
    account.emit("customer.subscription.created", subscription)
    if account.dry:
        return subscription
    if invoice is not None:
        collection.go_on(account, invoice, tries=behavior != "default_incomplete")
    return subscription


@route("GET", "/v1/subscriptions/{id}", "SubscriptionRetrieveParams")
def retrieve(call: Call) -> Object:
    return fetch(call.account, "subscription", call.ids["id"])


@route("POST", "/v1/subscriptions/{id}", "SubscriptionUpdateParams", UPDATE)
def change(call: Call) -> Object:
    subscription = fetch(call.account, "subscription", call.ids["id"])
    changes.apply(call.account, subscription, call.sent)
    return subscription


@route(
    "DELETE",
    "/v1/subscriptions/{id}",
    "SubscriptionCancelParams",
    "invoice_now prorate cancellation_details.comment cancellation_details.feedback",
)
def cancel(call: Call) -> Object:
    subscription = fetch(call.account, "subscription", call.ids["id"])
    if subscription["status"] in endings.OVER:
        raise Refusal(f"No such subscription: '{subscription['id']}'", status=404, code="resource_missing")
    if asked := call.get("cancellation_details"):
        subscription["cancellation_details"] = {
            "comment": asked.get("comment") or None,
            "feedback": asked.get("feedback") or None,
            "reason": None,
        }
    cancel_now(
        call.account,
        subscription,
        prorate=call.get("prorate", False),
        bills_now=call.get("invoice_now", False),
    )
    return subscription


def cancel_now(account: Account, subscription: Object, *, prorate: bool, bills_now: bool) -> None:
    now = account.now(subscription)
    if subscription["status"] in ("active", "past_due"):
        for item in subscription["items"]["data"]:
            if prorations.is_metered(item):
                if bills_now:
                    prorations.use_so_far(account, subscription, item, now)
            elif prorate:
                prorations.credit(account, subscription, item, now)
    if bills_now:
        bills.pending_now(account, subscription, "subscription_cycle")
    elif not prorate:
        lines.forget_prorations(account, subscription)
    endings.end(account, subscription)


@route(
    "GET",
    "/v1/subscriptions",
    "SubscriptionListParams",
    f"{PAGING} customer status price created test_clock current_period_end current_period_start",
)
def listing(call: Call) -> Object:
    """Canceled ones only when asked for: `status=all`, `canceled`, `ended`."""
    account, status = call.account, call.get("status")
    if "customer" in call.sent:
        fetch(account, "customer", call.get("customer"), "customer")
    found = [one for one in account.all("subscription") if _wanted(call, one, status)]
    return page(call, found, "subscription")


def _wanted(call: Call, one: Object, status: str | None) -> bool:
    if status in (None, ""):
        fits = one["status"] not in ("canceled", "incomplete_expired")
    elif status == "ended":
        fits = one["status"] in endings.OVER
    else:
        fits = status in ("all", one["status"])
    data = one["items"]["data"]
    return (
        fits
        and one["customer"] == call.get("customer", one["customer"])
        and one["test_clock"] == call.get("test_clock", one["test_clock"])
        and ("price" not in call.sent or any(each["price"]["id"] == call.get("price") for each in data))
        and ("created" not in call.sent or within(one["created"], call.get("created")))
        and all(
            any(within(each[name], call.get(name)) for each in data)
            for name in ("current_period_end", "current_period_start")
            if name in call.sent
        )
    )


def _build(account: Account, customer: Object, sent: Object) -> Object:
    now = account.now(customer)
    subscription = make(
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
        description=sent.get("description"),
        default_tax_rates=[],
        metadata={},
        collection_method="charge_automatically",
        invoice_settings={"account_tax_ids": None, "custom_fields": None, "description": None, "footer": None}
        | {"issuer": {"type": "self"}},
        payment_settings={
            "payment_method_options": None,
            "payment_method_types": None,
            "save_default_payment_method": "off",
        },
        _prorates=sent.get("proration_behavior", "create_prorations") != "none",
        trial_settings=changes.trial_settings(
            sent.get("trial_settings", {"end_behavior": {"missing_payment_method": "create_invoice"}})
        ),
    )
    merge_metadata(subscription, sent.get("metadata"))
    if chosen := sent.get("default_payment_method"):
        if fetch(account, "payment_method", chosen, "default_payment_method")["customer"] != customer["id"]:
            raise Refusal(
                "The customer does not have a payment method with this ID.", param="default_payment_method"
            )
        subscription["default_payment_method"] = chosen
    trial_end = _trial_end(now, sent)
    anchor = sent.get("billing_cycle_anchor")
    if anchor is not None and (anchor <= now or trial_end):
        raise Unbuilt("a billing_cycle_anchor in the past, or together with a trial")
    if trial_end:
        subscription |= {"status": "trialing", "trial_start": now, "trial_end": trial_end}
    subscription["billing_cycle_anchor"] = trial_end or anchor or now
    found = [
        items.build(account, subscription, each, (now, trial_end or 0)) for each in sent.get("items", [])
    ]
    items.check(found)
    for item in found:
        if not trial_end:
            item["current_period_end"] = periods.end_of(
                subscription["billing_cycle_anchor"], item["price"]["recurring"], now
            )
    if customer["currency"] not in (None, subscription["currency"]):
        raise Refusal(
            "You cannot combine currencies on a single customer."
            f" This customer has had a subscription, coupon or invoice item with currency {customer['currency']}.",
        )
    subscription["items"] = embedded(found, f"/v1/subscription_items?subscription={subscription['id']}")
    changes.plan_end(
        subscription, {k: sent[k] for k in ("cancel_at_period_end", "cancel_at") if k in sent}, now
    )
    return subscription


def _trial_end(now: int, sent: Object) -> int | None:
    if "trial_end" in sent and "trial_period_days" in sent:
        raise Refusal("You may only specify one of `trial_end` and `trial_period_days`.", param="trial_end")
    end: Any = sent.get("trial_end")
    if end in ("now", None):
        days = sent.get("trial_period_days", 0)
        return now + days * DAY if days else None
    if end <= now:
        raise Refusal("Timestamp must be an integer Unix timestamp in the future.", param="trial_end")
    return int(end)


def due_at_first(account: Account, subscription: Object) -> int:
    """What the first period costs before discounts and credit."""
    if subscription["status"] == "trialing":
        return 0
    found: list[Object] = []
    for item in subscription["items"]["data"]:
        share = bills.stub(subscription, item)
        if not prorations.is_metered(item) and (share is None or subscription.get("_prorates", True)):
            found += lines.licensed(account, subscription, item, bills.period_of(item), share)
    return sum(int(line["amount"]) for line in found)
