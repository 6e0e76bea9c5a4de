"""Draft invoices: their lines, pending invoice items and totals."""

from shared.dev.stripe_sandbox import coupons, lines, sent_invoices, taxes
from shared.dev.stripe_sandbox.objects import make_object, save_change
from shared.dev.stripe_sandbox.routes import build_list
from shared.dev.stripe_sandbox.store import Account, Object, copy_visible

DRAFT_SECONDS = 3600  # a renewal's draft can be changed for an hour
MINIMUM_AMOUNT = 50  # below that nothing is charged; it is kept in the customer's balance


def create_draft(
    account: Account,
    customer: Object,
    invoice_lines: list[Object],
    *,
    reason: str,
    currency: str,
    subscription: Object | None = None,
    period: tuple[int, int] | None = None,
    auto_advance: bool = True,
    delay_finalization: bool = False,
    include_pending: bool = True,
) -> Object:
    """`auto_advance`: finalizes automatically. `delay_finalization`: after an hour, so that late usage is included."""
    now = account.now(customer)
    start, end = period or (now, now)
    invoice = make_object(
        account,
        "invoice",
        customer=customer["id"],
        customer_email=customer["email"],
        customer_name=customer["name"],
        customer_phone=customer["phone"],
        customer_address=customer["address"],
        customer_tax_exempt=customer["tax_exempt"],
        customer_tax_ids=[
            {"type": tax_id["type"], "value": tax_id["value"]}
            for tax_id in account.list_for_customer("tax_id", customer["id"])
        ],
        test_clock=customer["test_clock"],
        account_country="US",
        account_name="Stripe stand-in",
        attempted=False,
        auto_advance=auto_advance,
        automatically_finalizes_at=now + DRAFT_SECONDS if auto_advance and delay_finalization else None,
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
        invoice |= sent_invoices.build_invoice_fields(subscription, now)
        invoice["discounts"] = coupons.use_discounts(account, subscription)
        is_taxed = subscription["automatic_tax"]["enabled"]
        invoice["automatic_tax"] = taxes.build_invoice_field(enabled=is_taxed)
    for item in list_pending_items(account, customer["id"], subscription) if include_pending else ():
        item["invoice"] = invoice["id"]
        account.put(item)
        invoice_lines = [*invoice_lines, lines.build_pending_line(account, item)]
    set_lines(account, invoice, invoice_lines)
    if subscription is not None:
        subscription["latest_invoice"] = invoice["id"]
        account.put(subscription)
    account.put(invoice)
    if not account.is_preview:
        account.emit("invoice.created", invoice)
    return invoice


def add_item(account: Account, invoice: Object, item: Object) -> None:
    """Puts a pending item on a draft."""
    previous = copy_visible(invoice)
    item["invoice"] = invoice["id"]
    account.put(item)
    set_lines(account, invoice, [*invoice["lines"]["data"], lines.build_pending_line(account, item)])
    save_change(account, invoice, "invoice.updated", previous)


def set_lines(account: Account, invoice: Object, invoice_lines: list[Object]) -> None:
    for line in invoice_lines:
        line["invoice"] = invoice["id"]
    invoice["lines"] = build_list(invoice_lines, f"/v1/invoices/{invoice['id']}/lines")
    compute_totals(account, invoice)


def compute_totals(account: Account, invoice: Object) -> None:
    """Set the totals, the part paid from the customer's balance, and the amount due."""
    invoice_lines = invoice["lines"]["data"]
    invoice["subtotal"] = sum(line["amount"] for line in invoice_lines)
    coupons.apply_discounts(account, invoice)
    discounts = sum(discount["amount"] for discount in invoice["total_discount_amounts"])
    taxes.apply_taxes(account, invoice)
    added_tax = taxes.sum_amounts(invoice["total_taxes"], "exclusive")
    included_tax = taxes.sum_amounts(invoice["total_taxes"], "inclusive")
    invoice["total"] = invoice["subtotal"] - discounts + added_tax
    invoice["subtotal_excluding_tax"] = invoice["subtotal"] - included_tax
    invoice["total_excluding_tax"] = invoice["total"] - added_tax - included_tax
    balance = account.objects["customer"][invoice["customer"]].get("balance") or 0
    invoice["starting_balance"] = balance
    due = max(0, invoice["total"] + balance)
    invoice["amount_due"] = 0 if due < MINIMUM_AMOUNT else due
    invoice["amount_remaining"] = invoice["amount_due"] - invoice["amount_paid"]


def list_pending_items(account: Account, customer: str, subscription: Object | None) -> list[Object]:
    """Pending invoice items of this subscription or of no subscription, oldest first."""
    pending_items = []
    for item in account.list_for_customer("invoiceitem", customer)[::-1]:
        subscription_details = (item["parent"] or {}).get("subscription_details")
        is_included = subscription_details is None or (
            subscription is not None and subscription_details["subscription"] == subscription["id"]
        )
        if item["invoice"] is None and is_included:
            pending_items.append(item)
    return pending_items
