"""The limits of plans, from all manifests, with unit, period and how usage is counted.

A version that was published before a limit was added doesn't contain it and gives 0 of it. So add the limit, publish
versions that move all tenants, and only then let an action use it.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from sqlmodel.ext.asyncio.session import AsyncSession

from shared.access import policy
from shared.access.actions import Action
from shared.core import registry
from shared.core.context import Ctx
from shared.core.registry import Module
from shared.entitlements.rights_changes import RightsChange


class LimitPeriod(StrEnum):
    TOTAL = "standing"  # how many there are now
    MONTH = "month"  # how many since the first of the month, UTC


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitUsage:
    """How the use of one limit is counted, by the module that owns the counted rows. None of these asks for a right."""

    now: Callable[[Ctx], Awaitable[int]]
    at: Callable[[Ctx, datetime], Awaitable[int]]  # at a past time
    all_tenants: Callable[
        [AsyncSession, datetime], Awaitable[Mapping[str, int]]
    ]  # by tenant; 0 may be missing
    # What changed it after the first time, up to and including the second one.
    causes: Callable[[Ctx, datetime, datetime], Awaitable[Sequence[RightsChange]]]


@dataclass(frozen=True, slots=True)
class LimitKind:
    """A module declares its limits in its manifest."""

    key: str
    title: str
    singular: str  # unit, singular
    plural: str
    period: LimitPeriod = LimitPeriod.TOTAL
    step: str = ""  # the next step at the limit, besides a larger plan
    usage: LimitUsage | None = None  # None for ages, and for what is planned
    is_age: bool = False  # how many days something is kept
    is_planned: bool = False  # plans name it, and nothing in the product has any yet
    capped_by_seats: bool = False  # where seats are bought one by one, their number is the most there can be


_WITHOUT_MODULE = (  # an age isn't counted; there are no customers yet, and the module that adds them counts them
    LimitKind("customers", "Customers", "customer", "customers", step="Archive a customer", is_planned=True),
    LimitKind("retention_days", "Data retention", "day", "days", is_age=True),
)
LIMITS = {kind.key: kind for kind in _WITHOUT_MODULE}  # alphabetical


@registry.each_module
def _add_limits(module: Module) -> None:
    kinds = {**LIMITS, **{kind.key: kind for kind in module.limits}}
    LIMITS.clear()
    LIMITS.update(sorted(kinds.items()))


def find_usage(limit: str) -> LimitUsage | None:
    """None for "" and for a limit that nothing counts yet."""
    return LIMITS[limit].usage if limit else None


def list_usages() -> list[tuple[str, LimitUsage]]:
    """Every limit that is counted, with its usage."""
    return [(name, kind.usage) for name, kind in LIMITS.items() if kind.usage is not None]


async def require_below_limit(ctx: Ctx, action: Action) -> None:
    """Count what the tenant uses of the action's limit and ask again with it. Needs a lock on what is counted.

    Raises Refused where nothing is left.
    """
    usage = find_usage(action.limit)
    policy.require(ctx, action, used=await usage.now(ctx) if usage is not None else None)
