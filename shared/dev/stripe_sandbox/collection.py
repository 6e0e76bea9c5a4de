"""Invoices become final, are paid, or are tried again (dunning)."""

from typing import Literal

from shared.dev.stripe_sandbox import (
    balances,
    drafts,
    endings,
    lines,
    payments,
    sent_invoices,
    standing,
    taxes,
)
from shared.dev.stripe_sandbox.objects import save_change
from shared.dev.stripe_sandbox.payment_methods import get_card
from shared.dev.stripe_sandbox.refusals import ApiError, UnsupportedError, card_declined_error
from shared.dev.stripe_sandbox.store import Account, Object, copy_visible

DAY = 86_400


def finalize_and_collect(account: Account, invoice: Object, *, charge_now: bool = True) -> None:
    """A draft whose time has come: final, and tried."""
    subscription = standing.get_subscription(account, invoice)
    pause = subscription["pause_collection"] if subscription else None
    finalize_invoice(account, invoice)
    if pause and invoice["status"] == "open":
        close_invoice(account, invoice, "void" if pause["behavior"] == "void" else "uncollectible")
    elif invoice["status"] == "open" and sent_invoices.is_sent(invoice):
        account.emit("invoice.sent", invoice)
    elif invoice["status"] == "open" and charge_now:
        attempt_payment(account, invoice)


def pass_deadline(account: Account, invoice: Object) -> None:
    """An invoice that was sent isn't paid by its due date, or by the additional deadline after it."""
    sent_invoices.pass_deadline(account, invoice, standing.get_subscription(account, invoice))
    standing.update_delinquency(account, invoice["customer"])


def finalize_invoice(account: Account, invoice: Object) -> None:
    if invoice["status"] != "draft":
        raise ApiError("This invoice is already finalized.", code="invoice_not_editable")
    previous, now = copy_visible(invoice), account.now(invoice)
    _add_late_usage(account, invoice)
    drafts.compute_totals(account, invoice)
    taxes.disable_unlocated(account, invoice, standing.get_subscription(account, invoice))
    customer = account.objects["customer"][invoice["customer"]]
    invoice["number"] = f"{customer['invoice_prefix']}-{customer['next_invoice_sequence']:04d}"
    customer["next_invoice_sequence"] += 1
    customer["currency"] = customer["currency"] or invoice["currency"]
    account.put(customer)
    invoice |= {"status": "open", "effective_at": now, "automatically_finalizes_at": None}
    invoice["status_transitions"] = {**invoice["status_transitions"], "finalized_at": now}
    page = f"{account.sandbox.base_url}/i/{invoice['id']}"
    invoice |= {"hosted_invoice_url": page, "invoice_pdf": f"{page}/pdf"}
    _apply_balance(account, invoice)
    if invoice["amount_due"] > 0:
        payments.create_payment(account, invoice)
    account.put(invoice)
    account.emit("invoice.finalized", invoice)
    save_change(account, invoice, "invoice.updated", previous)
    if invoice["amount_due"] == 0:
        _mark_paid(account, invoice, attempted=True)


def attempt_payment(
    account: Account, invoice: Object, method: Object | None = None, *, is_confirmed: bool = False
) -> bool:
    """Charge it. When that fails, it is tried again later, until the schedule ends."""
    method = method or payments.get_invoice_method(account, invoice)
    if payments.charge_invoice(account, invoice, method, is_confirmed=is_confirmed):
        invoice["attempt_count"] += 1
        invoice["amount_paid"] = invoice["amount_due"]
        _mark_paid(account, invoice, attempted=True)
        return True
    previous = copy_visible(invoice)
    invoice |= {"attempted": True, "attempt_count": invoice["attempt_count"] + 1}
    if payments.is_processing(account, invoice):
        if standing.get_subscription(account, invoice) is not None:
            raise UnsupportedError("debits of bank accounts for subscriptions")
        save_change(account, invoice, "invoice.updated", previous)
        return False
    is_last_attempt = _schedule_retry(account, invoice)
    account.put(invoice)
    account.emit("invoice.payment_failed", invoice)
    if payments.get_method_to_confirm(account, invoice) is not None:
        account.emit("invoice.payment_action_required", invoice)
    save_change(account, invoice, "invoice.updated", previous)
    standing.apply_failed_payment(account, invoice)
    if is_last_attempt:
        _end_retries(account, invoice)
    return False


def pay_invoice(account: Account, invoice: Object, method: Object | None = None) -> None:
    """Charges the invoice now. Raises when the card is declined; the attempt is recorded even then."""
    _ensure_payable(account, invoice)
    if invoice["status"] == "paid":  # there was nothing to pay
        return
    method = method or payments.get_invoice_method(account, invoice)
    if method is None:
        raise ApiError(
            "Cannot charge a customer that has no active card.", code="missing", status=402, kind="card_error"
        )
    if payments.is_processing(account, invoice):
        raise ApiError("A payment of this invoice is processing.", code="invoice_payment_processing")
    if not attempt_payment(account, invoice, method):
        if payments.is_processing(account, invoice):
            return
        card = get_card(method)
        if card.needs_confirmation:
            raise ApiError(
                "The payment for this invoice requires additional user action before it can be completed.",
                code="invoice_payment_intent_requires_action",
                status=402,
                kind="card_error",
            )
        raise card_declined_error(card.message, card.decline_code)


def settle_debit(account: Account, invoice: Object, outcome: Literal["succeeded", "failed"]) -> None:
    """The bank answers about a payment that is processing. A failed one isn't tried again."""
    if payments.settle_debit(account, invoice, outcome):
        invoice["amount_paid"] = invoice["amount_due"]
        _mark_paid(account, invoice, attempted=True)
    else:
        account.emit("invoice.payment_failed", invoice)


def _ensure_payable(account: Account, invoice: Object) -> None:
    if invoice["status"] == "void":
        raise ApiError("This invoice is void.", code="invoice_not_editable")
    if invoice["status"] == "draft":
        finalize_invoice(account, invoice)


def mark_paid_out_of_band(account: Account, invoice: Object) -> None:
    """Mark the invoice as paid outside of Stripe."""
    _ensure_payable(account, invoice)
    if invoice["status"] == "paid":
        return
    payments.cancel_payment(account, invoice)
    invoice |= {"amount_paid": invoice["amount_due"], "amount_paid_off_stripe": invoice["amount_due"]}
    _mark_paid(account, invoice, attempted=invoice["attempted"])


def close_credited_invoice(account: Account, invoice: Object) -> None:
    """Mark an invoice as paid whose credit notes left nothing to pay."""
    payments.cancel_payment(account, invoice)
    _mark_paid(account, invoice, attempted=invoice["attempted"])


def close_invoice(account: Account, invoice: Object, status: str) -> None:
    """Close the invoice with `status` void or uncollectible."""
    previous, now = copy_visible(invoice), account.now(invoice)
    timestamp_field = "voided_at" if status == "void" else "marked_uncollectible_at"
    invoice |= {"status": status, "next_payment_attempt": None, "auto_advance": False}
    invoice["status_transitions"] = {**invoice["status_transitions"], timestamp_field: now}
    if status == "void":
        payments.cancel_payment(account, invoice)
    account.put(invoice)
    account.emit("invoice.voided" if status == "void" else "invoice.marked_uncollectible", invoice)
    save_change(account, invoice, "invoice.updated", previous)
    standing.apply_closed_invoice(account, invoice)


def _mark_paid(account: Account, invoice: Object, *, attempted: bool) -> None:
    previous = copy_visible(invoice)
    invoice |= {"status": "paid", "attempted": attempted, "amount_remaining": 0, "next_payment_attempt": None}
    invoice["auto_advance"] = False
    invoice["status_transitions"] = {**invoice["status_transitions"], "paid_at": account.now(invoice)}
    save_change(account, invoice, "invoice.updated", previous)
    account.emit("invoice.paid", invoice)
    account.emit("invoice.payment_succeeded", invoice)
    standing.apply_closed_invoice(account, invoice)


def _apply_balance(account: Account, invoice: Object) -> None:
    """Credit is used up, or a negative total becomes credit; too little to charge is kept as debt."""
    balance_used = invoice["amount_due"] - invoice["total"]
    if balance_used:
        balances.adjust_balance(
            account,
            invoice["customer"],
            -balance_used,
            invoice["currency"],
            "applied_to_invoice",
            invoice=invoice["id"],
        )
    invoice["ending_balance"] = account.objects["customer"][invoice["customer"]]["balance"]


def _add_late_usage(account: Account, invoice: Object) -> None:
    """Events that arrived after the draft was made and before it became final are billed with it."""
    subscription = standing.get_subscription(account, invoice)
    if subscription is None:
        return
    invoice_lines = [line for line in invoice["lines"]["data"] if not line.get("_item")]
    lines_by_item: dict[str, list[Object]] = {}
    for line in invoice["lines"]["data"]:
        if line.get("_item"):
            lines_by_item.setdefault(line["_item"]["id"], []).append(line)
    for old_lines in lines_by_item.values():
        period = (old_lines[0]["period"]["start"], old_lines[0]["period"]["end"])
        new_lines = lines.build_metered_lines(account, subscription, old_lines[0]["_item"], period)
        is_unchanged = [line["quantity"] for line in old_lines] == [line["quantity"] for line in new_lines]
        invoice_lines += old_lines if is_unchanged else new_lines
    drafts.set_lines(account, invoice, invoice_lines)


def _schedule_retry(account: Account, invoice: Object) -> bool:
    """Set the time of the next attempt. True when the schedule has no attempt left."""
    subscription = standing.get_subscription(account, invoice)
    if subscription is None or subscription["status"] == "incomplete" or not invoice["auto_advance"]:
        invoice["next_payment_attempt"] = None
        return False
    days, attempt_count = account.settings["retry_days"], invoice["attempt_count"]
    if attempt_count > len(days):
        invoice["next_payment_attempt"] = None
        return True
    invoice["next_payment_attempt"] = account.now(invoice) + int(days[attempt_count - 1] * DAY)
    return False


def _end_retries(account: Account, invoice: Object) -> None:
    subscription = standing.get_subscription(account, invoice)
    if subscription is None or subscription["status"] != "past_due":
        return
    final_status = account.settings["after_retries"]
    if final_status == "canceled":
        endings.end_subscription(account, subscription, reason="payment_failed")
    elif final_status == "unpaid":
        previous = copy_visible(subscription)
        subscription["status"] = "unpaid"
        save_change(account, subscription, "customer.subscription.updated", previous)
