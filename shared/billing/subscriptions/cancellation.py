"""Cancelling a subscription at the end of its period, and resuming it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from shared.access import actions, policy
from shared.audit import audit_log
from shared.billing import provider_errors, provider_registry, repository
from shared.billing.models import PLATFORM, BillingInvoice
from shared.billing.subscriptions import remaining_charges, subscriptions
from shared.core import money, rate_limits
from shared.core.context import Ctx
from shared.core.db import now
from shared.core.displayed_text import clean_line
from shared.core.errors import Conflict, Invalid
from shared.core.rate_limits import RateLimit
from shared.tenancy import tenants

CANCELLATION_REASONS = {  # answers to why people cancel
    "too_expensive": "It's too expensive",
    "missing": "A feature is missing",
    "unused": "We don't use it enough",
    "switched": "We switched to another product",
    "paused": "We only needed it temporarily",
    "other": "Another reason",
}
MAX_COMMENT_LENGTH = 500  # characters
PAUSED = "paused"


@dataclass(frozen=True, slots=True)
class CancellationRequest:
    tenant_id: str
    customer_id: str
    keys: Mapping[str, str]  # idempotency keys by subscription
    cancels: bool  # False for resuming
    paid_until: datetime | None  # end of the paid period
    void_keys: Mapping[str, str] = field(default_factory=dict)  # by invoice; the subscriptions then end now


async def prepare_cancel(
    ctx: Ctx, reason_code: str, comment: str = "", *, voids_overdue: bool = False
) -> CancellationRequest:
    """Prepares cancelling all subscriptions at the end of what is paid.

    `voids_overdue`: ends them now and voids what is unpaid for periods that have begun. Raises Invalid, Conflict without
    an active subscription or an invoice to void.
    """
    policy.require(ctx, actions.BILLING_CHANGE)
    comment = clean_line(
        comment, noun="comment", missing="", max_length=MAX_COMMENT_LENGTH, fields=("comment",)
    )
    if reason_code not in CANCELLATION_REASONS:
        raise Invalid(
            "Choose why you're cancelling.", "Choose one of the answers.", fields={"why": "Missing"}
        )
    await rate_limits.enforce_rate_limit(RateLimit.BILLING_TENANT, ctx.tenant_id)
    await tenants.lock(ctx)
    live_subscriptions = await _require_subscriptions(ctx)
    voided = await _find_voidable_invoices(ctx, live_subscriptions) if voids_overdue else ()
    ending = [
        subscription
        for subscription in live_subscriptions
        if voids_overdue or not subscription.snapshot.cancel_at
    ]
    if not ending:
        raise Conflict(
            "The subscription is already cancelled.", "The billing page shows what is still charged."
        )
    until = max((subscription.renews_at for subscription in ending if subscription.renews_at), default=None)
    for subscription in ending:
        ends_at = subscription.renews_at if not voids_overdue else None
        audit_log.record(
            ctx,
            "billing.cancel_asked",
            subscription.id,
            after={"until": ends_at.isoformat()} if ends_at else {},
            reason=CANCELLATION_REASONS[reason_code],
            comment=comment,
        )
    for invoice in voided:
        audit_log.record(
            ctx,
            "billing.void_asked",
            invoice.id,
            after={"invoice": invoice.number, "amount": money.format_amount(invoice.due, invoice.currency)},
        )
    return _build_request(
        ctx, ending, "end" if voided else "cancel", until=None if voided else until, voided=voided
    )


async def prepare_resume(ctx: Ctx) -> CancellationRequest:
    """Prepares resuming a cancelled or paused subscription. Raises Conflict.

    Of several only the one that gives access is resumed: the others would be charged beside it.
    """
    policy.require(ctx, actions.BILLING_CHANGE)
    await rate_limits.enforce_rate_limit(RateLimit.BILLING_TENANT, ctx.tenant_id)
    await tenants.lock(ctx)
    subscription = (await _require_subscriptions(ctx))[0]
    if subscription.snapshot.cancel_at is None and subscription.snapshot.status != PAUSED:
        raise Conflict("The subscription isn't cancelled.", "No action is needed.")
    audit_log.record(ctx, "billing.resume_asked", subscription.id)
    return _build_request(ctx, [subscription], "resume", until=subscription.renews_at)


async def submit(cancellation: CancellationRequest) -> bool:
    """Submits it to the provider, outside of any transaction.

    Returns whether our records show it already. Raises Conflict, which says how many were cancelled where some were.
    """
    provider = await provider_registry.get(PLATFORM)
    done_count, is_synced = 0, False
    try:
        async with provider_errors.translate_provider_errors():
            for subscription_id, key in cancellation.keys.items():
                if cancellation.cancels:
                    await provider.cancel_subscription(
                        subscription_id, at_period_end=not cancellation.void_keys, key=key
                    )
                else:
                    await provider.resume_subscription(subscription_id, key)
                done_count += 1
            # After the end, because a voided invoice alone would leave a period that nobody pays.
            for invoice_id, key in cancellation.void_keys.items():
                await provider.void_invoice(invoice_id, key)
    except Conflict as conflict:
        if done_count:
            raise _build_partial_error(cancellation, done_count, conflict) from conflict
        raise
    finally:
        if done_count:
            is_synced = await provider_errors.try_sync_customer(
                cancellation.tenant_id, cancellation.customer_id
            )
    return is_synced


def _build_partial_error(cancellation: CancellationRequest, done_count: int, conflict: Conflict) -> Conflict:
    """Something was cancelled, so the sentence of `conflict` about nothing being changed is wrong."""
    if done_count == len(cancellation.keys):
        return Conflict(
            "The subscription has ended, but an overdue invoice couldn't be voided.",
            "Contact support, who can void it.",
            reason=conflict.reason,
        )
    return Conflict(
        f"Only {done_count} of your {len(cancellation.keys)} subscriptions could be cancelled.",
        "Reload the page and cancel again to end the rest. If it happens again, contact support.",
        reason=conflict.reason,
    )


async def _require_subscriptions(ctx: Ctx) -> list[subscriptions.PlanSubscription]:
    """All live ones, the one that gives access first. Raises Conflict without one."""
    live_subscriptions = await subscriptions.list_plan_subscriptions(ctx)
    if not live_subscriptions:
        raise Conflict("You don't have a subscription.", "Choose a plan first.")
    return live_subscriptions


async def _find_voidable_invoices(
    ctx: Ctx, live_subscriptions: Sequence[subscriptions.PlanSubscription]
) -> tuple[BillingInvoice, ...]:
    unpaid_invoices = remaining_charges.group_unpaid_invoices(
        live_subscriptions, await repository.list_unpaid_invoices(ctx)
    )
    remaining = remaining_charges.find_remaining_charges(live_subscriptions, None, unpaid_invoices, now())
    if not remaining.voidable:
        raise Conflict(
            "No overdue invoice can be voided.", "Cancel at the end of the period, or contact support."
        )
    return remaining.voidable


def _build_request(
    ctx: Ctx,
    targets: Sequence[subscriptions.PlanSubscription],
    verb: Literal["cancel", "end", "resume"],
    *,
    until: datetime | None,
    voided: Sequence[BillingInvoice] = (),
) -> CancellationRequest:
    # The ticket changes the key: cancelling, resuming and cancelling again are three requests.
    keys = {
        subscription.id: f"{verb}-{subscriptions.short_hash(subscription.id, subscription.ticket)}"
        for subscription in targets
    }
    void_keys = {
        invoice.id: f"void-{subscriptions.short_hash(invoice.id, invoice.ticket)}" for invoice in voided
    }
    return CancellationRequest(
        ctx.tenant_id, targets[0].customer_id, keys, verb != "resume", until, void_keys
    )
