"""Cancelling a subscription at the end of its period, and resuming it."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from shared.access import actions, policy
from shared.audit import audit_log
from shared.billing import provider_errors, provider_registry, repository
from shared.billing.models import PLATFORM, BillingInvoice
from shared.billing.provider import KeyRefused, Provider, ProviderDown, ProviderRefused
from shared.billing.provider_values import NO_REASON, Cancellation
from shared.billing.subscriptions import remaining_charges, subscriptions
from shared.billing.subscriptions.remaining_charges import VoidableInvoices
from shared.core import log, money, rate_limits
from shared.core.context import Ctx
from shared.core.db import now
from shared.core.displayed_text import clean_line
from shared.core.errors import Conflict, Invalid
from shared.core.rate_limits import RateLimit
from shared.tenancy import tenants

CANCELLATION_REASONS = {  # answers to why people cancel, by provider.CANCELLATION_FEEDBACK
    "too_expensive": "It’s too expensive",
    "missing_features": "A feature is missing",
    "switched_service": "We switched to another product",
    "unused": "We don’t use it enough",
    "customer_service": "We expected better support",
    "too_complex": "It’s too hard to use",
    "low_quality": "It isn’t good enough",
    "other": "Another reason",
}
MAX_COMMENT_LENGTH = 500  # characters
PAUSED = "paused"
NOTHING_VOIDABLE = VoidableInvoices(invoices=(), ending_ids=frozenset(), kept_ids=frozenset())


@dataclass(frozen=True, slots=True)
class CancellationRequest:
    tenant_id: str
    customer_id: str
    keys: Mapping[str, str]  # idempotency keys by subscription
    cancels: bool  # False for resuming
    ending_ids: frozenset[str] = frozenset()  # subscriptions that end now, and not with their period
    void_keys: Mapping[str, str] = field(default_factory=dict)  # by invoice
    reason: Cancellation = NO_REASON


async def prepare_cancel(
    ctx: Ctx, reason_code: str = "", comment: str = "", *, void_ids: Collection[str] | None = None
) -> CancellationRequest:
    """Prepares cancelling all subscriptions at the end of their paid periods. Paused subscriptions end now.

    `reason_code`: a key of CANCELLATION_REASONS, "" for people who don't want to say.
    `void_ids`: of all voidable invoices, as the customer was shown them. Ends the subscriptions now whose running period
    they are for. `prepare_void` repeats the voiding where only the end happened. Raises Invalid, Conflict without an
    active subscription or where other invoices can be voided.
    """
    policy.require(ctx, actions.BILLING_CHANGE)
    comment = clean_line(
        comment, noun="comment", missing="", max_length=MAX_COMMENT_LENGTH, fields=("comment",)
    )
    if reason_code and reason_code not in CANCELLATION_REASONS:
        raise Invalid(
            "This isn’t one of the answers.",
            "Choose one of the answers, or none.",
            fields={"why": "isn’t one of the answers."},
        )
    await rate_limits.enforce_rate_limit(RateLimit.BILLING_TENANT, ctx.tenant_id)
    await tenants.lock(ctx)
    records = await subscriptions.read_records(ctx)
    live_subscriptions = _require_subscriptions(records)
    voidable = NOTHING_VOIDABLE
    if void_ids is not None:
        voidable = await _require_voidable_invoices(ctx, records, void_ids)
    ending_ids = voidable.ending_ids | {
        subscription.id for subscription in live_subscriptions if subscription.snapshot.status == PAUSED
    }
    canceled_subscriptions = [
        subscription
        for subscription in live_subscriptions
        if subscription.id in ending_ids or not subscription.snapshot.cancel_at
    ]
    if not canceled_subscriptions and not voidable.invoices:
        raise Conflict(
            "The subscription is already cancelled.", "The billing page shows what is still charged."
        )
    for subscription in canceled_subscriptions:
        ends_at = subscription.renews_at if subscription.id not in ending_ids else None
        audit_log.record(
            ctx,
            "billing.cancel_asked",
            subscription.id,
            after={"until": ends_at.isoformat()} if ends_at else {},
            reason=CANCELLATION_REASONS.get(reason_code, ""),
            comment=comment,
        )
    _record_voids(ctx, voidable.invoices)
    return CancellationRequest(
        ctx.tenant_id,
        live_subscriptions[0].customer_id,
        {
            subscription.id: _build_key(
                "end" if subscription.id in ending_ids else "cancel", subscription, reason_code, comment
            )
            for subscription in canceled_subscriptions
        },
        cancels=True,
        ending_ids=ending_ids,
        void_keys=_build_void_keys(voidable.invoices),
        reason=Cancellation(feedback=reason_code, comment=comment),
    )


async def prepare_void(ctx: Ctx, void_ids: Collection[str]) -> CancellationRequest:
    """Prepares voiding the invoices of a subscription that was ended for that, after which voiding them failed.

    An invoice of an ended subscription stays open: nothing else would ever void it. `void_ids`: as in `prepare_cancel`.
    Raises Conflict without one, and beside a live subscription, whose cancellation voids it.
    """
    policy.require(ctx, actions.BILLING_CHANGE)
    await rate_limits.enforce_rate_limit(RateLimit.BILLING_TENANT, ctx.tenant_id)
    await tenants.lock(ctx)
    records = await subscriptions.read_records(ctx)
    if subscriptions.build_plan_subscriptions(records):
        raise Conflict("The subscription hasn’t ended.", "Cancel it to void unpaid invoices.")
    voided = (await _require_voidable_invoices(ctx, records, void_ids)).invoices
    _record_voids(ctx, voided)
    return CancellationRequest(
        ctx.tenant_id, voided[0].customer_id, {}, cancels=True, void_keys=_build_void_keys(voided)
    )


async def prepare_resume(ctx: Ctx) -> CancellationRequest:
    """Prepares resuming a cancelled subscription. Raises Conflict, including for a paused one (`pausing.prepare_pause`).

    Of several only the one that gives access is resumed: the others would be charged beside it.
    """
    policy.require(ctx, actions.BILLING_CHANGE)
    await rate_limits.enforce_rate_limit(RateLimit.BILLING_TENANT, ctx.tenant_id)
    await tenants.lock(ctx)
    await tenants.require_not_ending(ctx)
    subscription = _require_subscriptions(await subscriptions.read_records(ctx))[0]
    if subscription.snapshot.status == PAUSED:
        raise Conflict(
            "The subscription is paused by now.", "Reload the page to see what is due when you resume it."
        )
    if subscription.snapshot.cancel_at is None:
        raise Conflict("The subscription isn’t cancelled.", "No action is needed.")
    audit_log.record(ctx, "billing.resume_asked", subscription.id)
    return CancellationRequest(
        ctx.tenant_id,
        subscription.customer_id,
        {subscription.id: _build_key("resume", subscription)},
        cancels=False,
    )


async def submit(cancellation: CancellationRequest) -> bool:
    """Submits it to the provider, outside of any transaction.

    Returns whether our records show it already. Raises Conflict, which says how many were cancelled where some were,
    and before anything is cancelled where an invoice to void isn't open any more.
    """
    provider = await provider_registry.get(PLATFORM)
    done_count, is_synced = 0, False
    try:
        async with provider_errors.translate_provider_errors():
            if cancellation.void_keys:
                await _require_open_invoices(provider, cancellation)
            for subscription_id, key in cancellation.keys.items():
                if cancellation.cancels:
                    await provider.cancel_subscription(
                        subscription_id,
                        at_period_end=subscription_id not in cancellation.ending_ids,
                        reason=cancellation.reason,
                        key=key,
                    )
                else:
                    await provider.resume_subscription(subscription_id, key)
                done_count += 1
            # After the end, because a voided invoice alone would leave a period that nobody pays.
            for invoice_id, key in cancellation.void_keys.items():
                await provider.void_invoice(invoice_id, key)
    except Conflict as conflict:
        if not done_count:
            raise
        if done_count == len(cancellation.keys) and await _find_paid_invoices(provider, cancellation):
            raise _build_paid_error(cancellation) from conflict
        raise _build_partial_error(cancellation, done_count, conflict) from conflict
    finally:
        if done_count or cancellation.void_keys:
            is_synced = await provider_errors.try_sync_customer(
                cancellation.tenant_id, cancellation.customer_id
            )
    return is_synced


async def _require_open_invoices(provider: Provider, cancellation: CancellationRequest) -> None:
    """Our records may be minutes old: what was paid since must not end without a refund."""
    state = await provider.fetch_customer(cancellation.customer_id)
    open_ids = {
        invoice.id for invoice in state.invoices if invoice.status == repository.OPEN and not invoice.paid
    }
    if not open_ids.issuperset(cancellation.void_keys):
        raise Conflict(
            "An invoice was paid in the meantime, so it can’t be voided. Your subscription is unchanged.",
            "Reload the page to see which invoices are paid, then cancel again.",
        )


async def _find_paid_invoices(provider: Provider, cancellation: CancellationRequest) -> list[str]:
    """Ids of the invoices to void that were paid instead. None where the provider doesn't tell."""
    try:
        state = await provider.fetch_customer(cancellation.customer_id)
    except (KeyRefused, ProviderDown, ProviderRefused):
        return []
    return [
        invoice.id for invoice in state.invoices if invoice.id in cancellation.void_keys and invoice.paid > 0
    ]


def _build_paid_error(cancellation: CancellationRequest) -> Conflict:
    """The payment came after `_require_open_invoices`. Only support can return it."""
    log.get_logger(__name__).error("ended_although_paid", tenant_id=cancellation.tenant_id)
    return Conflict(
        "The subscription has ended, but an invoice was paid at the same moment.",
        "Contact support. They can refund the payment or give you access for the paid period.",
        reason="paid_and_ended",
    )


def _build_partial_error(cancellation: CancellationRequest, done_count: int, conflict: Conflict) -> Conflict:
    """Something was cancelled, so the sentence of `conflict` about nothing being changed is wrong."""
    if done_count == len(cancellation.keys):
        return Conflict(
            "The subscription has ended, but an unpaid invoice couldn’t be voided.",
            "Reload the page and void it again. If it happens again, contact support.",
            reason=conflict.reason,
        )
    return Conflict(
        f"Only {done_count} of your {len(cancellation.keys)} subscriptions could be cancelled.",
        "Reload the page and cancel again to end the rest. If it happens again, contact support.",
        reason=conflict.reason,
    )


def _require_subscriptions(
    records: subscriptions.SubscriptionRecords,
) -> list[subscriptions.PlanSubscription]:
    """All live ones, the one that gives access first. Raises Conflict without one."""
    live_subscriptions = subscriptions.build_plan_subscriptions(records)
    if not live_subscriptions:
        raise Conflict("You don’t have a subscription.", "Choose a plan first.")
    return live_subscriptions


async def _require_voidable_invoices(
    ctx: Ctx, records: subscriptions.SubscriptionRecords, shown_ids: Collection[str]
) -> VoidableInvoices:
    """The same as the billing page shows. Raises Conflict without one, and where `shown_ids` are others."""
    live_subscriptions = subscriptions.build_plan_subscriptions(records)
    unpaid_invoices = remaining_charges.group_unpaid_invoices(
        live_subscriptions, await repository.list_unpaid_invoices(ctx)
    )
    voidable = remaining_charges.find_voidable_invoices(records, unpaid_invoices, now())
    if not voidable.invoices:
        raise Conflict(
            "No unpaid invoice can be voided.", "Cancel at the end of the period, or contact support."
        )
    if {invoice.id for invoice in voidable.invoices} != set(shown_ids):
        raise Conflict(
            "The unpaid invoices have changed since you opened it. Nothing was cancelled or voided.",
            "Reload the page to see which ones would be voided.",
        )
    return voidable


def _record_voids(ctx: Ctx, voided: Sequence[BillingInvoice]) -> None:
    for invoice in voided:
        audit_log.record(
            ctx,
            "billing.void_asked",
            invoice.id,
            after={"invoice": invoice.number, "amount": money.format_amount(invoice.due, invoice.currency)},
        )


def _build_void_keys(voided: Sequence[BillingInvoice]) -> dict[str, str]:
    return {invoice.id: f"void-{subscriptions.short_hash(invoice.id, invoice.ticket)}" for invoice in voided}


def _build_key(
    verb: Literal["cancel", "end", "resume"], subscription: subscriptions.PlanSubscription, *answers: str
) -> str:
    # The ticket changes the key: cancelling, resuming and cancelling again are three requests. `answers` are sent along, and
    # requests with one key must be equal.
    return f"{verb}-{subscriptions.short_hash(subscription.id, subscription.ticket, *answers)}"
