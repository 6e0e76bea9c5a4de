"""Checkout sessions, and what a person does on their hosted page."""

from dataclasses import dataclass
from typing import Any

from shared.dev.stripe_sandbox import amounts, cards, intents, lines, payment_methods, subscriptions
from shared.dev.stripe_sandbox.customers import create_one, known
from shared.dev.stripe_sandbox.objects import fetch, make, merge_metadata
from shared.dev.stripe_sandbox.refusals import Refusal, Unbuilt
from shared.dev.stripe_sandbox.routes import PAGING, Call, embedded, page, route
from shared.dev.stripe_sandbox.store import Account, Object, visible

DAY = 86_400
IN_SUBSCRIPTION = (
    "subscription_data.trial_period_days subscription_data.trial_end subscription_data.metadata"
    " subscription_data.description subscription_data.trial_settings subscription_data.billing_mode.type=flexible"
)
TAKES = (
    "mode=subscription|setup success_url cancel_url customer customer_email client_reference_id metadata currency"
    " line_items.price line_items.quantity expires_at locale allowed_payment_method_types=card allow_promotion_codes=false"
    " payment_method_collection setup_intent_data.metadata setup_intent_data.description ui_mode=hosted_page"
    " automatic_tax.enabled=false line_items.adjustable_quantity.enabled=false billing_address_collection=auto customer_creation=always|if_required discounts.coupon"
    f" {IN_SUBSCRIPTION}"
)


@dataclass(frozen=True, slots=True)
class Outcome:
    """`paid`, or `declined` with a sentence for the page. `url`: where the browser goes next, if it goes."""

    paid: bool
    message: str = ""
    url: str = ""


@route("POST", "/v1/checkout/sessions", "checkout.SessionCreateParams", TAKES)
def create(call: Call) -> Object:
    account, sent = call.account, call.sent
    mode = sent.get("mode", "payment")
    if mode not in ("subscription", "setup"):
        raise Unbuilt("Checkout for single payments")
    customer = known(account, sent["customer"]) if "customer" in sent else None
    now = account.now(customer)
    session = make(account, "checkout.session", mode=mode, created=now, customer=sent.get("customer"))
    session |= {
        "cancel_url": sent.get("cancel_url"),
        "client_reference_id": sent.get("client_reference_id"),
        "customer_creation": None if customer else "always",
        "customer_email": sent.get("customer_email"),
        "expires_at": _expires(now, sent.get("expires_at")),
        "locale": sent.get("locale"),
        "metadata": {},
        "payment_method_collection": sent.get("payment_method_collection", "always"),
        "payment_method_types": ["card"],
        "payment_status": "no_payment_required" if mode == "setup" else "unpaid",
        "status": "open",
        "success_url": sent.get("success_url"),
        "ui_mode": "hosted_page",
        "url": f"{account.sandbox.base_url}/c/{session['id']}",
        "_sent": _kept(sent),
        "_line_items": embedded([], f"/v1/checkout/sessions/{session['id']}/line_items"),
    }
    merge_metadata(session, sent.get("metadata"))
    if "success_url" not in sent:
        raise Refusal("Missing required param: success_url.", code="parameter_missing", param="success_url")
    if mode == "subscription":
        _of_subscription(account, session, sent)
    else:
        _of_setup(account, session, sent)
    return account.put(session)


@route("GET", "/v1/checkout/sessions/{id}", "checkout.SessionRetrieveParams")
def retrieve(call: Call) -> Object:
    return fetch(call.account, "checkout.session", call.ids["id"], "session")


@route(
    "GET",
    "/v1/checkout/sessions",
    "checkout.SessionListParams",
    f"{PAGING} customer subscription status created",
)
def listing(call: Call) -> Object:
    found = [
        one
        for one in call.account.all("checkout.session")
        if all(one[name] == call.get(name, one[name]) for name in ("customer", "subscription", "status"))
    ]
    return page(call, found, "checkout session")


@route("GET", "/v1/checkout/sessions/{id}/line_items", "checkout.SessionListLineItemsParams", PAGING)
def line_items(call: Call) -> Object:
    session = fetch(call.account, "checkout.session", call.ids["id"], "session")
    return page(call, session["_line_items"]["data"], "line item")


@route("POST", "/v1/checkout/sessions/{id}/expire", "checkout.SessionExpireParams")
def expire_now(call: Call) -> Object:
    session = fetch(call.account, "checkout.session", call.ids["id"], "session")
    if session["status"] != "open":
        raise Refusal(
            f'Only Checkout Sessions with a status in ["open"] can be expired. This one is {session["status"]}.'
        )
    return expire(call.account, session)


def expire(account: Account, session: Object) -> Object:
    session |= {"status": "expired", "url": None}
    account.put(session)
    account.emit("checkout.session.expired", session)
    return session


def pay(account: Account, session_id: str, card: str) -> Outcome:
    """Enter this card number and press the button. Raises Refusal for a session that is not open."""
    session = _still_open(account, session_id)
    try:
        chosen = cards.by_number(card)
        cards.must_attach(chosen)
        if session["mode"] == "subscription" and today(account, session_id) and not chosen.pays:
            return Outcome(False, chosen.message)
    except Refusal as refusal:
        return Outcome(False, refusal.message)
    customer = _customer(account, session)
    method = payment_methods.of(account, chosen, customer["id"])
    return _complete(account, session, customer, method)


def finish_without_card(account: Account, session_id: str) -> Outcome:
    """Where nothing is due and the session asks for a card only if it is needed."""
    session = _still_open(account, session_id)
    if not card_is_optional(account, session_id):
        return Outcome(False, "Enter a card number.")
    return _complete(account, session, _customer(account, session), None)


def card_is_optional(account: Account, session_id: str) -> bool:
    session = fetch(account, "checkout.session", session_id, "session")
    optional = session["mode"] == "subscription" and session["payment_method_collection"] == "if_required"
    return optional and not today(account, session_id)


def today(account: Account, session_id: str) -> int:
    """What the button charges now, in minor units: nothing in a trial."""
    session = fetch(account, "checkout.session", session_id, "session")
    return 0 if session["mode"] == "setup" or _has_trial(session) else int(session["amount_total"])


def _complete(account: Account, session: Object, customer: Object, method: Object | None) -> Outcome:
    session["customer"] = customer["id"]
    if session["mode"] == "setup":
        intents.succeed(account, account.objects["setup_intent"][session["setup_intent"]], customer, method)
    else:
        sent = dict(session["_sent"])
        if method is not None:
            sent["default_payment_method"] = method["id"]
        subscription = subscriptions.begin(account, {**sent, "customer": customer["id"]})
        session |= {"subscription": subscription["id"], "invoice": subscription["latest_invoice"]}
        session["payment_status"] = "paid" if today(account, session["id"]) else "no_payment_required"
    session |= {"status": "complete", "url": None}
    session["customer_details"] = {
        "address": customer["address"],
        "business_name": None,
        "email": customer["email"],
        "individual_name": None,
        "name": customer["name"],
        "phone": customer["phone"],
        "tax_exempt": "none",
        "tax_ids": [],
    }
    account.put(session)
    account.emit("checkout.session.completed", session)
    url = session["success_url"].replace("{CHECKOUT_SESSION_ID}", session["id"])
    return Outcome(True, url=url)


def _still_open(account: Account, session_id: str) -> Object:
    session = fetch(account, "checkout.session", session_id, "session")
    if session["status"] != "open":
        raise Refusal(f"This Checkout session is {session['status']}.")
    return session


def _customer(account: Account, session: Object) -> Object:
    if session["customer"]:
        return known(account, session["customer"])
    return create_one(account, {"email": session["customer_email"]})


def _has_trial(session: Object) -> bool:
    return "trial_period_days" in session["_sent"] or "trial_end" in session["_sent"]


def _kept(sent: Object) -> Object:
    """What the subscription is begun with."""
    data = dict(sent.get("subscription_data", {}))
    data.pop("billing_mode", None)
    items = [
        {name: each[name] for name in ("price", "quantity") if name in each}
        for each in sent.get("line_items", [])
    ]
    kept = {"items": items, **data}
    if "discounts" in sent:
        kept["discounts"] = sent["discounts"]
    return kept


def _expires(now: int, chosen: int | None) -> int:
    if chosen is None:
        return now + DAY
    if not now + 1800 <= chosen <= now + DAY:
        raise Refusal("expires_at has to lie between 30 minutes and 24 hours from now.", param="expires_at")
    return chosen


def _of_subscription(account: Account, session: Object, sent: Object) -> None:
    if not sent.get("line_items"):
        raise Refusal("Missing required param: line_items.", code="parameter_missing", param="line_items")
    found = []
    for each in sent["line_items"]:
        found.append(_line(account, each))
        session["currency"] = found[-1]["currency"]
    if len({line["currency"] for line in found}) > 1:
        raise Refusal("All line items have the same currency.", param="line_items")
    if not any(line["price"]["type"] == "recurring" for line in found):
        raise Refusal("`mode=subscription` needs a recurring price.", param="line_items")
    session["_line_items"]["data"] = found
    subtotal = sum(line["amount_total"] for line in found)
    session |= {"amount_subtotal": subtotal, "amount_total": subtotal}
    if _has_trial(session):
        session |= {"amount_subtotal": 0, "amount_total": 0}
    session["total_details"] = {"amount_discount": 0, "amount_shipping": 0, "amount_tax": 0}
    if sent.get("discounts"):
        _discount(account, session, sent["discounts"])


def _discount(account: Account, session: Object, sent: list[Object]) -> None:
    coupon = fetch(account, "coupon", sent[0].get("coupon"), "discounts[0][coupon]")
    if len(sent) > 1:
        raise Refusal("Checkout takes one discount.", param="discounts")
    total = session["amount_total"]
    if coupon["percent_off"] is not None:
        amount = amounts.percent(total, coupon["percent_off"])
    else:
        amount = min(total, coupon["amount_off"])
    session["amount_total"] = total - amount
    session["total_details"]["amount_discount"] = amount
    session["discounts"] = [{"coupon": coupon["id"], "promotion_code": None}]


def _line(account: Account, sent: Object) -> Object:
    price: Any = fetch(account, "price", sent.get("price"), "line_items[0][price]")
    if price["type"] != "recurring":
        raise Unbuilt("one-time prices in Checkout")
    if not price["active"]:
        raise Refusal("The price specified is inactive.", param="line_items[0][price]")
    metered = price["recurring"]["usage_type"] == "metered"
    if metered == ("quantity" in sent):
        raise Refusal(
            "Quantity should not be specified where usage_type is `metered`."
            if metered
            else "Quantity is required. Add `quantity` to `line_items[0]`",
            param="line_items[0][quantity]",
        )
    amount = 0 if metered else amounts.cost(price, sent["quantity"])
    return make(
        account,
        "item",
        amount_subtotal=amount,
        amount_total=amount,
        currency=price["currency"],
        description=lines.name_of(account, price),
        price=visible(price),
        quantity=None if metered else sent["quantity"],
    )


def _of_setup(account: Account, session: Object, sent: Object) -> None:
    if sent.get("line_items") or sent.get("subscription_data"):
        raise Refusal("`mode=setup` sells nothing.", param="line_items")
    if "currency" not in sent and "allowed_payment_method_types" not in sent:
        raise Refusal("`mode=setup` needs a `currency`.", code="parameter_missing", param="currency")
    session["currency"] = sent.get("currency")
    data = sent.get("setup_intent_data", {})
    intent = intents.to_set_up(account, session["customer"], data.get("description"), data.get("metadata"))
    session["setup_intent"] = intent["id"]
