"""The audit log: who did what, when and why."""

from datetime import date, datetime
from typing import Annotated, Any

from fastapi import Query
from pydantic import Field

from shared.access import actions
from shared.access.endpoints import After, ApiCtx, ApiOutput, ApiPage, Endpoint, Limit
from shared.audit import filters
from shared.tenancy import audit_reader
from shared.tenancy.api.parameters import IdText

FilterText = Annotated[str, Query(max_length=filters.MAX_LENGTH)]
Fields = dict[str, Any]  # what the event type records: any JSON


class AuditEvent(ApiOutput):
    id: str = Field(examples=["aud_01jz"])
    at: datetime
    actor_type: str = Field(examples=["user"])
    actor_id: str = Field(examples=["usr_ann"])
    actor_name: str = Field(description="At that time", examples=["Ann"])
    impersonator_id: str = Field(description="Operator who acted for the person, or empty", examples=[""])
    action: str = Field(examples=["membership.role_changed"])
    object_id: str = Field(examples=["mem_01jz"])
    reason: str = Field(examples=[""])
    before: Fields = Field(examples=[{"role": "member"}])
    after: Fields = Field(examples=[{"role": "admin"}])
    details: Fields = Field(examples=[{"member": "Max"}])
    request_id: str = Field(examples=["req_01jz"])


async def list_audit_events(
    ctx: ApiCtx,
    actor: Annotated[FilterText, Query(description="Id, or part of the name")] = "",
    action: Annotated[
        FilterText, Query(description="Event type, or all of a noun, as in `membership.`")
    ] = "",
    object_id: FilterText = "",
    request_id: FilterText = "",
    since: Annotated[date | None, Query(description="First day, in UTC")] = None,
    until: Annotated[date | None, Query(description="Last day, in UTC")] = None,
    after: After = "",
    limit: Limit = 50,
) -> ApiPage[AuditEvent]:
    fields = {
        "actor": actor,
        "action": action,
        "object": object_id,
        "request": request_id,
        "since": str(since or ""),
        "until": str(until or ""),
    }
    page = await audit_reader.list_events(ctx, filters.parse_filter(fields), after=after, limit=limit)
    return ApiPage(
        items=[AuditEvent.model_validate(event) for event in page.rows], next=page.next_cursor or None
    )


async def get_audit_event(ctx: ApiCtx, event_id: IdText) -> AuditEvent:
    return AuditEvent.model_validate(await audit_reader.get_event(ctx, event_id))


ENDPOINTS = [
    Endpoint(
        method="GET",
        path="/audit-events",
        handler=list_audit_events,
        action=actions.AUDIT_READ,
        summary="List events of the audit log, newest first",
    ),
    Endpoint(
        method="GET",
        path="/audit-events/{event_id}",
        handler=get_audit_event,
        action=actions.AUDIT_READ,
        summary="Read an event of the audit log",
    ),
]
