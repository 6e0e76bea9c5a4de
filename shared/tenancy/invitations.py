"""Invite people into a tenant; resend, revoke and accept invitations.

A pending invitation uses a seat, and accepting it keeps that seat. Its link is a signature over tenant, invitation and
nonce. The database never holds the link, and a new nonce invalidates the old one.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import timedelta

from shared.access import actions, policy
from shared.access.roles import Role, can_grant
from shared.audit import audit_log
from shared.core import crypto, live_events
from shared.core.config import settings
from shared.core.context import Actor, Ctx
from shared.core.db import now
from shared.core.errors import Conflict, NotFound, Refused
from shared.core.ids import is_id
from shared.core.paging import Page, build_page, clamp_limit
from shared.core.rate_limits import RateLimit, enforce_rate_limit
from shared.core.versions import advance_version
from shared.identity import email_addresses, users
from shared.jobs import queue
from shared.jobs.mail import Email
from shared.tenancy import (
    entry,
    invitation_repository,
    mail_branding,
    member_repository,
    notification_kinds,
    onboarding_checklist,
    role_repository,
    roles,
    seats,
    signups,
    tenant_repository,
)
from shared.tenancy.models import Invitation, InvitationStatus, Membership, MembershipState

LIFETIME = timedelta(days=7)
NEW_TENANT_AGE = timedelta(days=1)  # younger ones have a lower limit
SIGNATURE_PURPOSE, MAIL_TASK = "invitation", "tenancy.send_invitation"
MAX_PROBLEM_LENGTH = 300  # characters of a mail server's reply
REVOKED_MESSAGE = "This invitation was revoked."
NOT_FOUND_MESSAGE = "This invitation no longer exists."
ASK_FOR_NEW_INVITATION = "Ask the person who invited you for a new one."
LINK_HOLDER = Actor("user", "usr_nobody", "Invitation link")


@dataclass(frozen=True, slots=True)
class InvitationOffer:
    """The contents of an invitation, for the page that asks whether to accept it."""

    tenant_name: str
    role: Role
    email: str
    invited_by_name: str


async def list_pending(ctx: Ctx) -> Sequence[Invitation]:
    policy.require(ctx, actions.INVITATION_READ)
    return await invitation_repository.list_pending_invitations(ctx)


async def list_page(ctx: Ctx, *, after: str = "", limit: int = 50) -> Page[Invitation]:
    """Pending ones, newest first. Raises Invalid for an unknown page."""
    policy.require(ctx, actions.INVITATION_READ)
    limit = clamp_limit(limit)
    invitations = await invitation_repository.list_newest(ctx, after=after, limit=limit + 1)
    return build_page(invitations, limit=limit, cursor_of=invitation_repository.get_cursor)


async def invite(ctx: Ctx, email: str, role: str) -> Invitation:
    """Create an invitation and enqueue its email.

    Raises Conflict when the address already uses a seat, Refused without a free seat or for a role above the actor's.
    """
    policy.require(ctx, actions.MEMBER_INVITE)
    _require_lasting_inviter(ctx)
    email = email_addresses.parse_address(email)
    await _enforce_limits(ctx, email)
    occupied_seats = await seats.reserve(ctx, actions.MEMBER_INVITE)
    await roles.require_assignable(ctx, role)
    if email in occupied_seats:
        raise Conflict(
            f"{email} is already a member or invited.", "Change their role or resend the invitation."
        )
    policy.require(ctx, actions.MEMBER_INVITE, used=await seats.count(ctx))

    if (expired := await invitation_repository.lock_expired_invitation(ctx, email)) is not None:
        expired.status, expired.ended_at = InvitationStatus.REVOKED, now()
        ctx.session.add(expired)
        await ctx.session.flush()
    invitation = Invitation(
        tenant_id=ctx.tenant_id,
        email=email,
        role=role,
        invited_by=ctx.holder_id,
        invited_by_name=ctx.actor.name,
        expires_at=now() + LIFETIME,
    )
    ctx.session.add(invitation)
    await onboarding_checklist.complete_automatically(ctx, "invite_members")
    audit_log.record(
        ctx,
        "invitation.created",
        invitation.id,
        after={"email": email, "role": await roles.get_audit_name(ctx, role)},
    )
    await _publish_change(ctx)
    await queue.put(ctx, MAIL_TASK, invitation_id=invitation.id)
    return invitation


async def resend(ctx: Ctx, invitation_id: str) -> Invitation:
    """Send a new link, valid for 7 days; the old one stops working. Raises NotFound, Conflict, Refused."""
    policy.require(ctx, actions.MEMBER_INVITE)
    _require_lasting_inviter(ctx)
    existing_invitation = await invitation_repository.get_invitation(ctx, invitation_id)
    if existing_invitation is None:
        raise NotFound(NOT_FOUND_MESSAGE, "Reload the page.")
    await _enforce_limits(ctx, existing_invitation.email)
    occupied_seats = await seats.reserve(ctx, actions.MEMBER_INVITE)
    invitation = await _lock_pending(ctx, invitation_id)
    if await roles.get(ctx, invitation.role) is None:  # deleted after this had expired
        raise Conflict(
            "The role of this invitation was deleted.",
            "Revoke it and send a new invitation with another role.",
        )
    await roles.require_assignable(ctx, invitation.role)
    if invitation.email not in occupied_seats:  # it had expired, so its seat may be gone
        policy.require(ctx, actions.MEMBER_INVITE, used=await seats.count(ctx))

    invitation.nonce += 1
    invitation.delivery_problem = ""
    invitation.expires_at = now() + LIFETIME
    invitation.invited_by, invitation.invited_by_name = (
        ctx.holder_id,
        ctx.actor.name,
    )  # who vouches for it now
    ctx.session.add(invitation)
    audit_log.record(ctx, "invitation.resent", invitation.id, email=invitation.email)
    await _publish_change(ctx)
    await queue.put(ctx, MAIL_TASK, invitation_id=invitation.id)
    return invitation


def _require_lasting_inviter(ctx: Ctx) -> None:
    """Raises Refused for a token of a customer's issuer: its holder's rights can't be looked up when it is accepted."""
    if ctx.actor.type == "external":
        raise Refused(
            "A token can’t invite people, because its holder isn’t a member.",
            "Use the API key of a member or of a service account.",
            reason="missing_permission",
        )


async def _enforce_limits(ctx: Ctx, email: str) -> None:
    """Each invitation is a mail: limits for the recipient and the person in all tenants, and for this one. Raises Refused."""
    recipient = crypto.hash_token(email)
    if await tenant_repository.get_created_at(ctx) > now() - NEW_TENANT_AGE:
        await enforce_rate_limit(RateLimit.INVITE_NEW_TENANT, ctx.tenant_id)
    await enforce_rate_limit(RateLimit.INVITE_TENANT, ctx.tenant_id)
    await enforce_rate_limit(RateLimit.INVITE_PERSON, ctx.holder_id)
    await enforce_rate_limit(RateLimit.INVITE_RECIPIENT_HOUR, recipient)
    await enforce_rate_limit(RateLimit.INVITE_RECIPIENT_DAY, recipient)


async def revoke(ctx: Ctx, invitation_id: str) -> None:
    """Raises NotFound for an unknown or foreign id, Conflict when the invitation is not pending."""
    policy.require(ctx, actions.INVITATION_REVOKE)
    await seats.lock_membership(ctx, actions.INVITATION_REVOKE)
    await _close(ctx, [await _lock_pending(ctx, invitation_id)])


async def end_promises(ctx: Ctx, user_ids: Collection[str], permissions: frozenset[str]) -> None:
    """`Module.on_membership_end`: revokes what these people may no longer offer, and what was offered to former members."""
    sent = await invitation_repository.lock_pending_invitations_by(ctx, user_ids)
    await _close(ctx, [row for row in sent if not _can_offer(permissions, await roles.get(ctx, row.role))])
    if not permissions:
        await close_invitations_to(ctx, user_ids)


async def close_invitations_to(ctx: Ctx, user_ids: Collection[str]) -> None:
    """Revokes the pending invitations to these people. Needs the membership lock; the caller checks the permission."""
    await _close(ctx, await invitation_repository.lock_pending_invitations_to(ctx, user_ids))


def _can_offer(permissions: frozenset[str], role: Role | None) -> bool:
    return (
        role is not None
        and actions.MEMBER_INVITE.permission in permissions
        and can_grant(permissions, role.permissions)
    )


async def _require_inviter(ctx: Ctx, invitation: Invitation) -> None:
    """Raises Refused where who sent it may no longer offer its role: it counts as revoked."""
    row = await role_repository.get_active_role(ctx, invitation.invited_by)
    permissions = roles.build_role(row).permissions if row is not None else frozenset[str]()
    is_disabled = False
    if not is_id("sac", invitation.invited_by):
        inviter = await users.get(ctx.session, invitation.invited_by)
        is_disabled = inviter is None or inviter.disabled_at is not None
    if is_disabled or not _can_offer(permissions, await roles.get(ctx, invitation.role)):
        raise Refused(REVOKED_MESSAGE, ASK_FOR_NEW_INVITATION, reason="invitation_revoked")


async def _close(ctx: Ctx, pending_invitations: Collection[Invitation]) -> None:
    for invitation in pending_invitations:
        invitation.status, invitation.ended_at = InvitationStatus.REVOKED, now()
        ctx.session.add(invitation)
        audit_log.record(
            ctx,
            "invitation.revoked",
            invitation.id,
            before={"email": invitation.email, "role": await roles.get_audit_name(ctx, invitation.role)},
        )
    if pending_invitations:
        await ctx.session.flush()  # seats are counted by a query
        await _publish_change(ctx)


async def build_mail(ctx: Ctx, invitation_id: str) -> tuple[int, Email] | None:
    """The nonce and the email of a pending invitation; None when this link has been sent or refused."""
    invitation = await invitation_repository.get_invitation(ctx, invitation_id)
    if invitation is None or invitation.status is not InvitationStatus.PENDING:
        return None
    if invitation.sent_nonce >= invitation.nonce or invitation.delivery_problem:
        return None
    email = Email(
        to=invitation.email,
        template="invitation",
        message_id=f"{invitation.id}-{invitation.nonce}",
        link=build_link(invitation),
        values={
            "inviter": invitation.invited_by_name,
            "tenant": ctx.tenant_name,
            "role": await roles.get_name(ctx, invitation.role),
        },
        frame=await mail_branding.build_frame(ctx, notification_kinds.INVITATIONS),
    )
    return invitation.nonce, email


async def record_delivery(ctx: Ctx, invitation_id: str, nonce: int, problem: str) -> None:
    """The link with this nonce was sent, or refused for good with the mail server's reply `problem`."""
    invitation = await invitation_repository.lock_invitation(ctx, invitation_id)
    if invitation is None or invitation.nonce != nonce:  # another link replaced it meanwhile
        return
    if problem:
        invitation.delivery_problem = problem[:MAX_PROBLEM_LENGTH]
        await _publish_change(ctx)
    else:
        invitation.sent_nonce = nonce
    ctx.session.add(invitation)


def build_link(invitation: Invitation) -> str:
    token = crypto.sign(SIGNATURE_PURPOSE, invitation.tenant_id, invitation.id, str(invitation.nonce))
    return f"{settings().tenant_url}/invitations/accept?token={token}"


async def get_offer(token: str) -> InvitationOffer:
    """The current offer of a link. Raises NotFound, Conflict (already_accepted), Refused (expired, revoked, suspended)."""
    tenant_id, invitation_id, nonce = _parse_token(token)
    async with entry.enter_invitation(tenant_id, LINK_HOLDER) as ctx:
        invitation = _require_usable(await invitation_repository.get_invitation(ctx, invitation_id), nonce)
        role = await roles.get(ctx, invitation.role)
        if role is None:  # a role with pending invitations cannot be deleted
            raise NotFound(NOT_FOUND_MESSAGE, ASK_FOR_NEW_INVITATION)
        await _require_inviter(ctx, invitation)
        return InvitationOffer(ctx.tenant_name, role, invitation.email, invitation.invited_by_name)


async def accept(token: str, user_id: str) -> str:
    """Make this person a member and return the tenant's slug.

    Raises as `get_offer`, and Refused (wrong_email) for another person's link.
    """
    tenant_id, invitation_id, nonce = _parse_token(token)
    async with entry.enter_invitation(tenant_id, LINK_HOLDER) as lookup_ctx:
        user = await users.get(lookup_ctx.session, user_id)
    if user is None or user.disabled_at is not None:
        raise NotFound(NOT_FOUND_MESSAGE, ASK_FOR_NEW_INVITATION)
    async with entry.enter_invitation(tenant_id, Actor("user", user.id, user.name)) as ctx:
        await member_repository.lock_members(ctx)
        invitation = _require_usable(await invitation_repository.lock_invitation(ctx, invitation_id), nonce)
        if invitation.email != user.email:
            raise Refused(
                f"This invitation is for {mask_email(invitation.email)}; you’re signed in as {user.email}.",
                "Sign out and open the link again, or ask for an invitation to your address.",
                reason="wrong_email",
            )
        if await roles.get(ctx, invitation.role) is None:
            raise NotFound(NOT_FOUND_MESSAGE, ASK_FOR_NEW_INVITATION)
        await _require_inviter(ctx, invitation)
        user = await users.mark_verified(ctx.session, user.id)  # the link was sent to this address

        membership, before = await _join_tenant(ctx, user.id, invitation.role)
        invitation.status, invitation.ended_at = InvitationStatus.ACCEPTED, now()
        await ctx.session.flush()
        invitation.membership_id = membership.id
        ctx.session.add(invitation)
        audit_log.record(
            ctx,
            "invitation.accepted",
            invitation.id,
            before=before,
            after={"email": user.email, "role": await roles.get_audit_name(ctx, invitation.role)},
        )
        await _publish_change(ctx)
        await signups.open_waiting_tenants(ctx.session, user)  # last, because it enters other tenants
        return ctx.slug


async def _join_tenant(ctx: Ctx, user_id: str, role: str) -> tuple[Membership, dict[str, str]]:
    """Create a membership or reactivate an ended one. Returns it with its previous state and role."""
    existing_membership = await member_repository.lock_membership_of_user(ctx, user_id)
    if existing_membership is None:
        membership = Membership(tenant_id=ctx.tenant_id, user_id=user_id, role=role)
        ctx.session.add(membership)
        return membership, {}
    before = {
        "state": existing_membership.state.value,
        "role": await roles.get_audit_name(ctx, existing_membership.role),
    }
    if existing_membership.state is not MembershipState.ACTIVE:
        (
            existing_membership.state,
            existing_membership.role,
            existing_membership.ended_at,
            existing_membership.ended_by,
        ) = MembershipState.ACTIVE, role, None, ""
        existing_membership.ended_by_self = False
        advance_version(existing_membership, ctx.actor.name)
        ctx.session.add(existing_membership)
    return existing_membership, before


def mask_email(email: str) -> str:
    """The masked address, such as a…@acme.test. Its owner recognises it."""
    local, _, domain = email.partition("@")
    return f"{local[:1]}…@{domain}"


def _parse_token(token: str) -> tuple[str, str, int]:
    try:
        tenant_id, invitation_id, nonce = crypto.unsign(SIGNATURE_PURPOSE, token, 3)
    except crypto.BadSignature:
        raise NotFound(NOT_FOUND_MESSAGE, ASK_FOR_NEW_INVITATION) from None
    if not is_id("ten", tenant_id) or not nonce.isdigit():
        raise NotFound(NOT_FOUND_MESSAGE, ASK_FOR_NEW_INVITATION)
    return tenant_id, invitation_id, int(nonce)


def _require_usable(invitation: Invitation | None, nonce: int) -> Invitation:
    if invitation is None:
        raise NotFound(NOT_FOUND_MESSAGE, ASK_FOR_NEW_INVITATION)
    if invitation.status is InvitationStatus.ACCEPTED:
        conflict = Conflict(
            "This invitation has already been accepted.",
            "Sign in to open the organisation.",
            reason="already_accepted",
        )
        raise conflict
    if invitation.status is InvitationStatus.REVOKED:
        raise Refused(REVOKED_MESSAGE, ASK_FOR_NEW_INVITATION, reason="invitation_revoked")
    if invitation.nonce != nonce:
        raise Refused(
            "A newer invitation replaced this one.",
            "Open the link in the latest email.",
            reason="invitation_replaced",
        )
    if invitation.expires_at <= now():
        day = f"{invitation.expires_at:%-d %B %Y}"
        raise Refused(
            f"This invitation expired on {day}.", ASK_FOR_NEW_INVITATION, reason="invitation_expired"
        )
    return invitation


async def _lock_pending(ctx: Ctx, invitation_id: str) -> Invitation:
    invitation = await invitation_repository.lock_invitation(ctx, invitation_id)
    if invitation is None:
        raise NotFound(NOT_FOUND_MESSAGE, "Reload the page.")
    if invitation.status is not InvitationStatus.PENDING:
        raise Conflict("This invitation is no longer pending.", "Reload the page.")
    return invitation


async def _publish_change(ctx: Ctx) -> None:
    await live_events.refresh_pages(ctx.session, ctx.tenant_id, "invitations")
    await live_events.refresh_pages(ctx.session, ctx.tenant_id, "members")
