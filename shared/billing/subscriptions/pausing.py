"""Pausing a subscription, where the installation offers it, and resuming it with its price shown before."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from shared.access import actions, policy
from shared.audit import audit_log
from shared.billing import provider_errors, provider_registry, repository
from shared.billing.models import PLATFORM
from shared.billing.provider import ChangePreview, KeyRefused, Provider, ProviderDown, ProviderRefused
from shared.billing.subscriptions import changes, subscriptions
from shared.billing.subscriptions.subscriptions import PlanSubscription
from shared.core import rate_limits
from shared.core.config import settings
from shared.core.context import Ctx
from shared.core.db import now
from shared.core.errors import Conflict
from shared.core.rate_limits import RateLimit
from shared.tenancy import tenants

PAUSED = "paused"
PAY_TO_RESUME = "Pay the open invoice to resume."
NOT_OFFERED = "Subscriptions can't be paused here.", "Cancel at the end of the period, or contact support."


@dataclass(frozen=True, slots=True, kw_only=True)
class PauseTarget:
    """The subscription that is paused or resumed.

    `fingerprint`: of the state that a price was shown for, at `quoted_at`.
    """

    tenant_id: str
    customer_id: str
    subscription_id: str
    fingerprint: str
    quoted_at: datetime
    key: str


def is_offered() -> bool:
    return settings().customers_can_pause


def find_pause_obstacle(live_subscriptions: Sequence[PlanSubscription]) -> tuple[str, str] | None:
    """Why the first subscription can't be paused now, and the next step; None where it can."""
    subscription, *others = live_subscriptions
    snapshot = subscription.snapshot
    if not is_offered():
        return NOT_OFFERED
    if others:
        return "You have several subscriptions.", "Contact support to end one of them and refund it."
    if snapshot.status == PAUSED:
        return "The subscription is paused already.", "Resume it to continue."
    if snapshot.cancel_at is not None:
        return "The subscription is cancelled.", "Resume it first."
    if snapshot.scheduled_change is not None or snapshot.pending_change is not None:
        return "A change of the plan hasn't taken effect.", "Keep the current plan first."
    if snapshot.status != "active" or snapshot.paused_collection:
        return (
            "Only a paid subscription can be paused.",
            "Pay what is open first, or wait for the trial's end.",
        )
    return None


async def plan_pause(ctx: Ctx) -> PauseTarget:
    """The subscription to pause. Raises Conflict where that isn't possible now."""
    policy.require(ctx, actions.BILLING_CHANGE)
    await rate_limits.enforce_rate_limit(RateLimit.BILLING_TENANT, ctx.tenant_id)
    return await _find_pausable(ctx)


async def quote_pause(target: PauseTarget) -> ChangePreview:
    """What a pause credits, and what resuming then charges. Asks the provider, outside of any transaction.

    Raises Conflict.
    """
    async with provider_errors.translate_provider_errors():
        provider = await provider_registry.get(PLATFORM)
        return await provider.preview_pause(target.customer_id, target.subscription_id)


async def prepare_pause(ctx: Ctx, target: PauseTarget) -> PauseTarget:
    """Checks again under the lock and records it. Raises Conflict, including for a changed subscription or old price."""
    policy.require(ctx, actions.BILLING_CHANGE)
    await rate_limits.enforce_rate_limit(RateLimit.BILLING_TENANT, ctx.tenant_id)
    await tenants.lock(ctx)
    current = await _find_pausable(ctx)
    _require_current(target, current, step="Open it again to see the credit.")
    audit_log.record(ctx, "billing.pause_asked", current.subscription_id)
    return current


async def submit_pause(target: PauseTarget) -> bool:
    """Submits it to the provider, outside of any transaction. Returns whether our records show it already."""
    async with provider_errors.translate_provider_errors():
        provider = await provider_registry.get(PLATFORM)
        await provider.pause_subscription(target.subscription_id, target.key)
    return await provider_errors.try_sync_customer(target.tenant_id, target.customer_id)


async def plan_resume(ctx: Ctx) -> PauseTarget:
    """The paused subscription. Raises Conflict without one, and while its last resumption waits for its payment."""
    policy.require(ctx, actions.BILLING_CHANGE)
    await rate_limits.enforce_rate_limit(RateLimit.BILLING_TENANT, ctx.tenant_id)
    return await _find_resumable(ctx)


async def quote_resume(target: PauseTarget) -> ChangePreview:
    """What is charged at once when it is resumed, fetched outside of any transaction. Raises Conflict."""
    async with provider_errors.translate_provider_errors():
        provider = await provider_registry.get(PLATFORM)
        return await provider.preview_resume(target.customer_id, target.subscription_id)


async def prepare_resume(ctx: Ctx, target: PauseTarget) -> PauseTarget:
    """Checks again under the lock and records it. Raises Conflict, including for a changed subscription or old price."""
    policy.require(ctx, actions.BILLING_CHANGE)
    await rate_limits.enforce_rate_limit(RateLimit.BILLING_TENANT, ctx.tenant_id)
    await tenants.lock(ctx)
    current = await _find_resumable(ctx)
    _require_current(target, current, step="Open it again to see what is due.")
    audit_log.record(ctx, "billing.resume_asked", current.subscription_id)
    return current


async def submit_resume(target: PauseTarget) -> bool:
    """Submits it to the provider, outside of any transaction. Returns whether our records show it already.

    Raises Conflict, with reason `changes.PAYMENT_OPEN` where the payment failed: it stays paused until that is paid.
    """
    async with provider_errors.translate_provider_errors():
        provider = await provider_registry.get(PLATFORM)
        await provider.resume_subscription(target.subscription_id, target.key)
    is_unpaid = await _stays_paused(provider, target)
    is_synced = await provider_errors.try_sync_customer(target.tenant_id, target.customer_id)
    if is_unpaid:
        raise Conflict("The payment failed.", PAY_TO_RESUME, reason=changes.PAYMENT_OPEN)
    return is_synced


async def _stays_paused(provider: Provider, target: PauseTarget) -> bool:
    """False where the provider doesn't tell: the next sync shows it."""
    try:
        state = await provider.fetch_customer(target.customer_id)
    except (KeyRefused, ProviderDown, ProviderRefused):
        return False
    return any(
        subscription.id == target.subscription_id and subscription.status == PAUSED
        for subscription in state.subscriptions
    )


def _require_current(target: PauseTarget, current: PauseTarget, *, step: str) -> None:
    """Raises Conflict, with reason `changes.QUOTE_OUTDATED`."""
    if current.subscription_id != target.subscription_id or current.fingerprint != target.fingerprint:
        raise Conflict(
            "The subscription has changed since you opened it.", step, reason=changes.QUOTE_OUTDATED
        )
    if now() - target.quoted_at > changes.QUOTE_LIFETIME:
        raise Conflict("This total is out of date.", step, reason=changes.QUOTE_OUTDATED)


async def _find_resumable(ctx: Ctx) -> PauseTarget:
    live_subscriptions = await subscriptions.list_plan_subscriptions(ctx)
    if not live_subscriptions or live_subscriptions[0].snapshot.status != PAUSED:
        raise Conflict("The subscription isn't paused.", "No action is needed.")
    subscription = live_subscriptions[0]
    paused_at = subscription.snapshot.paused_at
    if paused_at is not None and any(
        invoice.status == repository.OPEN
        and invoice.subscription_id == subscription.id
        and invoice.created_at >= paused_at
        for invoice in await repository.list_unpaid_invoices(ctx)
    ):
        raise Conflict("The last payment to resume it failed.", PAY_TO_RESUME, reason=changes.PAYMENT_OPEN)
    return _build_target(ctx, subscription, "resume")


async def _find_pausable(ctx: Ctx) -> PauseTarget:
    live_subscriptions = await subscriptions.list_plan_subscriptions(ctx)
    if not live_subscriptions:
        raise Conflict("You don't have a subscription.", "Choose a plan first.")
    if (obstacle := find_pause_obstacle(live_subscriptions)) is not None:
        raise Conflict(*obstacle)
    return _build_target(ctx, live_subscriptions[0], "pause")


def _build_target(ctx: Ctx, subscription: PlanSubscription, verb: Literal["pause", "resume"]) -> PauseTarget:
    return PauseTarget(
        tenant_id=ctx.tenant_id,
        customer_id=subscription.customer_id,
        subscription_id=subscription.id,
        fingerprint=subscription.fingerprint(),
        quoted_at=now(),
        key=f"{verb}-{subscriptions.short_hash(subscription.id, subscription.ticket)}",
    )
