"""What a sync finds out about refunds and disputes: failed adjustments, and problems that operators should review."""

from collections.abc import Sequence

from shared.audit import audit_log
from shared.audit.event_types import AuditAction
from shared.billing import repository
from shared.billing.models import BillingAdjustment, BillingDispute, BillingFraudWarning, BillingRefund
from shared.billing.provider_values import FAILED_REFUND_STATUSES, UNANSWERED_DISPUTE_STATUSES, Refund
from shared.core import money
from shared.core.context import Ctx
from shared.core.db import now


async def fail_adjustments(ctx: Ctx, refunds: Sequence[Refund]) -> None:
    """Marks adjustments failed whose refund the bank sent back, so that their sum can be refunded again.

    The provider accepts a refund first; the bank may refuse it days later.
    """
    for refund in refunds:
        if not refund.key or refund.status not in FAILED_REFUND_STATUSES:
            continue
        row = await repository.lock_adjustment(ctx, refund.key)
        if row is not None and row.state != "failed":
            row.state, row.done_at = "failed", now()
            row.external_id = row.external_id or refund.credit_note_id or refund.id
            row.error = _describe_failure(refund, row.amount)
            ctx.session.add(row)
            record_failure(ctx, row, refund.amount)


def record_failure(ctx: Ctx, adjustment: BillingAdjustment, failed_amount: int) -> None:
    """The reason isn't recorded: customers read the audit log, and it may be in the provider's words."""
    audit_log.record(
        ctx,
        AuditAction.BILLING_ADJUSTMENT_FAILED,
        adjustment.id,
        after={adjustment.kind: money.format_amount(failed_amount, adjustment.currency)},
        invoice=adjustment.invoice_id,
    )


def _describe_failure(refund: Refund, requested_amount: int) -> str:
    is_whole = refund.amount == requested_amount
    subject = (
        "The refund" if is_whole else f"{money.format_amount(refund.amount, refund.currency)} of the refund"
    )
    return f"{subject} failed at the bank: {refund.failure_reason or refund.status}"[:500]


async def list_alerts(ctx: Ctx) -> tuple[str, ...]:
    """Open disputes and early fraud warnings of all customers of the tenant, and refunds that failed for good.

    Read from the stored records: a sync fetches one customer, and former ones keep their payments.
    """
    disputes = [_describe_dispute(dispute) for dispute in await repository.list_open_disputes(ctx)]
    warnings = [
        _describe_fraud_warning(warning) for warning in await repository.list_actionable_fraud_warnings(ctx)
    ]
    owed_amounts = _get_owed_amounts(refunds := await repository.list_refunds(ctx))
    failed_refunds = [
        _describe_failed_refund(refund, owed_amount)
        for refund in refunds
        if (owed_amount := owed_amounts.get(refund.id, 0))
    ]
    return (*disputes, *warnings, *failed_refunds)


def _describe_dispute(dispute: BillingDispute) -> str:
    amount = money.format_amount(dispute.amount, dispute.currency)
    reason = f" as {dispute.reason.replace('_', ' ')}" if dispute.reason else ""
    text = f"A payment of {amount} is disputed{reason} ({dispute.id})"
    if dispute.status not in UNANSWERED_DISPUTE_STATUSES:
        return f"{text}, and the bank reviews the answer"
    return f"{text}, answer it in Stripe by {dispute.respond_by:%-d %B %Y}" if dispute.respond_by else text


def _describe_fraud_warning(warning: BillingFraudWarning) -> str:
    amount = money.format_amount(warning.amount, warning.currency)
    return f"A bank suspects fraud in a payment of {amount} ({warning.id}), refund it before it becomes a dispute"


def _get_owed_amounts(refunds: Sequence[BillingRefund]) -> dict[str, int]:
    """By failed refund: its sum without what was refunded again. A later refund repeats the oldest failed one first.

    `refunds`: the oldest first.
    """
    failed_refunds = [refund for refund in refunds if refund.status in FAILED_REFUND_STATUSES]
    owed_amounts = {refund.id: refund.amount for refund in failed_refunds}
    for refund in refunds:
        if refund.status in FAILED_REFUND_STATUSES:
            continue
        amount = refund.amount
        for failed in failed_refunds:
            if _can_repeat(refund, failed):
                repeated_amount = min(amount, owed_amounts[failed.id])
                owed_amounts[failed.id] -= repeated_amount
                amount -= repeated_amount
    return owed_amounts


def _can_repeat(refund: BillingRefund, failed: BillingRefund) -> bool:
    """A refund with a credit note of its own is another one: the note of the failed refund stays issued."""
    return (
        refund.invoice_id == failed.invoice_id != ""
        and refund.created_at >= failed.created_at
        and (not failed.credit_note_id or refund.credit_note_id in ("", failed.credit_note_id))
    )


def _describe_failed_refund(refund: BillingRefund, owed_amount: int) -> str:
    text = f"The refund {refund.id} of {money.format_amount(refund.amount, refund.currency)} failed"
    if owed_amount == refund.amount:
        return text
    return f"{text}, {money.format_amount(owed_amount, refund.currency)} of it was not refunded again"
