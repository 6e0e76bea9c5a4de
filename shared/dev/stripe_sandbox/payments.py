"""Charging a card or bank account for an invoice: payment intents, charges, and what the bank says.

The debit of a bank account takes days: until it ends, its payment is `processing`, and the invoice stays open.
"""

from typing import Any, Literal

from shared.dev.stripe_sandbox.cards import Card
from shared.dev.stripe_sandbox.objects import make_object, save_change
from shared.dev.stripe_sandbox.payment_methods import get_card
from shared.dev.stripe_sandbox.refusals import ApiError
from shared.dev.stripe_sandbox.store import Account, Object, copy_visible, new_id


def get_invoice_method(account: Account, invoice: Object) -> Object | None:
    """Of the invoice, else of its subscription, else the customer's default."""
    subscription_details = (invoice["parent"] or {}).get("subscription_details")
    subscription = (
        account.get("subscription", subscription_details["subscription"]) if subscription_details else None
    )
    method_id = invoice["default_payment_method"] or (
        get_default_method_id(account, subscription)
        if subscription
        else account.objects["customer"][invoice["customer"]]["invoice_settings"]["default_payment_method"]
    )
    return account.get("payment_method", method_id)


def get_default_method_id(account: Account, subscription: Object) -> str | None:
    customer = account.objects["customer"][subscription["customer"]]
    method_id: str | None = (
        subscription["default_payment_method"] or customer["invoice_settings"]["default_payment_method"]
    )
    return method_id


def can_pay(account: Account, customer: str, method: Object | None, *, is_confirmed: bool = False) -> bool:
    """`is_confirmed`: the person has just confirmed the payment with the bank."""
    return (
        method is not None
        and get_card(method).is_chargeable
        and (is_confirmed or not get_card(method).needs_confirmation)
        and not account.objects["customer"][customer].get("_declines")
    )


def create_payment(account: Account, invoice: Object) -> None:
    """The payment that a finalized invoice waits for."""
    intent = make_object(
        account,
        "payment_intent",
        amount=invoice["amount_due"],
        currency=invoice["currency"],
        customer=invoice["customer"],
        description="Subscription creation" if invoice["billing_reason"] == "subscription_create" else None,
        payment_method_types=["card"],
        capture_method="automatic",
        confirmation_method="automatic",
        status="requires_payment_method",
        metadata={},
    )
    intent["client_secret"] = f"{intent['id']}_secret_{new_id('x')[2:]}"
    account.put(intent)
    account.emit("payment_intent.created", intent)
    payment = make_object(
        account,
        "invoice_payment",
        amount_requested=invoice["amount_due"],
        currency=invoice["currency"],
        invoice=invoice["id"],
        is_default=True,
        status="open",
        payment={"type": "payment_intent", "payment_intent": intent["id"]},
        created=account.now(invoice),
    )
    account.put(payment)
    invoice["_payment"] = payment["id"]


def get_payment(account: Account, invoice: Object) -> tuple[Object, Object]:
    """The open or paid payment of an invoice, and its intent."""
    payment = account.objects["invoice_payment"][invoice["_payment"]]
    return payment, account.objects["payment_intent"][payment["payment"]["payment_intent"]]


def charge_invoice(
    account: Account, invoice: Object, method: Object | None, *, is_confirmed: bool = False
) -> bool:
    """Try this card. True: paid."""
    payment, intent = get_payment(account, invoice)
    customer = account.objects["customer"][invoice["customer"]]
    paid = can_pay(account, customer["id"], method, is_confirmed=is_confirmed)
    if method is None:
        account.emit("payment_intent.payment_failed", intent)
        return False
    if get_card(method).needs_confirmation and not is_confirmed:
        intent |= {"status": "requires_action", "payment_method": method["id"]}
        intent["next_action"] = {"type": "use_stripe_sdk", "use_stripe_sdk": {}}
        account.put(intent)
        account.emit("payment_intent.requires_action", intent)
        return False
    if customer.get("_declines"):
        customer["_declines"] -= 1
        account.put(customer)
    card = get_card(method)
    if card.kind == "sepa_debit":
        _begin_debit(account, intent, method, card)
        return False
    new_charge = _create_charge(account, intent, method, card, paid=paid)
    intent["latest_charge"] = new_charge["id"]
    if paid:
        intent |= {"status": "succeeded", "amount_received": intent["amount"], "payment_method": method["id"]}
        intent |= {"last_payment_error": None, "next_action": None}
        now = account.now(invoice)
        payment |= {"status": "paid", "amount_paid": intent["amount"]}
        payment["status_transitions"] = {"canceled_at": None, "paid_at": now}
    else:
        intent |= {"status": "requires_payment_method", "next_action": None}
        intent["last_payment_error"] = {
            "type": "card_error",
            "code": "card_declined",
            "decline_code": card.decline_code,
            "message": card.message,
            "charge": new_charge["id"],
        }
    for obj in (intent, payment):
        account.put(obj)
    account.emit("charge.succeeded" if paid else "charge.failed", new_charge)
    account.emit("payment_intent.succeeded" if paid else "payment_intent.payment_failed", intent)
    if paid:
        account.emit("invoice_payment.paid", payment)
    return paid


def is_processing(account: Account, invoice: Object) -> bool:
    """Whether a bank still settles the payment of this invoice."""
    return "_payment" in invoice and get_payment(account, invoice)[1]["status"] == "processing"


def settle_debit(account: Account, invoice: Object, outcome: Literal["succeeded", "failed"]) -> bool:
    """The bank answers. True: paid. https://docs.stripe.com/payments/sepa-debit"""
    payment, intent = get_payment(account, invoice)
    if intent["status"] != "processing":
        raise ApiError("This payment isn't processing.", param="payment_intent")
    charge = account.objects["charge"][intent["latest_charge"]]
    paid, previous = outcome == "succeeded", copy_visible(charge)
    charge |= {"status": outcome, "paid": paid, "amount_captured": charge["amount"] if paid else 0}
    if paid:
        intent |= {"status": "succeeded", "amount_received": intent["amount"]}
        payment |= {"status": "paid", "amount_paid": intent["amount"]}
        payment["status_transitions"] = {"canceled_at": None, "paid_at": account.now(invoice)}
    else:
        charge |= {
            "failure_code": "insufficient_funds",
            "failure_message": "The account has too little money.",
        }
        intent |= {"status": "requires_payment_method", "payment_method": None}
    for obj in (intent, payment):
        account.put(obj)
    save_change(account, charge, "charge.succeeded" if paid else "charge.failed", previous)
    account.emit("payment_intent.succeeded" if paid else "payment_intent.payment_failed", intent)
    if paid:
        account.emit("invoice_payment.paid", payment)
    return paid


def _begin_debit(account: Account, intent: Object, method: Object, card: Card) -> None:
    charge = _create_charge(account, intent, method, card, paid=False)
    charge |= {"status": "pending", "failure_code": None, "failure_message": None, "captured": True}
    charge["outcome"] |= {"network_status": "approved_by_network", "reason": None, "type": "authorized"}
    account.put(charge)
    intent |= {"status": "processing", "payment_method": method["id"], "latest_charge": charge["id"]}
    account.put(intent)
    account.emit("payment_intent.processing", intent)
    account.emit("charge.pending", charge)


def get_method_to_confirm(account: Account, invoice: Object) -> Object | None:
    """The payment method with which the person has to confirm the payment; None where that is not asked."""
    if invoice["status"] != "open" or "_payment" not in invoice:
        return None
    _, intent = get_payment(account, invoice)
    return account.get("payment_method", intent["payment_method"]) if intent["next_action"] else None


def cancel_payment(account: Account, invoice: Object) -> None:
    """Cancels the payment of an invoice that won't be paid."""
    if "_payment" in invoice:
        payment, intent = get_payment(account, invoice)
        if payment["status"] == "open":
            payment["status"] = "canceled"
            payment["status_transitions"] = {"canceled_at": account.now(invoice), "paid_at": None}
            intent |= {
                "status": "canceled",
                "canceled_at": account.now(invoice),
                "cancellation_reason": "void_invoice",
            }
            account.put(payment)
            account.put(intent)
            account.emit("payment_intent.canceled", intent)


def _create_charge(account: Account, intent: Object, method: Object, card: Card, *, paid: bool) -> Object:
    outcome: dict[str, Any] = {
        "advice_code": None,
        "network_advice_code": None,
        "network_decline_code": None,
        "network_status": "approved_by_network" if paid else "declined_by_network",
        "reason": None if paid else card.decline_code,
        "risk_level": "normal",
        "seller_message": "Payment complete." if paid else "The bank did not return any further details.",
        "type": "authorized" if paid else "issuer_declined",
    }
    new_charge = make_object(
        account,
        "charge",
        amount=intent["amount"],
        amount_captured=intent["amount"] if paid else 0,
        billing_details=method["billing_details"],
        captured=paid,
        currency=intent["currency"],
        customer=intent["customer"],
        description=intent["description"],
        failure_code=None if paid else "card_declined",
        failure_message=None if paid else card.message,
        fraud_details={},
        metadata={},
        outcome=outcome,
        paid=paid,
        payment_intent=intent["id"],
        payment_method=method["id"],
        status="succeeded" if paid else "failed",
    )
    return account.put(new_charge)
