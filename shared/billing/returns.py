"""Coming back from a page of the provider: a look, so that nobody waits for a webhook."""

from dataclasses import dataclass

from shared.access import actions, policy
from shared.billing import calls, customers
from shared.core import limits
from shared.core.ctx import Ctx
from shared.core.limits import Limit


@dataclass(frozen=True, slots=True)
class Back:
    tenant_id: str
    customer_id: str  # "" for who never was at the provider


async def prepare(ctx: Ctx) -> Back:
    policy.require(ctx, actions.BILLING_READ)
    await limits.hit(Limit.BILLING_TENANT, ctx.tenant_id)
    return Back(ctx.tenant_id, await customers.find(ctx))


async def go(back: Back) -> bool:
    """Whether the provider answered. Outside of every transaction."""
    return back.customer_id != "" and await calls.look(back.tenant_id, back.customer_id)
