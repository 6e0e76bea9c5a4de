"""Public events: what tenants can be told about what happens, by webhook. Manifests declare them, each for one action.

The body of an event is made when it happens, of the declared fields only.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from shared.audit.models import AuditEvent, EventOutbox
from shared.core import registry
from shared.core.ids import new_id
from shared.core.registry import Module

API_VERSION = "2026-12-01"  # of the bodies; a field may be added to a version, never changed or removed


class EventOrder(StrEnum):
    """Whose events are delivered one after another, in the order in which they happened."""

    NONE = "none"
    OBJECT = "object"  # of one object
    TENANT = "tenant"  # of this noun in the organisation


@dataclass(frozen=True, slots=True, kw_only=True)
class EventType:
    name: str  # stored, as "member.removed"
    title: str  # what has happened, as "A member was removed"
    action: str  # of the audit log, that it follows
    permission: str  # that those need who subscribe to it and who read its deliveries
    fields: Mapping[
        str, str
    ]  # name in `data`: where it is in the audit event, as "object_id" or "after.role"
    example: Mapping[str, Any] = field(hash=False)  # `data`
    order: EventOrder = EventOrder.OBJECT

    @property
    def noun(self) -> str:
        return self.name.partition(".")[0]


# By name, alphabetical, and by the action that they follow: the ones of all manifests.
EVENT_TYPES: dict[str, EventType] = {}
_types_by_action: dict[str, EventType] = {}


@registry.each_module
def _add_types(module: Module) -> None:
    """Raises ValueError for a second event of one name or action."""
    for event_type in module.events:
        for declared in (EVENT_TYPES.get(event_type.name), _types_by_action.get(event_type.action)):
            if declared not in (None, event_type):
                raise ValueError(f"two events are called {event_type.name} or follow {event_type.action}")
        EVENT_TYPES[event_type.name] = _types_by_action[event_type.action] = event_type
    in_order = sorted(EVENT_TYPES.items())
    EVENT_TYPES.clear()
    EVENT_TYPES.update(in_order)


def build_event(audit_event: AuditEvent, at: datetime) -> EventOutbox | None:
    """The public event that follows an action; None for an action that no manifest makes public."""
    event_type = _types_by_action.get(audit_event.action)
    if event_type is None:
        return None
    data = {name: _read_field(audit_event, source) for name, source in event_type.fields.items()}
    return build_row(
        audit_event.tenant_id,
        event_type.name,
        at,
        data=data,
        request_id=audit_event.request_id,
        ordering_key=_build_ordering_key(event_type, audit_event.object_id),
    )


def build_row(
    tenant_id: str,
    event_name: str,
    at: datetime,
    *,
    data: Mapping[str, Any],
    request_id: str,
    ordering_key: str = "",
) -> EventOutbox:
    """The event with its body as it is sent, byte for byte."""
    event_id = new_id("evt")
    body = {
        "id": event_id,
        "type": event_name,
        "created_at": at.isoformat(),
        "api_version": API_VERSION,
        "tenant_id": tenant_id,
        "request_id": request_id,
        "data": dict(data),
    }
    return EventOutbox(
        tenant_id=tenant_id,
        id=event_id,
        type=event_name,
        ordering_key=ordering_key,
        body=json.dumps(body, ensure_ascii=False, separators=(",", ":")),
        request_id=request_id,
        created_at=at,
    )


def _build_ordering_key(event_type: EventType, object_id: str) -> str:
    """Events with the same key wait for each other; "" for none."""
    if event_type.order is EventOrder.NONE:
        return ""
    return f"{event_type.noun}:{object_id}" if event_type.order is EventOrder.OBJECT else event_type.noun


def _read_field(
    audit_event: AuditEvent, source: str
) -> Any:  # what the audit event holds: text, number or list
    """None where this event has no such value."""
    if source == "object_id":
        return audit_event.object_id
    part, _, name = source.partition(".")
    values = {"before": audit_event.before, "after": audit_event.after, "details": audit_event.details}
    return values[part].get(name)
