"""A change of a person's or a tenant's rights, for explaining a decision."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class RightsChange:
    """`object_id` and `action_prefixes` find its audit event; both are empty where there is none."""

    source_id: str  # id of the row
    text: str  # a sentence
    at: datetime
    actor_name: str = ""  # "" for scheduled changes
    reason: str = ""
    object_id: str = ""
    action_prefixes: tuple[str, ...] = ()  # of the audit actions that can belong to it
    ended_early: bool = False  # a row was closed before its planned end, or without one
