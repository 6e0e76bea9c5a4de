"""A charge beside the subscriptions at Stripe: an invoice with one item, which is paid at once or closed."""

import stripe

from shared.billing.provider import ProviderRefused
from shared.billing.stripe_adapter.errors import is_refusal
from shared.billing.stripe_adapter.idempotency import send_once
from shared.billing.stripe_adapter.lists import PAGE_SIZE, find_by_key
from shared.billing.stripe_adapter.mapping import ADJUSTMENT_KEY


async def charge_once(
    v1: "stripe.V1Services",
    customer_id: str,
    *,
    amount: int,
    currency: str,
    description: str,
    method_id: str,
    key: str,
) -> str:
    """Id of the paid invoice. Each step is skipped where an earlier call has done it.

    An invoice that wasn't paid is closed, so that it can't be paid later.

    The invoice isn't advanced by Stripe, which would finalize it without its item, and try a declined card again.
    https://docs.stripe.com/invoicing/integration/automatic-advancement-collection
    """
    invoice_id = await _create_invoice(v1, customer_id, currency, description, key)
    item: stripe.params.InvoiceItemCreateParams = {
        "customer": customer_id,
        "invoice": invoice_id,
        "amount": amount,
        "currency": currency,
        "description": description,
    }
    try:
        await _complete_invoice(v1, invoice_id, item, method_id, key)
    except stripe.StripeError as problem:
        if is_refusal(problem) and await _close_invoice(v1, invoice_id) == "paid":
            return invoice_id
        raise
    if await _close_invoice(v1, invoice_id) != "paid":
        raise ProviderRefused("The payment failed.", "card_declined", kind="card")  # by an earlier call
    return invoice_id


async def _complete_invoice(
    v1: "stripe.V1Services",
    invoice_id: str,
    item: stripe.params.InvoiceItemCreateParams,
    method_id: str,
    key: str,
) -> None:
    """Does the steps that are missing. Without effect on a paid or void invoice."""
    invoice = await v1.invoices.retrieve_async(invoice_id)
    if invoice.status == "draft":
        if not invoice.lines.data:
            await _add_item(v1, item, f"{key}:item")
        invoice = await v1.invoices.finalize_invoice_async(invoice_id, {"auto_advance": False})
    if invoice.status == "open":
        await _pay_invoice(v1, invoice_id, method_id, key)


async def _close_invoice(v1: "stripe.V1Services", invoice_id: str) -> str:
    """Its final status: an unpaid invoice is voided, and a draft is deleted."""
    invoice = await v1.invoices.retrieve_async(invoice_id)
    if invoice.status == "draft":
        await v1.invoices.delete_async(invoice_id)
        return "deleted"
    if invoice.status in ("open", "uncollectible"):
        invoice = await v1.invoices.void_invoice_async(invoice_id)
    return str(invoice.status)


async def _create_invoice(
    v1: "stripe.V1Services", customer_id: str, currency: str, description: str, key: str
) -> str:
    async def find_invoice() -> str | None:
        page = await v1.invoices.list_async({"customer": customer_id, "limit": PAGE_SIZE})
        return await find_by_key(key, page)

    async def create_invoice(options: stripe.RequestOptions) -> str:
        params: stripe.params.InvoiceCreateParams = {
            "customer": customer_id,
            "currency": currency,
            "description": description,
            "auto_advance": False,
            "collection_method": "charge_automatically",
            "pending_invoice_items_behavior": "exclude",
            "discounts": "",  # or the customer's coupon would lower what the credits cost
            "metadata": {ADJUSTMENT_KEY: key},
        }
        return str((await v1.invoices.create_async(params, options)).id)

    if (existing_id := await find_invoice()) is not None:
        return existing_id
    return await send_once(key, create_invoice, find_invoice)


async def _add_item(v1: "stripe.V1Services", params: stripe.params.InvoiceItemCreateParams, key: str) -> None:
    """An error may hide that the item was added, and a second item would be charged too."""

    async def find_item() -> str | None:
        invoice = await v1.invoices.retrieve_async(params["invoice"])
        return str(invoice.lines.data[0].id) if invoice.lines.data else None

    async def create_item(options: stripe.RequestOptions) -> str:
        return str((await v1.invoice_items.create_async(params, options)).id)

    await send_once(key, create_item, find_item)


async def _pay_invoice(v1: "stripe.V1Services", invoice_id: str, method_id: str, key: str) -> None:
    """Raises a card error where the card is declined or wants the customer, who isn't there."""
    params: stripe.params.InvoicePayParams = {"payment_method": method_id, "off_session": True}

    async def find_payment() -> stripe.Invoice | None:
        invoice = await v1.invoices.retrieve_async(invoice_id)
        return invoice if invoice.status == "paid" else None

    await send_once(
        f"{key}:pay",
        lambda options: v1.invoices.pay_async(invoice_id, params, options),
        find_payment,
    )
