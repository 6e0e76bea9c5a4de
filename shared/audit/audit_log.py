"""Record, read and verify the audit log. `tenancy.audit_reader` authorises reading.

The database assigns time and hash of every row, and refuses changes to rows. `audit.sealing` chains the rows.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlmodel.ext.asyncio.session import AsyncSession

from shared.audit import audit_log_repository, public_events
from shared.audit.audit_filter import AuditFilter
from shared.audit.event_types import (
    AUDIT_TEXTS,
    REASON_REQUIRED,
    AuditAction,
    OperatorAuditAction,
)
from shared.audit.models import AuditEvent, OperatorEvent, SecurityEvent
from shared.core.context import Actor, Approval, Ctx, OperatorCtx
from shared.core.db import now
from shared.core.errors import Invalid
from shared.core.ids import new_id
from shared.core.paging import Page, build_page, clamp_limit, map_page

EXPORT_PAGE_SIZE = 500
CHANGED_ROW_TEXT = "This event was changed, or the one before it is missing."


@dataclass(frozen=True, slots=True)
class NumberedEvent:
    event: AuditEvent
    number: int | None  # its place in the hash chain; None until it is sealed


@dataclass(frozen=True, slots=True)
class ChainVerification:
    checked_count: int
    broken_at: int | None = None  # seq of the first changed or missing row
    explanation: str = field(default="")

    @property
    def is_intact(self) -> bool:
        return self.broken_at is None


def record(
    ctx: Ctx,
    action: AuditAction | str,
    object_id: str,
    *,
    before: dict[str, Any] | None = None,
    after: dict[str, Any] | None = None,
    reason: str = "",
    event_id: str = "",
    actor: Actor | None = None,
    **details: Any,
) -> None:
    """Add an event, and the public event that a manifest declares for it. Call it after the change and before the queue.

    `event_id` and `actor`: for a job that records what a person did before.
    Raises ValueError for an action that is in no manifest, Invalid when a privileged action has no reason.
    """
    if action not in AUDIT_TEXTS:
        raise ValueError(f"{action} is in the audit texts of no manifest")
    if action in REASON_REQUIRED and not reason.strip():
        raise Invalid(
            "Enter a reason.",
            "Write one sentence. The customer can read it.",
            fields={"reason": "Missing"},
        )
    actor = actor or ctx.actor
    if ctx.operator_key_id:
        details["operator_key"] = ctx.operator_key_id
    if ctx.impersonation is not None:
        person = ctx.impersonation.person
        details |= {
            "impersonation": ctx.impersonation.id,
            "on_behalf_of": person.id,
            "on_behalf_of_name": person.name,
        }
    details.update(_approval_details(ctx.approval))
    event = AuditEvent(
        id=event_id or new_id("aud"),
        tenant_id=ctx.tenant_id,
        actor_type=actor.type,
        actor_id=actor.id,
        actor_name=actor.name,
        impersonator_id=ctx.impersonator_id,
        action=str(action),
        object_id=object_id,
        reason=reason.strip(),
        before=before or {},
        after=after or {},
        details=details,
        request_id=ctx.request_id,
    )
    ctx.session.add(event)
    if (public_event := public_events.build_event(event, now())) is not None:
        ctx.session.add(public_event)


def record_operator(
    octx: OperatorCtx, action: OperatorAuditAction | str, object_id: str, *, reason: str, **details: Any
) -> None:
    """Add an event to the operator audit log, for actions outside of tenants. Raises Invalid without a reason."""
    if not reason.strip():
        raise Invalid("Enter a reason.", "Write one sentence.", fields={"reason": "Missing"})
    if octx.key_id:
        details["operator_key"] = octx.key_id
    details.update(_approval_details(octx.approval))
    octx.session.add(
        OperatorEvent(
            actor_id=octx.actor.id,
            actor_name=octx.actor.name,
            action=OperatorAuditAction(action).value,
            object_id=object_id,
            reason=reason.strip(),
            details=details,
            request_id=octx.request_id,
        )
    )


def _approval_details(approval: Approval | None) -> dict[str, str]:
    """Who approved it, for the details of an event; {} where none was needed."""
    if approval is None or not approval.id:
        return {}
    return {"approval": approval.id, "approved_by": approval.approved_by}


async def find_event(ctx: Ctx, event_id: str) -> AuditEvent | None:
    """None for an unknown id, and for another tenant's."""
    return await audit_log_repository.find_event(ctx, event_id)


async def list_events(
    ctx: Ctx, criteria: AuditFilter | None = None, *, after: str = "", limit: int = 50
) -> Page[AuditEvent]:
    """Events of the tenant, newest first. `after` is the previous page's `next_cursor`. Raises Invalid."""
    limit = clamp_limit(limit)
    events = await audit_log_repository.list_events(
        ctx.session, criteria or AuditFilter(), tenant_id=ctx.tenant_id, after=after, limit=limit + 1
    )
    return _build_page(events, limit)


async def export_events(ctx: Ctx, criteria: AuditFilter, *, after: str = "") -> Page[NumberedEvent]:
    """As `list_events`, with the larger pages of an export, and the numbers."""
    events = await audit_log_repository.list_events(
        ctx.session, criteria, tenant_id=ctx.tenant_id, after=after, limit=EXPORT_PAGE_SIZE + 1
    )
    page = _build_page(events, EXPORT_PAGE_SIZE)
    numbers = await audit_log_repository.list_numbers(ctx, [event.id for event in page.rows])
    return map_page(page, lambda event: NumberedEvent(event, event.seq or numbers.get(event.id)))


async def count_events(ctx: Ctx, criteria: AuditFilter) -> int:
    """How many events an export has."""
    return await audit_log_repository.count_events(ctx, criteria)


async def list_across_tenants(
    session: AsyncSession, criteria: AuditFilter, *, after: str = "", limit: int = 50
) -> Page[AuditEvent]:
    """Events of all tenants, for a session that has stated its cross-tenant reason (`tenancy.entry.read_across_tenants`)."""
    limit = clamp_limit(limit)
    events = await audit_log_repository.list_events(
        session, criteria, tenant_id=criteria.tenant_id, after=after, limit=limit + 1
    )
    return _build_page(events, limit)


def _build_page(events: Sequence[AuditEvent], limit: int) -> Page[AuditEvent]:
    return build_page(events, limit=limit, cursor_of=audit_log_repository.get_cursor)


async def has_event(ctx: Ctx, event_id: str) -> bool:
    return await audit_log_repository.has_event(ctx.session, ctx.tenant_id, event_id)


async def count_events_of(ctx: Ctx, actor_id: str, account_action: AuditAction, within: timedelta) -> int:
    """How many events of this kind the tenant has recorded about this person lately."""
    return await audit_log_repository.count_events_of(
        ctx, actor_id, action=account_action, since=now() - within
    )


async def count_operator_events_of(
    session: AsyncSession, actor_id: str, action: OperatorAuditAction, within: timedelta
) -> int:
    """As `count_events_of`, in the operator audit log."""
    return await audit_log_repository.count_operator_events_of(
        session, actor_id, action=action, since=now() - within
    )


async def list_operator_events(
    octx: OperatorCtx, criteria: AuditFilter | None = None, *, after: int | None = None, limit: int = 50
) -> Sequence[OperatorEvent]:
    """Up to `limit` events with a number below `after`, newest first. They are of no tenant."""
    return await audit_log_repository.list_operator_events(
        octx.session, criteria or AuditFilter(), after=after, limit=limit
    )


async def verify_operator_chain(octx: OperatorCtx) -> ChainVerification:
    """Recompute the operators' hash chain in the database. It has no stored head, so a deleted end is not detected."""
    row_count, first_broken = await audit_log_repository.check_operator_chain(octx.session)
    return (
        ChainVerification(row_count)
        if first_broken is None
        else ChainVerification(row_count, first_broken, CHANGED_ROW_TEXT)
    )


async def record_security_event(
    session: AsyncSession, kind: str, actor_id: str, subject: str, request_id: str
) -> None:
    """Count a refused attempt that normal use never makes. One row per actor, kind and hour."""
    await audit_log_repository.record_security_event(
        session, new_id("sec"), kind, actor_id, subject, request_id
    )


async def list_security_events(
    octx: OperatorCtx, *, since: datetime, limit: int = 50
) -> Sequence[SecurityEvent]:
    return await audit_log_repository.list_security_events(
        octx.session, since=since, limit=clamp_limit(limit)
    )
