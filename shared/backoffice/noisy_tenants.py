"""Which tenants cost most, and a lower rate for one of them until a stated time.

Each process learns of a throttle within two seconds (`fairness.throttle_watch`). Members read its reason.
"""

from collections.abc import Sequence
from datetime import timedelta

from shared.access import actions, policy
from shared.audit import audit_log
from shared.backoffice import noisy_tenants_repository as repository
from shared.backoffice.noisy_tenants_rows import NoisyOrder, NoisyTenant
from shared.backoffice.reasons import Reason, use_reason
from shared.core import live_events
from shared.core.context import Ctx, OperatorCtx
from shared.core.db import now
from shared.core.errors import Conflict, Invalid
from shared.fairness.models import ThrottleRow
from shared.tenancy import entry, tenants

LIST_REASON = "View noisy tenants"
HOURS = (1, 24)
MAX_TENANTS = 50
PERCENTS = (1, 10, 25, 50)  # of the usual rate
MINUTES = (15, 60, 240, 1440)  # until the throttle is over


async def list_noisy(octx: OperatorCtx, *, hours: int, order: str) -> Sequence[NoisyTenant]:
    """The fifty with the largest number in the last hour or day. Recorded as a read across tenants. Raises Invalid."""
    policy.require_operator(octx, actions.OP_LOAD_READ)
    if hours not in HOURS or order not in [*NoisyOrder]:
        raise Invalid("This list doesn’t exist.", "Choose an hour or a day, and an order from the list.")
    async with entry.read_across_tenants(octx, LIST_REASON) as session:
        since = now() - timedelta(hours=hours)
        return await repository.list_noisy(session, since, NoisyOrder(order), limit=MAX_TENANTS)


async def throttle(octx: OperatorCtx, tenant_id: str, reason: Reason, *, percent: int, minutes: int) -> None:
    """Give the tenant a part of its usual rate, and one transaction and job at a time. Replaces an earlier throttle.

    Raises Invalid without a reason or for numbers that aren't offered, NotFound.
    """
    policy.require_operator(octx, actions.OP_TENANT_THROTTLE)
    reason_text = use_reason(octx, reason, tenant_id)
    if percent not in PERCENTS or minutes not in MINUTES:
        raise Invalid("This limit doesn’t exist.", "Choose a rate and a time from the lists.")
    async with entry.enter_as_operator(octx, tenant_id, reason_text) as ctx:
        await tenants.lock(ctx)
        if (earlier := await repository.lock_open_throttle(ctx)) is not None:
            await _end(ctx, earlier)
        row = ThrottleRow(
            tenant_id=tenant_id,
            percent=percent,
            reason=reason_text,
            created_by_name=ctx.actor.name,
            expires_at=now() + timedelta(minutes=minutes),
        )
        ctx.session.add(row)
        audit_log.record(
            ctx,
            "tenant.throttled",
            row.id,
            before={"percent": str(earlier.percent) if earlier and earlier.expires_at > now() else "100"},
            after={"percent": str(percent), "until": row.expires_at.isoformat(timespec="seconds")},
            reason=reason_text,
        )
        await live_events.refresh_pages(ctx.session, "*", "noisy")


async def end_throttle(octx: OperatorCtx, tenant_id: str, reason: Reason) -> None:
    """Give the tenant its usual rate back. Raises Invalid without a reason, NotFound, Conflict without a throttle."""
    policy.require_operator(octx, actions.OP_TENANT_THROTTLE)
    reason_text = use_reason(octx, reason, tenant_id)
    async with entry.enter_as_operator(octx, tenant_id, reason_text) as ctx:
        await tenants.lock(ctx)
        row = await repository.lock_open_throttle(ctx)
        if row is None or row.expires_at <= now():
            raise Conflict("This organisation has its usual rate already.", "Reload the page.")
        await _end(ctx, row)
        audit_log.record(
            ctx,
            "tenant.throttle_ended",
            row.id,
            before={"percent": str(row.percent)},
            after={"percent": "100"},
            reason=reason_text,
        )
        await live_events.refresh_pages(ctx.session, "*", "noisy")


async def _end(ctx: Ctx, row: ThrottleRow) -> None:
    row.ended_at, row.ended_by_name = now(), ctx.actor.name
    ctx.session.add(row)
    await ctx.session.flush()  # before another one begins
