"""Cancelling a subscription at the end of its period, and resuming it."""

from collections.abc import Mapping, Sequence
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
    keys: Mapping[str, str]  # idempotency keys by subscription
    cancels: bool  # False for resuming
    paid_until: datetime | None  # end of the paid period


async def prepare_cancel(ctx: Ctx, reason_code: str, comment: str = "") -> CancellationRequest:
    """Prepares cancelling all subscriptions at the end of what is paid.

    Raises Invalid, Conflict without an active subscription.
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
    renewing = [subscription for subscription in live_subscriptions if not subscription.snapshot.cancel_at]
    if not renewing:
        raise Conflict("The subscription is already cancelled.", "It won't be renewed.")
    until = max((subscription.renews_at for subscription in renewing if subscription.renews_at), default=None)
    for subscription in renewing:
        audit_log.record(
            ctx,
            "billing.cancel_asked",
            subscription.id,
            after={"until": subscription.renews_at.isoformat()} if subscription.renews_at else {},
            reason=CANCELLATION_REASONS[reason_code],
            comment=comment,
        )
    return _build_request(ctx, renewing, ends=True, until=until)


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
    return _build_request(ctx, [subscription], ends=False, until=subscription.renews_at)


async def submit(cancellation: CancellationRequest) -> bool:
    """Submits it to the provider, outside of any transaction.

    Returns whether our records show it already. Raises Conflict.
    """
    provider = await provider_registry.get(PLATFORM)
    async with provider_errors.translate_provider_errors():
        for subscription_id, key in cancellation.keys.items():
            if cancellation.cancels:
                await provider.cancel_subscription(subscription_id, at_period_end=True, key=key)
            else:
                await provider.resume_subscription(subscription_id, key)
    return await provider_errors.try_sync_customer(cancellation.tenant_id, cancellation.customer_id)


async def _require_subscriptions(ctx: Ctx) -> list[subscriptions.PlanSubscription]:
    """All live ones, the one that gives access first. Raises Conflict without one."""
    live_subscriptions = await subscriptions.list_plan_subscriptions(ctx)
    if not live_subscriptions:
        raise Conflict("You don't have a subscription.", "Choose a plan first.")
    return live_subscriptions


def _build_request(
    ctx: Ctx, targets: Sequence[subscriptions.PlanSubscription], *, ends: bool, until: datetime | None
) -> CancellationRequest:
    # The ticket changes the key: cancelling, resuming and cancelling again are three requests.
    verb = "cancel" if ends else "resume"
    keys = {
        subscription.id: f"{verb}-{subscriptions.short_hash(subscription.id, subscription.ticket)}"
        for subscription in targets
    }
    return CancellationRequest(ctx.tenant_id, targets[0].customer_id, keys, ends, until)
