"""Giving a subscription up with its period, and taking that back."""

from dataclasses import dataclass
from datetime import datetime

from shared.access import actions, policy
from shared.audit import trail
from shared.billing import calls, providers, subscriptions
from shared.billing.models import PLATFORM
from shared.core import limits
from shared.core.ctx import Ctx
from shared.core.errors import Conflict, Invalid
from shared.core.limits import Limit
from shared.tenancy import tenants

WHY = {  # what people are asked when they go
    "too_expensive": "It costs too much",
    "missing": "Something is missing",
    "unused": "We do not use it enough",
    "switched": "We use something else now",
    "paused": "We only needed it for a while",
    "other": "Another reason",
}
LONGEST = 500  # characters of what they add
PAUSED = "paused"


@dataclass(frozen=True, slots=True)
class Ending:
    tenant_id: str
    customer_id: str
    subscription_id: str
    ends: bool  # or it goes on again
    until: datetime | None  # what is paid
    key: str


async def prepare_cancel(ctx: Ctx, why: str, comment: str = "") -> Ending:
    """With the period that is paid. Raises Invalid, Conflict where nothing goes on."""
    policy.require(ctx, actions.BILLING_CHANGE)
    comment = " ".join(comment.split())
    if why not in WHY:
        raise Invalid("Why you go is missing.", "Choose one of the answers.", fields={"why": "Missing"})
    if len(comment) > LONGEST:
        raise Invalid(
            f"At most {LONGEST} characters can be kept.", "Shorten it.", fields={"comment": "Too long"}
        )
    await limits.hit(Limit.BILLING_TENANT, ctx.tenant_id)
    await tenants.lock(ctx)
    held = await _held(ctx)
    if held.told.cancel_at is not None:
        raise Conflict("It is cancelled already.", "Nothing more will be charged.")
    until = held.renews_at
    after = {"until": until.isoformat()} if until else {}
    trail.record(ctx, "billing.cancel_asked", held.id, after=after, reason=WHY[why], comment=comment)
    return _ending(ctx, held, ends=True, until=until)


async def prepare_resume(ctx: Ctx) -> Ending:
    """Of one that would end with its period, or that is paused. Raises Conflict."""
    policy.require(ctx, actions.BILLING_CHANGE)
    await limits.hit(Limit.BILLING_TENANT, ctx.tenant_id)
    await tenants.lock(ctx)
    held = await _held(ctx)
    if held.told.cancel_at is None and held.told.status != PAUSED:
        raise Conflict("It goes on anyway.", "Nothing has to be done.")
    trail.record(ctx, "billing.resume_asked", held.id)
    return _ending(ctx, held, ends=False, until=held.renews_at)


async def go(ending: Ending) -> bool:
    """Whether the page shows it at once. Outside of every transaction. Raises Conflict."""
    provider = await providers.get(PLATFORM)
    async with calls.answered():
        if ending.ends:
            await provider.cancel(ending.subscription_id, at_period_end=True, key=ending.key)
        else:
            await provider.resume(ending.subscription_id, ending.key)
    return await calls.look(ending.tenant_id, ending.customer_id)


async def _held(ctx: Ctx) -> subscriptions.Held:
    held = await subscriptions.counting(ctx)
    if held is None:
        raise Conflict("There is no subscription.", "Choose a plan to begin one.")
    return held


def _ending(ctx: Ctx, held: subscriptions.Held, *, ends: bool, until: datetime | None) -> Ending:
    # Another look, another key: cancelled, resumed and cancelled again is three acts and not two.
    key = f"{'cancel' if ends else 'resume'}-{subscriptions.digest(held.id, held.ticket)}"
    return Ending(ctx.tenant_id, held.customer_id, held.id, ends, until, key)
