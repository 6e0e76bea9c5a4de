"""Credits and refunds at Stripe. Each is made once for its key, however late it is repeated."""

from dataclasses import dataclass
from typing import Any

import stripe

from shared.billing.stripe_adapter import payment_mapping, stripe_values
from shared.billing.stripe_adapter.idempotency import send_once
from shared.billing.stripe_adapter.lists import PAGE_SIZE, find_by_key
from shared.billing.stripe_adapter.metadata_keys import ADJUSTMENT_KEY

REPETITION_SUFFIX = "-repeated"  # of the idempotency key of a refund that repeats a failed one


@dataclass(frozen=True, slots=True)
class RefundPart:
    """The part of an order that was refunded without a credit note."""

    id: str = ""
    amount: int = 0


async def add_credit(
    v1: "stripe.V1Services", customer_id: str, amount: int, currency: str, description: str, key: str
) -> str:
    """Stripe keeps idempotency keys for a day and callers can retry later, so the key is stored in the metadata
    too.
    """
    entries = v1.customers.balance_transactions

    async def find_entry() -> str | None:
        return await find_by_key(key, await entries.list_async(customer_id, {"limit": PAGE_SIZE}))

    async def create_entry(options: stripe.RequestOptions) -> str:
        params: stripe.params.CustomerBalanceTransactionCreateParams = {
            "amount": -amount,  # Stripe's sign is the amount owed
            "currency": currency,
            "description": description,
            "metadata": {ADJUSTMENT_KEY: key},
        }
        return (await entries.create_async(customer_id, params, options)).id

    if (existing_id := await find_entry()) is not None:
        return existing_id
    return await send_once(key, create_entry, find_entry)


async def refund_invoice(v1: "stripe.V1Services", invoice_id: str, amount: int, key: str) -> str:
    """Refunds by a credit note, so that the invoice shows it. Idempotent in the same way as `add_credit`.

    The note of a refund that failed stays issued and takes up its sum: that part is refunded without another note.
    """
    notes = v1.credit_notes

    async def find_note() -> str | None:
        return await find_by_key(key, await notes.list_async({"invoice": invoice_id, "limit": PAGE_SIZE}))

    if (existing_id := await find_note()) is not None:  # it is made last
        return existing_id
    repetition = await _repeat_failed_refund(v1, invoice_id, amount, key)
    if repetition.amount == amount:
        return repetition.id

    async def create_note(options: stripe.RequestOptions) -> str:
        note_amount = amount - repetition.amount
        params: stripe.params.CreditNoteCreateParams = {
            "invoice": invoice_id,
            "amount": note_amount,
            "refund_amount": note_amount,
            "metadata": {ADJUSTMENT_KEY: key},
        }
        return (await notes.create_async(params, options)).id

    return await send_once(key, create_note, find_note)


async def _repeat_failed_refund(
    v1: "stripe.V1Services", invoice_id: str, max_amount: int, key: str
) -> RefundPart:
    """Refunds what was credited and not refunded because its refund failed, up to this amount."""
    page = await v1.credit_notes.list_async(
        {"invoice": invoice_id, "limit": PAGE_SIZE, "expand": ["data.refunds.refund"]}
    )
    credited_refunds = payment_mapping.list_credited_refunds(
        [note.to_dict() async for note in page.auto_paging_iter()]
    )
    failed_refunds = [
        refund for refund in credited_refunds if not payment_mapping.is_refund_effective(refund)
    ]
    if not failed_refunds:
        return RefundPart()
    intent_id = stripe_values.get_object_id(failed_refunds[0].get("payment_intent"))
    credited_ids = {refund["id"] for refund in credited_refunds}
    repetitions = [
        refund for refund in await _list_refunds(v1, intent_id) if refund["id"] not in credited_ids
    ]
    for refund in repetitions:
        if (refund.get("metadata") or {}).get(ADJUSTMENT_KEY) == key:
            return RefundPart(refund["id"], refund["amount"])
    owed_amount = sum(refund["amount"] for refund in failed_refunds) - sum(
        refund["amount"] for refund in repetitions if payment_mapping.is_refund_effective(refund)
    )
    amount = min(max_amount, owed_amount)
    if amount <= 0:
        return RefundPart()
    return RefundPart(await _refund_payment(v1, intent_id, amount, key), amount)


async def _refund_payment(v1: "stripe.V1Services", intent_id: str, amount: int, key: str) -> str:
    async def find_refund() -> str | None:
        refunds = await _list_refunds(v1, intent_id)
        ids = {(refund.get("metadata") or {}).get(ADJUSTMENT_KEY): refund["id"] for refund in refunds}
        return str(ids[key]) if key in ids else None

    async def create_refund(options: stripe.RequestOptions) -> str:
        params: stripe.params.RefundCreateParams = {
            "payment_intent": intent_id,
            "amount": amount,
            "metadata": {ADJUSTMENT_KEY: key},
        }
        return (await v1.refunds.create_async(params, options)).id

    # The credit note of the same order has the key itself.
    return await send_once(f"{key}{REPETITION_SUFFIX}", create_refund, find_refund)


async def _list_refunds(v1: "stripe.V1Services", intent_id: str) -> list[dict[str, Any]]:
    page = await v1.refunds.list_async({"payment_intent": intent_id, "limit": PAGE_SIZE})
    return [refund.to_dict() async for refund in page.auto_paging_iter()]
