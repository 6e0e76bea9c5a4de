"""The one thing about plan and bill that everybody in a tenant should know now, with what to do about it."""

import math
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

from shared.access import actions, policy
from shared.core.ctx import Ctx
from shared.core.db import now
from shared.entitlements import current
from shared.tenancy import repository


@dataclass(frozen=True, slots=True)
class Notice:
    """Sentences in their order. `day`: what `then` ends with, for the reader's zone to say."""

    tone: Literal["accent", "warn", "bad"]
    said: str
    then: str = ""
    day: str = ""  # ISO
    step: str = ""


async def notice(ctx: Ctx) -> Notice | None:
    """The worst of what there is; None where all is well."""
    policy.require(ctx, actions.HOME_READ)
    ahead, rights = await current.outlook(ctx), ctx.rights
    until = ahead.billing_until.isoformat() if ahead.billing_until else ""
    if rights.billing_status == "read_only":
        said = "A payment is overdue, so nothing can be changed now."
        return Notice("bad", said, "Everything can still be read.", step=policy.step_to_pay(ctx))
    if rights.billing_status == "none":
        then = f"What remains is what {ahead.rest} gives; nothing was deleted."
        return Notice("bad", "Nothing is paid any more.", then, step=policy.step_to_grow(ctx))
    if ahead.trial_ended:
        then = f"What remains is what {ahead.rest} gives; nothing was deleted."
        said = f"The trial of {rights.plan_name} has ended."
        return Notice("warn", said, then, step=policy.step_to_grow(ctx))
    if rights.billing_status == "grace":
        then = "Everything keeps working until" if until else "Everything keeps working for now."
        return Notice("warn", "A payment is overdue.", then, until, policy.step_to_pay(ctx))
    if (over := await _over_a_soft_limit(ctx)) is not None:
        return over
    if ahead.trial_ends_at is not None:
        left = math.ceil((ahead.trial_ends_at - now()) / timedelta(days=1))
        said = f"{left} day{'' if left == 1 else 's'} left in your trial of {rights.plan_name}."
        then = f"Afterwards what remains is what {ahead.rest} gives."
        return Notice("accent", said, then, step=policy.step_to_grow(ctx))
    return None


async def _over_a_soft_limit(ctx: Ctx) -> Notice | None:
    """Of what is counted. A hard limit refuses instead, and there is nothing to count."""
    for name, count in (("members", repository.list_seats), ("roles", repository.list_own_roles)):
        limit = ctx.rights.limits[name]
        if limit.hard or limit.amount is None:
            continue
        used = len(await count(ctx))
        if used > limit.amount:
            words = ctx.rights.words[name]
            said = f"{used:,} {words.title} are in use; {ctx.rights.plan_name} has {limit.amount:,}."
            step = policy.step_to_grow(ctx)
            step = f"{words.step}, or {step[:1].lower()}{step[1:]}" if words.step else step
            return Notice("warn", said, "Nothing is refused for now.", step=step)
    return None
