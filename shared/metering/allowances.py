"""Which counters an event counts in, and how much each of them allows: of the plan, and of what may be spent.

A monthly limit counts by the calendar month of the event, UTC. A budget counts in its billing period what arrives in it.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Protocol

from sqlmodel.ext.asyncio.session import AsyncSession

from shared.access.meters import METERS, Aggregation
from shared.core import registry
from shared.core.context import Ctx, Rights
from shared.core.registry import Module
from shared.entitlements.limits import LIMITS, LimitPeriod
from shared.metering.counter_keys import CounterKey
from shared.metering.months import get_month, get_next_month


class Budget(Protocol):
    """What may be spent on metered use of a period. Its meters share it."""

    @property
    def is_cap(self) -> bool: ...

    def list_keys(self) -> Collection[CounterKey]:
        """Of the meters that cost something."""

    def get_room(self, meter: str, used: Mapping[str, Decimal]) -> Decimal:
        """How much this meter may have in the period. `used`: by meter, of the others."""


class BudgetSource(Protocol):
    """A module that bills names its source in its manifest."""

    async def find_budget(self, tenant_id: str, session: AsyncSession | None) -> Budget | None:
        """It may be some seconds old. `session`: a transaction of the tenant; None: it opens its own where it needs one."""

    async def note_counted(self, ctx: Ctx) -> None:
        """After use was added to counters, for what has to be told about a budget. In the job that rolls up."""


SOURCES: list[BudgetSource] = []  # of all manifests


@registry.each_module
def _add_sources(module: Module) -> None:
    SOURCES.extend(source for source in module.budget_sources if source not in SOURCES)


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowance:
    """What one counter allows: a number, or what a budget leaves. Neither: it counts and refuses nothing."""

    key: CounterKey
    amount: Decimal | None = None
    is_hard: bool = False
    budget: Budget | None = None


def is_limited(meter: str) -> bool:
    """Whether plans have a monthly limit of it."""
    return (
        meter in LIMITS
        and LIMITS[meter].period is LimitPeriod.MONTH
        and METERS[meter].aggregation is Aggregation.SUM
    )


def build_month_key(meter: str, at: datetime) -> CounterKey:
    month = get_month(at)
    return CounterKey(
        id=f"{meter}:{month:%Y-%m}", meter=meter, starts_at=month, ends_at=get_next_month(month)
    )


def list_allowances(rights: Rights, meter: str, at: datetime, budget: Budget | None) -> list[Allowance]:
    """Of an event of this meter and time."""
    allowances = list[Allowance]()
    limit = rights.limits.get(meter)
    if limit is not None and is_limited(meter):
        amount = Decimal(limit.amount) if limit.amount is not None else None
        is_hard = limit.hard and amount is not None
        allowances.append(Allowance(key=build_month_key(meter, at), amount=amount, is_hard=is_hard))
    if budget is not None:
        allowances += [
            Allowance(key=key, is_hard=budget.is_cap, budget=budget)
            for key in budget.list_keys()
            if key.meter == meter
        ]
    return allowances


async def find_budget(tenant_id: str, session: AsyncSession | None = None) -> Budget | None:
    """Of the first source that has one. `session`: a transaction of the tenant."""
    for source in SOURCES:
        if (budget := await source.find_budget(tenant_id, session)) is not None:
            return budget
    return None
