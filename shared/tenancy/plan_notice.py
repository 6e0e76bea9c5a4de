"""The one thing about plan and bill that everybody in a tenant should know now, with what to do about it."""

import math
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

from shared.access import actions, policy, refusal_messages
from shared.core.context import Ctx
from shared.core.db import now
from shared.entitlements import rights_cache
from shared.tenancy import member_repository, role_repository


@dataclass(frozen=True, slots=True)
class PlanNotice:
    """Sentences in their order. `day`: what `then` ends with, for the reader's zone to say."""

    tone: Literal["accent", "warn", "bad"]
    text: str
    detail: str = ""
    end_date: str = ""  # ISO
    next_step: str = ""


async def get_notice(ctx: Ctx) -> PlanNotice | None:
    """The worst of what there is; None where all is well."""
    policy.require(ctx, actions.HOME_READ)
    outlook, rights = await rights_cache.get_outlook(ctx), ctx.rights
    until = outlook.billing_until.isoformat() if outlook.billing_until else ""
    if rights.billing_status == "read_only":
        text = "A payment is overdue, so nothing can be changed now."
        return PlanNotice(
            "bad", text, "Everything can still be read.", next_step=refusal_messages.payment_step(ctx)
        )
    if rights.billing_status == "none":
        detail = f"What remains is what {outlook.fallback_plan_name} gives; nothing was deleted."
        return PlanNotice(
            "bad", "Nothing is paid any more.", detail, next_step=refusal_messages.upgrade_step(ctx)
        )
    if outlook.trial_ended:
        detail = f"What remains is what {outlook.fallback_plan_name} gives; nothing was deleted."
        text = f"The trial of {rights.plan_name} has ended."
        return PlanNotice("warn", text, detail, next_step=refusal_messages.upgrade_step(ctx))
    if rights.billing_status == "grace":
        detail = "Everything keeps working until" if until else "Everything keeps working for now."
        return PlanNotice("warn", "A payment is overdue.", detail, until, refusal_messages.payment_step(ctx))
    if (limit_notice := await _find_soft_limit_notice(ctx)) is not None:
        return limit_notice
    if outlook.trial_ends_at is not None:
        days_left = math.ceil((outlook.trial_ends_at - now()) / timedelta(days=1))
        text = f"{days_left} day{'' if days_left == 1 else 's'} left in your trial of {rights.plan_name}."
        detail = f"Afterwards what remains is what {outlook.fallback_plan_name} gives."
        return PlanNotice("accent", text, detail, next_step=refusal_messages.upgrade_step(ctx))
    return None


async def _find_soft_limit_notice(ctx: Ctx) -> PlanNotice | None:
    """Of what is counted. A hard limit refuses instead, and there is nothing to count."""
    for name, count in (
        ("members", member_repository.list_seat_emails),
        ("roles", role_repository.list_custom_roles),
    ):
        limit = ctx.rights.limits[name]
        if limit.hard or limit.amount is None:
            continue
        used = len(await count(ctx))
        if used > limit.amount:
            words = ctx.rights.wording[name]
            text = f"{used:,} {words.title} are in use; {ctx.rights.plan_name} has {limit.amount:,}."
            step = refusal_messages.upgrade_step(ctx)
            step = f"{words.remedy}, or {step[:1].lower()}{step[1:]}" if words.remedy else step
            return PlanNotice("warn", text, "Nothing is refused for now.", next_step=step)
    return None
