"""Write the trail, read it, and prove it whole.

Who may read is decided above (`tenancy.history`); here is how. The database writes number, time and hash of every
row and refuses to change one.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlmodel.ext.asyncio.session import AsyncSession

from shared.audit import repository
from shared.audit.actions import NEED_REASON, AuditAction, OperatorAuditAction
from shared.audit.models import AuditEvent, OperatorEvent, SecurityEvent
from shared.core.ctx import Ctx, OperatorCtx
from shared.core.errors import Invalid
from shared.core.ids import new_id

MOST = 100  # rows of one page
MOST_EXPORTED = 500
BENT = "This row was changed, or the one before it is missing."


@dataclass(frozen=True, slots=True)
class Filter:
    """Empty fields do not filter. `since` is included, `until` is not."""

    actor: str = ""  # id, or part of the name
    action: str = ""  # exact, or "membership." for all of a noun
    object_id: str = ""
    request_id: str = ""
    tenant_id: str = ""  # operators reading across tenants
    since: datetime | None = None
    until: datetime | None = None

    def not_before(self, at: datetime) -> "Filter":
        """The same, of what is not older."""
        since = max(self.since, at) if self.since else at
        return Filter(
            self.actor, self.action, self.object_id, self.request_id, self.tenant_id, since, self.until
        )


@dataclass(frozen=True, slots=True)
class Page:
    """Newest first. `older` is the cursor of the next page, "" on the last one."""

    events: Sequence[AuditEvent]
    older: str = ""


@dataclass(frozen=True, slots=True)
class Verification:
    checked: int
    broken_at: int | None = None  # seq of the first row that is not what was written, or is missing
    what: str = field(default="")

    @property
    def whole(self) -> bool:
        return self.broken_at is None


def record(
    ctx: Ctx,
    action: AuditAction | str,
    object_id: str,
    *,
    before: dict[str, Any] | None = None,
    after: dict[str, Any] | None = None,
    reason: str = "",
    **details: Any,
) -> None:
    """Call it after the change and before the queue: its lock on the tenant's chain lasts until commit.

    Raises ValueError for an action that is not registered, Invalid where a privileged one has no reason.
    """
    known = AuditAction(action)
    if known in NEED_REASON and not reason.strip():
        raise Invalid(
            "This needs a reason.",
            "Say why, in a sentence the customer may read.",
            fields={"reason": "Missing"},
        )
    ctx.session.add(
        AuditEvent(
            tenant_id=ctx.tenant_id,
            actor_type=ctx.actor.type,
            actor_id=ctx.actor.id,
            actor_name=ctx.actor.name,
            impersonator_id=ctx.impersonator_id,
            action=known.value,
            object_id=object_id,
            reason=reason.strip(),
            before=before or {},
            after=after or {},
            details=details,
            request_id=ctx.request_id,
        )
    )


def record_operator(
    octx: OperatorCtx, action: OperatorAuditAction | str, object_id: str, *, reason: str, **details: Any
) -> None:
    """What an operator does outside of every tenant. Raises Invalid without a reason."""
    if not reason.strip():
        raise Invalid("This needs a reason.", "Say why in a sentence.", fields={"reason": "Missing"})
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


async def list_events(ctx: Ctx, wanted: Filter | None = None, *, after: str = "", limit: int = 50) -> Page:
    """One tenant's events. `after` is `Page.older`."""
    limit = min(max(limit, 1), MOST)
    found = await repository.list_events(
        ctx.session, wanted or Filter(), tenant_id=ctx.tenant_id, after=after, limit=limit + 1
    )
    return _page(found, limit)


async def export_events(ctx: Ctx, wanted: Filter, *, after: str = "") -> Page:
    """As `list_events`, in the larger steps of an export."""
    found = await repository.list_events(
        ctx.session, wanted, tenant_id=ctx.tenant_id, after=after, limit=MOST_EXPORTED + 1
    )
    return _page(found, MOST_EXPORTED)


async def list_across(session: AsyncSession, wanted: Filter, *, after: str = "", limit: int = 50) -> Page:
    """Events of all tenants, for a session that has stated its cross-tenant reason (`tenancy.entry.across`)."""
    limit = min(max(limit, 1), MOST)
    found = await repository.list_events(
        session, wanted, tenant_id=wanted.tenant_id, after=after, limit=limit + 1
    )
    return _page(found, limit)


def _page(found: Sequence[AuditEvent], limit: int) -> Page:
    shown = found[:limit]
    return Page(shown, repository.cursor(shown[-1]) if len(found) > limit else "")


async def list_operator_events(
    octx: OperatorCtx, *, after: int | None = None, limit: int = 50
) -> Sequence[OperatorEvent]:
    return await repository.list_operator_events(octx.session, after=after, limit=min(limit, MOST))


async def verify(ctx: Ctx) -> Verification:
    """Recomputes this tenant's chain in the database. A cut-off end shows against the head of the chain."""
    checked, broken, head = await repository.check_chain(ctx.session, ctx.tenant_id)
    if broken is not None:
        return Verification(checked, broken, BENT)
    if head != checked:
        return Verification(checked, checked + 1, "Rows at the end are missing.")
    return Verification(checked)


async def verify_operators(octx: OperatorCtx) -> Verification:
    """The same for the operators' own trail. It has no head kept apart: a cut-off end does not show."""
    checked, broken = await repository.check_operators_chain(octx.session)
    return Verification(checked) if broken is None else Verification(checked, broken, BENT)


async def note_security_event(
    session: AsyncSession, kind: str, actor_id: str, subject: str, request_id: str
) -> None:
    """Counts a refused attempt that honest use never makes. One row per actor, kind and hour."""
    await repository.note_security_event(session, new_id("sec"), kind, actor_id, subject, request_id)


async def list_security_events(
    octx: OperatorCtx, *, since: datetime, limit: int = 50
) -> Sequence[SecurityEvent]:
    return await repository.list_security_events(octx.session, since=since, limit=min(limit, MOST))
