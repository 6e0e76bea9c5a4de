"""Placeholder of the catalogue: plan names and their one limit, until plans are versioned and sold."""

from collections.abc import Mapping
from types import MappingProxyType

FIRST_PLAN = "free"
NAMES = {
    "free": "Free",
    "starter": "Starter",
    "pro": "Pro",
    "business": "Business",
    "enterprise": "Enterprise",
}
_MEMBERS: dict[str, int | None] = {"free": 5, "starter": 10, "pro": 25, "business": 100, "enterprise": None}
_LIMITS: dict[str, Mapping[str, int | None]] = {
    plan: MappingProxyType({"members": members}) for plan, members in _MEMBERS.items()
}


def limits(plan: str) -> Mapping[str, int | None]:
    """Shared between all tenants of a plan; None is unlimited. An unknown plan has the limits of the first one."""
    return _LIMITS.get(plan, _LIMITS[FIRST_PLAN])
