"""Jobs of the tenancy module. Each may run twice and skips rows that have changed meanwhile."""

from collections.abc import Awaitable, Callable

from sqlmodel.ext.asyncio.session import AsyncSession

from shared.core import log
from shared.core.context import Ctx
from shared.jobs import mail
from shared.tenancy import (
    entry,
    invitation_repository,
    invitations,
    member_repository,
    provisioning,
    roles,
    signups,
)
from shared.tenancy.models import InvitationStatus, MembershipState


async def provision(ctx: Ctx) -> None:
    try:
        async with ctx.session.begin_nested():
            await provisioning.run_next_step(ctx)
    except Exception as problem:
        # The error rolls this transaction back, so the failure is recorded in another one.
        async with entry.enter_job(ctx.tenant_id, provisioning.TASK_NAME, ctx.request_id) as failure_ctx:
            await provisioning.record_failure(failure_ctx, problem)
        log.bind_logger(ctx, __name__).error("provisioning_failed", problem=type(problem).__name__)
        raise


async def send_invitation(ctx: Ctx, *, invitation_id: str) -> None:
    """Email the link. Does nothing unless the invitation is pending and this link has not been sent yet."""
    invitation = await invitation_repository.lock_invitation(ctx, invitation_id)
    if invitation is None or invitation.status is not InvitationStatus.PENDING:
        return
    if invitation.sent_nonce >= invitation.nonce:
        return
    await mail.send(
        invitation.email,
        "invitation",
        f"{invitation.id}-{invitation.nonce}",
        inviter=invitation.invited_by_name,
        tenant=ctx.tenant_name,
        role=await roles.get_name(ctx, invitation.role),
        link=invitations.build_link(invitation),
    )
    invitation.sent_nonce = invitation.nonce
    ctx.session.add(invitation)


async def send_access_ended(ctx: Ctx, *, membership_id: str) -> None:
    membership = await member_repository.lock_membership(ctx, membership_id)
    if membership is None or membership.state is MembershipState.ACTIVE or membership.ended_at is None:
        return
    person = await member_repository.get_user(ctx, membership.user_id)
    await mail.send(
        person.email,
        "access_ended",
        f"ended-{membership.id}-{membership.ended_at:%Y%m%d%H%M%S}",
        name=person.name,
        tenant=ctx.tenant_name,
        by=membership.ended_by,
    )


async def complete_sign_up(session: AsyncSession, *, sign_up_id: str) -> None:
    await signups.complete_sign_up(session, sign_up_id)


TASKS: dict[str, Callable[..., Awaitable[None]]] = {
    "tenancy.provision": provision,
    "tenancy.send_access_ended": send_access_ended,
    "tenancy.send_invitation": send_invitation,
}
PLATFORM_TASKS: dict[str, Callable[..., Awaitable[None]]] = {"platform.found": complete_sign_up}
