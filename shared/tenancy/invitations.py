"""Invite people into a tenant, take an invitation back, accept one.

A pending invitation already takes a seat; accepting it keeps that same seat. Its link is a signature over tenant,
invitation and nonce: the database never holds it, and a new nonce kills the old link.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from shared.access import actions, policy
from shared.access.roles import Role
from shared.audit import trail
from shared.core import crypto, notices
from shared.core.config import settings
from shared.core.ctx import Actor, Ctx
from shared.core.db import now
from shared.core.errors import Conflict, NotFound, Refused
from shared.core.ids import is_id
from shared.core.limits import Limit, hit
from shared.identity import emails, users
from shared.jobs import queue
from shared.tenancy import checklist, entry, repository, roles, seats, signups
from shared.tenancy.models import Invitation, InvitationStatus, Membership, MembershipState

LIVES = timedelta(days=7)
PURPOSE = "invitation"
GONE = "This invitation no longer exists."
ASK_AGAIN = "Ask the person who invited you for a new one."
NOBODY = Actor("user", "usr_nobody", "Somebody with a link")


@dataclass(frozen=True, slots=True)
class Offer:
    """What a link promises, for the page that asks whether to accept."""

    tenant_name: str
    role: Role
    email: str
    invited_by_name: str


async def list_pending(ctx: Ctx) -> Sequence[Invitation]:
    policy.require(ctx, actions.INVITATION_READ)
    return await repository.list_pending_invitations(ctx)


async def invite(ctx: Ctx, email: str, role: str) -> Invitation:
    """Raises Conflict when the email already holds a seat, Refused when no seat is left or the role is too much."""
    policy.require(ctx, actions.MEMBER_INVITE)
    email = emails.clean(email)
    await hit(Limit.INVITE_TENANT, ctx.tenant_id)
    taken = await seats.take(ctx, actions.MEMBER_INVITE)
    await roles.require_givable(ctx, role)
    if email in taken:
        raise Conflict(
            f"{email} is already a member or invited.", "Change their role, or send the invitation again."
        )
    policy.require(ctx, actions.MEMBER_INVITE, used=len(taken))

    if (expired := await repository.lock_expired_invitation(ctx, email)) is not None:
        expired.status, expired.ended_at = InvitationStatus.REVOKED, now()
        ctx.session.add(expired)
        await ctx.session.flush()
    invitation = Invitation(
        tenant_id=ctx.tenant_id,
        email=email,
        role=role,
        invited_by=ctx.actor_id,
        invited_by_name=ctx.actor.name,
        expires_at=now() + LIVES,
    )
    ctx.session.add(invitation)
    await checklist.complete_itself(ctx, "invite_members")
    trail.record(
        ctx,
        "invitation.created",
        invitation.id,
        after={"email": email, "role": await roles.said(ctx, role)},
    )
    await _changed(ctx)
    await queue.put(ctx, "tenancy.send_invitation", invitation_id=invitation.id)
    return invitation


async def resend(ctx: Ctx, invitation_id: str) -> Invitation:
    """A new link, for another 7 days; the old one stops working. Raises NotFound, Conflict, Refused."""
    policy.require(ctx, actions.MEMBER_INVITE)
    await hit(Limit.INVITE_TENANT, ctx.tenant_id)
    taken = await seats.take(ctx, actions.MEMBER_INVITE)
    invitation = await _pending(ctx, invitation_id)
    if await roles.get(ctx, invitation.role) is None:  # deleted after this had expired
        raise Conflict(
            "The role of this invitation was deleted.", "Revoke it, and invite them with another role."
        )
    await roles.require_givable(ctx, invitation.role)
    if invitation.email not in taken:  # it had expired, so its seat may be gone
        policy.require(ctx, actions.MEMBER_INVITE, used=len(taken))

    invitation.nonce += 1
    invitation.expires_at = now() + LIVES
    ctx.session.add(invitation)
    trail.record(ctx, "invitation.resent", invitation.id, email=invitation.email)
    await _changed(ctx)
    await queue.put(ctx, "tenancy.send_invitation", invitation_id=invitation.id)
    return invitation


async def revoke(ctx: Ctx, invitation_id: str) -> None:
    """Raises NotFound for an id of another tenant as for an unknown one, Conflict when it is not pending."""
    policy.require(ctx, actions.INVITATION_REVOKE)
    await seats.freeze(ctx, actions.INVITATION_REVOKE)
    invitation = await _pending(ctx, invitation_id)

    invitation.status, invitation.ended_at = InvitationStatus.REVOKED, now()
    ctx.session.add(invitation)
    trail.record(
        ctx,
        "invitation.revoked",
        invitation.id,
        before={"email": invitation.email, "role": await roles.said(ctx, invitation.role)},
    )
    await _changed(ctx)


def link(invitation: Invitation) -> str:
    signed = crypto.sign(PURPOSE, invitation.tenant_id, invitation.id, str(invitation.nonce))
    return f"{settings().tenant_url}/invitations/accept?token={signed}"


async def peek(token: str) -> Offer:
    """What the link offers now. Raises NotFound, Conflict (already_accepted), Refused (expired, revoked, suspended)."""
    tenant_id, invitation_id, nonce = _read(token)
    async with entry.enter_invitation(tenant_id, NOBODY) as ctx:
        invitation = _usable(await repository.get_invitation(ctx, invitation_id), nonce)
        role = await roles.get(ctx, invitation.role)
        if role is None:  # cannot be deleted while it is promised
            raise NotFound(GONE, ASK_AGAIN)
        return Offer(ctx.tenant_name, role, invitation.email, invitation.invited_by_name)


async def accept(token: str, user_id: str) -> str:
    """Makes this person a member; returns the slug. Raises also Refused (wrong_email) for somebody else's link."""
    tenant_id, invitation_id, nonce = _read(token)
    async with entry.enter_invitation(tenant_id, NOBODY) as looked:
        user = await users.get(looked.session, user_id)
    if user is None or user.disabled_at is not None:
        raise NotFound(GONE, ASK_AGAIN)
    async with entry.enter_invitation(tenant_id, Actor("user", user.id, user.name)) as ctx:
        await repository.lock_members(ctx)
        invitation = _usable(await repository.lock_invitation(ctx, invitation_id), nonce)
        if invitation.email != user.email:
            raise Refused(
                f"This invitation is for {masked(invitation.email)}; you are signed in as {user.email}.",
                "Sign out and open the link again, or ask for an invitation to your address.",
                reason="wrong_email",
            )
        if await roles.get(ctx, invitation.role) is None:
            raise NotFound(GONE, ASK_AGAIN)
        user = await users.mark_verified(ctx.session, user.id)  # the link came to this address

        membership, before = await _join(ctx, user.id, invitation.role)
        invitation.status, invitation.ended_at = InvitationStatus.ACCEPTED, now()
        await ctx.session.flush()
        invitation.membership_id = membership.id
        ctx.session.add(invitation)
        trail.record(
            ctx,
            "invitation.accepted",
            invitation.id,
            before=before,
            after={"email": user.email, "role": await roles.said(ctx, invitation.role)},
        )
        await _changed(ctx)
        await signups.open_waiting(ctx.session, user)  # last: it leaves this tenant
        return ctx.slug


async def _join(ctx: Ctx, user_id: str, role: str) -> tuple[Membership, dict[str, str]]:
    """A new membership, or the one that had ended, with what it was before."""
    known = await repository.lock_membership_of(ctx, user_id)
    if known is None:
        membership = Membership(tenant_id=ctx.tenant_id, user_id=user_id, role=role)
        ctx.session.add(membership)
        return membership, {}
    before = {"state": known.state.value, "role": await roles.said(ctx, known.role)}
    if known.state is not MembershipState.ACTIVE:
        known.state, known.role, known.ended_at, known.ended_by = MembershipState.ACTIVE, role, None, ""
        ctx.session.add(known)
    return known, before


def masked(email: str) -> str:
    """Enough to recognise one's own address: a…@acme.test."""
    local, _, domain = email.partition("@")
    return f"{local[:1]}…@{domain}"


def _read(token: str) -> tuple[str, str, int]:
    try:
        tenant_id, invitation_id, nonce = crypto.unsign(PURPOSE, token, 3)
    except crypto.BadSignature:
        raise NotFound(GONE, ASK_AGAIN) from None
    if not is_id("ten", tenant_id) or not nonce.isdigit():
        raise NotFound(GONE, ASK_AGAIN)
    return tenant_id, invitation_id, int(nonce)


def _usable(invitation: Invitation | None, nonce: int) -> Invitation:
    if invitation is None:
        raise NotFound(GONE, ASK_AGAIN)
    if invitation.status is InvitationStatus.ACCEPTED:
        conflict = Conflict(
            "This invitation was accepted already.",
            "Sign in to open the organisation.",
            reason="already_accepted",
        )
        raise conflict
    if invitation.status is InvitationStatus.REVOKED:
        raise Refused("This invitation was taken back.", ASK_AGAIN, reason="invitation_revoked")
    if invitation.nonce != nonce:
        raise Refused(
            "A newer invitation replaced this one.",
            "Open the link in the newest mail.",
            reason="invitation_replaced",
        )
    if invitation.expires_at <= now():
        day = f"{invitation.expires_at:%-d %B %Y}"
        raise Refused(f"This invitation expired on {day}.", ASK_AGAIN, reason="invitation_expired")
    return invitation


async def _pending(ctx: Ctx, invitation_id: str) -> Invitation:
    invitation = await repository.lock_invitation(ctx, invitation_id)
    if invitation is None:
        raise NotFound(GONE, "Reload the page.")
    if invitation.status is not InvitationStatus.PENDING:
        raise Conflict("This invitation is no longer pending.", "Reload the page.")
    return invitation


async def _changed(ctx: Ctx) -> None:
    await notices.page(ctx.session, ctx.tenant_id, "invitations")
    await notices.page(ctx.session, ctx.tenant_id, "members")
