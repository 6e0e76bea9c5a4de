"""Pausing a subscription, where the installation offers it, and resuming it with its price shown before."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from shared.access import actions, policy
from shared.audit import audit_log
from shared.billing import provider_errors, provider_registry, repository
from shared.billing.models import PLATFORM
from shared.billing.provider import KeyRefused, Provider, ProviderDown, ProviderRefused
from shared.billing.provider_values import ChangePreview
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
PauseVerb = Literal["pause", "resume"]
OUTDATED_STEPS: Mapping[PauseVerb, str] = {
    "pause": "Open it again to see the credit.",
    "resume": "Open it again to see what is due.",
}
NOT_OFFERED = "Subscriptions can’t be paused here.", "Cancel at the end of the period, or contact support."


@dataclass(frozen=True, slots=True, kw_only=True)
class PauseTarget:
    """The subscription that is paused or resumed.

    `fingerprint`: of the state that a price is shown for, at `quoted_at`.
    """

    verb: PauseVerb
    tenant_id: str
    customer_id: str
    subscription_id: str
    fingerprint: str
    quoted_at: datetime
    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PauseQuote:
    """`preview`: what a pause credits, or what a resumption charges at once."""

    target: PauseTarget
    preview: ChangePreview


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
    if snapshot.days_until_due:
        return "A subscription that is paid by transfer can’t be paused.", "Contact support."
    if snapshot.cancel_at is not None:
        return "The subscription is cancelled.", "Resume it first."
    if snapshot.scheduled_change is not None or snapshot.pending_change is not None:
        return "A change of the plan hasn’t taken effect.", "Keep the current plan first."
    if snapshot.status != "active" or snapshot.paused_collection:
        return (
            "Only a paid subscription can be paused.",
            "Pay what is open first, or wait for the trial’s end.",
        )
    return None


async def plan_pause(ctx: Ctx, verb: PauseVerb) -> PauseTarget:
    """The subscription to pause or to resume.

    Raises Conflict where that isn't possible now, and for a resumption while the last one waits for its payment.
    """
    policy.require(ctx, actions.BILLING_CHANGE)
    await rate_limits.enforce_rate_limit(RateLimit.BILLING_TENANT, ctx.tenant_id)
    return await _find_target(ctx, verb)


async def quote_pause(target: PauseTarget) -> PauseQuote:
    """What a pause credits, or what resuming charges at once. Asks the provider, outside of any transaction.

    Raises Conflict.
    """
    async with provider_errors.translate_provider_errors():
        provider = await provider_registry.get(PLATFORM)
        preview = provider.preview_pause if target.verb == "pause" else provider.preview_resume
        return PauseQuote(target=target, preview=await preview(target.customer_id, target.subscription_id))


async def prepare_pause(ctx: Ctx, quote: PauseQuote) -> PauseQuote:
    """Checks again under the lock and records it. Raises Conflict, including for a changed subscription or old price."""
    policy.require(ctx, actions.BILLING_CHANGE)
    await rate_limits.enforce_rate_limit(RateLimit.BILLING_TENANT, ctx.tenant_id)
    await tenants.lock(ctx)
    current = await _find_target(ctx, quote.target.verb)
    _require_current(quote.target, current)
    if current.verb == "pause":
        audit_log.record(ctx, "billing.pause_asked", current.subscription_id)
    else:
        audit_log.record(ctx, "billing.resume_asked", current.subscription_id)
    return PauseQuote(target=current, preview=quote.preview)


async def submit_pause(quote: PauseQuote) -> bool:
    """Submits it to the provider, outside of any transaction. Returns whether our records show it already.

    Raises Conflict, with reason `changes.QUOTE_OUTDATED` where the provider would charge another sum than the quote says, and
    with `changes.PAYMENT_OPEN` where the payment of a resumption failed: it stays paused until that is paid.
    """
    target, is_outdated, is_unpaid = quote.target, False, False
    async with provider_errors.translate_provider_errors():
        provider = await provider_registry.get(PLATFORM)
        if target.verb == "pause":
            await provider.pause_subscription(target.subscription_id, target.key)
        elif await _is_shown_price(provider, quote):
            await provider.resume_subscription(target.subscription_id, target.key)
            is_unpaid = await _stays_paused(provider, target)
        else:
            is_outdated = True
    is_synced = await provider_errors.try_sync_customer(target.tenant_id, target.customer_id)
    if is_outdated:
        raise _build_outdated_error(target, "What is due has changed since you opened it.")
    if is_unpaid:
        raise Conflict("The payment failed.", PAY_TO_RESUME, reason=changes.PAYMENT_OPEN)
    return is_synced


async def _is_shown_price(provider: Provider, quote: PauseQuote) -> bool:
    """Whether resuming still costs what the quote says. Credit or a coupon may have come since.

    True where the provider previews nothing: the idempotency key then decides, as after a try whose answer was lost.
    """
    target = quote.target
    try:
        preview = await provider.preview_resume(target.customer_id, target.subscription_id)
    except ProviderRefused:
        return True
    return preview.due == quote.preview.due


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


def _require_current(target: PauseTarget, current: PauseTarget) -> None:
    """Raises Conflict, with reason `changes.QUOTE_OUTDATED`."""
    if current.subscription_id != target.subscription_id or current.fingerprint != target.fingerprint:
        raise _build_outdated_error(target, "The subscription has changed since you opened it.")
    if now() - target.quoted_at > changes.QUOTE_LIFETIME:
        raise _build_outdated_error(target, "This total is out of date.")


def _build_outdated_error(target: PauseTarget, sentence: str) -> Conflict:
    return Conflict(sentence, OUTDATED_STEPS[target.verb], reason=changes.QUOTE_OUTDATED)


async def _find_target(ctx: Ctx, verb: PauseVerb) -> PauseTarget:
    live_subscriptions = await subscriptions.list_plan_subscriptions(ctx)
    if verb == "pause":
        _require_pausable(live_subscriptions)
    else:
        await _require_resumable(ctx, live_subscriptions)
    subscription = live_subscriptions[0]
    return PauseTarget(
        verb=verb,
        tenant_id=ctx.tenant_id,
        customer_id=subscription.customer_id,
        subscription_id=subscription.id,
        fingerprint=subscription.fingerprint(),
        quoted_at=now(),
        key=f"{verb}-{subscriptions.short_hash(subscription.id, subscription.ticket)}",
    )


def _require_pausable(live_subscriptions: Sequence[PlanSubscription]) -> None:
    if not live_subscriptions:
        raise Conflict("You don’t have a subscription.", "Choose a plan first.")
    if (obstacle := find_pause_obstacle(live_subscriptions)) is not None:
        raise Conflict(*obstacle)


async def _require_resumable(ctx: Ctx, live_subscriptions: Sequence[PlanSubscription]) -> None:
    if not live_subscriptions or live_subscriptions[0].snapshot.status != PAUSED:
        raise Conflict("The subscription isn’t paused.", "No action is needed.")
    subscription = live_subscriptions[0]
    paused_at = subscription.snapshot.paused_at
    if paused_at is not None and any(
        invoice.status == repository.OPEN
        and invoice.subscription_id == subscription.id
        and invoice.created_at >= paused_at
        for invoice in await repository.list_unpaid_invoices(ctx)
    ):
        raise Conflict("The last payment to resume it failed.", PAY_TO_RESUME, reason=changes.PAYMENT_OPEN)
