"""Credits, refunds and debits that operators issue outside of the price list, each with a reason.

One transaction stores the row and its audit event. A job then submits it to the provider with the row's id as
idempotency key, so that it happens once however often the job runs.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from shared.access import actions, policy
from shared.audit import audit_log
from shared.backoffice import adjustments_repository as repository
from shared.backoffice.reasons import Reason, use_reason
from shared.billing import customers, provider_registry
from shared.billing.models import PLATFORM, BillingAdjustment, BillingDispute, BillingRefund
from shared.billing.provider import ProviderRefused
from shared.billing.provider_values import ENDED_DISPUTE_STATUSES
from shared.billing.sync import refund_results
from shared.core import live_events, money
from shared.core.context import Ctx, OperatorCtx
from shared.core.db import now
from shared.core.errors import Conflict, Invalid, NotFound
from shared.core.ids import is_id, new_id
from shared.jobs import queue
from shared.tenancy import entry, tenants

TASK = "billing.adjust"
KINDS = ("credit", "refund", "debit")
REASON_CODES = {  # code: label; a sentence explains the details
    "billing_error": "Billing error",
    "contract": "Contract terms",
    "duplicate_charge": "Charged twice",
    "goodwill": "Goodwill",
    "outage_credit": "Outage",
}
LARGE_AMOUNT = 500  # whole units of a currency; larger ones need OP_BILLING_ADJUST_ANY
MAX_AMOUNT = 10**10  # smallest units


@dataclass(frozen=True, slots=True)
class AdjustmentOrder:
    """An adjustment as submitted to the provider."""

    account_id: str
    customer_id: str
    kind: str
    amount: int
    currency: str
    invoice_id: str
    description: str


async def request_adjustment(
    octx: OperatorCtx,
    tenant_id: str,
    kind: str,
    amount: int,
    currency: str,
    code: str,
    reason: Reason,
    *,
    invoice_id: str = "",
    adjustment_id: str = "",
    is_held: bool = False,
) -> str:
    """Requests an adjustment. Returns its id. `amount`: at least 1, in the smallest unit of the currency; `kind` gives
    the direction.

    `adjustment_id`: id from the form, so that a form that is sent twice has one effect. `is_held`: submitted to the
    provider only after `release_adjustment`. Raises Invalid, NotFound, Conflict, Refused for a large amount.
    """
    policy.require_operator(octx, actions.OP_BILLING_ADJUST)
    reason_text = use_reason(octx, reason, tenant_id)
    digits = _check_request(kind, amount, currency, code)
    if amount > LARGE_AMOUNT * 10**digits:
        policy.require_operator(octx, actions.OP_BILLING_ADJUST_ANY)
    async with entry.enter_live_as_operator(octx, tenant_id, reason_text) as ctx:
        await tenants.lock(ctx)
        await _check_billing_state(ctx, kind, amount, currency, invoice_id)
        row = BillingAdjustment(
            tenant_id=tenant_id,
            id=adjustment_id if is_id("adj", adjustment_id) else new_id("adj"),
            kind=kind,
            amount=amount,
            currency=currency,
            reason_code=code,
            reason=reason_text,
            invoice_id=invoice_id,
            by_id=octx.actor.id,
            by_name=octx.actor.name,
        )
        if await repository.get_adjustment(ctx, row.id) is not None:
            raise Conflict("This adjustment was already submitted.", "Reload the page to see it.")
        ctx.session.add(row)
        after = {kind: money.format_amount(amount, currency), "why": REASON_CODES[code]}
        audit_log.record(ctx, "billing.adjusted", row.id, after=after, reason=row.reason, invoice=invoice_id)
        if is_held:
            await _notify_pages(ctx)
        else:
            await _enqueue(ctx, row.id)
    return row.id


async def release_adjustment(ctx: Ctx, adjustment_id: str) -> None:
    """Submits a held adjustment. Repeated calls have one effect. For jobs."""
    await _enqueue(ctx, adjustment_id)


async def reject_adjustment(ctx: Ctx, adjustment_id: str, error: str) -> None:
    """Marks a held adjustment as failed, without submitting it. For jobs."""
    await _finish(ctx, adjustment_id, external_id="", error=error)


async def retry_adjustment(octx: OperatorCtx, tenant_id: str, adjustment_id: str, reason: Reason) -> None:
    """Submits an adjustment again that the provider hasn't confirmed. Raises NotFound, Conflict."""
    policy.require_operator(octx, actions.OP_BILLING_ADJUST)
    reason_text = use_reason(octx, reason, tenant_id)
    async with entry.enter_live_as_operator(octx, tenant_id, reason_text) as ctx:
        await tenants.lock(ctx)
        row = await repository.get_adjustment(ctx, adjustment_id)
        if row is None:
            raise NotFound("This adjustment doesn’t exist.", "Reload the page.")
        if row.state != "requested":
            raise Conflict(f"This adjustment is already {row.state}.", "Reload the page.")
        await _enqueue(ctx, row.id)


async def list_adjustments(ctx: Ctx, limit: int) -> Sequence[BillingAdjustment]:
    """Newest first. The caller checks the permission."""
    return await repository.list_adjustments(ctx, limit)


async def list_refunds(ctx: Ctx) -> Sequence[BillingRefund]:
    """Refunds of adjustments as the provider has them. The caller checks the permission."""
    return await repository.list_refunds(ctx)


async def execute_adjustment(tenant_id: str, adjustment_id: str, request_id: str) -> None:
    """Submits the adjustment to the provider, outside of any transaction. Idempotent. Raises ProviderDown."""
    async with entry.enter_billing_sync(tenant_id, TASK, request_id) as ctx:
        order = await _load_order(ctx, adjustment_id)
    if order is None:
        return
    try:
        external_id, error = await _send_to_provider(order, adjustment_id), ""
    except ProviderRefused as refusal:
        external_id, error = "", refusal.message
    async with entry.enter_billing_sync(tenant_id, TASK, request_id) as ctx:
        await _finish(ctx, adjustment_id, external_id=external_id, error=error)


def _check_request(kind: str, amount: int, currency: str, code: str) -> int:
    """Validates the fields. Returns the number of decimal places of the currency."""
    if kind not in KINDS:
        raise Invalid(
            "This type of adjustment doesn’t exist.", "Choose one from the list.", fields={"kind": "Unknown"}
        )
    if not 1 <= amount <= MAX_AMOUNT:
        raise Invalid("The amount is out of range.", "Check the amount.", fields={"amount": "Out of range"})
    if code not in REASON_CODES:
        raise Invalid("A reason code is required.", "Choose one from the list.", fields={"code": "Unknown"})
    return money.require_currency(currency).digits


async def _check_billing_state(ctx: Ctx, kind: str, amount: int, currency: str, invoice_id: str) -> None:
    if not await customers.find_id(ctx):
        raise Conflict(
            f"{ctx.tenant_name} isn’t in Stripe yet.",
            "Try again after provisioning has created the customer.",
        )
    invoice = await repository.get_invoice(ctx, invoice_id) if invoice_id else None
    if invoice_id and invoice is None:
        raise NotFound(f"This invoice doesn’t belong to {ctx.tenant_name}.", "Choose one from the list.")
    if kind != "refund":
        tenant_currency = await repository.get_currency(ctx)
        if tenant_currency not in ("", currency):
            raise Invalid(
                f"{ctx.tenant_name} pays in {tenant_currency.upper()}.",
                "Choose that currency.",
                fields={"currency": "Different currency"},
            )
        return
    if invoice is None:
        raise Invalid(
            "A refund requires an invoice.", "Choose a paid invoice.", fields={"invoice": "Missing"}
        )
    if invoice.currency != currency:
        raise Invalid(
            f"This invoice is in {invoice.currency.upper()}.",
            "Choose that currency.",
            fields={"currency": "Different currency"},
        )
    dispute = await repository.find_blocking_dispute(ctx, invoice_id)
    if dispute is not None:
        raise Conflict(*_describe_blocking_dispute(dispute))
    refunded = await repository.sum_refunded(ctx, invoice_id)
    refundable = invoice.paid - refunded - await repository.sum_refunded_at_provider(ctx, invoice_id)
    if amount > refundable:
        raise Conflict(
            f"At most {money.format_amount(max(refundable, 0), currency)} of this invoice can be refunded.",
            "Choose a smaller amount.",
        )


async def _finish(ctx: Ctx, adjustment_id: str, *, external_id: str, error: str) -> None:
    row = await repository.lock_adjustment(ctx, adjustment_id)
    if row is not None and row.state == "requested":
        row.state, row.done_at = "failed" if error else "done", now()
        row.external_id, row.error = external_id, error[:500]
        ctx.session.add(row)
        if error:
            refund_results.record_failure(ctx, row, row.amount)
        await _notify_pages(ctx)


def _describe_blocking_dispute(dispute: BillingDispute) -> tuple[str, str]:
    """What happened and the next step, for an operator."""
    if dispute.status in ENDED_DISPUTE_STATUSES:
        return (
            "The customer’s bank returned this payment to the customer after a dispute.",
            "Issue a credit if the customer is owed more; a refund would pay them twice.",
        )
    return (
        "The customer disputed this payment at their bank.",
        "Answer the dispute in Stripe and wait for the decision; a refund would pay the customer twice.",
    )


async def _load_order(ctx: Ctx, adjustment_id: str) -> AdjustmentOrder | None:
    """The order to submit; None where it was already processed."""
    row = await repository.get_adjustment(ctx, adjustment_id)
    if row is None or row.state != "requested":
        return None
    return AdjustmentOrder(
        PLATFORM,
        await customers.find_id(ctx),
        row.kind,
        row.amount,
        row.currency,
        row.invoice_id,
        REASON_CODES[row.reason_code],
    )


async def _send_to_provider(order: AdjustmentOrder, key: str) -> str:
    provider = await provider_registry.get(order.account_id)
    if order.kind == "refund":
        return await provider.refund_invoice(order.invoice_id, order.amount, key)
    amount = order.amount if order.kind == "credit" else -order.amount
    return await provider.add_credit(order.customer_id, amount, order.currency, order.description, key)


async def _enqueue(ctx: Ctx, adjustment_id: str) -> None:
    await queue.put(ctx, TASK, ordered=False, adjustment_id=adjustment_id)
    await _notify_pages(ctx)


async def _notify_pages(ctx: Ctx) -> None:
    await live_events.refresh_pages(ctx.session, ctx.tenant_id, "billing")
