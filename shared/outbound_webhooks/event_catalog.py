"""The events that a tenant can subscribe to, and who may."""

from collections.abc import Collection
from dataclasses import dataclass

from shared.access import policy
from shared.audit.public_events import EVENT_TYPES, EventType
from shared.core.context import Ctx
from shared.core.errors import Invalid, Refused

TEST_EVENT = "webhook.test"  # sent by a button, to one endpoint
MAX_EVENT_TYPES = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogEntry:
    event_type: EventType
    is_readable: bool  # the actor has the permission that it needs


def build_catalog(ctx: Ctx) -> list[CatalogEntry]:
    """Alphabetical."""
    return [
        CatalogEntry(event_type=event_type, is_readable=policy.has_permissions(ctx, [event_type.permission]))
        for event_type in EVENT_TYPES.values()
    ]


def can_read(ctx: Ctx, event_types: Collection[str]) -> bool:
    """Whether the actor may know what these events tell. Names that are in no manifest any more tell nothing."""
    declared = [EVENT_TYPES[name] for name in event_types if name in EVENT_TYPES]
    return policy.has_permissions(ctx, [event_type.permission for event_type in declared])


def require_readable(ctx: Ctx, event_types: Collection[str]) -> None:
    """Raises Refused where the actor lacks the permission of one of the events."""
    missing = [
        event_type.title
        for name, event_type in EVENT_TYPES.items()
        if name in event_types and not policy.has_permissions(ctx, [event_type.permission])
    ]
    if missing:
        raise Refused(
            f"You don’t have permission to receive “{missing[0]}”.",
            "Choose other events, or ask an owner to do it.",
        )


def clean_event_types(event_types: Collection[str]) -> list[str]:
    """Alphabetical. Raises Invalid for none, for too many and for one that doesn't exist."""
    names = sorted(set(event_types))
    problem = ""
    if not names:
        problem = "Choose at least one event."
    elif len(names) > MAX_EVENT_TYPES or not EVENT_TYPES.keys() >= set(names):
        problem = "One of these events doesn’t exist."
    if problem:
        raise Invalid(problem, "Choose from the list of events.", fields={"event_types": problem})
    return names
