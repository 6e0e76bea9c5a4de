"""Portal sessions, and what a person does on their hosted page. Verbs raise Refusal when it cannot be done."""

from shared.dev.stripe_sandbox import cards, changes, collection, endings, payment_methods, subscriptions
from shared.dev.stripe_sandbox.contract import skeleton
from shared.dev.stripe_sandbox.customers import known
from shared.dev.stripe_sandbox.objects import fetch, make, merge_metadata, update
from shared.dev.stripe_sandbox.refusals import Refusal
from shared.dev.stripe_sandbox.routes import PAGING, Call, page, route
from shared.dev.stripe_sandbox.store import Account, Object, visible

FEATURES = (
    "features.customer_update features.invoice_history.enabled features.payment_method_update.enabled"
    " features.subscription_cancel.enabled features.subscription_cancel.mode"
    " features.subscription_cancel.proration_behavior features.subscription_update.enabled=false"
    " features.subscription_pause.enabled=false"
)
TAKES = (
    f"{FEATURES} business_profile.headline business_profile.privacy_policy_url"
    " business_profile.terms_of_service_url default_return_url metadata name"
)


@route(
    "POST",
    "/v1/billing_portal/sessions",
    "billing_portal.SessionCreateParams",
    "customer configuration return_url locale",
)
def create(call: Call) -> Object:
    account = call.account
    if "customer" not in call.sent:
        raise Refusal("Missing required param: customer.", code="parameter_missing", param="customer")
    customer = known(account, call.get("customer"))
    if "configuration" in call.sent:
        chosen = fetch(account, "billing_portal.configuration", call.get("configuration"), "configuration")
    else:
        chosen = _default(account)
    session = make(
        account,
        "billing_portal.session",
        customer=customer["id"],
        configuration=chosen["id"],
        created=account.now(customer),
        locale=call.get("locale"),
        return_url=call.get("return_url", chosen["default_return_url"]),
    )
    session["url"] = f"{account.sandbox.base_url}/p/{session['id']}"
    account.put(session)
    account.emit("billing_portal.session.created", session)
    return session


@route("POST", "/v1/billing_portal/configurations", "billing_portal.ConfigurationCreateParams", TAKES)
def create_configuration(call: Call) -> Object:
    configuration = _blank(call.account)
    _fill(configuration, call.sent)
    call.account.put(configuration)
    call.account.emit("billing_portal.configuration.created", configuration)
    return configuration


@route(
    "POST",
    "/v1/billing_portal/configurations/{id}",
    "billing_portal.ConfigurationUpdateParams",
    f"{TAKES} active",
)
def change_configuration(call: Call) -> Object:
    configuration = fetch(call.account, "billing_portal.configuration", call.ids["id"])
    before = visible(configuration)
    configuration["active"] = call.get("active", configuration["active"])
    _fill(configuration, call.sent)
    configuration["updated"] = call.account.now()
    return update(call.account, configuration, "billing_portal.configuration.updated", before)


@route("GET", "/v1/billing_portal/configurations/{id}", "billing_portal.ConfigurationRetrieveParams")
def retrieve_configuration(call: Call) -> Object:
    return fetch(call.account, "billing_portal.configuration", call.ids["id"])


@route(
    "GET",
    "/v1/billing_portal/configurations",
    "billing_portal.ConfigurationListParams",
    f"{PAGING} active is_default",
)
def list_configurations(call: Call) -> Object:
    found = [
        one
        for one in call.account.all("billing_portal.configuration")
        if all(one[name] == call.get(name, one[name]) for name in ("active", "is_default"))
    ]
    return page(call, found, "configuration")


def replace_card(account: Account, customer: str, card: str) -> None:
    """Attach this card number as default; open invoices are paid with it, as the portal does."""
    owner = known(account, customer)
    chosen = cards.by_number(card)
    cards.must_attach(chosen)
    method = payment_methods.of(account, chosen, owner["id"])
    before = visible(owner)
    owner["invoice_settings"] = {**owner["invoice_settings"], "default_payment_method": method["id"]}
    update(account, owner, "customer.updated", before)
    for one in account.of("subscription", customer):
        if one["default_payment_method"] and one["status"] not in endings.OVER:
            shown = visible(one)
            one["default_payment_method"] = method["id"]
            update(account, one, "customer.subscription.updated", shown)
    for invoice in account.of("invoice", customer)[::-1]:
        if invoice["status"] == "open" and _is_collected(account, invoice):
            collection.attempt(account, invoice, method)


def cancel(account: Account, subscription: str, configuration: Object | None = None) -> None:
    """At the end of the period, or now: as the portal's configuration says; without one, the account's default."""
    found = _running(account, subscription)
    feature = (configuration or _default(account))["features"]["subscription_cancel"]
    if not feature["enabled"]:
        raise Refusal("This portal does not offer to cancel.")
    if feature["mode"] == "immediately":
        prorate = feature["proration_behavior"] != "none"
        subscriptions.cancel_now(account, found, prorate=prorate, bills_now=prorate)
    else:
        changes.apply(account, found, {"cancel_at_period_end": True})


def resume(account: Account, subscription: str) -> None:
    """Take a cancellation at period end back."""
    found = _running(account, subscription)
    if not found["cancel_at_period_end"]:
        raise Refusal("This subscription is not set to end.")
    changes.apply(account, found, {"cancel_at_period_end": False})


def _running(account: Account, subscription: str) -> Object:
    found = fetch(account, "subscription", subscription)
    if found["status"] in endings.OVER:
        raise Refusal("This subscription has ended.")
    return found


def _is_collected(account: Account, invoice: Object) -> bool:
    about = (invoice["parent"] or {}).get("subscription_details")
    subscription = account.get("subscription", about["subscription"]) if about else None
    return subscription is None or subscription["status"] not in endings.OVER


def _default(account: Account) -> Object:
    """The one of an account that was never given one offers everything but changes of plan."""
    for one in account.all("billing_portal.configuration"):
        if one["is_default"]:
            return one
    configuration = _blank(account)
    configuration["is_default"] = True
    return account.put(configuration)


def _blank(account: Account) -> Object:
    configuration = make(
        account, "billing_portal.configuration", active=True, metadata={}, updated=account.now()
    )
    features = skeleton("billing_portal.configuration")["features"]
    for name in ("invoice_history", "payment_method_update", "subscription_cancel"):
        features[name]["enabled"] = True
    features["subscription_cancel"]["proration_behavior"] = "none"
    configuration["features"] = features
    return configuration


def _fill(configuration: Object, sent: Object) -> None:
    for name, feature in sent.get("features", {}).items():
        configuration["features"][name] = {**configuration["features"][name], **feature}
    if "business_profile" in sent:
        configuration["business_profile"] = {**configuration["business_profile"], **sent["business_profile"]}
    for name in ("default_return_url", "name"):
        if name in sent:
            configuration[name] = sent[name] or None
    merge_metadata(configuration, sent.get("metadata"))
