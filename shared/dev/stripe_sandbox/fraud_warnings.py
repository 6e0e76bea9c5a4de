"""Early fraud warnings: the bank of a card suspects a payment. https://docs.stripe.com/disputes/measuring#early-fraud-warnings"""

from shared.dev.stripe_sandbox.objects import fetch_object, make_object
from shared.dev.stripe_sandbox.refusals import ApiError
from shared.dev.stripe_sandbox.routes import PAGING, ApiCall, is_within, paginate, route
from shared.dev.stripe_sandbox.store import Account, Object

KIND = "radar.early_fraud_warning"


def warn_of_fraud(account: Account, charge: Object) -> Object:
    if not charge["paid"]:
        raise ApiError("Only a paid charge can be suspected.", param="charge")
    warning = make_object(
        account,
        KIND,
        actionable=not (charge["refunded"] or charge["disputed"]),
        charge=charge["id"],
        created=account.now(charge),
        fraud_type="unauthorized_use_of_card",
        payment_intent=charge["payment_intent"],
    )
    account.put(warning)
    account.emit(f"{KIND}.created", warning)
    return warning


def update_warnings(account: Account, charge: Object) -> None:
    """A warning can't be acted upon any more when its charge was disputed or fully refunded."""
    for warning in account.list_objects(KIND):
        if warning["charge"] == charge["id"] and warning["actionable"]:
            warning["actionable"] = not (charge["refunded"] or charge["disputed"])
            account.put(warning)
            if not warning["actionable"]:
                account.emit(f"{KIND}.updated", warning, {"actionable": True})


@route("GET", "/v1/radar/early_fraud_warnings/{id}", "radar.EarlyFraudWarningRetrieveParams")
def retrieve_warning(call: ApiCall) -> Object:
    return fetch_object(call.account, KIND, call.ids["id"])


@route(
    "GET",
    "/v1/radar/early_fraud_warnings",
    "radar.EarlyFraudWarningListParams",
    f"{PAGING} charge payment_intent created",
)
def list_warnings(call: ApiCall) -> Object:
    warnings = [
        warning
        for warning in call.account.list_objects(KIND)
        if all(warning[name] == call.get(name, warning[name]) for name in ("charge", "payment_intent"))
        and ("created" not in call.params or is_within(warning["created"], call.get("created")))
    ]
    return paginate(call, warnings, "early fraud warning")
