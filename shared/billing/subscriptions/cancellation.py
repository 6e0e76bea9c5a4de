"""Giving a subscription up with its period, and taking that back."""

from dataclasses import dataclass
from datetime import datetime

from shared.access import actions, policy
from shared.audit import audit_log
from shared.billing import provider_errors, provider_registry
from shared.billing.models import PLATFORM
from shared.billing.subscriptions import subscriptions
from shared.core import rate_limits
from shared.core.context import Ctx
from shared.core.errors import Conflict, Invalid
from shared.core.rate_limits import RateLimit
from shared.tenancy import tenants

CANCELLATION_REASONS = {  # what people are asked when they go
    "too_expensive": "It costs too much",
    "missing": "Something is missing",
    "unused": "We do not use it enough",
    "switched": "We use something else now",
    "paused": "We only needed it for a while",
    "other": "Another reason",
}
MAX_COMMENT_LENGTH = 500  # characters of what they add
PAUSED = "paused"


@dataclass(frozen=True, slots=True)
class CancellationRequest:
    tenant_id: str
    customer_id: str
    subscription_id: str
    cancels: bool  # or it goes on again
    paid_until: datetime | None  # what is paid
    key: str


async def prepare_cancel(ctx: Ctx, reason_code: str, comment: str = "") -> CancellationRequest:
    """With the period that is paid. Raises Invalid, Conflict where nothing goes on."""
    policy.require(ctx, actions.BILLING_CHANGE)
    comment = " ".join(comment.split())
    if reason_code not in CANCELLATION_REASONS:
        raise Invalid("Why you go is missing.", "Choose one of the answers.", fields={"why": "Missing"})
    if len(comment) > MAX_COMMENT_LENGTH:
        raise Invalid(
            f"At most {MAX_COMMENT_LENGTH} characters can be kept.",
            "Shorten it.",
            fields={"comment": "Too long"},
        )
    await rate_limits.enforce_rate_limit(RateLimit.BILLING_TENANT, ctx.tenant_id)
    await tenants.lock(ctx)
    subscription = await _require_subscription(ctx)
    if subscription.snapshot.cancel_at is not None:
        raise Conflict("It is cancelled already.", "Nothing more will be charged.")
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
    """Of one that would end with its period, or that is paused. Raises Conflict."""
    policy.require(ctx, actions.BILLING_CHANGE)
    await rate_limits.enforce_rate_limit(RateLimit.BILLING_TENANT, ctx.tenant_id)
    await tenants.lock(ctx)
    subscription = await _require_subscription(ctx)
    if subscription.snapshot.cancel_at is None and subscription.snapshot.status != PAUSED:
        raise Conflict("It goes on anyway.", "Nothing has to be done.")
    audit_log.record(ctx, "billing.resume_asked", subscription.id)
    return _build_request(ctx, subscription, ends=False, until=subscription.renews_at)


async def submit(cancellation: CancellationRequest) -> bool:
    """Whether the page shows it at once. Outside of every transaction. Raises Conflict."""
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
        raise Conflict("There is no subscription.", "Choose a plan to begin one.")
    return subscription


def _build_request(
    ctx: Ctx, subscription: subscriptions.PlanSubscription, *, ends: bool, until: datetime | None
) -> CancellationRequest:
    # Another look, another key: cancelled, resumed and cancelled again is three acts and not two.
    key = f"{'cancel' if ends else 'resume'}-{subscriptions.short_hash(subscription.id, subscription.ticket)}"
    return CancellationRequest(ctx.tenant_id, subscription.customer_id, subscription.id, ends, until, key)
