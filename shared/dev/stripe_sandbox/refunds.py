"""Refunds to the customer's card."""

from typing import Any

from shared.dev.stripe_sandbox.objects import fetch_object, make_object, merge_metadata, save_change
from shared.dev.stripe_sandbox.refusals import ApiError
from shared.dev.stripe_sandbox.routes import PAGING, ApiCall, paginate, route
from shared.dev.stripe_sandbox.store import Account, Object, copy_visible


@route("POST", "/v1/refunds", "RefundCreateParams", "charge payment_intent amount reason metadata")
def create_on_request(call: ApiCall) -> Object:
    account = call.account
    if ("charge" in call.params) == ("payment_intent" in call.params):
        raise ApiError("One of `charge` and `payment_intent` has to be given.", param="charge")
    if "charge" in call.params:
        charge = fetch_object(account, "charge", call.get("charge"), "charge")
    else:
        intent = fetch_object(account, "payment_intent", call.get("payment_intent"), "payment_intent")
        charge = fetch_object(account, "charge", intent["latest_charge"], "payment_intent")
    return refund_charge(account, charge, call.get("amount"), call.get("reason"), call.get("metadata"))


def refund_charge(
    account: Account, charge: Object, amount: int | None, reason: str | None = None, metadata: Any = None
) -> Object:
    """Without an amount, refund all that is left."""
    if not charge["paid"]:
        raise ApiError("This charge was never paid.", param="charge")
    refundable = charge["amount"] - charge["amount_refunded"]
    if refundable == 0:
        raise ApiError(f"Charge {charge['id']} has already been refunded.", code="charge_already_refunded")
    refund_amount = refundable if amount is None else amount
    if not 0 < refund_amount <= refundable:
        raise ApiError(
            f"Refund amount ({refund_amount}) is greater than unrefunded amount on charge ({refundable}).",
            param="amount",
        )
    previous = copy_visible(charge)
    new_refund = make_object(
        account,
        "refund",
        amount=refund_amount,
        charge=charge["id"],
        created=account.now(charge),
        currency=charge["currency"],
        customer=charge["customer"],
        payment_intent=charge["payment_intent"],
        payment_method=charge["payment_method"],
        reason=reason,
        metadata={},
        status="succeeded",
    )
    merge_metadata(new_refund, metadata)
    account.put(new_refund)
    charge["amount_refunded"] += refund_amount
    charge["refunded"] = charge["amount_refunded"] == charge["amount"]
    account.put(charge)
    account.emit("refund.created", new_refund)
    changed_fields = ("amount_refunded", "refunded")
    account.emit(
        "charge.refunded",
        charge,
        {name: previous[name] for name in changed_fields if previous[name] != charge[name]},
    )
    return new_refund


@route("GET", "/v1/refunds/{id}", "RefundRetrieveParams")
def retrieve_refund(call: ApiCall) -> Object:
    return fetch_object(call.account, "refund", call.ids["id"])


@route("POST", "/v1/refunds/{id}", "RefundUpdateParams", "metadata")
def change_refund(call: ApiCall) -> Object:
    refund_object = fetch_object(call.account, "refund", call.ids["id"])
    previous = copy_visible(refund_object)
    merge_metadata(refund_object, call.get("metadata"))
    return save_change(call.account, refund_object, "refund.updated", previous)


@route("GET", "/v1/refunds", "RefundListParams", f"{PAGING} charge payment_intent")
def list_refunds(call: ApiCall) -> Object:
    refunds = [
        refund_object
        for refund_object in call.account.list_objects("refund")
        if all(
            refund_object[name] == call.get(name, refund_object[name])
            for name in ("charge", "payment_intent")
        )
    ]
    return paginate(call, refunds, "refund")
