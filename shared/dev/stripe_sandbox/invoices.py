"""API routes of invoices, including invoices that are created by hand."""

from shared.dev.stripe_sandbox import (
    balances,
    collection,
    drafts,
    lines,
    payments,
    previews,
    sent_invoices,
    taxes,
)
from shared.dev.stripe_sandbox.customers import get_customer
from shared.dev.stripe_sandbox.objects import fetch_object, merge_metadata, save_change
from shared.dev.stripe_sandbox.refusals import ApiError
from shared.dev.stripe_sandbox.routes import PAGING, ApiCall, is_within, paginate, route
from shared.dev.stripe_sandbox.store import Object, copy_visible

assert previews.ACCEPTED_PARAMS  # its path goes before /v1/invoices/{id}


@route(
    "POST",
    "/v1/invoices",
    "InvoiceCreateParams",
    "customer subscription description metadata auto_advance currency pending_invoice_items_behavior"
    " collection_method=charge_automatically discounts= automatic_tax.enabled",
)
def create_invoice(call: ApiCall) -> Object:
    account = call.account
    subscription = None
    if "subscription" in call.params:
        subscription = fetch_object(account, "subscription", call.get("subscription"), "subscription")
    customer = get_customer(account, call.get("customer") or (subscription or {}).get("customer"))
    include_pending = (
        call.get("pending_invoice_items_behavior", "include" if subscription else "exclude") == "include"
    )
    invoice = drafts.create_draft(
        account,
        customer,
        [],
        reason="manual",
        currency=call.get("currency") or (subscription or customer)["currency"] or "usd",
        subscription=subscription,
        auto_advance=call.get("auto_advance", False),
        delay_finalization=True,
        include_pending=include_pending,
    )
    if (is_taxed := (call.get("automatic_tax") or {}).get("enabled")) is not None:
        if is_taxed:
            taxes.require_active(account)
        invoice["automatic_tax"] = taxes.build_invoice_field(enabled=is_taxed)
        drafts.compute_totals(account, invoice)
    if subscription is None and "discounts" not in call.params and customer["discount"]:
        invoice["discounts"] = [customer["discount"]["id"]]
        drafts.compute_totals(account, invoice)
    invoice["description"] = call.get("description")
    merge_metadata(invoice, call.get("metadata"))
    return account.put(invoice)


@route("GET", "/v1/invoices/{id}", "InvoiceRetrieveParams")
def retrieve_invoice(call: ApiCall) -> Object:
    return fetch_object(call.account, "invoice", call.ids["id"])


@route("GET", "/v1/invoices", "InvoiceListParams", f"{PAGING} customer subscription status created")
def list_invoices(call: ApiCall) -> Object:
    invoices = [
        invoice
        for invoice in _list_objects(call, "invoice")
        if invoice["customer"] == call.get("customer", invoice["customer"])
        and invoice["status"] == call.get("status", invoice["status"])
        and _get_subscription_id(invoice) == call.get("subscription", _get_subscription_id(invoice))
        and ("created" not in call.params or is_within(invoice["created"], call.get("created")))
    ]
    return paginate(call, invoices, "invoice")


@route("GET", "/v1/invoices/{id}/lines", "InvoiceLineItemListParams", PAGING)
def list_lines(call: ApiCall) -> Object:
    return paginate(call, fetch_object(call.account, "invoice", call.ids["id"])["lines"]["data"], "line item")


@route(
    "POST",
    "/v1/invoices/{id}",
    "InvoiceUpdateParams",
    "description metadata auto_advance default_payment_method",
)
def change_invoice(call: ApiCall) -> Object:
    account = call.account
    invoice = fetch_object(account, "invoice", call.ids["id"])
    previous = copy_visible(invoice)
    if invoice["status"] != "draft" and "description" in call.params:
        raise ApiError("A finalized invoice keeps its description.", code="invoice_not_editable")
    for name in ("description", "default_payment_method"):
        if name in call.params:
            invoice[name] = call.get(name) or None
    if "auto_advance" in call.params:
        invoice["auto_advance"] = call.get("auto_advance")
        finalizes_later = invoice["status"] == "draft" and invoice["auto_advance"]
        invoice["automatically_finalizes_at"] = (
            account.now(invoice) + drafts.DRAFT_SECONDS if finalizes_later else None
        )
    merge_metadata(invoice, call.get("metadata"))
    return save_change(account, invoice, "invoice.updated", previous)


@route("DELETE", "/v1/invoices/{id}", "InvoiceDeleteParams")
def delete_invoice(call: ApiCall) -> Object:
    account = call.account
    invoice = fetch_object(account, "invoice", call.ids["id"])
    if invoice["status"] != "draft" or invoice["parent"]:
        raise ApiError(
            "You can only delete draft invoices that were made by hand.", code="invoice_not_editable"
        )
    for item in account.list_for_customer("invoiceitem", invoice["customer"]):
        if item["invoice"] == invoice["id"]:
            item["invoice"] = None
            account.put(item)
    account.delete_object("invoice", invoice["id"])
    account.emit("invoice.deleted", invoice)
    return {"id": invoice["id"], "object": "invoice", "deleted": True}


@route("POST", "/v1/invoices/{id}/finalize", "InvoiceFinalizeInvoiceParams", "auto_advance")
def finalize_invoice(call: ApiCall) -> Object:
    invoice = fetch_object(call.account, "invoice", call.ids["id"])
    collection.finalize_invoice(call.account, invoice)
    if "auto_advance" in call.params and invoice["status"] == "open":
        invoice["auto_advance"] = call.get("auto_advance")
        call.account.put(invoice)
    if invoice["status"] == "open" and invoice["auto_advance"] and not sent_invoices.is_sent(invoice):
        collection.attempt_payment(call.account, invoice)
    return invoice


@route("POST", "/v1/invoices/{id}/pay", "InvoicePayParams", "payment_method paid_out_of_band off_session")
def pay_invoice(call: ApiCall) -> Object:
    account = call.account
    invoice = fetch_object(account, "invoice", call.ids["id"])
    if invoice["status"] == "paid":
        raise ApiError("Invoice is already paid", code="invoice_already_paid")
    if call.get("paid_out_of_band"):
        collection.mark_paid_out_of_band(account, invoice)
        return invoice
    method = None
    if method_id := call.get("payment_method"):
        method = fetch_object(account, "payment_method", method_id, "payment_method")
        if method["customer"] != invoice["customer"]:
            raise ApiError("The payment method belongs to another customer.", param="payment_method")
    collection.pay_invoice(account, invoice, method)
    return invoice


@route("POST", "/v1/invoices/{id}/void", "InvoiceVoidInvoiceParams")
def void_invoice(call: ApiCall) -> Object:
    return _close_invoice(call, "void")


@route("POST", "/v1/invoices/{id}/mark_uncollectible", "InvoiceMarkUncollectibleParams")
def mark_uncollectible(call: ApiCall) -> Object:
    return _close_invoice(call, "uncollectible")


@route(
    "POST",
    "/v1/invoiceitems",
    "InvoiceItemCreateParams",
    "customer amount currency description metadata subscription invoice period.start period.end tax_behavior",
)
def add_item(call: ApiCall) -> Object:
    account = call.account
    customer = get_customer(account, call.get("customer"))
    subscription = None
    if "subscription" in call.params:
        subscription = fetch_object(account, "subscription", call.get("subscription"), "subscription")
    if "amount" not in call.params or "currency" not in call.params:
        raise ApiError("Missing required param: amount.", code="parameter_missing", param="amount")
    now = account.now(customer)
    period = call.get("period", {"start": now, "end": now})
    invoice = _fetch_draft(call, customer) if "invoice" in call.params else None
    behavior = call.get("tax_behavior")
    if invoice is not None and invoice["automatic_tax"]["enabled"]:
        taxes.require_item_behavior(account, behavior, call.get("currency").lower())
    item = lines.create_pending_item(
        account,
        customer=customer["id"],
        period=(period["start"], period["end"]),
        amount=call.get("amount"),
        description=call.get("description"),
        currency=call.get("currency").lower(),
        subscription=subscription,
        metadata=call.get("metadata"),
    )
    item["_tax_behavior"] = behavior
    if invoice is not None:
        drafts.add_item(account, invoice, item)
    return item


def _fetch_draft(call: ApiCall, customer: Object) -> Object:
    """The invoice that the item is added to. https://docs.stripe.com/api/invoiceitems/create"""
    invoice = fetch_object(call.account, "invoice", call.get("invoice"), "invoice")
    if invoice["customer"] != customer["id"]:
        raise ApiError("The invoice belongs to another customer.", param="invoice")
    if invoice["status"] != "draft":
        raise ApiError("This invoice is no longer editable.", code="invoice_not_editable", param="invoice")
    if invoice["currency"] != call.get("currency").lower():
        raise ApiError("The currency of the invoice item differs from its invoice's.", param="currency")
    return invoice


@route("GET", "/v1/invoiceitems/{id}", "InvoiceItemRetrieveParams")
def retrieve_item(call: ApiCall) -> Object:
    return fetch_object(call.account, "invoiceitem", call.ids["id"])


@route("GET", "/v1/invoiceitems", "InvoiceItemListParams", f"{PAGING} customer pending invoice")
def list_items(call: ApiCall) -> Object:
    items = [
        item
        for item in _list_objects(call, "invoiceitem")
        if item["customer"] == call.get("customer", item["customer"])
        and item["invoice"] == call.get("invoice", item["invoice"])
        and (item["invoice"] is None) == call.get("pending", item["invoice"] is None)
    ]
    return paginate(call, items, "invoice item")


@route("DELETE", "/v1/invoiceitems/{id}", "InvoiceItemDeleteParams")
def delete_item(call: ApiCall) -> Object:
    item = fetch_object(call.account, "invoiceitem", call.ids["id"])
    if item["invoice"] is not None:
        raise ApiError("The invoice item is on an invoice already.", code="invoice_not_editable")
    call.account.delete_object("invoiceitem", item["id"])
    call.account.emit("invoiceitem.deleted", item)
    return {"id": item["id"], "object": "invoiceitem", "deleted": True}


def _close_invoice(call: ApiCall, status: str) -> Object:
    invoice = fetch_object(call.account, "invoice", call.ids["id"])
    if invoice["status"] not in ("open", "uncollectible") or invoice["status"] == status:
        raise ApiError(
            f"You can only pass in open invoices. This invoice isn't open: it is {invoice['status']}.",
            code="invoice_not_editable",
        )
    if payments.is_processing(call.account, invoice):
        raise ApiError("A payment of this invoice is processing.", code="invoice_not_editable")
    paid_from_balance = invoice["starting_balance"] - (invoice["ending_balance"] or 0)
    collection.close_invoice(call.account, invoice, status)
    if status == "void" and paid_from_balance:
        balances.adjust_balance(
            call.account,
            invoice["customer"],
            paid_from_balance,
            invoice["currency"],
            "unapplied_from_invoice",
            invoice=invoice["id"],
        )
    return invoice


def _list_objects(call: ApiCall, kind: str) -> list[Object]:
    customer_id = call.get("customer")
    return (
        call.account.list_objects(kind)
        if customer_id is None
        else call.account.list_for_customer(kind, customer_id)
    )


def _get_subscription_id(invoice: Object) -> str | None:
    subscription_details = (invoice["parent"] or {}).get("subscription_details")
    return subscription_details["subscription"] if subscription_details else None
