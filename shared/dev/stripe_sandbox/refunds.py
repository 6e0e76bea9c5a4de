"""Refunds to the customer's card."""

from typing import Any, Literal

from shared.dev.stripe_sandbox import fraud_warnings
from shared.dev.stripe_sandbox.amounts import THREE_DECIMAL_CURRENCIES
from shared.dev.stripe_sandbox.disputes import is_refund_blocked
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
    if is_refund_blocked(account, charge):
        raise ApiError(f"Charge {charge['id']} has been charged back.", code="charge_disputed")
    refundable = charge["amount"] - charge["amount_refunded"]
    if refundable == 0:
        raise ApiError(f"Charge {charge['id']} has already been refunded.", code="charge_already_refunded")
    refund_amount = refundable if amount is None else amount
    if charge["currency"] in THREE_DECIMAL_CURRENCIES and refund_amount % 10:
        raise ApiError(
            f"Invalid amount. The last digit of amounts in {charge['currency']} has to be 0.", param="amount"
        )
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
        status="pending" if _take_pending(account, charge["customer"]) else "succeeded",
    )
    merge_metadata(new_refund, metadata)
    account.put(new_refund)
    charge["amount_refunded"] += refund_amount
    charge["refunded"] = charge["amount_refunded"] == charge["amount"]
    account.put(charge)
    fraud_warnings.update_warnings(account, charge)
    account.emit("refund.created", new_refund)
    changed_fields = ("amount_refunded", "refunded")
    account.emit(
        "charge.refunded",
        charge,
        {name: previous[name] for name in changed_fields if previous[name] != charge[name]},
    )
    return new_refund


def settle_refund(account: Account, refund: Object, outcome: Literal["succeeded", "failed"]) -> Object:
    """The bank answers. It may refuse a refund that had succeeded; the money is then the merchant's again."""
    if refund["status"] not in ("pending", "succeeded") or refund["status"] == outcome:
        raise ApiError(f"This refund is {refund['status']}.", param="refund")
    previous = copy_visible(refund)
    refund["status"] = outcome
    if outcome == "failed":
        refund["failure_reason"] = "expired_or_canceled_card"
        charge = account.objects["charge"][refund["charge"]]
        charge["amount_refunded"] -= refund["amount"]
        charge["refunded"] = False
        account.put(charge)
    save_change(account, refund, "refund.updated", previous)
    account.emit("charge.refund.updated", refund, {"status": previous["status"]})
    if outcome == "failed":
        account.emit("refund.failed", refund)
    return refund


def _take_pending(account: Account, customer_id: str | None) -> bool:
    customer = account.get("customer", customer_id)
    if customer is None or not customer.get("_pending_refunds"):
        return False
    customer["_pending_refunds"] -= 1
    account.put(customer)
    return True


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
