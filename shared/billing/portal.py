"""The provider's page for ways to pay."""

from dataclasses import dataclass

from shared.access import actions, policy
from shared.audit import trail
from shared.billing import calls, customers, providers
from shared.billing.models import PLATFORM
from shared.core import limits
from shared.core.config import settings
from shared.core.ctx import Ctx
from shared.core.limits import Limit


@dataclass(frozen=True, slots=True)
class Visit:
    tenant_id: str
    address: str  # of the page to come back to


async def prepare(ctx: Ctx) -> Visit:
    policy.require(ctx, actions.BILLING_CHANGE)
    await limits.hit(Limit.BILLING_TENANT, ctx.tenant_id)
    trail.record(ctx, "billing.portal_opened", ctx.tenant_id)
    return Visit(ctx.tenant_id, f"{settings().tenant_url}/t/{ctx.slug}/billing?back=portal")


async def go(visit: Visit) -> str:
    """Address of the provider's page. Outside of every transaction. Raises Conflict."""
    async with calls.answered():
        customer_id = await customers.ensure(visit.tenant_id)
        return await (await providers.get(PLATFORM)).portal(customer_id, visit.address)
