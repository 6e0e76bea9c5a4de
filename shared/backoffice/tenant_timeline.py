"""The timeline of a tenant: sign-up, provisioning, use, usage, bills, support, in the order in which they happened.

Each entry is a fact with its evidence: an event of the audit log, a month of usage, what was reported to the payment
provider, or an invoice.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from shared.access import actions, policy
from shared.audit.models import AuditEvent
from shared.backoffice import tenant_timeline_repository as repository
from shared.backoffice.reasons import Reason, use_reason
from shared.backoffice.tenant_timeline_rows import DailyEmission
from shared.billing.models import BillingInvoice
from shared.core.context import Ctx, OperatorCtx
from shared.core.errors import Invalid
from shared.core.paging import Page, build_page, clamp_limit, encode_cursor
from shared.metering.models import UsageWindow
from shared.tenancy import entry

Evidence = AuditEvent | UsageWindow | DailyEmission | BillingInvoice


class Stage(StrEnum):
    SIGN_UP = "sign_up"
    PROVISIONING = "provisioning"
    USE = "use"
    USAGE = "usage"
    BILLING = "billing"
    SUPPORT = "support"


# Beginnings of actions in the audit log. All others are use.
PREFIXES = {
    Stage.SIGN_UP: ("tenant.created", "tenant.verified"),
    Stage.PROVISIONING: ("provisioning.",),
    Stage.USAGE: ("usage", "meter."),
    Stage.BILLING: ("addon.", "billing.", "plan.", "trait."),
    Stage.SUPPORT: (
        *("flag.", "impersonation.", "operator.", "override."),
        *("tenant.deleted", "tenant.deletion_", "tenant.restored", "tenant.suspended"),
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class TimelineEntry:
    at: datetime
    id: str
    stage: Stage
    evidence: Evidence


async def list_timeline(
    octx: OperatorCtx, tenant_id: str, reason: Reason, *, stage: str = "", after: str = "", limit: int = 50
) -> Page[TimelineEntry]:
    """Newest first. `stage`: one of `Stage`, "" for all. Raises Invalid, NotFound."""
    policy.require_operator(octx, actions.OP_TENANT_READ)
    reason_text = use_reason(octx, reason, tenant_id)
    if stage and stage not in set(Stage):
        raise Invalid("This stage doesn’t exist.", "Choose one from the list.")
    limit = clamp_limit(limit)
    async with entry.enter_as_operator(octx, tenant_id, reason_text) as ctx:
        entries = [
            timeline_entry
            for read in _choose_sources(Stage(stage) if stage else None)
            for timeline_entry in await read(ctx, after, limit + 1)
        ]
    entries.sort(key=lambda timeline_entry: (timeline_entry.at, timeline_entry.id), reverse=True)
    return build_page(
        entries[: limit + 1],
        limit=limit,
        cursor_of=lambda timeline_entry: encode_cursor(timeline_entry.at, timeline_entry.id),
    )


ReadEntries = Callable[[Ctx, str, int], Awaitable[list[TimelineEntry]]]


def _choose_sources(stage: Stage | None) -> Sequence[ReadEntries]:
    """All for None."""
    sources: list[ReadEntries] = [_event_reader(stage)]
    if stage in (None, Stage.USAGE):
        sources.append(_read_months)
    if stage in (None, Stage.BILLING):
        sources += [_read_emissions, _read_invoices]
    return sources


def _event_reader(stage: Stage | None) -> ReadEntries:
    """Of one stage, of all for None. Use has what no other stage has."""
    all_prefixes = tuple(prefix for stage_prefixes in PREFIXES.values() for prefix in stage_prefixes)
    prefixes = () if stage is None else PREFIXES.get(stage, all_prefixes)

    async def read(ctx: Ctx, after: str, limit: int) -> list[TimelineEntry]:
        events = await repository.list_events(
            ctx, prefixes, excluded=stage in (None, Stage.USE), after=after, limit=limit
        )
        return [
            TimelineEntry(at=event.at, id=event.id, stage=find_stage(event.action), evidence=event)
            for event in events
            if event.at is not None
        ]

    return read


async def _read_months(ctx: Ctx, after: str, limit: int) -> list[TimelineEntry]:
    return [
        TimelineEntry(at=month.computed_at, id=month.id, stage=Stage.USAGE, evidence=month)
        for month in await repository.list_months(ctx, after=after, limit=limit)
    ]


async def _read_emissions(ctx: Ctx, after: str, limit: int) -> list[TimelineEntry]:
    return [
        TimelineEntry(at=emission.at, id=emission.id, stage=Stage.BILLING, evidence=emission)
        for emission in await repository.list_emissions(ctx, after=after, limit=limit)
    ]


async def _read_invoices(ctx: Ctx, after: str, limit: int) -> list[TimelineEntry]:
    return [
        TimelineEntry(at=invoice.created_at, id=invoice.id, stage=Stage.BILLING, evidence=invoice)
        for invoice in await repository.list_invoices(ctx, after=after, limit=limit)
    ]


def find_stage(action: str) -> Stage:
    return next((stage for stage, prefixes in PREFIXES.items() if action.startswith(prefixes)), Stage.USE)
