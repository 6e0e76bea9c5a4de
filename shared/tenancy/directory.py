"""Tenants as operators see them: found, looked into with a reason, suspended and restored.

The directory itself (name, state, name of the owner, how far the setting-up is) is read across tenants, which the operators'
trail keeps. What people do inside a tenant is seen by entering it, and that stands in the tenant's own trail.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from shared.access import actions, policy
from shared.audit import trail
from shared.audit.models import OperatorEvent, SecurityEvent
from shared.core import notices
from shared.core.ctx import Ctx, OperatorCtx
from shared.core.db import now
from shared.core.errors import Conflict, Invalid, NotFound
from shared.jobs import board, queue
from shared.tenancy import directory_repository as repository
from shared.tenancy import entry, history, provisioning
from shared.tenancy.directory_rows import Belonging, Listed, Unfinished
from shared.tenancy.models import StepState, TenantState
from shared.tenancy.repository import lock_tenant

MOST = 100  # rows of one page
LONGEST_QUERY = 200
LATELY = timedelta(hours=24)
# Stated reasons of reading across tenants where the page itself is the reason.
FOR_OVERVIEW, FOR_LIST, FOR_PERSON, FOR_ONE, FOR_JOBS = (
    "Overview of the platform",
    "List of tenants",
    "Tenants of a person, by their address",
    "Head of a tenant's page",
    "List of jobs",
)


@dataclass(frozen=True, slots=True)
class Page:
    """`after` is the cursor of the next page, "" on the last one."""

    rows: Sequence[Listed]
    after: str = ""


@dataclass(frozen=True, slots=True)
class MembersPage:
    rows: Sequence[Belonging]
    after: str = ""


@dataclass(frozen=True, slots=True)
class EventsPage:
    """`names`: of the tenants the events are about."""

    page: trail.Page
    names: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Overview:
    by_state: Mapping[TenantState, int]
    unfinished: Sequence[Unfinished]


@dataclass(frozen=True, slots=True)
class Security:
    """Of the last 24 hours."""

    counts: Mapping[str, int]  # attempts by kind
    events: Sequence[SecurityEvent]


@dataclass(frozen=True, slots=True)
class JobsPage:
    counts: Mapping[str, int]
    page: board.Page
    names: Mapping[str, str]


async def overview(octx: OperatorCtx) -> Overview:
    policy.require_operator(octx, actions.OP_HOME_READ)
    async with entry.across(octx, FOR_OVERVIEW) as session:
        return Overview(
            await repository.count_by_state(session),
            await repository.list_unfinished(session, 20),
        )


async def security(octx: OperatorCtx) -> Security:
    policy.require_operator(octx, actions.OP_SECURITY_READ)
    since = now() - LATELY
    return Security(
        await repository.count_security_events(octx.session, since),
        await trail.list_security_events(octx, since=since, limit=20),
    )


async def search(
    octx: OperatorCtx,
    query: str = "",
    state: str = "",
    *,
    sort: str = "name",
    descending: bool = False,
    after: str = "",
    limit: int = 25,
) -> Page:
    """By name, slug or id of a tenant, or by the whole e-mail address of somebody who is or was in it.

    Nobody needs to say why for a list of tenants, so it tells nothing of their people but the owner's name. Where an
    address finds something, the operators' trail keeps the address. Raises Invalid for a state or column that does
    not exist.
    """
    policy.require_operator(octx, actions.OP_TENANT_LIST)
    needle = " ".join(query.split()).lower()
    if len(needle) > LONGEST_QUERY or "\0" in needle:
        raise Invalid(f"A search has at most {LONGEST_QUERY} characters.", "Shorten it.")
    if sort not in repository.SORTS or (state and state not in set(TenantState)):
        raise Invalid("This list cannot be sorted or narrowed like that.", "Reload the page.")
    limit = min(max(limit, 1), MOST)
    async with entry.across(octx, FOR_LIST) as session:
        found = await repository.search(
            session,
            needle,
            TenantState(state) if state else None,
            sort=sort,
            descending=descending,
            after=after,
            limit=limit + 1,
        )
    shown = found[:limit]
    if any(row.matched for row in shown):
        await entry.note_across(octx, FOR_PERSON, query=needle)
    return Page(shown, shown[-1].id if len(found) > limit else "")


async def get(octx: OperatorCtx, tenant_id: str) -> Listed:
    """Raises NotFound."""
    policy.require_operator(octx, actions.OP_TENANT_READ)
    async with entry.across(octx, FOR_ONE) as session:
        found = await repository.get(session, tenant_id)
    if found is None:
        raise NotFound("There is no such tenant.", "Search for it in the list of tenants.")
    return found


async def list_steps(octx: OperatorCtx, tenant_id: str) -> Sequence[provisioning.StepView]:
    """How far the setting-up of a tenant has come."""
    policy.require_operator(octx, actions.OP_TENANT_READ)
    async with entry.across(octx, FOR_ONE) as session:
        return [provisioning.view(row) for row in await repository.list_steps(session, tenant_id)]


async def list_members(
    octx: OperatorCtx, tenant_id: str, reason: str, *, after: str = "", limit: int = 50
) -> MembersPage:
    """Everybody who belongs or belonged to a tenant. Raises Invalid without a reason."""
    policy.require_operator(octx, actions.OP_TENANT_READ)
    limit = min(max(limit, 1), MOST)
    async with entry.visit(octx, tenant_id, reason) as ctx:
        found = await repository.list_members(ctx, after=after, limit=limit + 1)
    shown = found[:limit]
    return MembersPage(shown, shown[-1].id if len(found) > limit else "")


async def list_events(
    octx: OperatorCtx, tenant_id: str, reason: str, *, request_id: str = "", after: str = "", limit: int = 50
) -> trail.Page:
    """The tenant's own trail, as its admins see it. Raises Invalid without a reason.

    `request_id`: only what happened in one request.
    """
    policy.require_operator(octx, actions.OP_TENANT_READ)
    async with entry.visit(octx, tenant_id, reason) as ctx:
        wanted = trail.Filter(request_id=request_id)
        return await trail.list_events(ctx, wanted, after=after, limit=limit)


async def list_all_events(
    octx: OperatorCtx, reason: str, wanted: trail.Filter, *, after: str = "", limit: int = 50
) -> EventsPage:
    """Every tenant's trail, for a stated reason. Raises Invalid without one."""
    page = await history.list_all(octx, reason, wanted, after=after, limit=limit)
    async with entry.across(octx, reason) as session:
        names = await repository.list_names(session, sorted({event.tenant_id for event in page.events}))
    return EventsPage(page, names)


async def list_operator_events(
    octx: OperatorCtx, *, after: int | None = None, limit: int = 50
) -> Sequence[OperatorEvent]:
    """What operators did outside of every tenant, newest first. `after`: number of the row before."""
    policy.require_operator(octx, actions.OP_AUDIT_READ_ALL)
    return await trail.list_operator_events(octx, after=after, limit=limit)


async def verify_operators(octx: OperatorCtx) -> trail.Verification:
    """Whether that trail is still what was written."""
    policy.require_operator(octx, actions.OP_AUDIT_READ_ALL)
    return await trail.verify_operators(octx)


async def suspend(octx: OperatorCtx, tenant_id: str, reason: str) -> None:
    """Nobody can enter it and none of its jobs runs, until it is restored. Nothing is deleted.

    Raises Invalid without a reason, NotFound, Conflict where there is nothing to suspend.
    """
    policy.require_operator(octx, actions.OP_TENANT_SUSPEND)
    async with entry.visit(octx, tenant_id, reason) as ctx:
        tenant = await lock_tenant(ctx)
        if tenant.state in (TenantState.SUSPENDED, TenantState.DELETED):
            raise Conflict(f"{tenant.name} is {tenant.state.value} already.", "Reload the page.")
        before, tenant.state, tenant.state_reason = (
            tenant.state,
            TenantState.SUSPENDED,
            " ".join(reason.split()),
        )
        ctx.session.add(tenant)
        _record(ctx, "tenant.suspended", before, tenant.state, reason)
        await notices.page(ctx.session, tenant_id, "tenant")


async def restore(octx: OperatorCtx, tenant_id: str, reason: str) -> None:
    """To the state it was in before, open if an owner was verified since. Raises Invalid without a reason, NotFound, Conflict."""
    policy.require_operator(octx, actions.OP_TENANT_SUSPEND)
    async with entry.visit(octx, tenant_id, reason) as ctx:
        tenant = await lock_tenant(ctx)
        if tenant.state is not TenantState.SUSPENDED:
            raise Conflict(f"{tenant.name} is not suspended.", "Reload the page.")
        tenant.state, tenant.state_reason = await repository.get_state_before_suspension(ctx), ""
        ctx.session.add(tenant)
        _record(ctx, "tenant.restored", TenantState.SUSPENDED, tenant.state, reason)
        await notices.page(ctx.session, tenant_id, "tenant")
        await queue.wake(ctx)


async def resume(octx: OperatorCtx, tenant_id: str, reason: str) -> None:
    """Runs the setting-up on from the step where it stands. Raises Invalid, NotFound, Conflict."""
    policy.require_operator(octx, actions.OP_TENANT_RESUME)
    async with entry.visit(octx, tenant_id, reason) as ctx:
        if all(row.state is StepState.DONE for row in await repository.list_steps(ctx.session, tenant_id)):
            raise Conflict("Every step is done already.", "There is nothing to run again.")
        if ctx.tenant_state in (TenantState.SUSPENDED, TenantState.DELETED):
            raise Conflict(
                f"{ctx.tenant_name} is {ctx.tenant_state}: its jobs do not run.", "Restore it first."
            )
        await provisioning.resume(ctx, reason)


async def list_jobs(
    octx: OperatorCtx, status: str = "", *, after: int | None = None, limit: int = 50
) -> JobsPage:
    """The queue, newest first. Jobs that succeeded are not kept. Raises Invalid for an unknown status."""
    policy.require_operator(octx, actions.OP_JOB_READ)
    if status and status not in board.STATUSES:
        raise Invalid("There is no such status of a job.", "Choose one from the list.")
    async with entry.across(octx, FOR_JOBS) as session:
        page = await board.list_jobs(session, status, after=after, limit=min(max(limit, 1), MOST))
        tenants = sorted({job.tenant_id for job in page.jobs if job.tenant_id})
        return JobsPage(await board.count(session), page, await repository.list_names(session, tenants))


def _record(ctx: Ctx, action: str, before: TenantState, after: TenantState, reason: str) -> None:
    states = {"before": {"state": before.value}, "after": {"state": after.value}}
    trail.record(ctx, action, ctx.tenant_id, **states, reason=reason)
