"""What plans can bound, alphabetical: the closed list, with unit and over which time it counts.

A version that was published before a limit was added here does not state it, and gives none of it: add the limit, publish
versions that move everybody, and only then let an action ask for it.
"""

from dataclasses import dataclass
from enum import StrEnum


class Per(StrEnum):
    STANDING = "standing"  # how many there are now
    MONTH = "month"  # how many since the first of the month, UTC


@dataclass(frozen=True, slots=True)
class Kind:
    key: str
    title: str
    one: str  # unit, singular
    many: str
    per: Per = Per.STANDING
    step: str = ""  # what to do when it is reached, besides a larger plan


_ALL = (
    Kind("api_calls", "API calls", "call", "calls", Per.MONTH, "Wait for the first of the month"),
    Kind("api_keys", "API keys", "key", "keys", step="Revoke a key"),
    Kind("customers", "Customers", "customer", "customers", step="Archive a customer"),
    Kind("members", "Members", "seat", "seats", step="Remove a member or revoke an invitation"),
    Kind("retention_days", "Days kept", "day", "days"),
    Kind("roles", "Custom roles", "role", "roles", step="Delete a role that nobody holds"),
    Kind("usage_events", "Usage events", "event", "events", Per.MONTH, "Wait for the first of the month"),
)
LIMITS = {one.key: one for one in _ALL}
