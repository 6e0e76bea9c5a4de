"""Cancelling a subscription at the end of its period, and resuming it."""

from dataclasses import dataclass
from datetime import datetime

from shared.access import actions, policy
from shared.audit import audit_log
from shared.billing import provider_errors, provider_registry
from shared.billing.models import PLATFORM
from shared.billing.subscriptions import subscriptions
from shared.core import rate_limits
from shared.core.context import Ctx
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
    subscription_id: str
    cancels: bool  # False for resuming
    paid_until: datetime | None  # end of the paid period
    key: str


async def prepare_cancel(ctx: Ctx, reason_code: str, comment: str = "") -> CancellationRequest:
    """Prepares cancelling at the end of the paid period. Raises Invalid, Conflict without an active subscription."""
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
    subscription = await _require_subscription(ctx)
    if subscription.snapshot.cancel_at is not None:
        raise Conflict("The subscription is already cancelled.", "You won't be charged again.")
    until = subscription.renews_at
    after = {"until": until.isoformat()} if until else {}
    audit_log.record(
        ctx,
        "billing.cancel_asked",
        subscription.id,
        after=after,
        reason=CANCELLATION_REASONS[reason_code],
        comment=comment,
    )
    return _build_request(ctx, subscription, ends=True, until=until)


async def prepare_resume(ctx: Ctx) -> CancellationRequest:
    """Prepares resuming a cancelled or paused subscription. Raises Conflict."""
    policy.require(ctx, actions.BILLING_CHANGE)
    await rate_limits.enforce_rate_limit(RateLimit.BILLING_TENANT, ctx.tenant_id)
    await tenants.lock(ctx)
    subscription = await _require_subscription(ctx)
    if subscription.snapshot.cancel_at is None and subscription.snapshot.status != PAUSED:
        raise Conflict("The subscription isn't cancelled.", "No action is needed.")
    audit_log.record(ctx, "billing.resume_asked", subscription.id)
    return _build_request(ctx, subscription, ends=False, until=subscription.renews_at)


async def submit(cancellation: CancellationRequest) -> bool:
    """Submits it to the provider, outside of any transaction.

    Returns whether our records show it already. Raises Conflict.
    """
    provider = await provider_registry.get(PLATFORM)
    async with provider_errors.translate_provider_errors():
        if cancellation.cancels:
            await provider.cancel_subscription(
                cancellation.subscription_id, at_period_end=True, key=cancellation.key
            )
        else:
            await provider.resume_subscription(cancellation.subscription_id, cancellation.key)
    return await provider_errors.try_sync_customer(cancellation.tenant_id, cancellation.customer_id)


async def _require_subscription(ctx: Ctx) -> subscriptions.PlanSubscription:
    subscription = await subscriptions.get_plan_subscription(ctx)
    if subscription is None:
        raise Conflict("You don't have a subscription.", "Choose a plan first.")
    return subscription


def _build_request(
    ctx: Ctx, subscription: subscriptions.PlanSubscription, *, ends: bool, until: datetime | None
) -> CancellationRequest:
    # The ticket changes the key: cancelling, resuming and cancelling again are three requests.
    key = f"{'cancel' if ends else 'resume'}-{subscriptions.short_hash(subscription.id, subscription.ticket)}"
    return CancellationRequest(ctx.tenant_id, subscription.customer_id, subscription.id, ends, until, key)
