"""The amount that metered use of a billing period may cost: alerts at 50, 80 and 100 %, and a stop where it is a cap.

It counts what arrives in the period, before prepaid credits and taxes. A change holds in every process within seconds.
"""

from dataclasses import dataclass
from datetime import datetime

from sqlmodel.ext.asyncio.session import AsyncSession

from shared.access import actions, policy
from shared.audit import audit_log
from shared.audit.event_types import AuditAction
from shared.billing import dunning
from shared.billing.dunning_messages import DunningMessage, format_day
from shared.billing.models import SpendLimit
from shared.billing.spending import budgets, spend_repository
from shared.billing.spending.budgets import MeteredPrices, SpendBudget
from shared.core import live_events, money
from shared.core.context import Ctx
from shared.core.db import now
from shared.core.errors import Conflict, Invalid
from shared.metering import counters
from shared.metering.allowances import Budget

ALERT_PERCENTS = (50, 80, 100)
MAX_AMOUNT = 1_000_000  # whole units of the currency
NOTHING_METERED = ("Your plan has no metered prices.", "Choose a plan with metered prices first.")


@dataclass(frozen=True, slots=True, kw_only=True)
class SpendView:
    """`limit` None: no amount was set. `spent`: of the running period, in the smallest unit."""

    limit: SpendLimit | None
    currency: str
    spent: int
    starts_at: datetime
    ends_at: datetime

    @property
    def percent(self) -> int:
        return self.spent * 100 // self.limit.amount if self.limit is not None else 0


async def get_view(ctx: Ctx) -> SpendView | None:
    """None where nothing is sold by use. Raises Refused."""
    policy.require(ctx, actions.BILLING_READ)
    metered = await budgets.read_metered_prices(ctx.session, ctx.tenant_id)
    if metered is None:
        return None
    limit = await spend_repository.find_limit(ctx.session, ctx.tenant_id)
    return SpendView(
        limit=limit if limit is not None and limit.currency == metered.currency else None,
        currency=metered.currency,
        spent=await _sum_spent(ctx, metered, is_current=limit is not None),
        starts_at=metered.starts_at,
        ends_at=metered.ends_at,
    )


async def save(ctx: Ctx, amount: int, *, currency: str, is_cap: bool) -> None:
    """`amount`: in the smallest unit of `currency`, in which the tenant pays.

    Raises Refused, Invalid, Conflict where nothing is sold by use, and where the currency is another one.
    """
    policy.require(ctx, actions.BILLING_CHANGE)
    metered = await budgets.read_metered_prices(ctx.session, ctx.tenant_id)
    if metered is None:
        raise Conflict(*NOTHING_METERED)
    if metered.currency != currency:
        raise Conflict("The currency of your payments has changed.", "Reload the page, then try again.")
    most = MAX_AMOUNT * 10 ** money.require_currency(currency).digits
    if not 1 <= amount <= most:
        raise Invalid(
            f"The amount must be from {money.format_amount(1, currency)} to {money.format_amount(most, currency)}.",
            "Correct it and try again.",
            fields={"amount": "Out of range"},
        )
    limit = await spend_repository.lock_limit(ctx)
    if limit is None or limit.currency != currency:  # until now, nothing was drawn from the counters
        await counters.begin_again(ctx, list(metered.keys.values()))
    before = _describe(limit)
    limit = limit or SpendLimit(tenant_id=ctx.tenant_id, amount=amount, currency=currency, is_cap=is_cap)
    if (limit.amount, limit.currency) != (amount, currency):
        limit.alerted_percent = 0
    limit.amount, limit.currency, limit.is_cap, limit.changed_at = amount, currency, is_cap, now()
    ctx.session.add(limit)
    audit_log.record(ctx, AuditAction.SPEND_LIMIT_CHANGED, limit.id, before=before, after=_describe(limit))
    await _publish(ctx)


async def remove(ctx: Ctx) -> None:
    """Raises Refused, Conflict without an amount."""
    policy.require(ctx, actions.BILLING_CHANGE)
    limit = await spend_repository.lock_limit(ctx)
    if limit is None:
        raise Conflict("There is no spend limit.", "Reload the page.")
    await ctx.session.delete(limit)
    audit_log.record(ctx, AuditAction.SPEND_LIMIT_REMOVED, limit.id, before=_describe(limit))
    await _publish(ctx)


async def send_alert(ctx: Ctx) -> None:
    """Once for each share of the amount that is reached. For the job that adds up usage."""
    budget = await budgets.read_budget(ctx.session, ctx.tenant_id)
    if budget is None:
        return
    spent = await _sum_spent(ctx, budget.metered)
    percent = await _find_reached_percent(ctx, budget, spent)
    if not percent:
        return
    limit = await spend_repository.lock_limit(ctx)
    starts_at = budget.metered.starts_at
    if limit is None or (limit.alerted_from == starts_at and limit.alerted_percent >= percent):
        return
    limit.alerted_from, limit.alerted_percent = starts_at, percent
    ctx.session.add(limit)
    audit_log.record(
        ctx,
        AuditAction.SPEND_LIMIT_ALERTED,
        limit.id,
        after={"percent": percent, "spent": money.format_amount(spent, limit.currency)},
        amount=money.format_amount(limit.amount, limit.currency),
        is_cap=limit.is_cap,
    )
    await dunning.notify_contacts(ctx, _build_message(limit, budget, percent=percent, spent=spent))


async def _find_reached_percent(ctx: Ctx, budget: SpendBudget, spent: int) -> int:
    """A cap that has stopped something is used up: what is left of it is too little."""
    reached = max(
        (percent for percent in ALERT_PERCENTS if spent * 100 >= percent * budget.amount), default=0
    )
    if not budget.is_cap or reached == ALERT_PERCENTS[-1]:
        return reached
    stored_counters = await counters.list_counters(ctx, budget.list_keys())
    used = {counter.meter: counter.used for counter in stored_counters}
    has_stopped = any(
        counter.refused_amount is not None and counter.refused_amount >= budget.get_room(counter.meter, used)
        for counter in stored_counters
    )
    return ALERT_PERCENTS[-1] if has_stopped else reached


def _build_message(limit: SpendLimit, budget: SpendBudget, *, percent: int, spent: int) -> DunningMessage:
    amount = money.format_amount(limit.amount, limit.currency)
    until = format_day(budget.metered.ends_at)
    effect = "Nothing is stopped."
    if limit.is_cap:
        is_stopped = percent == ALERT_PERCENTS[-1]
        what = (
            "Usage that would cost more is refused"
            if is_stopped
            else "At the limit, usage that costs more is refused"
        )
        effect = f"{what} until {until}, or until you raise the limit."
    return DunningMessage(
        f"spend_alert_{percent}",
        f"{budget.metered.starts_at:%Y%m%d}:{limit.amount}{limit.currency}",
        f"{percent} % of your spend limit is reached",
        f"Metered use of this billing period costs {money.format_amount(spent, limit.currency)} of {amount}. {effect}",
    )


async def _sum_spent(ctx: Ctx, metered: MeteredPrices, *, is_current: bool = True) -> int:
    used = await counters.sum_used(ctx, list(metered.keys.values()), is_current=is_current)
    return metered.get_cost({meter: used[key.id] for meter, key in metered.keys.items()})


async def _publish(ctx: Ctx) -> None:
    await ctx.session.flush()
    budgets.forget(ctx.tenant_id)
    await live_events.refresh_pages(ctx.session, ctx.tenant_id, "billing")


def _describe(limit: SpendLimit | None) -> dict[str, object]:
    if limit is None:
        return {}
    return {"amount": money.format_amount(limit.amount, limit.currency), "is_cap": limit.is_cap}


class SpendSource:
    """The `metering.allowances.BudgetSource` of billing."""

    async def find_budget(self, tenant_id: str, session: AsyncSession | None) -> Budget | None:
        return await budgets.find_budget(tenant_id, session)

    async def note_counted(self, ctx: Ctx) -> None:
        await send_alert(ctx)


SPEND_SOURCE = SpendSource()
