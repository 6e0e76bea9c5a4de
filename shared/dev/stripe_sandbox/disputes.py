"""Disputes: customers reclaim a payment at their bank. A dispute names its charge, and no customer."""

from typing import Literal

from shared.dev.stripe_sandbox import fraud_warnings
from shared.dev.stripe_sandbox.objects import diff_objects, fetch_object, make_object
from shared.dev.stripe_sandbox.refusals import ApiError
from shared.dev.stripe_sandbox.routes import PAGING, ApiCall, paginate, route
from shared.dev.stripe_sandbox.store import Account, Object, copy_visible

RESPONSE_SECONDS = 9 * 86_400
ENDED_STATUSES = ("won", "lost", "warning_closed", "prevented")


def open_dispute(account: Account, charge: Object, *, is_inquiry: bool = False) -> Object:
    """Of the whole payment. An inquiry takes no money yet, and its payment can still be refunded."""
    if not charge["paid"] or charge["refunded"]:
        raise ApiError("Only a paid charge that was not refunded can be disputed.", param="charge")
    now = account.now(charge)
    dispute = make_object(
        account,
        "dispute",
        amount=charge["amount"],
        balance_transactions=[],
        charge=charge["id"],
        created=now,
        currency=charge["currency"],
        enhanced_eligibility_types=[],
        is_charge_refundable=is_inquiry,
        metadata={},
        payment_intent=charge["payment_intent"],
        reason="fraudulent",
        status="warning_needs_response" if is_inquiry else "needs_response",
    )
    dispute["evidence_details"] |= {"due_by": now + RESPONSE_SECONDS, "has_evidence": False}
    account.put(dispute)
    charge["disputed"] = True
    account.put(charge)
    fraud_warnings.update_warnings(account, charge)
    account.emit("charge.dispute.created", dispute)
    if not is_inquiry:
        account.emit("charge.dispute.funds_withdrawn", dispute)
    return dispute


def end_dispute(account: Account, dispute: Object, outcome: Literal["won", "lost"]) -> Object:
    if dispute["status"] in ENDED_STATUSES:
        raise ApiError("This dispute is already closed.", param="dispute")
    previous = copy_visible(dispute)
    is_inquiry = dispute["status"].startswith("warning_")
    dispute["status"] = "warning_closed" if is_inquiry else outcome
    account.put(dispute)
    if outcome == "won" and not is_inquiry:
        account.emit("charge.dispute.funds_reinstated", dispute)
    account.emit("charge.dispute.closed", dispute, diff_objects(previous, copy_visible(dispute)))
    return dispute


def is_refund_blocked(account: Account, charge: Object) -> bool:
    return any(
        dispute["charge"] == charge["id"]
        and not dispute["is_charge_refundable"]
        and dispute["status"] not in ("won", "warning_closed")
        for dispute in account.list_objects("dispute")
    )


@route("GET", "/v1/disputes/{id}", "DisputeRetrieveParams")
def retrieve_dispute(call: ApiCall) -> Object:
    return fetch_object(call.account, "dispute", call.ids["id"])


@route("GET", "/v1/disputes", "DisputeListParams", f"{PAGING} charge payment_intent")
def list_disputes(call: ApiCall) -> Object:
    disputes = [
        dispute
        for dispute in call.account.list_objects("dispute")
        if all(dispute[name] == call.get(name, dispute[name]) for name in ("charge", "payment_intent"))
    ]
    return paginate(call, disputes, "dispute")


@route("POST", "/v1/disputes/{id}/close", "DisputeCloseParams")
def close_on_request(call: ApiCall) -> Object:
    """The merchant accepts it."""
    return end_dispute(call.account, fetch_object(call.account, "dispute", call.ids["id"]), "lost")
