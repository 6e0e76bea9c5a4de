"""The provider's page for payment methods."""

from dataclasses import dataclass

from shared.access import actions, policy
from shared.audit import audit_log
from shared.billing import customer_calls, provider_errors, provider_registry
from shared.billing.models import PLATFORM
from shared.core import rate_limits
from shared.core.context import Ctx
from shared.core.rate_limits import RateLimit
from shared.tenancy import links


@dataclass(frozen=True, slots=True)
class PortalRequest:
    tenant_id: str
    return_url: str  # of the page to return to


async def prepare(ctx: Ctx) -> PortalRequest:
    policy.require(ctx, actions.BILLING_CHANGE)
    await rate_limits.enforce_rate_limit(RateLimit.BILLING_TENANT, ctx.tenant_id)
    audit_log.record(ctx, "billing.portal_opened", ctx.tenant_id)
    return PortalRequest(ctx.tenant_id, links.build_link(ctx.tenant_id, "billing?back=portal"))


async def submit(visit: PortalRequest) -> str:
    """Returns the address of the provider's page. Outside of any transaction. Raises Conflict."""
    async with provider_errors.translate_provider_errors():
        provider = await provider_registry.get(PLATFORM)
        return await customer_calls.call_with_customer(
            visit.tenant_id, lambda customer_id: provider.create_portal(customer_id, visit.return_url)
        )
