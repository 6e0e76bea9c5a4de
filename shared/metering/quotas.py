"""Limits of metered use: what an event may still use, what was used, and the refusal with these facts.

A hard limit is reserved before an event is recorded. Use of a soft or unlimited one is counted without a lock, so that
events don't wait for each other.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import ROUND_DOWN, Decimal

from sqlmodel.ext.asyncio.session import AsyncSession

from shared.access import refusal_messages
from shared.access.decision import RightsHolder
from shared.access.meters import METERS
from shared.access.refusal_codes import Reason
from shared.core.context import Ctx, Rights
from shared.core.db import now
from shared.core.errors import Refused
from shared.entitlements.limits import LIMITS, LimitUsage
from shared.entitlements.rights_changes import RightsChange
from shared.metering import allowances, counter_repository, event_repository, reservations
from shared.metering.allowances import Allowance, Budget
from shared.metering.event_repository import CounterShare
from shared.metering.items import UsageItem
from shared.metering.months import get_month, name_month
from shared.metering.reservations import Exceeded, Hold

USED_AT_ONCE = ""  # in the place of a reservation: it counts already
UNRESERVED = "-"  # in the place of a reservation: it counts, whatever is left
OTHERS = "*"  # in the place of a counter: all that the caller has no reservation for
MAX_ROUNDS = 3  # of fitting a batch into what is left


@dataclass(frozen=True, slots=True, kw_only=True)
class QuotaFacts:
    """Of a limit that is reached. Quantities are in the unit of the meter."""

    meter: str
    used: Decimal
    allowed: Decimal
    resets_at: datetime
    is_budget: bool  # what may be spent, rather than what the plan includes


class LimitReached(Refused):
    """The facts are fields of the problem, for programs."""

    def __init__(self, facts: QuotaFacts, detail: str, next_step: str, *, action: str) -> None:
        super().__init__(detail, next_step, reason=Reason.LIMIT_REACHED, action=action)
        self.facts = facts

    def problem_details(self, request_id: str) -> dict[str, object]:
        return {
            **super().problem_details(request_id),
            "meter": self.facts.meter,
            "used": format_quantity(self.facts.used),
            "allowed": format_quantity(self.facts.allowed),
            "resets_at": self.facts.resets_at.isoformat(),
        }


@dataclass(slots=True)
class Admission:
    """Which events of a batch may be recorded, and in which counters they count."""

    items: dict[str, UsageItem]
    shares: list[CounterShare] = field(default_factory=list)
    holds: list[Hold] = field(default_factory=list)
    refused: dict[str, QuotaFacts] = field(default_factory=dict)  # by id of the event
    known_ids: set[str] | None = None  # of keys that were used before; None: nobody has asked

    def close(self) -> None:
        for hold in self.holds:
            hold.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class Quota:
    """A monthly limit and what was used of it, for pages and programs. `allowed` None: unlimited."""

    meter: str
    used: Decimal
    allowed: int | None
    is_hard: bool
    resets_at: datetime

    @property
    def percent(self) -> int:
        """Of the limit, rounded down; 0 without one."""
        if self.allowed is None:
            return 0
        return 100 if not self.allowed else int(self.used * 100 // self.allowed)


async def admit(
    ctx: Ctx, item_by_id: Mapping[str, UsageItem], held: Mapping[str, str] | None = None
) -> Admission:
    """Reserve what these events use. Close the admission when they are recorded, or not.

    `held`: reservations by counter (or `OTHERS`) that the caller has for them, `USED_AT_ONCE` or `UNRESERVED`.
    """
    admission, held = Admission(dict(item_by_id)), held or {}
    budget = await allowances.find_budget(ctx.tenant_id, ctx.session)
    ids_by_allowance = _group(ctx.rights, admission.items, budget)
    for counter_id in sorted(ids_by_allowance):
        allowance, ids = ids_by_allowance[counter_id]
        reservation_id = held.get(counter_id, held.get(OTHERS))
        if reservation_id is not None:
            if reservation_id != USED_AT_ONCE:
                _share(admission, ids, allowance, reservation_id.removeprefix(UNRESERVED))
        elif allowance.is_hard:
            await _reserve(ctx, admission, allowance, ids=ids)
        else:
            _share(admission, ids, allowance)
    return admission


def _group(
    rights: Rights, items: Mapping[str, UsageItem], budget: Budget | None
) -> dict[str, tuple[Allowance, list[str]]]:
    """By counter: what it allows, and the ids of the events in it."""
    groups = dict[str, tuple[Allowance, list[str]]]()
    by_meter_and_month = dict[tuple[str, datetime], list[str]]()
    for item_id, item in items.items():
        by_meter_and_month.setdefault((item.meter, get_month(item.occurred_at)), []).append(item_id)
    for (meter, month), ids in by_meter_and_month.items():
        for allowance in allowances.list_allowances(rights, meter, month, budget):
            groups.setdefault(allowance.key.id, (allowance, []))[1].extend(ids)
    return groups


def _share(admission: Admission, ids: Sequence[str], allowance: Allowance, reservation_id: str = "") -> None:
    admission.shares += [
        CounterShare(event_id=item_id, key=allowance.key, reservation_id=reservation_id)
        for item_id in ids
        if item_id in admission.items
    ]


async def _reserve(ctx: Ctx, admission: Admission, allowance: Allowance, *, ids: Sequence[str]) -> None:
    """All of these events, or those in their order that fit. The others are refused."""
    ids = [item_id for item_id in ids if item_id in admission.items]
    quantity = sum((admission.items[item_id].quantity for item_id in ids), Decimal(0))
    if not quantity:
        return
    hold = await reservations.reserve_leased(ctx.tenant_id, allowance, quantity)
    if hold is None:
        ids, hold = await _reserve_fitting(ctx, admission, allowance, ids=ids)
    if hold is not None:
        admission.holds.append(hold)
        _share(admission, ids, allowance, hold.reservation_id)


async def _reserve_fitting(
    ctx: Ctx, admission: Admission, allowance: Allowance, *, ids: Sequence[str]
) -> tuple[list[str], Hold | None]:
    """Events with known keys need nothing: they are not counted again."""
    if admission.known_ids is None:
        admission.known_ids = await event_repository.list_known_keys(ctx, list(admission.items))
    left = [item_id for item_id in ids if item_id not in admission.known_ids]
    for attempt in range(1, MAX_ROUNDS + 1):
        quantity = sum((admission.items[item_id].quantity for item_id in left), Decimal(0))
        if not quantity:
            return left, None
        try:
            return left, await reservations.reserve(ctx.tenant_id, allowance, quantity)
        except Exceeded as exceeded:
            is_last = attempt == MAX_ROUNDS
            fitting = [] if is_last else _list_fitting(admission.items, left, exceeded.room)
            _refuse(admission, set(left) - set(fitting), exceeded)
            left = fitting
    return left, None


def _list_fitting(items: Mapping[str, UsageItem], ids: Sequence[str], room: Decimal) -> list[str]:
    """In their order, what fits. Never all of them: they didn't."""
    fitting = list[str]()
    for item_id in ids:
        if items[item_id].quantity <= room:
            room -= items[item_id].quantity
            fitting.append(item_id)
    return fitting if len(fitting) < len(ids) else fitting[:-1]


def _refuse(admission: Admission, ids: Collection[str], exceeded: Exceeded) -> None:
    facts = build_facts(exceeded)
    for item_id in ids:
        admission.refused[item_id] = facts
        del admission.items[item_id]
    admission.shares = [share for share in admission.shares if share.event_id in admission.items]


def build_facts(exceeded: Exceeded) -> QuotaFacts:
    key = exceeded.allowance.key
    return QuotaFacts(
        meter=key.meter,
        used=exceeded.used,
        allowed=exceeded.allowed,
        resets_at=key.ends_at,
        is_budget=exceeded.allowance.budget is not None,
    )


def build_refusal(principal: RightsHolder, facts: QuotaFacts, *, action: str) -> LimitReached:
    return LimitReached(facts, describe_limit(facts), describe_step(principal, facts), action=action)


def describe_limit(facts: QuotaFacts) -> str:
    meter = METERS[facts.meter]
    if facts.is_budget:
        return (
            f"The spend limit is reached: more {meter.plural} would cost more than your organisation allows."
        )
    if not facts.allowed:
        return f"Your plan doesn’t include {meter.plural}."
    return f"{_show(facts.used)} of {_show(facts.allowed)} {meter.plural} of {name_month(facts.resets_at)} are used."


def describe_step(principal: RightsHolder, facts: QuotaFacts) -> str:
    if facts.is_budget:
        return refusal_messages.spend_limit_step(principal)
    step = refusal_messages.upgrade_step(principal)
    if not facts.allowed or facts.resets_at <= now():
        return step
    return f"Wait until {facts.resets_at:%-d %B}, or {step[:1].lower()}{step[1:]}"


def format_quantity(quantity: Decimal) -> str:
    """Without an exponent and without zeros at its end."""
    return format(quantity.normalize(), "f")


def _show(quantity: Decimal) -> str:
    return f"{quantity.normalize():,f}"


async def list_quotas(ctx: Ctx, meters: Collection[str] = ()) -> list[Quota]:
    """The monthly limits of the plan; all without `meters`. It checks no permission."""
    at = now()
    keys = [
        allowances.build_month_key(meter, at)
        for meter in meters or METERS
        if meter in ctx.rights.limits and allowances.is_limited(meter)
    ]
    used = await counter_repository.sum_used(ctx, keys)
    quotas = list[Quota]()
    for key in keys:
        limit = ctx.rights.limits[key.meter]
        quotas.append(
            Quota(
                meter=key.meter,
                used=used[key.id],
                allowed=limit.amount,
                is_hard=limit.hard,
                resets_at=key.ends_at,
            )
        )
    return quotas


def build_warning(principal: RightsHolder, quota: Quota) -> str:
    """Where more than a soft limit is used; "" elsewhere."""
    if quota.is_hard or quota.allowed is None or quota.used <= quota.allowed:
        return ""
    step = refusal_messages.upgrade_step(principal)
    return (
        f"{_show(quota.used)} {METERS[quota.meter].plural} of this month are used, and your plan includes"
        f" {quota.allowed:,}. Nothing is blocked yet. {step}"
    )


def build_limit_usage(meter: str) -> LimitUsage:
    """How a monthly limit of this meter is counted."""

    async def count_now(ctx: Ctx) -> int:
        (quota,) = await list_quotas(ctx, [meter])
        return _round_down(quota.used)

    async def count_at(ctx: Ctx, at: datetime) -> int:
        return _round_down(await counter_repository.sum_windows(ctx, meter, since=get_month(at), until=at))

    async def count_of_all(session: AsyncSession, at: datetime) -> dict[str, int]:
        quantities = await counter_repository.list_used_of_all(
            session, allowances.build_month_key(meter, at).id
        )
        return {tenant_id: _round_down(quantity) for tenant_id, quantity in quantities.items()}

    async def list_causes(_ctx: Ctx, _since: datetime, _until: datetime) -> Sequence[RightsChange]:
        return ()  # the events are its causes, and the usage page shows them

    return LimitUsage(now=count_now, at=count_at, all_tenants=count_of_all, causes=list_causes)


def _round_down(quantity: Decimal) -> int:
    return int(quantity.to_integral_value(ROUND_DOWN))


def list_limited_meters() -> list[str]:
    return [meter for meter in LIMITS if meter in METERS and allowances.is_limited(meter)]
