"""Record what people do with their accounts in the audit log of each of their organisations: one job, then one a tenant.

A flood of wrong passwords is a few events: `MAX_FAILURES` a person, organisation and hour.
"""

from datetime import timedelta
from typing import Any

from sqlmodel.ext.asyncio.session import AsyncSession

from shared.audit import audit_log
from shared.audit.event_types import ACCOUNT_ACTIONS, AuditAction
from shared.core import db
from shared.core.context import Actor, Ctx
from shared.identity import users
from shared.jobs import queue
from shared.tenancy import member_repository, user_tenants
from shared.tenancy.models import MembershipState, TenantState

RECORD_TASK = "tenancy.record_account_event"
MAX_FAILURES, FAILURE_WINDOW = 5, timedelta(hours=1)
LAST_FAILURE_NOTE = "More within this hour aren’t listed"


async def fan_out(
    session: AsyncSession,
    *,
    user_id: str,
    event_id: str,
    account_action: str,
    cause: str = "",
    address: str = "",
    device: str = "",
) -> None:
    """Enqueue `RECORD_TASK` for every organisation of which this person is an active member."""
    await db.set_user(session, user_id)
    for membership, tenant in await user_tenants.list_memberships(session, user_id):
        if membership.state is MembershipState.ACTIVE and tenant.state is not TenantState.DELETED:
            await queue.put_tenant_job(
                session,
                tenant.id,
                RECORD_TASK,
                sequence=user_id,
                user_id=user_id,
                event_id=event_id,
                account_action=account_action,
                cause=cause,
                address=address,
                device=device,
            )


async def fan_out_failure(
    session: AsyncSession, *, email: str, event_id: str, cause: str, address: str = "", device: str = ""
) -> None:
    """As `fan_out`, for a failed sign-in with this address; nothing for an unknown one."""
    user = await users.get_by_email(session, email)
    if user is None:
        return
    await fan_out(
        session,
        user_id=user.id,
        event_id=event_id,
        account_action=AuditAction.SESSION_FAILED,
        cause=cause,
        address=address,
        device=device,
    )


async def record(
    ctx: Ctx,
    *,
    user_id: str,
    event_id: str,
    account_action: str,
    cause: str = "",
    address: str = "",
    device: str = "",
) -> None:
    """Record the event once. Skips people who are no active members by now, and failures above the limit.

    Raises ValueError for an action that isn't one of accounts.
    """
    action = AuditAction(account_action)
    if action not in ACCOUNT_ACTIONS:
        raise ValueError(f"{action} is no action of accounts")
    member = await member_repository.get_active_member(ctx, user_id)
    if member is None or await audit_log.has_event(ctx, event_id):
        return
    details: dict[str, Any] = {"cause": cause, "address": address, "device": device}
    if action is AuditAction.SESSION_FAILED:
        count = await audit_log.count_events_of(ctx, user_id, action, FAILURE_WINDOW)
        if count >= MAX_FAILURES:
            return
        details["note"] = LAST_FAILURE_NOTE if count + 1 == MAX_FAILURES else ""
    audit_log.record(
        ctx,
        action,
        user_id,
        event_id=event_id,
        actor=Actor("user", member.id, member.name),
        **{key: value for key, value in details.items() if value},
    )
