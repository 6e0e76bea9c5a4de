"""Invoices before they count: made of lines and of what is pending, and added up."""

from shared.dev.stripe_sandbox import coupons, lines
from shared.dev.stripe_sandbox.objects import make
from shared.dev.stripe_sandbox.routes import embedded
from shared.dev.stripe_sandbox.store import Account, Object

WAIT_SECONDS = 3600  # a renewal's draft can be changed for an hour
MINIMUM = 50  # below that nothing is charged; it is kept in the customer's balance


def draft(
    account: Account,
    customer: Object,
    found: list[Object],
    *,
    reason: str,
    currency: str,
    subscription: Object | None = None,
    period: tuple[int, int] | None = None,
    advances: bool = True,
    waits: bool = False,
    take_pending: bool = True,
) -> Object:
    """`advances`: it goes on by itself; `waits`: in an hour, so that late usage is still seen."""
    now = account.now(customer)
    start, end = period or (now, now)
    invoice = make(
        account,
        "invoice",
        customer=customer["id"],
        customer_email=customer["email"],
        customer_name=customer["name"],
        customer_phone=customer["phone"],
        customer_address=customer["address"],
        customer_tax_exempt=customer["tax_exempt"],
        customer_tax_ids=[],
        test_clock=customer["test_clock"],
        account_country="US",
        account_name="Stripe stand-in",
        attempted=False,
        auto_advance=advances,
        automatically_finalizes_at=now + WAIT_SECONDS if advances and waits else None,
        billing_reason=reason,
        created=now,
        currency=currency,
        issuer={"type": "self"},
        metadata={},
        period_start=start,
        period_end=end,
        status="draft",
        total_discount_amounts=[],
        total_taxes=[],
    )
    if subscription is not None:
        invoice["parent"] = {
            "type": "subscription_details",
            "quote_details": None,
            "subscription_details": {
                "metadata": dict(subscription["metadata"]),
                "subscription": subscription["id"],
            },
        }
        invoice["discounts"] = coupons.for_invoice(account, subscription)
    for item in pending_of(account, customer["id"], subscription) if take_pending else ():
        item["invoice"] = invoice["id"]
        account.put(item)
        found = [*found, lines.of_pending(account, item)]
    fill(account, invoice, found)
    if subscription is not None:
        subscription["latest_invoice"] = invoice["id"]
        account.put(subscription)
    account.put(invoice)
    if not account.dry:
        account.emit("invoice.created", invoice)
    return invoice


def fill(account: Account, invoice: Object, found: list[Object]) -> None:
    for line in found:
        line["invoice"] = invoice["id"]
    invoice["lines"] = embedded(found, f"/v1/invoices/{invoice['id']}/lines")
    total(account, invoice)


def total(account: Account, invoice: Object) -> None:
    """Sums, what the customer's balance takes of it, and what is due."""
    found = invoice["lines"]["data"]
    invoice["subtotal"] = sum(line["amount"] for line in found)
    coupons.off(account, invoice)
    discounts = sum(each["amount"] for each in invoice["total_discount_amounts"])
    invoice["total"] = invoice["subtotal"] - discounts
    invoice["subtotal_excluding_tax"] = invoice["subtotal"]
    invoice["total_excluding_tax"] = invoice["total"]
    balance = account.objects["customer"][invoice["customer"]].get("balance") or 0
    invoice["starting_balance"] = balance
    due = max(0, invoice["total"] + balance)
    invoice["amount_due"] = 0 if due < MINIMUM else due
    invoice["amount_remaining"] = invoice["amount_due"] - invoice["amount_paid"]


def pending_of(account: Account, customer: str, subscription: Object | None) -> list[Object]:
    """What waits for the next invoice: of this subscription, or of none in particular. Oldest first."""
    found = []
    for item in account.of("invoiceitem", customer)[::-1]:
        about = (item["parent"] or {}).get("subscription_details")
        mine = about is None or (subscription is not None and about["subscription"] == subscription["id"])
        if item["invoice"] is None and mine:
            found.append(item)
    return found
