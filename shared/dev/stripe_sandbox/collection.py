"""Invoices become final, are paid, or are tried again (dunning)."""

from shared.dev.stripe_sandbox import balances, drafts, endings, lines, payments, standing
from shared.dev.stripe_sandbox.objects import update
from shared.dev.stripe_sandbox.payment_methods import card_of
from shared.dev.stripe_sandbox.refusals import Refusal, declined
from shared.dev.stripe_sandbox.store import Account, Object, visible

DAY = 86_400


def go_on(account: Account, invoice: Object, *, tries: bool = True) -> None:
    """A draft whose time has come: final, and tried."""
    subscription = standing.subscription_of(account, invoice)
    paused = subscription["pause_collection"] if subscription else None
    finalize(account, invoice)
    if paused and invoice["status"] == "open":
        close(account, invoice, "void" if paused["behavior"] == "void" else "uncollectible")
    elif invoice["status"] == "open" and tries:
        attempt(account, invoice)


def finalize(account: Account, invoice: Object) -> None:
    if invoice["status"] != "draft":
        raise Refusal("This invoice is already finalized.", code="invoice_not_editable")
    before, now = visible(invoice), account.now(invoice)
    _late_usage(account, invoice)
    drafts.total(account, invoice)
    customer = account.objects["customer"][invoice["customer"]]
    invoice["number"] = f"{customer['invoice_prefix']}-{customer['next_invoice_sequence']:04d}"
    customer["next_invoice_sequence"] += 1
    customer["currency"] = customer["currency"] or invoice["currency"]
    account.put(customer)
    invoice |= {"status": "open", "effective_at": now, "automatically_finalizes_at": None}
    invoice["status_transitions"] = {**invoice["status_transitions"], "finalized_at": now}
    page = f"{account.sandbox.base_url}/i/{invoice['id']}"
    invoice |= {"hosted_invoice_url": page, "invoice_pdf": f"{page}/pdf"}
    _use_balance(account, invoice)
    if invoice["amount_due"] > 0:
        payments.open_intent(account, invoice)
    account.put(invoice)
    account.emit("invoice.finalized", invoice)
    update(account, invoice, "invoice.updated", before)
    if invoice["amount_due"] == 0:
        _paid(account, invoice, attempted=True)


def attempt(account: Account, invoice: Object, method: Object | None = None) -> bool:
    """Charge it. When that fails, it is tried again later, until the schedule ends."""
    method = method or payments.method_for(account, invoice)
    if payments.charge(account, invoice, method):
        invoice["attempt_count"] += 1
        invoice["amount_paid"] = invoice["amount_due"]
        _paid(account, invoice, attempted=True)
        return True
    before = visible(invoice)
    invoice |= {"attempted": True, "attempt_count": invoice["attempt_count"] + 1}
    given_up = _schedule(account, invoice)
    account.put(invoice)
    account.emit("invoice.payment_failed", invoice)
    update(account, invoice, "invoice.updated", before)
    standing.failed(account, invoice)
    if given_up:
        _give_up(account, invoice)
    return False


def pay(account: Account, invoice: Object, method: Object | None = None) -> None:
    """Somebody asks for it now. Raises when the card says no; the attempt counts all the same."""
    _must_be_payable(account, invoice)
    if invoice["status"] == "paid":  # there was nothing to pay
        return
    method = method or payments.method_for(account, invoice)
    if method is None:
        raise Refusal(
            "Cannot charge a customer that has no active card.", code="missing", status=402, kind="card_error"
        )
    if not attempt(account, invoice, method):
        card = card_of(method)
        raise declined(card.message, card.reason)


def _must_be_payable(account: Account, invoice: Object) -> None:
    if invoice["status"] == "void":
        raise Refusal("This invoice is void.", code="invoice_not_editable")
    if invoice["status"] == "draft":
        finalize(account, invoice)


def pay_elsewhere(account: Account, invoice: Object) -> None:
    """Paid by other means, says the seller."""
    _must_be_payable(account, invoice)
    if invoice["status"] == "paid":
        return
    payments.cancel(account, invoice)
    invoice |= {"amount_paid": invoice["amount_due"], "amount_paid_off_stripe": invoice["amount_due"]}
    _paid(account, invoice, attempted=invoice["attempted"])


def credited(account: Account, invoice: Object) -> None:
    """Credit notes left nothing to pay."""
    payments.cancel(account, invoice)
    _paid(account, invoice, attempted=invoice["attempted"])


def close(account: Account, invoice: Object, status: str) -> None:
    """Void or uncollectible."""
    before, now = visible(invoice), account.now(invoice)
    at = "voided_at" if status == "void" else "marked_uncollectible_at"
    invoice |= {"status": status, "next_payment_attempt": None, "auto_advance": False}
    invoice["status_transitions"] = {**invoice["status_transitions"], at: now}
    if status == "void":
        payments.cancel(account, invoice)
    account.put(invoice)
    account.emit("invoice.voided" if status == "void" else "invoice.marked_uncollectible", invoice)
    update(account, invoice, "invoice.updated", before)
    standing.settled(account, invoice)


def _paid(account: Account, invoice: Object, *, attempted: bool) -> None:
    before = visible(invoice)
    invoice |= {"status": "paid", "attempted": attempted, "amount_remaining": 0, "next_payment_attempt": None}
    invoice["auto_advance"] = False
    invoice["status_transitions"] = {**invoice["status_transitions"], "paid_at": account.now(invoice)}
    update(account, invoice, "invoice.updated", before)
    account.emit("invoice.paid", invoice)
    account.emit("invoice.payment_succeeded", invoice)
    standing.settled(account, invoice)


def _use_balance(account: Account, invoice: Object) -> None:
    """Credit is used up, or a negative total becomes credit; too little to charge is kept as debt."""
    used = invoice["amount_due"] - invoice["total"]
    if used:
        balances.move(
            account,
            invoice["customer"],
            -used,
            invoice["currency"],
            "applied_to_invoice",
            invoice=invoice["id"],
        )
    invoice["ending_balance"] = account.objects["customer"][invoice["customer"]]["balance"]


def _late_usage(account: Account, invoice: Object) -> None:
    """Events that arrived after the draft was made and before it became final are billed with it."""
    subscription = standing.subscription_of(account, invoice)
    if subscription is None:
        return
    found = [line for line in invoice["lines"]["data"] if not line.get("_item")]
    drafted: dict[str, list[Object]] = {}
    for line in invoice["lines"]["data"]:
        if line.get("_item"):
            drafted.setdefault(line["_item"]["id"], []).append(line)
    for old in drafted.values():
        period = (old[0]["period"]["start"], old[0]["period"]["end"])
        new = lines.metered(account, subscription, old[0]["_item"], period)
        same = [one["quantity"] for one in old] == [one["quantity"] for one in new]
        found += old if same else new
    drafts.fill(account, invoice, found)


def _schedule(account: Account, invoice: Object) -> bool:
    """When to try again. True: never."""
    subscription = standing.subscription_of(account, invoice)
    if subscription is None or subscription["status"] == "incomplete" or not invoice["auto_advance"]:
        invoice["next_payment_attempt"] = None
        return False
    days, tries = account.settings["retry_days"], invoice["attempt_count"]
    if tries > len(days):
        invoice["next_payment_attempt"] = None
        return True
    invoice["next_payment_attempt"] = account.now(invoice) + int(days[tries - 1] * DAY)
    return False


def _give_up(account: Account, invoice: Object) -> None:
    subscription = standing.subscription_of(account, invoice)
    if subscription is None or subscription["status"] != "past_due":
        return
    becomes = account.settings["after_retries"]
    if becomes == "canceled":
        endings.end(account, subscription, reason="payment_failed")
    elif becomes == "unpaid":
        before = visible(subscription)
        subscription["status"] = "unpaid"
        update(account, subscription, "customer.subscription.updated", before)
