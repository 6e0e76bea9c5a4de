"""Lists as files: asked for once, which the trail keeps, then read step by step, each step asked for anew.

A step is a transaction of its own: a slow reader holds no connection, and who loses the right meanwhile gets no more.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from shared.access import actions, policy
from shared.audit import filters, trail
from shared.core.ctx import Ctx
from shared.core.limits import Limit, hit
from shared.tenancy import history, members, repository, roles

MOST = 10_000  # rows of one file
STEP = 500


async def begin_members(ctx: Ctx, query: str, role: str) -> None:
    """Raises Refused, also for too many exports."""
    policy.require(ctx, actions.MEMBER_EXPORT)
    await hit(Limit.EXPORT_TENANT, ctx.tenant_id)
    named = await roles.said(ctx, role) if role else ""
    trail.record(
        ctx, "member.exported", ctx.tenant_id, **_kept({"search": query.strip(), "role_filter": named})
    )


async def list_members(
    ctx: Ctx, *, query: str, role: str, sort: str, descending: bool, after: str = ""
) -> tuple[Sequence[members.Member], str]:
    """As on the page, in larger steps; `after` is what the step before returned. Raises Invalid."""
    policy.require(ctx, actions.MEMBER_EXPORT, counted=False)
    members.require_sort(sort)
    found = await repository.list_members(
        ctx,
        query=query.strip(),
        role=role,
        sort=sort,
        descending=descending,
        after=after,
        limit=STEP + 1,
    )
    rows = [members.of(membership, user) for membership, user in found[:STEP]]
    return rows, rows[-1].id if len(found) > STEP else ""


async def begin_events(ctx: Ctx, typed: Mapping[str, str]) -> None:
    """`typed`: as `audit.filters` reads it. Raises Refused, Invalid."""
    policy.require(ctx, actions.AUDIT_READ)  # no file of what the page does not show
    policy.require(ctx, actions.AUDIT_EXPORT)
    filters.read(typed)
    await hit(Limit.EXPORT_TENANT, ctx.tenant_id)
    shown = {f"{name}_filter": typed.get(name, "").strip() for name in filters.FIELDS}
    trail.record(ctx, "audit.exported", ctx.tenant_id, **_kept(shown))


async def list_events(ctx: Ctx, wanted: trail.Filter, *, after: str = "") -> trail.Page:
    """As far back as the page shows."""
    policy.require(ctx, actions.AUDIT_READ, counted=False)
    policy.require(ctx, actions.AUDIT_EXPORT, counted=False)
    return await trail.export_events(ctx, history.as_shown(ctx, wanted), after=after)


def _kept(shown: Mapping[str, str]) -> dict[str, Any]:
    return {name: value for name, value in shown.items() if value}
