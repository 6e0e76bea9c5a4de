"""Syncs the customer when the browser returns from the provider, without waiting for a webhook."""

from dataclasses import dataclass

from shared.access import actions, policy
from shared.billing import customers, provider_errors
from shared.core import rate_limits
from shared.core.context import Ctx
from shared.core.rate_limits import RateLimit


@dataclass(frozen=True, slots=True)
class CheckoutReturn:
    tenant_id: str
    customer_id: str  # "" without a customer


async def prepare(ctx: Ctx) -> CheckoutReturn:
    """Without a customer in a support session: a sync writes, in transactions of its own."""
    policy.require(ctx, actions.BILLING_READ)
    if ctx.impersonation is not None:
        return CheckoutReturn(ctx.tenant_id, "")
    await rate_limits.enforce_rate_limit(RateLimit.BILLING_TENANT, ctx.tenant_id)
    return CheckoutReturn(ctx.tenant_id, await customers.find_id(ctx))


async def submit(back: CheckoutReturn) -> bool:
    """Syncs outside of any transaction. Returns whether the provider responded."""
    return back.customer_id != "" and await provider_errors.try_sync_customer(
        back.tenant_id, back.customer_id, cause="return"
    )
