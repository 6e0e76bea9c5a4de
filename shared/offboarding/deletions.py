"""The deletion of an organisation: an owner or operator schedules it, and can cancel it until the grace period is over.

Until then everything works, but nothing more can be bought. Afterwards every entry is refused, its jobs stop, and its data
is queued for erasure. A subscription has to end before, so that no customer pays for what is deleted.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlmodel.ext.asyncio.session import AsyncSession

from shared.access import policy
from shared.audit import audit_log
from shared.billing.subscriptions import subscriptions
from shared.core import live_events
from shared.core.context import Ctx
from shared.core.db import now
from shared.core.errors import Conflict, Invalid
from shared.core.stated_reason import clean_stated_reason
from shared.offboarding import deletion_notices
from shared.offboarding import deletion_repository as repository
from shared.offboarding.actions import DELETION_READ, DELETION_WRITE
from shared.offboarding.models import TenantDeletion
from shared.tenancy import tenants
from shared.tenancy.models import Tenant, TenantState

GRACE_DAYS = 30
MIN_GRACE_DAYS, MAX_GRACE_DAYS = 7, 90  # that operators can choose


@dataclass(frozen=True, slots=True, kw_only=True)
class DeletionView:
    delete_at: datetime
    requested_at: datetime
    requested_by: str
    by_operator: bool
    reason: str
    is_held: bool  # it was due, and a subscription is still charged


async def list_unfinished(session: AsyncSession, limit: int) -> Sequence[tuple[TenantDeletion, Tenant]]:
    """For operators, who have checked the permission: also those whose data isn't erased, the first due first."""
    return await repository.list_unfinished(session, limit)


async def get(ctx: Ctx) -> DeletionView | None:
    """The scheduled deletion; None without one."""
    policy.require(ctx, DELETION_READ)
    deletion = await repository.find_open_deletion(ctx)
    return build_view(deletion) if deletion else None


async def schedule(ctx: Ctx, reason: str, confirm: str) -> DeletionView:
    """`confirm`: the name of the organisation. Raises Invalid, Conflict while a subscription is charged beyond it."""
    policy.require(ctx, DELETION_WRITE)
    if confirm.strip() != ctx.tenant_name:
        problem = f"Enter “{ctx.tenant_name}” to confirm."
        raise Invalid("The name doesn’t match.", problem, fields={"confirm": problem})
    reason = clean_stated_reason(reason)
    return build_view(await add(ctx, reason, delete_at=now() + timedelta(days=GRACE_DAYS), by_operator=False))


async def cancel(ctx: Ctx) -> None:
    """Raises Conflict without a scheduled deletion, and for one that operators have scheduled."""
    policy.require(ctx, DELETION_WRITE)
    await tenants.lock(ctx)
    deletion = await require_scheduled(ctx)
    if deletion.by_operator:
        raise Conflict("Our support team scheduled this deletion.", "Contact support to cancel it.")
    await end(ctx, deletion)


async def add(ctx: Ctx, reason: str, *, delete_at: datetime, by_operator: bool) -> TenantDeletion:
    """For services that have checked the permission. Raises Conflict."""
    tenant = await tenants.lock(ctx)
    if await repository.find_open_deletion(ctx) is not None:
        raise Conflict(f"{tenant.name} is already scheduled for deletion.", "Reload the page.")
    if await _is_charged_after(ctx, delete_at):
        raise Conflict(
            "A subscription would be charged after the deletion.",
            "Cancel the subscription first, and choose a day after its end.",
            reason="subscription_active",
        )
    deletion = TenantDeletion(
        tenant_id=ctx.tenant_id,
        reason=reason,
        requested_by=ctx.actor.name,
        by_operator=by_operator,
        delete_at=delete_at,
    )
    tenant.deletion_at = delete_at
    ctx.session.add_all([deletion, tenant])
    audit_log.record(
        ctx,
        "tenant.deletion_scheduled",
        ctx.tenant_id,
        after={"delete_at": delete_at.isoformat()},
        reason=reason,
    )
    await deletion_notices.notify_owners(ctx, deletion)
    await tenants.publish_change(ctx)
    return deletion


async def end(ctx: Ctx, deletion: TenantDeletion, reason: str = "") -> None:
    """Cancel it. For services that have checked the permission and locked the tenant."""
    tenant = await tenants.lock(ctx)
    deletion.canceled_at, deletion.canceled_by, tenant.deletion_at = now(), ctx.actor.name, None
    ctx.session.add_all([deletion, tenant])
    audit_log.record(
        ctx,
        "tenant.deletion_canceled",
        ctx.tenant_id,
        before={"delete_at": deletion.delete_at.isoformat()},
        reason=reason,
    )
    await deletion_notices.notify_owners(ctx, deletion)
    await tenants.publish_change(ctx)


async def require_scheduled(ctx: Ctx) -> TenantDeletion:
    """Raises Conflict where none is scheduled, or the grace period is over."""
    deletion = await repository.find_open_deletion(ctx)
    if deletion is None:
        raise Conflict("No deletion is scheduled.", "Reload the page.")
    if deletion.deleted_at is not None:
        raise Conflict(f"{ctx.tenant_name} is already deleted.", "Its data can’t be restored here.")
    return deletion


async def finish(ctx: Ctx) -> bool:
    """Delete the tenant of this context if its grace period is over. For the worker. False where it has to wait.

    From then on every entry is refused, and its data is queued for erasure.
    """
    tenant = await tenants.lock(ctx)
    deletion = await repository.find_open_deletion(ctx)
    if deletion is None or deletion.deleted_at is not None or deletion.delete_at > now():
        return False
    if await _is_charged_after(ctx, now()):
        if not deletion.is_held:
            deletion.is_held = True
            ctx.session.add(deletion)
            audit_log.record(
                ctx, "tenant.deletion_held", ctx.tenant_id, reason="A subscription is still charged."
            )
        return False
    before, tenant.state, tenant.state_reason = tenant.state, TenantState.DELETED, deletion.reason
    deletion.deleted_at, deletion.is_held = now(), False
    ctx.session.add_all([deletion, tenant])
    audit_log.record(
        ctx,
        "tenant.deleted",
        ctx.tenant_id,
        before={"state": before.value},
        after={"state": tenant.state.value},
        reason=deletion.reason,
        requested_by=deletion.requested_by,
    )
    await live_events.refresh_pages(ctx.session, ctx.tenant_id, "tenant")
    return True


def build_view(deletion: TenantDeletion) -> DeletionView:
    return DeletionView(
        delete_at=deletion.delete_at,
        requested_at=deletion.requested_at,
        requested_by=deletion.requested_by,
        by_operator=deletion.by_operator,
        reason=deletion.reason,
        is_held=deletion.is_held,
    )


async def _is_charged_after(ctx: Ctx, at: datetime) -> bool:
    """Whether a subscription goes on after this time, as of the last sync. One that waits for its first payment counts."""
    return any(
        subscription.cancel_at is None or subscription.cancel_at > at
        for subscription in await subscriptions.list_charged_subscriptions(ctx)
    )
