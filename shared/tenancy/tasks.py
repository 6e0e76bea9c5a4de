"""What tenancy does later. Each may run twice; what it finds changed meanwhile, it leaves alone."""

from collections.abc import Awaitable, Callable

from sqlmodel.ext.asyncio.session import AsyncSession

from shared.core import log
from shared.core.ctx import Ctx
from shared.jobs import mail
from shared.tenancy import entry, invitations, provisioning, repository, roles, signups
from shared.tenancy.models import InvitationStatus, MembershipState


async def provision(ctx: Ctx) -> None:
    try:
        async with ctx.session.begin_nested():
            await provisioning.run_next(ctx)
    except Exception as problem:
        # The step's own transaction is lost with the error; that it failed is written by another one.
        async with entry.enter_job(ctx.tenant_id, provisioning.TASK, ctx.request_id) as again:
            await provisioning.fail(again, problem)
        log.bind(ctx, __name__).error("provisioning_failed", problem=type(problem).__name__)
        raise


async def send_invitation(ctx: Ctx, *, invitation_id: str) -> None:
    """Not for one that was revoked, accepted, or sent already with this nonce."""
    invitation = await repository.lock_invitation(ctx, invitation_id)
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
        role=await roles.name(ctx, invitation.role),
        link=invitations.link(invitation),
    )
    invitation.sent_nonce = invitation.nonce
    ctx.session.add(invitation)


async def send_access_ended(ctx: Ctx, *, membership_id: str) -> None:
    membership = await repository.lock_membership(ctx, membership_id)
    if membership is None or membership.state is MembershipState.ACTIVE or membership.ended_at is None:
        return
    person = await repository.get_person(ctx, membership.user_id)
    await mail.send(
        person.email,
        "access_ended",
        f"ended-{membership.id}-{membership.ended_at:%Y%m%d%H%M%S}",
        name=person.name,
        tenant=ctx.tenant_name,
        by=membership.ended_by,
    )


async def found(session: AsyncSession, *, sign_up_id: str) -> None:
    await signups.found(session, sign_up_id)


TASKS: dict[str, Callable[..., Awaitable[None]]] = {
    "tenancy.provision": provision,
    "tenancy.send_access_ended": send_access_ended,
    "tenancy.send_invitation": send_invitation,
}
PLATFORM_TASKS: dict[str, Callable[..., Awaitable[None]]] = {"platform.found": found}
