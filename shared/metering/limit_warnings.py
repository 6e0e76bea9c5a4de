"""Tell those who manage billing that 80 % or all of a monthly limit is used: in the app, by mail and as an event.

Once for each of the two in a month; once more after the limit was raised and what is used reaches them again.
"""

from collections.abc import Collection
from decimal import Decimal

from shared.access.meters import METERS
from shared.access.permissions import Permission
from shared.audit import audit_log
from shared.audit.event_types import AuditAction
from shared.core.context import Ctx, Limit
from shared.core.db import now
from shared.core.notification_kinds import NOTICE_TEMPLATE, NotificationKind
from shared.metering import allowances, counter_repository
from shared.metering.counter_keys import CounterKey
from shared.metering.models import UsageCounter
from shared.metering.months import name_month
from shared.tenancy import billing_contacts, notifications

KIND, PAGE = "usage.limit_warning", "usage"
NEARLY_USED, ALL_USED = 80, 100  # percent
USAGE_LIMITS = NotificationKind(
    key="usage_limits",
    title="Usage limits",
    description="When 80 % or all of a monthly limit of your plan is used.",
    permission=Permission.BILLING_WRITE,
    events=(KIND,),
    templates=(NOTICE_TEMPLATE,),
)


async def warn_members(ctx: Ctx, counted: Collection[CounterKey]) -> None:
    """About this month, and about the counters that were just added to. There are no warnings in test mode."""
    if ctx.is_test:
        return
    keys = {key.id: key for key in counted if key.meter in ctx.rights.limits}
    for meter in METERS:
        if meter in ctx.rights.limits and allowances.is_limited(meter):
            key = allowances.build_month_key(meter, now())
            keys[key.id] = key
    month_ids = [
        key.id for key in keys.values() if key.id == allowances.build_month_key(key.meter, key.starts_at).id
    ]
    counters = await counter_repository.list_counters(ctx, month_ids)
    due_ids = [counter.id for counter in counters if _find_due_percent(ctx, counter)]
    for counter in await counter_repository.lock_counters(ctx, due_ids) if due_ids else ():
        if percent := _find_due_percent(ctx, counter):
            await _warn(ctx, counter, percent)


def _find_due_percent(ctx: Ctx, counter: UsageCounter) -> int:
    """80 or 100 where members were not told yet, else 0."""
    limit = ctx.rights.limits[counter.meter]
    if not limit.amount:
        return 0
    reached = _compute_reached_percent(counter, limit)
    is_raised = counter.warned_amount is not None and limit.amount > counter.warned_amount
    return reached if reached > (0 if is_raised else counter.warned_percent) else 0


def _compute_reached_percent(counter: UsageCounter, limit: Limit) -> int:
    """A hard limit that has refused something is used up: what is left of it is too little."""
    assert limit.amount is not None
    used_percent = counter.used * 100 / limit.amount
    if used_percent >= ALL_USED:
        return ALL_USED
    if used_percent < NEARLY_USED:
        return 0
    has_refused = counter.refused_amount is not None and counter.refused_amount >= limit.amount
    return ALL_USED if limit.hard and has_refused else NEARLY_USED


async def _warn(ctx: Ctx, counter: UsageCounter, percent: int) -> None:
    limit, meter = ctx.rights.limits[counter.meter], METERS[counter.meter]
    assert limit.amount is not None
    counter.warned_percent, counter.warned_amount = percent, Decimal(limit.amount)
    ctx.session.add(counter)
    used = f"{counter.used.normalize():,f}"
    audit_log.record(
        ctx,
        AuditAction.USAGE_LIMIT_WARNING,
        counter.id,
        after={"percent": percent, "used": format(counter.used.normalize(), "f"), "allowed": limit.amount},
        meter=counter.meter,
        is_hard=limit.hard,
        resets_at=counter.ends_at.isoformat(),
    )
    what = f"{used} of {limit.amount:,} {meter.plural} are used."
    share = "All" if percent == ALL_USED else f"{percent} %"
    whole = f"this month’s {meter.plural}"
    if counter.ends_at <= now():
        whole = f"the {meter.plural} of {name_month(counter.ends_at)}"
    for person in await billing_contacts.list_contacts(ctx):
        await notifications.add(
            ctx,
            person.id,
            KIND,
            f"{share} of {whole} are used",
            f"{what} {_describe_effect(counter, limit, percent)}".strip(),
            href=PAGE,
            dedupe=f"{KIND}:{counter.id}:{percent}:{limit.amount}",
        )


def _describe_effect(counter: UsageCounter, limit: Limit, percent: int) -> str:
    until = f"{counter.ends_at:%-d %B}"
    if counter.ends_at <= now():
        return "More late ones of that month are refused." if limit.hard and percent == ALL_USED else ""
    if not limit.hard:
        return f"Nothing is blocked. The count starts again on {until}."
    if percent == ALL_USED:
        return f"More are refused until {until}, or until you choose a larger plan in Billing."
    return f"When all are used, more are refused until {until}. You can choose a larger plan in Billing."
