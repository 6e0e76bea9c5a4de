"""Tenants for operators: search, open with a reason, suspend and restore.

The directory (name, state, owner's name, provisioning progress) is read across tenants, which the operator audit log
records. Activity inside a tenant is read by entering it, which the tenant's own audit log records.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from shared.access import actions, policy
from shared.audit import audit_log
from shared.audit.audit_filter import AuditFilter
from shared.audit.models import AuditEvent, OperatorEvent, SecurityEvent
from shared.backoffice import attention, audit_evidence
from shared.backoffice import tenant_directory_repository as repository
from shared.backoffice.attention import AttentionCounts
from shared.backoffice.attention_kinds import Attention
from shared.backoffice.audit_evidence import ChainAlert
from shared.backoffice.reasons import Reason, use_reason
from shared.backoffice.tenant_directory_rows import (
    DifferingUsage,
    PayingTwice,
    TenantMember,
    TenantSummary,
    UnbilledUsage,
    UnfinishedProvisioning,
)
from shared.core import live_events
from shared.core.context import Ctx, OperatorCtx
from shared.core.db import now
from shared.core.displayed_text import clean_line
from shared.core.errors import Conflict, Invalid, NotFound
from shared.core.paging import (
    Page,
    build_page,
    clamp_limit,
    clean_search_text,
    map_page,
    parse_number_cursor,
)
from shared.identity import factor_resets
from shared.jobs import queue, queue_status
from shared.tenancy import entry, provisioning, tenants
from shared.tenancy.models import StepState, TenantState

RECENT_PERIOD = timedelta(hours=24)
CANCELLATION_PERIOD = timedelta(days=90)
MAX_MESSAGE_LENGTH = 300
# Reasons for reading across tenants where the page itself is the reason.
OVERVIEW_REASON, LIST_REASON, PERSON_SEARCH_REASON, TENANT_REASON, JOBS_REASON = (
    "Overview of the platform",
    "List of tenants",
    "Tenants of a person, by email address",
    "Summary of a tenant",
    "List of jobs",
)


@dataclass(frozen=True, slots=True)
class NamedEvents:
    page: Page[AuditEvent]
    tenant_names: Mapping[str, str]  # by id, of the tenants of these events


@dataclass(frozen=True, slots=True)
class PlatformOverview:
    tenants_by_state: Mapping[TenantState, int]
    unfinished: Sequence[UnfinishedProvisioning]
    failed_jobs: int  # out of retries, until an operator retries or drops them
    waiting_resets: int  # requests to remove a lost second factor, without an answer
    paying_twice: Sequence[PayingTwice]  # those whose access changed longest ago first
    unbilled_usage: Sequence[UnbilledUsage]  # by tenant and problem, the oldest first
    differing_usage: Sequence[DifferingUsage]  # whose aggregates differ from their events
    chain_alerts: Sequence[ChainAlert]
    cancellation_counts: Mapping[str, int]  # by feedback, of CANCELLATION_PERIOD, the most frequent first
    attention: AttentionCounts


@dataclass(frozen=True, slots=True)
class SecurityOverview:
    """Security events of the last 24 hours."""

    counts: Mapping[str, int]  # attempts by kind
    events: Sequence[SecurityEvent]


@dataclass(frozen=True, slots=True)
class JobOverview:
    counts: Mapping[str, int]  # by status, of the whole queue
    page: Page[queue_status.QueuedJob]
    tenant_names: Mapping[str, str]  # by id, of the tenants of these jobs


async def get_overview(octx: OperatorCtx) -> PlatformOverview:
    policy.require_operator(octx, actions.OP_HOME_READ)
    async with entry.read_across_tenants(octx, OVERVIEW_REASON) as session:
        return PlatformOverview(
            tenants_by_state=await repository.count_by_state(session),
            unfinished=await repository.list_unfinished_provisioning(session, 20),
            failed_jobs=(await queue_status.count_by_status(session))["failed"],
            waiting_resets=await factor_resets.count_waiting(session),
            paying_twice=await repository.list_paying_twice(session, 20),
            unbilled_usage=await repository.list_unbilled_usage(session, 20),
            differing_usage=await repository.list_differing_usage(session, 20),
            chain_alerts=await audit_evidence.list_alerts(session),
            cancellation_counts=await repository.count_cancellations(session, now() - CANCELLATION_PERIOD),
            attention=await attention.count(session, now()),
        )


async def get_security_overview(octx: OperatorCtx) -> SecurityOverview:
    policy.require_operator(octx, actions.OP_SECURITY_READ)
    since = now() - RECENT_PERIOD
    return SecurityOverview(
        await repository.count_security_events(octx.session, since),
        await audit_log.list_security_events(octx, since=since, limit=20),
    )


async def search_tenants(
    octx: OperatorCtx,
    query: str = "",
    state: str = "",
    *,
    needing: str = "",
    sort: str = "name",
    descending: bool = False,
    after: str = "",
    limit: int = 25,
) -> Page[TenantSummary]:
    """Finds tenants by name, slug or id, or by the full email address of a current or former member.

    `needing`: only those that need this attention. Also by the id of a customer, subscription or invoice at the provider, the number of an invoice, a request, a decision,
    and the beginning of an API key.

    The list needs no reason, so it shows no person but the owner. A match by email address is recorded in the operator
    audit log with the address. Raises Invalid for a state or column that doesn't exist.
    """
    policy.require_operator(octx, actions.OP_TENANT_LIST)
    search_text = " ".join(clean_search_text(query).split())
    is_known = (not state or state in set(TenantState)) and (not needing or needing in set(Attention))
    if sort not in repository.SORT_COLUMNS or not is_known:
        raise Invalid("This list can’t be sorted or filtered like that.", "Reload the page.")
    limit = clamp_limit(limit)
    async with entry.read_across_tenants(octx, LIST_REASON) as session:
        summaries = await repository.search_tenants(
            session,
            search_text,
            TenantState(state) if state else None,
            await attention.build_condition(session, Attention(needing), now()) if needing else None,
            sort=sort,
            descending=descending,
            after=after,
            limit=limit + 1,
        )
    page = map_page(build_page(summaries, limit=limit, cursor_of=lambda row: row[1]), lambda row: row[0])
    if repository.is_email_address(search_text) and any(tenant.matched_by for tenant in page.rows):
        await entry.record_cross_tenant_read(octx, PERSON_SEARCH_REASON, query=search_text.lower())
    return page


async def get_tenant(octx: OperatorCtx, tenant_id: str, reason: Reason | None = None) -> TenantSummary:
    """`reason`: where one was stated, instead of that of the page. Raises Invalid, NotFound."""
    policy.require_operator(octx, actions.OP_TENANT_READ)
    reason_text = use_reason(octx, reason, tenant_id) if reason else TENANT_REASON
    async with entry.read_across_tenants(octx, reason_text) as session:
        tenant = await repository.get_tenant(session, tenant_id)
    if tenant is None:
        raise NotFound("This tenant doesn’t exist.", "Search for it in the list of tenants.")
    return tenant


async def list_provisioning_steps(octx: OperatorCtx, tenant_id: str) -> Sequence[provisioning.StepView]:
    """The provisioning steps of a tenant. Raises NotFound."""
    policy.require_operator(octx, actions.OP_TENANT_READ)
    async with entry.read_across_tenants(octx, TENANT_REASON) as session:
        return [
            provisioning.build_step_view(row)
            for row in await repository.list_provisioning_steps(session, tenant_id)
        ]


async def list_members(
    octx: OperatorCtx, tenant_id: str, reason: Reason, *, after: str = "", limit: int = 50
) -> Page[TenantMember]:
    """Current and former members of a tenant. Raises Invalid without a reason."""
    policy.require_operator(octx, actions.OP_TENANT_READ)
    reason_text = use_reason(octx, reason, tenant_id)
    limit = clamp_limit(limit)
    async with entry.enter_as_operator(octx, tenant_id, reason_text) as ctx:
        members = await repository.list_members(ctx, after=after, limit=limit + 1)
    return map_page(build_page(members, limit=limit, cursor_of=lambda row: row[1]), lambda row: row[0])


async def list_events(
    octx: OperatorCtx,
    tenant_id: str,
    reason: Reason,
    *,
    request_id: str = "",
    after: str = "",
    limit: int = 50,
) -> Page[AuditEvent]:
    """The tenant's audit log, as its admins see it. Raises Invalid without a reason.

    `request_id`: only what happened in one request.
    """
    policy.require_operator(octx, actions.OP_TENANT_READ)
    reason_text = use_reason(octx, reason, tenant_id)
    async with entry.enter_as_operator(octx, tenant_id, reason_text) as ctx:
        event_filter = AuditFilter(request_id=request_id)
        return await audit_log.list_events(ctx, event_filter, after=after, limit=limit)


async def list_all_events(
    octx: OperatorCtx,
    reason: Reason,
    event_filter: AuditFilter,
    *,
    after: str = "",
    limit: int = 50,
) -> NamedEvents:
    """Events of all tenants; the reason is recorded in the operator audit log. Raises Invalid without one."""
    policy.require_operator(octx, actions.OP_AUDIT_READ_ALL)
    reason_text = use_reason(octx, reason)
    async with entry.read_across_tenants(octx, reason_text) as session:
        page = await audit_log.list_across_tenants(session, event_filter, after=after, limit=limit)
        names = await repository.list_tenant_names(session, sorted({event.tenant_id for event in page.rows}))
    return NamedEvents(page, names)


async def list_operator_events(
    octx: OperatorCtx,
    event_filter: AuditFilter | None = None,
    *,
    after: str = "",
    limit: int = 50,
) -> Page[OperatorEvent]:
    """What operators did outside of every tenant, newest first. Raises Invalid for a page that does not exist."""
    policy.require_operator(octx, actions.OP_AUDIT_READ_ALL)
    limit = clamp_limit(limit)
    events = await audit_log.list_operator_events(
        octx, event_filter, after=parse_number_cursor(after), limit=limit + 1
    )
    return build_page(events, limit=limit, cursor_of=lambda event: str(event.seq))


async def verify_operator_log(octx: OperatorCtx) -> audit_log.ChainVerification:
    """Verifies the hash chain of the operator audit log."""
    policy.require_operator(octx, actions.OP_AUDIT_READ_ALL)
    return await audit_log.verify_operator_chain(octx)


async def suspend_tenant(octx: OperatorCtx, tenant_id: str, reason: Reason, *, message: str = "") -> None:
    """Blocks the tenant's members and jobs until it is restored. No data is deleted.

    `message`: what its members read meanwhile; the reason is recorded in the audit log.
    Raises Invalid without a reason, NotFound, Conflict where there is nothing to suspend.
    """
    policy.require_operator(octx, actions.OP_TENANT_SUSPEND)
    reason_text = use_reason(octx, reason, tenant_id)
    message = clean_line(
        message, noun="message", missing="", max_length=MAX_MESSAGE_LENGTH, fields=("message",)
    )
    async with entry.enter_as_operator(octx, tenant_id, reason_text) as ctx:
        tenant = await tenants.lock(ctx)
        if tenant.state in (TenantState.SUSPENDED, TenantState.DELETED):
            raise Conflict(f"{tenant.name} is already {tenant.state.value}.", "Reload the page.")
        before, tenant.state, tenant.state_reason = (
            tenant.state,
            TenantState.SUSPENDED,
            reason_text,
        )
        tenant.suspension_message = message
        ctx.session.add(tenant)
        _record_state_change(ctx, "tenant.suspended", before, tenant.state, reason_text, message)
        await live_events.refresh_pages(ctx.session, tenant_id, "tenant")


async def restore_tenant(octx: OperatorCtx, tenant_id: str, reason: Reason) -> None:
    """Restores the state before the suspension, or active if an owner was verified since.

    Raises Invalid without a reason, NotFound, Conflict.
    """
    policy.require_operator(octx, actions.OP_TENANT_SUSPEND)
    reason_text = use_reason(octx, reason, tenant_id)
    async with entry.enter_as_operator(octx, tenant_id, reason_text) as ctx:
        tenant = await tenants.lock(ctx)
        if tenant.state is not TenantState.SUSPENDED:
            raise Conflict(f"{tenant.name} isn’t suspended.", "Reload the page.")
        tenant.state, tenant.state_reason = await repository.get_state_before_suspension(ctx), ""
        tenant.suspension_message = ""
        ctx.session.add(tenant)
        _record_state_change(ctx, "tenant.restored", TenantState.SUSPENDED, tenant.state, reason_text)
        await live_events.refresh_pages(ctx.session, tenant_id, "tenant")
        await queue.wake_jobs(ctx)


async def resume_provisioning(octx: OperatorCtx, tenant_id: str, reason: Reason) -> None:
    """Retries provisioning from the failed step. Raises Invalid, NotFound, Conflict."""
    policy.require_operator(octx, actions.OP_TENANT_RESUME)
    reason_text = use_reason(octx, reason, tenant_id)
    async with entry.enter_as_operator(octx, tenant_id, reason_text) as ctx:
        if all(
            row.state is StepState.DONE
            for row in await repository.list_provisioning_steps(ctx.session, tenant_id)
        ):
            raise Conflict("All steps are done.", "There is nothing to retry.")
        if ctx.tenant_state in (TenantState.SUSPENDED, TenantState.DELETED):
            raise Conflict(
                f"{ctx.tenant_name} is {ctx.tenant_state}, so its jobs don’t run.", "Restore it first."
            )
        await provisioning.resume(ctx, reason_text)


async def list_jobs(octx: OperatorCtx, status: str = "", *, after: str = "", limit: int = 50) -> JobOverview:
    """The queue, newest first. Jobs that succeeded are not kept. Raises Invalid for an unknown status."""
    policy.require_operator(octx, actions.OP_JOB_READ)
    if status and status not in queue_status.STATUSES:
        raise Invalid("This job status doesn’t exist.", "Choose one from the list.")
    async with entry.read_across_tenants(octx, JOBS_REASON) as session:
        page = await queue_status.list_jobs(session, status, after=after, limit=clamp_limit(limit))
        tenants = sorted({job.tenant_id for job in page.rows if job.tenant_id})
        return JobOverview(
            await queue_status.count_by_status(session),
            page,
            await repository.list_tenant_names(session, tenants),
        )


def _record_state_change(
    ctx: Ctx, action: str, before: TenantState, after: TenantState, reason: str, message: str = ""
) -> None:
    details: dict[str, Any] = {"message": message} if message else {}
    audit_log.record(
        ctx,
        action,
        ctx.tenant_id,
        before={"state": before.value},
        after={"state": after.value},
        reason=reason,
        **details,
    )
