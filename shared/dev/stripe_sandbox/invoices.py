"""Invoices, as they are asked for, and those that people make by hand."""

from shared.dev.stripe_sandbox import balances, collection, drafts, lines, previews
from shared.dev.stripe_sandbox.customers import known
from shared.dev.stripe_sandbox.objects import fetch, merge_metadata, update
from shared.dev.stripe_sandbox.refusals import Refusal
from shared.dev.stripe_sandbox.routes import PAGING, Call, page, route, within
from shared.dev.stripe_sandbox.store import Object, visible

assert previews.TAKES  # its path goes before /v1/invoices/{id}


@route(
    "POST",
    "/v1/invoices",
    "InvoiceCreateParams",
    "customer subscription description metadata auto_advance currency pending_invoice_items_behavior"
    " collection_method=charge_automatically",
)
def create(call: Call) -> Object:
    account = call.account
    subscription = None
    if "subscription" in call.sent:
        subscription = fetch(account, "subscription", call.get("subscription"), "subscription")
    customer = known(account, call.get("customer") or (subscription or {}).get("customer"))
    takes = call.get("pending_invoice_items_behavior", "include" if subscription else "exclude") == "include"
    invoice = drafts.draft(
        account,
        customer,
        [],
        reason="manual",
        currency=call.get("currency") or (subscription or customer)["currency"] or "usd",
        subscription=subscription,
        advances=call.get("auto_advance", False),
        waits=True,
        take_pending=takes,
    )
    invoice["description"] = call.get("description")
    merge_metadata(invoice, call.get("metadata"))
    return account.put(invoice)


@route("GET", "/v1/invoices/{id}", "InvoiceRetrieveParams")
def retrieve(call: Call) -> Object:
    return fetch(call.account, "invoice", call.ids["id"])


@route("GET", "/v1/invoices", "InvoiceListParams", f"{PAGING} customer subscription status created")
def listing(call: Call) -> Object:
    found = [
        one
        for one in call.account.all("invoice")
        if one["customer"] == call.get("customer", one["customer"])
        and one["status"] == call.get("status", one["status"])
        and _subscription(one) == call.get("subscription", _subscription(one))
        and ("created" not in call.sent or within(one["created"], call.get("created")))
    ]
    return page(call, found, "invoice")


@route("GET", "/v1/invoices/{id}/lines", "InvoiceLineItemListParams", PAGING)
def list_lines(call: Call) -> Object:
    return page(call, fetch(call.account, "invoice", call.ids["id"])["lines"]["data"], "line item")


@route(
    "POST",
    "/v1/invoices/{id}",
    "InvoiceUpdateParams",
    "description metadata auto_advance default_payment_method",
)
def change(call: Call) -> Object:
    account = call.account
    invoice = fetch(account, "invoice", call.ids["id"])
    before = visible(invoice)
    if invoice["status"] != "draft" and "description" in call.sent:
        raise Refusal("A finalized invoice keeps its description.", code="invoice_not_editable")
    for name in ("description", "default_payment_method"):
        if name in call.sent:
            invoice[name] = call.get(name) or None
    if "auto_advance" in call.sent:
        invoice["auto_advance"] = call.get("auto_advance")
        waits = invoice["status"] == "draft" and invoice["auto_advance"]
        invoice["automatically_finalizes_at"] = account.now(invoice) + drafts.WAIT_SECONDS if waits else None
    merge_metadata(invoice, call.get("metadata"))
    return update(account, invoice, "invoice.updated", before)


@route("DELETE", "/v1/invoices/{id}", "InvoiceDeleteParams")
def delete(call: Call) -> Object:
    account = call.account
    invoice = fetch(account, "invoice", call.ids["id"])
    if invoice["status"] != "draft" or invoice["parent"]:
        raise Refusal(
            "You can only delete draft invoices that were made by hand.", code="invoice_not_editable"
        )
    for item in account.all("invoiceitem"):
        if item.get("invoice") == invoice["id"]:
            item["invoice"] = None
            account.put(item)
    account.drop("invoice", invoice["id"])
    account.emit("invoice.deleted", invoice)
    return {"id": invoice["id"], "object": "invoice", "deleted": True}


@route("POST", "/v1/invoices/{id}/finalize", "InvoiceFinalizeInvoiceParams", "auto_advance")
def finalize(call: Call) -> Object:
    invoice = fetch(call.account, "invoice", call.ids["id"])
    collection.finalize(call.account, invoice)
    if "auto_advance" in call.sent and invoice["status"] == "open":
        invoice["auto_advance"] = call.get("auto_advance")
        call.account.put(invoice)
    if invoice["status"] == "open" and invoice["auto_advance"]:
        collection.attempt(call.account, invoice)
    return invoice


@route("POST", "/v1/invoices/{id}/pay", "InvoicePayParams", "payment_method paid_out_of_band off_session")
def pay(call: Call) -> Object:
    account = call.account
    invoice = fetch(account, "invoice", call.ids["id"])
    if invoice["status"] == "paid":
        raise Refusal("Invoice is already paid", code="invoice_already_paid")
    if call.get("paid_out_of_band"):
        collection.pay_elsewhere(account, invoice)
        return invoice
    method = None
    if chosen := call.get("payment_method"):
        method = fetch(account, "payment_method", chosen, "payment_method")
        if method["customer"] != invoice["customer"]:
            raise Refusal("The payment method belongs to another customer.", param="payment_method")
    collection.pay(account, invoice, method)
    return invoice


@route("POST", "/v1/invoices/{id}/void", "InvoiceVoidInvoiceParams")
def void(call: Call) -> Object:
    return _closed(call, "void")


@route("POST", "/v1/invoices/{id}/mark_uncollectible", "InvoiceMarkUncollectibleParams")
def mark_uncollectible(call: Call) -> Object:
    return _closed(call, "uncollectible")


@route(
    "POST",
    "/v1/invoiceitems",
    "InvoiceItemCreateParams",
    "customer amount currency description metadata subscription period.start period.end",
)
def add_item(call: Call) -> Object:
    account = call.account
    customer = known(account, call.get("customer"))
    subscription = None
    if "subscription" in call.sent:
        subscription = fetch(account, "subscription", call.get("subscription"), "subscription")
    if "amount" not in call.sent or "currency" not in call.sent:
        raise Refusal("Missing required param: amount.", code="parameter_missing", param="amount")
    now = account.now(customer)
    period = call.get("period", {"start": now, "end": now})
    return lines.pending(
        account,
        customer=customer["id"],
        period=(period["start"], period["end"]),
        amount=call.get("amount"),
        description=call.get("description"),
        currency=call.get("currency").lower(),
        subscription=subscription,
        metadata=call.get("metadata"),
    )


@route("GET", "/v1/invoiceitems/{id}", "InvoiceItemRetrieveParams")
def retrieve_item(call: Call) -> Object:
    return fetch(call.account, "invoiceitem", call.ids["id"])


@route("GET", "/v1/invoiceitems", "InvoiceItemListParams", f"{PAGING} customer pending invoice")
def list_items(call: Call) -> Object:
    found = [
        one
        for one in call.account.all("invoiceitem")
        if one["customer"] == call.get("customer", one["customer"])
        and one["invoice"] == call.get("invoice", one["invoice"])
        and (one["invoice"] is None) == call.get("pending", one["invoice"] is None)
    ]
    return page(call, found, "invoice item")


@route("DELETE", "/v1/invoiceitems/{id}", "InvoiceItemDeleteParams")
def delete_item(call: Call) -> Object:
    item = fetch(call.account, "invoiceitem", call.ids["id"])
    if item["invoice"] is not None:
        raise Refusal("The invoice item is on an invoice already.", code="invoice_not_editable")
    call.account.drop("invoiceitem", item["id"])
    call.account.emit("invoiceitem.deleted", item)
    return {"id": item["id"], "object": "invoiceitem", "deleted": True}


def _closed(call: Call, status: str) -> Object:
    invoice = fetch(call.account, "invoice", call.ids["id"])
    if invoice["status"] not in ("open", "uncollectible") or invoice["status"] == status:
        raise Refusal(
            f"You can only pass in open invoices. This invoice isn't open: it is {invoice['status']}.",
            code="invoice_not_editable",
        )
    paid_from_balance = invoice["starting_balance"] - (invoice["ending_balance"] or 0)
    collection.close(call.account, invoice, status)
    if status == "void" and paid_from_balance:
        balances.move(
            call.account,
            invoice["customer"],
            paid_from_balance,
            invoice["currency"],
            "unapplied_from_invoice",
            invoice=invoice["id"],
        )
    return invoice


def _subscription(invoice: Object) -> str | None:
    about = (invoice["parent"] or {}).get("subscription_details")
    return about["subscription"] if about else None
