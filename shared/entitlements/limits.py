"""What plans can bound, alphabetical: the closed list, with unit and over which time it counts.

A version that was published before a limit was added here does not state it, and gives none of it: add the limit, publish
versions that move everybody, and only then let an action ask for it.
"""

from dataclasses import dataclass
from enum import StrEnum

from shared.core import registry
from shared.core.registry import Module

SEAT_LIMIT = "members"


class LimitPeriod(StrEnum):
    TOTAL = "standing"  # how many there are now
    MONTH = "month"  # how many since the first of the month, UTC


@dataclass(frozen=True, slots=True)
class LimitKind:
    key: str
    title: str
    singular: str  # unit, singular
    plural: str
    period: LimitPeriod = LimitPeriod.TOTAL
    step: str = ""  # what to do when it is reached, besides a larger plan


_ALL = (
    LimitKind(
        "api_calls", "API calls", "call", "calls", LimitPeriod.MONTH, "Wait for the first of the month"
    ),
    LimitKind("api_keys", "API keys", "key", "keys", step="Revoke a key"),
    LimitKind("customers", "Customers", "customer", "customers", step="Archive a customer"),
    LimitKind("members", "Members", "seat", "seats", step="Remove a member or revoke an invitation"),
    LimitKind("retention_days", "Days kept", "day", "days"),
    LimitKind("roles", "Custom roles", "role", "roles", step="Delete a role that nobody holds"),
    LimitKind(
        "usage_events",
        "Usage events",
        "event",
        "events",
        LimitPeriod.MONTH,
        "Wait for the first of the month",
    ),
)
LIMITS = {kind.key: kind for kind in _ALL}


@registry.each_module
def _add_limits(module: Module) -> None:
    LIMITS.update({kind.key: kind for kind in module.limits})
