"""The most important notice about plan and billing for all members of a tenant."""

import math
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

from shared.access import actions, policy, refusal_messages
from shared.core.context import Ctx
from shared.core.db import now
from shared.entitlements import rights_cache
from shared.entitlements.limits import LIMITS, LimitPeriod, list_usages


@dataclass(frozen=True, slots=True)
class PlanNotice:
    """Texts in display order. `end_date` follows `detail`; the page formats it in the reader's time zone."""

    tone: Literal["accent", "warn", "bad"]
    text: str
    detail: str = ""
    end_date: str = ""  # ISO
    next_step: str = ""


async def get_notice(ctx: Ctx) -> PlanNotice | None:
    """The most severe notice, or None."""
    policy.require(ctx, actions.HOME_READ)
    if ctx.is_test:  # the live tenant says it
        return None
    outlook, rights = await rights_cache.get_outlook(ctx), ctx.rights
    until = outlook.billing_until.isoformat() if outlook.billing_until else ""
    if rights.billing_status == "read_only":
        return PlanNotice(
            "bad",
            refusal_messages.READ_ONLY_SENTENCE,
            "You can still view everything.",
            next_step=refusal_messages.reactivation_step(ctx),
        )
    if rights.billing_status == "none":
        detail = f"You’ve moved to {outlook.fallback_plan_name}; your data is kept."
        return PlanNotice(
            "bad", "Your subscription has ended.", detail, next_step=refusal_messages.upgrade_step(ctx)
        )
    if outlook.trial_ended:
        detail = f"You’ve moved to {outlook.fallback_plan_name}; your data is kept."
        text = f"Your {rights.plan_name} trial has ended."
        return PlanNotice("warn", text, detail, next_step=refusal_messages.upgrade_step(ctx))
    if rights.billing_status == "grace":
        detail = "Everything keeps working until" if until else "Everything keeps working for now."
        return PlanNotice("warn", "A payment is overdue.", detail, until, refusal_messages.payment_step(ctx))
    if (limit_notice := await _find_soft_limit_notice(ctx)) is not None:
        return limit_notice
    if outlook.trial_ends_at is not None:
        days_left = math.ceil((outlook.trial_ends_at - now()) / timedelta(days=1))
        text = f"{days_left} day{'' if days_left == 1 else 's'} left in your {rights.plan_name} trial."
        detail = f"After that you’ll be on {outlook.fallback_plan_name}."
        return PlanNotice("accent", text, detail, next_step=refusal_messages.upgrade_step(ctx))
    return None


async def _find_soft_limit_notice(ctx: Ctx) -> PlanNotice | None:
    """The notice for an exceeded soft limit. Hard limits refuse instead, and monthly ones have notifications."""
    for name, usage in list_usages():
        limit = ctx.rights.limits[name]
        if limit.hard or limit.amount is None or LIMITS[name].period is LimitPeriod.MONTH:
            continue
        used = await usage.now(ctx)
        if used > limit.amount:
            words = ctx.rights.wording[name]
            text = f"{used:,} {words.title} are in use; {ctx.rights.plan_name} includes {limit.amount:,}."
            step = refusal_messages.upgrade_step(ctx)
            step = f"{words.remedy}, or {step[:1].lower()}{step[1:]}" if words.remedy else step
            return PlanNotice("warn", text, "Nothing is blocked yet.", next_step=step)
    return None
