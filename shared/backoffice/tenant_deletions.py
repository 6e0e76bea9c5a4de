"""Deletions of tenants for operators: schedule one, cancel it, and list those that aren't finished."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from shared.access import actions, policy
from shared.backoffice.reasons import Reason, use_reason
from shared.core.context import OperatorCtx
from shared.core.db import now
from shared.core.errors import Invalid
from shared.offboarding import deletions
from shared.offboarding.deletions import MAX_GRACE_DAYS, MIN_GRACE_DAYS, DeletionView
from shared.offboarding.models import TenantDeletion
from shared.tenancy import entry, tenants

LIST_REASON = "List of deletions"
MAX_LISTED = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedDeletion:
    tenant_id: str
    tenant_name: str
    deletion: DeletionView
    is_deleted: bool  # and waits for the erasure of its data


async def schedule(octx: OperatorCtx, tenant_id: str, reason: Reason, *, grace_days: int) -> None:
    """`grace_days`: in which operators can cancel it. The tenant reads the reason. It needs approval.

    Raises Invalid, NotFound, Refused (including for a test tenant), Conflict while a subscription is charged beyond it.
    """
    policy.require_operator(octx, actions.OP_TENANT_DELETE)
    reason_text = use_reason(octx, reason, tenant_id)
    require_grace_days(grace_days)
    async with entry.enter_live_as_operator(octx, tenant_id, reason_text) as ctx:
        await deletions.add(ctx, reason_text, delete_at=now() + timedelta(days=grace_days), by_operator=True)


async def cancel(octx: OperatorCtx, tenant_id: str, reason: Reason) -> None:
    """Whoever scheduled it. Raises Invalid, NotFound, Conflict without one or after the grace period."""
    policy.require_operator(octx, actions.OP_TENANT_KEEP)
    reason_text = use_reason(octx, reason, tenant_id)
    async with entry.enter_live_as_operator(octx, tenant_id, reason_text) as ctx:
        await tenants.lock(ctx)
        await deletions.end(ctx, await deletions.require_scheduled(ctx), reason_text)


async def list_unfinished(octx: OperatorCtx) -> Sequence[ListedDeletion]:
    """Scheduled ones and those whose data isn't erased, the first due first, at most `MAX_LISTED`."""
    policy.require_operator(octx, actions.OP_TENANT_LIST)
    async with entry.read_across_tenants(octx, LIST_REASON) as session:
        rows = await deletions.list_unfinished(session, MAX_LISTED)
    return [_build_row(deletion, tenant.name) for deletion, tenant in rows]


def require_grace_days(grace_days: int) -> None:
    """Raises Invalid."""
    if not MIN_GRACE_DAYS <= grace_days <= MAX_GRACE_DAYS:
        problem = f"Enter {MIN_GRACE_DAYS} to {MAX_GRACE_DAYS} days."
        raise Invalid("This grace period isn’t possible.", problem, fields={"grace_days": problem})


def _build_row(deletion: TenantDeletion, tenant_name: str) -> ListedDeletion:
    return ListedDeletion(
        tenant_id=deletion.tenant_id,
        tenant_name=tenant_name,
        deletion=deletions.build_view(deletion),
        is_deleted=deletion.deleted_at is not None,
    )
