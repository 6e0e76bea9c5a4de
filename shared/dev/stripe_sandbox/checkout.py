"""Checkout sessions, and what a person does on their hosted page."""

from dataclasses import dataclass
from typing import Any

from shared.dev.stripe_sandbox import (
    amounts,
    buyer_details,
    cards,
    collection,
    coupons,
    intents,
    lines,
    payment_methods,
    subscriptions,
    taxes,
)
from shared.dev.stripe_sandbox.customers import create_customer, get_customer
from shared.dev.stripe_sandbox.objects import fetch_object, make_object, merge_metadata
from shared.dev.stripe_sandbox.refusals import ApiError, UnsupportedError
from shared.dev.stripe_sandbox.routes import PAGING, ApiCall, build_list, paginate, route
from shared.dev.stripe_sandbox.store import Account, Object, copy_visible

DAY = 86_400
SUBSCRIPTION_PARAMS = (
    "subscription_data.trial_period_days subscription_data.trial_end subscription_data.metadata"
    " subscription_data.description subscription_data.trial_settings subscription_data.billing_mode.type=flexible"
)
ACCEPTED_PARAMS = (
    "mode=subscription|setup success_url cancel_url customer customer_email client_reference_id metadata currency"
    " line_items.price line_items.quantity expires_at locale allowed_payment_method_types=card allow_promotion_codes=false"
    " payment_method_collection setup_intent_data.metadata setup_intent_data.description ui_mode=hosted_page"
    " automatic_tax.enabled tax_id_collection.enabled customer_update.address customer_update.name"
    " line_items.adjustable_quantity.enabled=false billing_address_collection customer_creation=always|if_required discounts.coupon"
    f" {SUBSCRIPTION_PARAMS}"
)


@dataclass(frozen=True, slots=True)
class CheckoutResult:
    """`message`: why it wasn't paid, for the page. `url`: where the browser goes next, "" to stay."""

    paid: bool
    message: str = ""
    url: str = ""
    needs_confirmation: bool = False


@route("POST", "/v1/checkout/sessions", "checkout.SessionCreateParams", ACCEPTED_PARAMS)
def create_session(call: ApiCall) -> Object:
    account, params = call.account, call.params
    mode = params.get("mode", "payment")
    if mode not in ("subscription", "setup"):
        raise UnsupportedError("Checkout for single payments")
    customer = get_customer(account, params["customer"]) if "customer" in params else None
    now = account.now(customer)
    session = make_object(
        account, "checkout.session", mode=mode, created=now, customer=params.get("customer")
    )
    session |= {
        "cancel_url": params.get("cancel_url"),
        "client_reference_id": params.get("client_reference_id"),
        "customer_creation": None if customer else "always",
        "customer_email": params.get("customer_email"),
        "expires_at": _compute_expiry(account, now, params.get("expires_at")),
        "locale": params.get("locale"),
        "metadata": {},
        "payment_method_collection": params.get("payment_method_collection", "always"),
        "payment_method_types": ["card"],
        "payment_status": "no_payment_required" if mode == "setup" else "unpaid",
        "status": "open",
        "success_url": params.get("success_url"),
        "ui_mode": "hosted_page",
        "url": f"{account.sandbox.base_url}/c/{session['id']}",
        "_sent": _build_subscription_params(params),
        "_line_items": build_list([], f"/v1/checkout/sessions/{session['id']}/line_items"),
    }
    merge_metadata(session, params.get("metadata"))
    if "success_url" not in params:
        raise ApiError("Missing required param: success_url.", code="parameter_missing", param="success_url")
    if mode == "subscription":
        _fill_subscription_session(account, session, params)
        _require_one_currency(session, customer)
        buyer_details.fill_session(account, session, params, customer)
        _compute_totals(account, session)
    else:
        _fill_setup_session(account, session, params)
    return account.put(session)


@route("GET", "/v1/checkout/sessions/{id}", "checkout.SessionRetrieveParams")
def retrieve_session(call: ApiCall) -> Object:
    return fetch_object(call.account, "checkout.session", call.ids["id"], "session")


@route(
    "GET",
    "/v1/checkout/sessions",
    "checkout.SessionListParams",
    f"{PAGING} customer subscription status created",
)
def list_sessions(call: ApiCall) -> Object:
    sessions = [
        session
        for session in call.account.list_objects("checkout.session")
        if all(
            session[name] == call.get(name, session[name]) for name in ("customer", "subscription", "status")
        )
    ]
    return paginate(call, sessions, "checkout session")


@route("GET", "/v1/checkout/sessions/{id}/line_items", "checkout.SessionListLineItemsParams", PAGING)
def list_line_items(call: ApiCall) -> Object:
    session = fetch_object(call.account, "checkout.session", call.ids["id"], "session")
    return paginate(call, session["_line_items"]["data"], "line item")


@route("POST", "/v1/checkout/sessions/{id}/expire", "checkout.SessionExpireParams")
def expire_session_on_request(call: ApiCall) -> Object:
    session = fetch_object(call.account, "checkout.session", call.ids["id"], "session")
    if session["status"] != "open":
        raise ApiError(
            'Only Checkout Sessions with a status in ["open"] can be expired.'
            f" This Checkout Session has a status of `{session['status']}`."
        )
    return expire_session(call.account, session)


def expire_session(account: Account, session: Object) -> Object:
    session |= {"status": "expired", "url": None}
    account.put(session)
    account.emit("checkout.session.expired", session)
    return session


def enter_details(account: Account, session_id: str, details: buyer_details.BuyerDetails) -> None:
    """Type an address and a tax id into the page, which then shows the tax. Raises ApiError."""
    session = _fetch_open_session(account, session_id)
    if session["mode"] == "setup":
        return
    buyer_details.enter_details(session, details)
    _compute_totals(account, session)
    account.put(session)


def pay_with_card(
    account: Account, session_id: str, card_number: str, *, is_confirmed: bool = False
) -> CheckoutResult:
    """Enter this card number and press the button. Raises ApiError for a session that is not open.

    `is_confirmed`: the person has confirmed the payment with the bank.
    """
    session = _fetch_open_session(account, session_id)
    if buyer_details.needs_address(session):
        return CheckoutResult(False, "Enter your billing address.")
    try:
        test_card = cards.find_by_number(card_number)
        cards.require_attachable(test_card)
        if (
            session["mode"] == "subscription"
            and compute_amount_due(account, session_id)
            and not test_card.is_chargeable
        ):
            return CheckoutResult(False, test_card.message)
        if test_card.needs_confirmation and not is_confirmed:
            return CheckoutResult(False, "Your bank needs your confirmation.", needs_confirmation=True)
    except ApiError as refusal:
        return CheckoutResult(False, refusal.message)
    customer = _get_or_create_customer(account, session)
    method = payment_methods.create_from_card(account, test_card, customer["id"])
    return _complete_session(account, session, customer, method)


def complete_without_card(account: Account, session_id: str) -> CheckoutResult:
    """Where nothing is due and the session asks for a card only if it is needed."""
    session = _fetch_open_session(account, session_id)
    if not is_card_optional(account, session_id):
        return CheckoutResult(False, "Enter a card number.")
    if buyer_details.needs_address(session):
        return CheckoutResult(False, "Enter your billing address.")
    return _complete_session(account, session, _get_or_create_customer(account, session), None)


def is_card_optional(account: Account, session_id: str) -> bool:
    session = fetch_object(account, "checkout.session", session_id, "session")
    optional = session["mode"] == "subscription" and session["payment_method_collection"] == "if_required"
    return optional and not compute_amount_due(account, session_id)


def compute_amount_due(account: Account, session_id: str) -> int:
    """What the button charges now, in minor units: nothing in a trial."""
    session = fetch_object(account, "checkout.session", session_id, "session")
    return 0 if session["mode"] == "setup" or _has_trial(session) else int(session["amount_total"])


def _complete_session(
    account: Account, session: Object, customer: Object, method: Object | None
) -> CheckoutResult:
    session["customer"] = customer["id"]
    buyer_details.save_to_customer(account, session, customer)
    if session["mode"] == "setup":
        intents.complete_setup_intent(
            account, account.objects["setup_intent"][session["setup_intent"]], customer, method
        )
    else:
        params = dict(session["_sent"])
        if method is not None:
            params["default_payment_method"] = method["id"]
        needs_confirmation = method is not None and payment_methods.get_card(method).needs_confirmation
        if needs_confirmation:
            params["payment_behavior"] = "default_incomplete"
        subscription = subscriptions.start_subscription(account, {**params, "customer": customer["id"]})
        invoice = account.get("invoice", subscription["latest_invoice"])
        if needs_confirmation and invoice is not None and invoice["status"] == "open":
            collection.attempt_payment(account, invoice, method, is_confirmed=True)
        session |= {"subscription": subscription["id"], "invoice": subscription["latest_invoice"]}
        session["payment_status"] = (
            "paid" if compute_amount_due(account, session["id"]) else "no_payment_required"
        )
    session |= {"status": "complete", "url": None}
    session["customer_details"] = {
        "address": customer["address"],
        "business_name": None,
        "email": customer["email"],
        "individual_name": None,
        "name": customer["name"],
        "phone": customer["phone"],
        "tax_exempt": "none",
        "tax_ids": [
            {"type": tax_id["type"], "value": tax_id["value"]}
            for tax_id in account.list_for_customer("tax_id", customer["id"])
        ],
    }
    account.put(session)
    account.emit("checkout.session.completed", session)
    url = session["success_url"].replace("{CHECKOUT_SESSION_ID}", session["id"])
    return CheckoutResult(True, url=url)


def _fetch_open_session(account: Account, session_id: str) -> Object:
    session = fetch_object(account, "checkout.session", session_id, "session")
    if session["status"] != "open":
        raise ApiError(f"This Checkout session is {session['status']}.")
    return session


def _get_or_create_customer(account: Account, session: Object) -> Object:
    if session["customer"]:
        return get_customer(account, session["customer"])
    return create_customer(account, {"email": session["customer_email"]})


def _has_trial(session: Object) -> bool:
    return "trial_period_days" in session["_sent"] or "trial_end" in session["_sent"]


def _build_subscription_params(params: Object) -> Object:
    """What the subscription is begun with."""
    data = dict(params.get("subscription_data", {}))
    data.pop("billing_mode", None)
    items = [
        {name: item_params[name] for name in ("price", "quantity") if name in item_params}
        for item_params in params.get("line_items", [])
    ]
    subscription_params = {"items": items, **data}
    if "discounts" in params:
        subscription_params["discounts"] = params["discounts"]
    return subscription_params


def _compute_expiry(account: Account, now: int, requested_time: int | None) -> int:
    """`requested_time`: on the clock of whoever asks, who doesn't know how far ours was moved."""
    if requested_time is None:
        return now + DAY
    lifetime = requested_time - int(account.sandbox.clock())
    if not 1800 <= lifetime <= DAY:
        raise ApiError("expires_at has to lie between 30 minutes and 24 hours from now.", param="expires_at")
    return now + lifetime


def _fill_subscription_session(account: Account, session: Object, params: Object) -> None:
    if not params.get("line_items"):
        raise ApiError("Missing required param: line_items.", code="parameter_missing", param="line_items")
    session_items = []
    for item_params in params["line_items"]:
        session_items.append(_build_line_item(account, item_params))
        session["currency"] = session_items[-1]["currency"]
    if len({line["currency"] for line in session_items}) > 1:
        raise ApiError("All line items have the same currency.", param="line_items")
    if not any(line["price"]["type"] == "recurring" for line in session_items):
        raise ApiError("`mode=subscription` needs a recurring price.", param="line_items")
    session["_line_items"]["data"] = session_items
    session["discounts"] = _read_discounts(account, params.get("discounts") or [])


def _require_one_currency(session: Object, customer: Object | None) -> None:
    """https://docs.stripe.com/billing/customer: a customer has one currency."""
    if customer is not None and customer["currency"] not in (None, session["currency"]):
        raise ApiError(
            "You cannot combine currencies on a single customer."
            f" This customer has had a subscription, coupon or invoice item with currency {customer['currency']}.",
        )


def _read_discounts(account: Account, params: list[Object]) -> list[Object]:
    if len(params) > 1:
        raise ApiError("Checkout takes one discount.", param="discounts")
    coupon_ids = [
        fetch_object(account, "coupon", discount_params.get("coupon"), "discounts[0][coupon]")["id"]
        for discount_params in params
    ]
    return [{"coupon": coupon_id, "promotion_code": None} for coupon_id in coupon_ids]


def _compute_totals(account: Account, session: Object) -> None:
    """The amounts of the lines and of the session, after the discount and with the tax where it is known."""
    lines_data = session["_line_items"]["data"]
    payer = buyer_details.find_payer(account, session) if session["automatic_tax"]["enabled"] else None
    if session["automatic_tax"]["enabled"]:
        session["automatic_tax"]["status"] = "complete" if payer else "requires_location_inputs"
    discount_amount = _spread_discount(account, session)
    all_taxes = []
    for line in lines_data:
        base = line["amount_subtotal"] - line["amount_discount"]
        behavior = taxes.get_behavior(account, line["price"]["id"], line["currency"])
        line_taxes = [taxes.compute_tax(account, payer, behavior, base, line["currency"])] if payer else []
        line["amount_tax"] = sum(int(tax["amount"]) for tax in line_taxes)
        line["amount_total"] = base + taxes.sum_amounts(line_taxes, "exclusive")
        all_taxes += line_taxes
    amount_tax = sum(int(line["amount_tax"]) for line in lines_data)
    subtotal = sum(int(line["amount_subtotal"]) for line in lines_data)
    total = sum(int(line["amount_total"]) for line in lines_data)
    if _has_trial(session):
        subtotal = total = discount_amount = amount_tax = 0
    session |= {"amount_subtotal": subtotal, "amount_total": total}
    session["total_details"] = {
        "amount_discount": discount_amount,
        "amount_shipping": 0,
        "amount_tax": amount_tax,
    }


def _spread_discount(account: Account, session: Object) -> int:
    """Sets the discounts of the lines; returns their sum."""
    session_items = session["_line_items"]["data"]
    parts = [{"amount": line["amount_subtotal"], "discount_amounts": []} for line in session_items]
    subtotal, discount_amount = sum(part["amount"] for part in parts), 0
    for discount in session["discounts"]:
        coupon = account.objects["coupon"][discount["coupon"]]
        if coupon["percent_off"] is not None:
            discount_amount = amounts.compute_percentage(subtotal, coupon["percent_off"], session["currency"])
        else:
            discount_amount = min(subtotal, coupon["amount_off"])
        coupons.spread_discount(parts, coupon["id"], discount_amount, subtotal, currency=session["currency"])
    for line, part in zip(session_items, parts, strict=True):
        line["amount_discount"] = sum(discount["amount"] for discount in part["discount_amounts"])
    return discount_amount


def _build_line_item(account: Account, params: Object) -> Object:
    price: Any = fetch_object(account, "price", params.get("price"), "line_items[0][price]")
    if price["type"] != "recurring":
        raise UnsupportedError("one-time prices in Checkout")
    if not price["active"]:
        raise ApiError("The price specified is inactive.", param="line_items[0][price]")
    metered = price["recurring"]["usage_type"] == "metered"
    if metered == ("quantity" in params):
        raise ApiError(
            "Quantity should not be specified where usage_type is `metered`."
            if metered
            else "Quantity is required. Add `quantity` to `line_items[0]`",
            param="line_items[0][quantity]",
        )
    amount = 0 if metered else amounts.compute_cost(price, params["quantity"])
    return make_object(
        account,
        "item",
        amount_subtotal=amount,
        amount_total=amount,
        currency=price["currency"],
        description=lines.get_product_name(account, price),
        price=copy_visible(price),
        quantity=None if metered else params["quantity"],
    )


def _fill_setup_session(account: Account, session: Object, params: Object) -> None:
    if params.get("line_items") or params.get("subscription_data"):
        raise ApiError("`mode=setup` sells nothing.", param="line_items")
    if "currency" not in params and "allowed_payment_method_types" not in params:
        raise ApiError("`mode=setup` needs a `currency`.", code="parameter_missing", param="currency")
    session["currency"] = params.get("currency")
    data = params.get("setup_intent_data", {})
    intent = intents.create_setup_intent(
        account, session["customer"], data.get("description"), data.get("metadata")
    )
    session["setup_intent"] = intent["id"]
