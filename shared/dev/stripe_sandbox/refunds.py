"""Money back to the card."""

from typing import Any

from shared.dev.stripe_sandbox.objects import fetch, make, merge_metadata, update
from shared.dev.stripe_sandbox.refusals import Refusal
from shared.dev.stripe_sandbox.routes import PAGING, Call, page, route
from shared.dev.stripe_sandbox.store import Account, Object, visible


@route("POST", "/v1/refunds", "RefundCreateParams", "charge payment_intent amount reason metadata")
def create(call: Call) -> Object:
    account = call.account
    if ("charge" in call.sent) == ("payment_intent" in call.sent):
        raise Refusal("One of `charge` and `payment_intent` has to be given.", param="charge")
    if "charge" in call.sent:
        charge = fetch(account, "charge", call.get("charge"), "charge")
    else:
        intent = fetch(account, "payment_intent", call.get("payment_intent"), "payment_intent")
        charge = fetch(account, "charge", intent["latest_charge"], "payment_intent")
    return refund(account, charge, call.get("amount"), call.get("reason"), call.get("metadata"))


def refund(
    account: Account, charge: Object, amount: int | None, reason: str | None = None, metadata: Any = None
) -> Object:
    """All that is left, when no amount is named."""
    if not charge["paid"]:
        raise Refusal("This charge was never paid.", param="charge")
    left = charge["amount"] - charge["amount_refunded"]
    if left == 0:
        raise Refusal(f"Charge {charge['id']} has already been refunded.", code="charge_already_refunded")
    wanted = left if amount is None else amount
    if not 0 < wanted <= left:
        raise Refusal(
            f"Refund amount ({wanted}) is greater than unrefunded amount on charge ({left}).", param="amount"
        )
    before = visible(charge)
    made = make(
        account,
        "refund",
        amount=wanted,
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
    merge_metadata(made, metadata)
    account.put(made)
    charge["amount_refunded"] += wanted
    charge["refunded"] = charge["amount_refunded"] == charge["amount"]
    account.put(charge)
    account.emit("refund.created", made)
    shown = ("amount_refunded", "refunded")
    account.emit(
        "charge.refunded", charge, {name: before[name] for name in shown if before[name] != charge[name]}
    )
    return made


@route("GET", "/v1/refunds/{id}", "RefundRetrieveParams")
def retrieve(call: Call) -> Object:
    return fetch(call.account, "refund", call.ids["id"])


@route("POST", "/v1/refunds/{id}", "RefundUpdateParams", "metadata")
def change(call: Call) -> Object:
    made = fetch(call.account, "refund", call.ids["id"])
    before = visible(made)
    merge_metadata(made, call.get("metadata"))
    return update(call.account, made, "refund.updated", before)


@route("GET", "/v1/refunds", "RefundListParams", f"{PAGING} charge payment_intent")
def listing(call: Call) -> Object:
    found = [
        one
        for one in call.account.all("refund")
        if all(one[name] == call.get(name, one[name]) for name in ("charge", "payment_intent"))
    ]
    return page(call, found, "refund")
