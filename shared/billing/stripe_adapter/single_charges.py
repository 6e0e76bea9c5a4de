"""A charge beside the subscriptions at Stripe: an invoice with one item, which is paid at once or closed."""

import stripe

from shared.billing.provider import ProviderRefused
from shared.billing.provider_values import SingleCharge
from shared.billing.stripe_adapter import invoice_mapping
from shared.billing.stripe_adapter.errors import is_refusal
from shared.billing.stripe_adapter.idempotency import send_once
from shared.billing.stripe_adapter.lists import PAGE_SIZE, find_by_key
from shared.billing.stripe_adapter.metadata_keys import ADJUSTMENT_KEY


async def charge_once(
    v1: "stripe.V1Services",
    customer_id: str,
    *,
    amount: int,
    currency: str,
    description: str,
    method_id: str,
    automatic_tax: bool,
    key: str,
) -> SingleCharge:
    """Each step is skipped where an earlier call has done it.

    An invoice that wasn't paid is closed, so that it can't be paid later. One that a bank settles stays open.

    The invoice isn't advanced by Stripe, which would finalize it without its item, and try a declined card again.
    https://docs.stripe.com/invoicing/integration/automatic-advancement-collection
    """
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
    if automatic_tax:
        params["automatic_tax"] = {"enabled": True}
    invoice_id = await _create_invoice(v1, customer_id, params, key)
    item: stripe.params.InvoiceItemCreateParams = {
        "customer": customer_id,
        "invoice": invoice_id,
        "amount": amount,
        "currency": currency,
        "description": description,
    }
    if automatic_tax:
        item["tax_behavior"] = "exclusive"
    try:
        await _complete_invoice(v1, invoice_id, item, method_id, key)
    except (stripe.StripeError, ProviderRefused) as problem:
        if isinstance(problem, ProviderRefused) or is_refusal(problem):
            charge = await _close_invoice(v1, invoice_id)
            if charge is not None:
                return charge
        raise
    charge = await _close_invoice(v1, invoice_id)
    if charge is None:
        raise ProviderRefused("The payment failed.", "card_declined", kind="card")  # by an earlier call
    return charge


async def close_charge(v1: "stripe.V1Services", customer_id: str, key: str) -> SingleCharge | None:
    invoice_id = await _find_invoice(v1, customer_id, key)
    return await _close_invoice(v1, invoice_id) if invoice_id is not None else None


async def _complete_invoice(
    v1: "stripe.V1Services",
    invoice_id: str,
    item: stripe.params.InvoiceItemCreateParams,
    method_id: str,
    key: str,
) -> None:
    """Does the steps that are missing. Without effect on a paid or void invoice, and on one that a bank settles."""
    invoice = await _fetch_invoice(v1, invoice_id)
    if invoice.status == "draft":
        if not invoice.lines.data:
            await _add_item(v1, item, f"{key}:item")
            invoice = await _fetch_invoice(v1, invoice_id)
        if invoice.automatic_tax.status == "requires_location_inputs":
            # Stripe would finalize it without tax. https://docs.stripe.com/tax/customer-locations
            raise ProviderRefused("The customer’s location isn’t recognized.", kind="tax_location")
        invoice = await v1.invoices.finalize_invoice_async(invoice_id, {"auto_advance": False})
    elif invoice_mapping.is_processing(invoice.to_dict()):
        return
    if invoice.status == "open":
        await _pay_invoice(v1, invoice_id, method_id, key)


async def _close_invoice(v1: "stripe.V1Services", invoice_id: str) -> SingleCharge | None:
    """None for an unpaid invoice, which is voided; a draft is deleted."""
    invoice = await _fetch_invoice(v1, invoice_id)
    if invoice.status == "draft":
        await v1.invoices.delete_async(invoice_id)
    elif invoice.status == "paid" or invoice_mapping.is_processing(invoice.to_dict()):
        return SingleCharge(invoice_id=invoice_id, is_paid=invoice.status == "paid")
    elif invoice.status in ("open", "uncollectible"):
        await v1.invoices.void_invoice_async(invoice_id)
    return None


async def _fetch_invoice(v1: "stripe.V1Services", invoice_id: str) -> stripe.Invoice:
    return await v1.invoices.retrieve_async(invoice_id, {"expand": ["payments.data.payment.payment_intent"]})


async def _find_invoice(v1: "stripe.V1Services", customer_id: str, key: str) -> str | None:
    page = await v1.invoices.list_async({"customer": customer_id, "limit": PAGE_SIZE})
    return await find_by_key(key, page)


async def _create_invoice(
    v1: "stripe.V1Services", customer_id: str, params: stripe.params.InvoiceCreateParams, key: str
) -> str:
    async def create_invoice(options: stripe.RequestOptions) -> str:
        return str((await v1.invoices.create_async(params, options)).id)

    if (existing_id := await _find_invoice(v1, customer_id, key)) is not None:
        return existing_id
    return await send_once(key, create_invoice, lambda: _find_invoice(v1, customer_id, key))


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
        invoice = await _fetch_invoice(v1, invoice_id)
        return (
            invoice if invoice.status == "paid" or invoice_mapping.is_processing(invoice.to_dict()) else None
        )

    await send_once(
        f"{key}:pay",
        lambda options: v1.invoices.pay_async(invoice_id, params, options),
        find_payment,
    )
