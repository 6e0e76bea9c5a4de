"""Support access as the organisation sees it: which operator acted for whom, why, and what was seen.

Owners decide whether their consent is needed, answer requests, and end what runs.
"""

from dataclasses import dataclass

from shared.access import actions, policy
from shared.audit import audit_log
from shared.core.context import Ctx
from shared.core.db import now
from shared.core.errors import Conflict
from shared.core.paging import Page
from shared.core.versions import advance_version
from shared.tenancy import impersonations, tenant_repository
from shared.tenancy.impersonations import ImpersonationView, Phase, Transcript
from shared.tenancy.models import Consent, ImpersonationEnd, ImpersonationRow


@dataclass(frozen=True, slots=True, kw_only=True)
class SupportAccessView:
    needs_consent: bool  # of an owner, before an operator acts for a member
    sessions: Page[ImpersonationView]


async def view_support_access(ctx: Ctx, *, after: str = "", limit: int = 50) -> SupportAccessView:
    """Newest first. Raises Invalid for an unknown page."""
    policy.require(ctx, actions.SUPPORT_ACCESS_READ)
    sessions = await impersonations.list_page(ctx, after=after, limit=limit)
    return SupportAccessView(needs_consent=await impersonations.is_consent_needed(ctx), sessions=sessions)


async def get_transcript(ctx: Ctx, impersonation_id: str) -> Transcript:
    """Raises NotFound."""
    policy.require(ctx, actions.SUPPORT_ACCESS_READ)
    return await impersonations.build_transcript(ctx, impersonation_id)


async def set_consent_needed(ctx: Ctx, is_needed: bool) -> None:
    """Whether an owner has to agree before an operator acts for a member. Running ones go on."""
    policy.require(ctx, actions.SUPPORT_ACCESS_DECIDE)
    settings = await tenant_repository.lock_settings(ctx)
    if settings.support_consent == is_needed:
        return
    before, settings.support_consent, settings.changed_at = settings.support_consent, is_needed, now()
    advance_version(settings, ctx.actor.name)
    ctx.session.add(settings)
    audit_log.record(
        ctx,
        "impersonation.consent_set",
        ctx.tenant_id,
        before={"needs_consent": before},
        after={"needs_consent": is_needed},
    )
    await impersonations.publish_change(ctx)


async def approve(ctx: Ctx, impersonation_id: str) -> None:
    """The operator may begin within 24 hours of the request. Raises NotFound, Conflict for one that waits no more."""
    policy.require(ctx, actions.SUPPORT_ACCESS_DECIDE)
    row = await _lock_waiting(ctx, impersonation_id)
    _decide(ctx, row, Consent.GIVEN)
    impersonations.record(ctx, "impersonation.approved", row)
    await impersonations.publish_change(ctx)


async def decline(ctx: Ctx, impersonation_id: str) -> None:
    """Raises as `approve`."""
    policy.require(ctx, actions.SUPPORT_ACCESS_DECIDE)
    row = await _lock_waiting(ctx, impersonation_id)
    _decide(ctx, row, Consent.DECLINED)
    impersonations.record(ctx, "impersonation.declined", row)
    await impersonations.publish_change(ctx)


async def end(ctx: Ctx, impersonation_id: str) -> None:
    """End one that runs or could begin. Raises NotFound."""
    policy.require(ctx, actions.SUPPORT_ACCESS_DECIDE)
    row = await impersonations.lock(ctx, impersonation_id)
    await impersonations.end(ctx, row, ImpersonationEnd.OWNER)


async def _lock_waiting(ctx: Ctx, impersonation_id: str) -> ImpersonationRow:
    """Raises NotFound, Conflict."""
    row = await impersonations.lock(ctx, impersonation_id)
    if impersonations.find_phase(row) is not Phase.WAITING:
        raise Conflict("This request was already answered, or has expired.", "Reload the page.")
    return row


def _decide(ctx: Ctx, row: ImpersonationRow, consent: Consent) -> None:
    row.consent, row.decided_at = consent, now()
    row.decided_by, row.decided_by_name = ctx.holder_id, ctx.actor.name
    ctx.session.add(row)
