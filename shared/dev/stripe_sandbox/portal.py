"""Portal sessions, and what a person does on their hosted page. Verbs raise Refusal when it cannot be done."""

from collections.abc import Sequence

from shared.dev.stripe_sandbox import cards, changes, collection, endings, payment_methods, subscriptions
from shared.dev.stripe_sandbox.contract import build_skeleton
from shared.dev.stripe_sandbox.customers import get_customer
from shared.dev.stripe_sandbox.objects import fetch_object, make_object, merge_metadata, save_change
from shared.dev.stripe_sandbox.refusals import ApiError
from shared.dev.stripe_sandbox.routes import PAGING, ApiCall, paginate, route
from shared.dev.stripe_sandbox.store import Account, Object, copy_visible

FEATURE_PARAMS = (
    "features.customer_update features.invoice_history.enabled features.payment_method_update.enabled"
    " features.subscription_cancel.enabled features.subscription_cancel.mode"
    " features.subscription_cancel.proration_behavior features.subscription_cancel.cancellation_reason features.subscription_update.enabled"
    " features.subscription_update.default_allowed_updates features.subscription_update.products"
    " features.subscription_update.proration_behavior features.subscription_pause.enabled=false"
)
ACCEPTED_PARAMS = (
    f"{FEATURE_PARAMS} business_profile.headline business_profile.privacy_policy_url"
    " business_profile.terms_of_service_url default_return_url metadata name"
)
DEFAULT_FEATURES = (
    "invoice_history",
    "payment_method_update",
    "subscription_cancel",
)  # as the dashboard proposes
# Until the default settings were saved in the dashboard. The sentence is Stripe's.
NO_SETTINGS = (
    "No configuration provided and your test mode default configuration has not been created. Provide a configuration or"
    " create your default by saving your customer portal settings in test mode at"
    " https://dashboard.stripe.com/test/settings/billing/portal."
)


@route(
    "POST",
    "/v1/billing_portal/sessions",
    "billing_portal.SessionCreateParams",
    "customer configuration return_url locale",
)
def create_session(call: ApiCall) -> Object:
    account = call.account
    if "customer" not in call.params:
        raise ApiError("Missing required param: customer.", code="parameter_missing", param="customer")
    customer = get_customer(account, call.get("customer"))
    if "configuration" in call.params:
        configuration = fetch_object(
            account, "billing_portal.configuration", call.get("configuration"), "configuration"
        )
    elif (default := _find_default_configuration(account)) is not None:
        configuration = default
    else:
        raise ApiError(NO_SETTINGS)
    if not configuration["active"]:
        raise ApiError("The portal configuration is not active.", param="configuration")
    session = make_object(
        account,
        "billing_portal.session",
        customer=customer["id"],
        configuration=configuration["id"],
        created=account.now(customer),
        locale=call.get("locale"),
        return_url=call.get("return_url", configuration["default_return_url"]),
    )
    session["url"] = f"{account.sandbox.base_url}/p/{session['id']}"
    account.put(session)
    account.emit("billing_portal.session.created", session)
    return session


@route(
    "POST", "/v1/billing_portal/configurations", "billing_portal.ConfigurationCreateParams", ACCEPTED_PARAMS
)
def create_configuration(call: ApiCall) -> Object:
    configuration = _build_configuration(call.account, enabled=())
    _fill_configuration(configuration, call.params)
    call.account.put(configuration)
    call.account.emit("billing_portal.configuration.created", configuration)
    return configuration


@route(
    "POST",
    "/v1/billing_portal/configurations/{id}",
    "billing_portal.ConfigurationUpdateParams",
    f"{ACCEPTED_PARAMS} active",
)
def change_configuration(call: ApiCall) -> Object:
    configuration = fetch_object(call.account, "billing_portal.configuration", call.ids["id"])
    previous = copy_visible(configuration)
    configuration["active"] = call.get("active", configuration["active"])
    _fill_configuration(configuration, call.params)
    configuration["updated"] = call.account.now()
    return save_change(call.account, configuration, "billing_portal.configuration.updated", previous)


@route("GET", "/v1/billing_portal/configurations/{id}", "billing_portal.ConfigurationRetrieveParams")
def retrieve_configuration(call: ApiCall) -> Object:
    return fetch_object(call.account, "billing_portal.configuration", call.ids["id"])


@route(
    "GET",
    "/v1/billing_portal/configurations",
    "billing_portal.ConfigurationListParams",
    f"{PAGING} active is_default",
)
def list_configurations(call: ApiCall) -> Object:
    configurations = [
        configuration
        for configuration in call.account.list_objects("billing_portal.configuration")
        if all(
            configuration[name] == call.get(name, configuration[name]) for name in ("active", "is_default")
        )
    ]
    return paginate(call, configurations, "configuration")


def replace_card(account: Account, customer_id: str, card_number: str) -> None:
    """Attach this card number as default; open invoices are paid with it, as the portal does."""
    owner = get_customer(account, customer_id)
    test_card = cards.find_by_number(card_number)
    cards.require_attachable(test_card)
    method = payment_methods.create_from_card(account, test_card, owner["id"])
    previous = copy_visible(owner)
    owner["invoice_settings"] = {**owner["invoice_settings"], "default_payment_method": method["id"]}
    save_change(account, owner, "customer.updated", previous)
    for subscription in account.list_for_customer("subscription", customer_id):
        if subscription["default_payment_method"] and subscription["status"] not in endings.ENDED_STATUSES:
            previous_subscription = copy_visible(subscription)
            subscription["default_payment_method"] = method["id"]
            save_change(account, subscription, "customer.subscription.updated", previous_subscription)
    for invoice in account.list_for_customer("invoice", customer_id)[::-1]:
        if invoice["status"] == "open" and _is_collected(account, invoice):
            collection.attempt_payment(account, invoice, method)


def cancel_subscription(
    account: Account, subscription_id: str, configuration: Object | None = None, *, feedback: str = ""
) -> None:
    """At the end of the period, or now: as this configuration says, else the default one.

    `feedback`: the person's answer, where the configuration asks for one.
    """
    live_subscription = _fetch_live_subscription(account, subscription_id)
    configuration = configuration or _find_default_configuration(account) or _build_configuration(account)
    feature = configuration["features"]["subscription_cancel"]
    if not feature["enabled"]:
        raise ApiError("Canceling isn't available in this portal.")
    if feedback:
        _keep_feedback(live_subscription, feature["cancellation_reason"], feedback)
    if feature["mode"] == "immediately":
        prorate = feature["proration_behavior"] != "none"
        subscriptions.cancel_subscription(account, live_subscription, prorate=prorate, invoice_now=prorate)
    else:
        changes.apply_change(account, live_subscription, {"cancel_at_period_end": True})


def _keep_feedback(subscription: Object, question: Object, feedback: str) -> None:
    if not question["enabled"] or feedback not in question["options"]:
        raise ApiError("This isn't one of the answers.")
    details = subscription["cancellation_details"] or {"comment": None, "reason": None}
    subscription["cancellation_details"] = {**details, "feedback": feedback}


def resume_subscription(account: Account, subscription_id: str) -> None:
    """Take a cancellation at period end back."""
    live_subscription = _fetch_live_subscription(account, subscription_id)
    if not live_subscription["cancel_at_period_end"]:
        raise ApiError("This subscription is not set to end.")
    changes.apply_change(account, live_subscription, {"cancel_at_period_end": False})


def change_plan(
    account: Account, subscription_id: str, price_id: str, quantity: int, configuration: Object | None = None
) -> None:
    """Gives the first item another price or quantity, where this configuration allows that, else the default one.

    https://docs.stripe.com/api/customer_portal/configurations/object#portal_configuration_object-features-subscription_update
    """
    subscription = _fetch_live_subscription(account, subscription_id)
    configuration = configuration or _find_default_configuration(account) or _build_configuration(account)
    feature, item = configuration["features"]["subscription_update"], subscription["items"]["data"][0]
    sold = next((each for each in feature["products"] or [] if price_id in each["prices"]), None)
    if not feature["enabled"] or sold is None:
        raise ApiError("Changing the plan isn't available in this portal.")
    if price_id != item["price"]["id"] and "price" not in feature["default_allowed_updates"]:
        raise ApiError("Another plan isn't available in this portal.")
    if quantity != item["quantity"] and not (
        "quantity" in feature["default_allowed_updates"] and sold["adjustable_quantity"]["enabled"]
    ):
        raise ApiError("Another quantity isn't available in this portal.")
    changed_item = {"id": item["id"], "price": price_id, "quantity": quantity}
    params = {"items": [changed_item], "proration_behavior": feature["proration_behavior"]}
    changes.apply_change(account, subscription, params)


def _fetch_live_subscription(account: Account, subscription_id: str) -> Object:
    live_subscription = fetch_object(account, "subscription", subscription_id)
    if live_subscription["status"] in endings.ENDED_STATUSES:
        raise ApiError("This subscription has ended.")
    return live_subscription


def _is_collected(account: Account, invoice: Object) -> bool:
    subscription_details = (invoice["parent"] or {}).get("subscription_details")
    subscription = (
        account.get("subscription", subscription_details["subscription"]) if subscription_details else None
    )
    return subscription is None or subscription["status"] not in endings.ENDED_STATUSES


def save_default_settings(account: Account) -> Object:
    """What a merchant does on the dashboard's page of the portal; the API has no call for it."""
    configuration = _find_default_configuration(account) or _build_configuration(account)
    configuration["is_default"] = True
    return account.put(configuration)


def _find_default_configuration(account: Account) -> Object | None:
    for existing in account.list_objects("billing_portal.configuration"):
        if existing["is_default"]:
            return existing
    return None


def _build_configuration(account: Account, *, enabled: Sequence[str] = DEFAULT_FEATURES) -> Object:
    configuration = make_object(
        account, "billing_portal.configuration", active=True, metadata={}, updated=account.now()
    )
    features = build_skeleton("billing_portal.configuration")["features"]
    for name in enabled:
        features[name]["enabled"] = True
    features["subscription_cancel"]["proration_behavior"] = "none"
    configuration["features"] = features
    return configuration


def _fill_configuration(configuration: Object, params: Object) -> None:
    for name, feature in params.get("features", {}).items():
        configuration["features"][name] = {**configuration["features"][name], **feature}
    for product in configuration["features"]["subscription_update"]["products"] or []:
        quantity = {"enabled": False, "maximum": None, "minimum": 0}
        product["adjustable_quantity"] = {**quantity, **product.get("adjustable_quantity", {})}
    if "business_profile" in params:
        configuration["business_profile"] = {
            **configuration["business_profile"],
            **params["business_profile"],
        }
    for name in ("default_return_url", "name"):
        if name in params:
            configuration[name] = params[name] or None
    merge_metadata(configuration, params.get("metadata"))
