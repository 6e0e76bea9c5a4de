"""Members of a tenant: list, change roles, deactivate, remove, transfer ownership.

A member can't change a person with more permissions than their own. The last active owner can't leave. Rows of former
members are kept with the time and the person who ended the membership.
"""

from dataclasses import dataclass
from datetime import datetime

from shared.access import actions, policy
from shared.access.roles import OWNER
from shared.audit import audit_log
from shared.core import live_events
from shared.core.context import Ctx
from shared.core.db import now
from shared.core.errors import Conflict, Invalid, NotFound
from shared.core.paging import Page, build_page, clamp_limit, clean_search_text, map_page
from shared.core.versions import advance_version, require_version
from shared.identity.models import User
from shared.jobs import queue
from shared.jobs.mail import Email
from shared.tenancy import (
    invitations,
    mail_branding,
    member_repository,
    membership_end,
    notification_kinds,
    notifications,
    roles,
    seats,
)
from shared.tenancy.models import Membership, MembershipState, TenantState

ACCESS_ENDED_TASK = "tenancy.send_access_ended"
TRANSFER_FIRST = "Transfer ownership on the Members page first."


@dataclass(frozen=True, slots=True)
class Member:
    id: str
    user_id: str
    name: str
    email: str
    role: str  # key
    state: str
    created_at: datetime
    seen_at: datetime | None
    version: int  # of the membership


async def list_members(
    ctx: Ctx,
    *,
    query: str = "",
    role: str = "",
    sort: str = "name",
    descending: bool = False,
    after: str = "",
    limit: int = 50,
) -> Page[Member]:
    """Members except removed ones. `sort`: name, role, seen_at or created_at.

    Raises Invalid for another column or an unknown page.
    """
    policy.require(ctx, actions.MEMBER_READ)
    require_sort_column(sort)
    limit = clamp_limit(limit)
    records = await member_repository.list_members(
        ctx,
        query=clean_search_text(query),
        role=role,
        sort=sort,
        descending=descending,
        after=after,
        limit=limit + 1,
    )
    page = build_page(records, limit=limit, cursor_of=lambda record: record[2])
    return map_page(page, lambda record: build_member(record[0], record[1]))


async def get(ctx: Ctx, membership_id: str) -> Member:
    """Raises NotFound for an unknown and for a removed one."""
    policy.require(ctx, actions.MEMBER_READ)
    record = await member_repository.find_member(ctx, membership_id)
    if record is None:
        raise _not_found()
    return build_member(*record)


def require_sort_column(sort: str) -> None:
    """Raises Invalid for an unknown column."""
    if sort not in member_repository.SORTS:
        raise Invalid("This list can’t be sorted by that column.", "Reload the page.")


def build_member(membership: Membership, user: User) -> Member:
    return Member(
        membership.id,
        user.id,
        user.name,
        user.email,
        membership.role,
        membership.state.value,
        membership.created_at,
        membership.seen_at,
        membership.version,
    )


async def count_seats(ctx: Ctx) -> int:
    """The number of seats in use: active members and pending invitations."""
    policy.require(ctx, actions.MEMBER_READ)
    return await seats.count(ctx)


async def set_role(ctx: Ctx, membership_id: str, role: str, *, version: int | None) -> Member:
    """`version`: of the member that was read.

    Raises NotFound, Refused for a role or member above the actor's permissions, Conflict for the last owner,
    ChangedMeanwhile.
    """
    policy.require(ctx, actions.MEMBER_SET_ROLE)
    await seats.lock_membership(ctx, actions.MEMBER_SET_ROLE)
    await roles.require_assignable(ctx, role)
    membership = await _lock_member(ctx, membership_id)
    if membership.role == role:
        return await _view(ctx, membership)
    if role == OWNER:
        raise Invalid("Ownership can’t be assigned as a role.", "Use “Transfer ownership”.")
    role_names = await roles.get_name(ctx, membership.role), await roles.get_name(ctx, role)
    require_version(membership, version, "this member’s role", {"Role": role_names})
    if membership.role == OWNER:
        await _require_another_owner(ctx, membership)

    before, membership.role = membership.role, role
    advance_version(membership, ctx.actor.name)
    ctx.session.add(membership)
    audit_log.record(
        ctx,
        "membership.role_changed",
        membership.id,
        before={"role": await roles.get_audit_name(ctx, before)},
        after={"role": await roles.get_audit_name(ctx, role)},
        member=await _get_member_name(ctx, membership),
    )
    await _end_promises(ctx, membership)
    await _publish_change(ctx, membership)
    return await _view(ctx, membership)


async def deactivate(ctx: Ctx, membership_id: str) -> Member:
    """End access until reactivation and free the seat."""
    policy.require(ctx, actions.MEMBER_DEACTIVATE)
    await seats.lock_membership(ctx, actions.MEMBER_DEACTIVATE)
    membership = await _lock_member(ctx, membership_id)
    if membership.state is not MembershipState.DEACTIVATED:
        await _end_membership(ctx, membership, MembershipState.DEACTIVATED, "membership.deactivated")
    return await _view(ctx, membership)


async def reactivate(ctx: Ctx, membership_id: str) -> Member:
    """Restore access, using a seat. Closes an invitation to this person. Raises Refused without a free seat."""
    policy.require(ctx, actions.MEMBER_DEACTIVATE)
    await seats.lock_membership(ctx, actions.MEMBER_DEACTIVATE)
    membership = await _lock_member(ctx, membership_id)
    if membership.state is MembershipState.ACTIVE:
        return await _view(ctx, membership)
    await invitations.close_invitations_to(ctx, [membership.user_id])
    policy.require(ctx, actions.MEMBER_INVITE, used=await seats.count(ctx))

    membership.state, membership.ended_at, membership.ended_by = MembershipState.ACTIVE, None, ""
    membership.ended_by_self = False
    ctx.session.add(membership)
    audit_log.record(
        ctx,
        "membership.reactivated",
        membership.id,
        before={"state": "deactivated"},
        after={"state": "active"},
        member=await _get_member_name(ctx, membership),
    )
    await _publish_change(ctx, membership)
    return await _view(ctx, membership)


async def remove(ctx: Ctx, membership_id: str) -> None:
    """End access immediately. The person needs a new invitation to rejoin."""
    policy.require(ctx, actions.MEMBER_REMOVE)
    await seats.lock_membership(ctx, actions.MEMBER_REMOVE)
    membership = await _lock_member(ctx, membership_id)
    await _end_membership(ctx, membership, MembershipState.REMOVED, "membership.removed")


async def get_own_membership_id(ctx: Ctx) -> str:
    """Of the person of the context, who confirms with it that they mean this organisation."""
    policy.require(ctx, actions.MEMBER_LEAVE)
    membership = await member_repository.get_membership_of_user(ctx, ctx.actor_id)
    return membership.id if membership is not None else ""


async def leave(ctx: Ctx, confirm: str) -> None:
    """End one's own membership. The person needs a new invitation to rejoin. Owners are notified.

    `confirm`: the id of the membership, from the page that asked. Raises Invalid for another one, Conflict for the
    last owner.
    """
    policy.require(ctx, actions.MEMBER_LEAVE)
    await seats.lock_membership(ctx, actions.MEMBER_LEAVE)
    membership = await member_repository.lock_membership_of_user(ctx, ctx.actor_id)
    if membership is None or membership.id != confirm:
        raise Invalid("This page doesn’t match the organisation.", "Reload the page and confirm again.")
    await _end_membership(ctx, membership, MembershipState.REMOVED, "membership.left")
    for user_id in await member_repository.list_owner_ids(ctx) - {ctx.actor_id}:
        await notifications.add(
            ctx,
            user_id,
            "member_left",
            f"{ctx.actor.name} left {ctx.tenant_name}",
            "Their seat is free. To return they need a new invitation.",
            href="members",
            dedupe=f"left:{membership.id}:{membership.ended_at}",
        )


async def transfer_ownership(ctx: Ctx, membership_id: str, confirm: str) -> None:
    """Make another active member owner and the actor admin. `confirm` must be the tenant's name.

    Raises Invalid, NotFound, Conflict.
    """
    policy.require(ctx, actions.OWNER_TRANSFER)
    if confirm.strip() != ctx.tenant_name:
        raise Invalid(
            "That doesn’t match.",
            f"Type “{ctx.tenant_name}” to confirm.",
            fields={"confirm": "Doesn’t match"},
        )
    await seats.lock_membership(ctx, actions.OWNER_TRANSFER)
    (current_owner,) = [
        owner for owner in await member_repository.lock_owners(ctx) if owner.user_id == ctx.actor_id
    ]
    new_owner = await _lock_member(ctx, membership_id)
    if new_owner.id == current_owner.id or new_owner.state is not MembershipState.ACTIVE:
        raise Conflict("Ownership can only go to another active member.", "Choose another member.")

    before = {"owner": ctx.actor.name, "role": await roles.get_audit_name(ctx, new_owner.role)}
    new_owner.role, current_owner.role = OWNER, "admin"
    for membership in (new_owner, current_owner):
        advance_version(membership, ctx.actor.name)
    ctx.session.add_all([new_owner, current_owner])
    audit_log.record(
        ctx,
        "ownership.transferred",
        new_owner.id,
        before=before,
        after={"owner": await _get_member_name(ctx, new_owner), "role": OWNER},
    )
    await _end_promises(ctx, current_owner)
    await _publish_change(ctx, new_owner)
    await live_events.refresh_user(ctx.session, current_owner.user_id)


def _not_found() -> NotFound:
    return NotFound("This person is no longer a member.", "Reload the page.")


async def _lock_member(ctx: Ctx, membership_id: str) -> Membership:
    membership = await member_repository.lock_membership(ctx, membership_id)
    if membership is None or membership.state is MembershipState.REMOVED:
        raise _not_found()
    policy.require_grantable(ctx, await roles.get_permissions(ctx, membership.role))
    return membership


async def _end_membership(ctx: Ctx, membership: Membership, state: MembershipState, action: str) -> None:
    if membership.role == OWNER and membership.state is MembershipState.ACTIVE:
        await _require_another_owner(ctx, membership)
    before = {"state": membership.state.value, "role": await roles.get_name(ctx, membership.role)}
    membership.state, membership.ended_at, membership.ended_by = state, now(), ctx.actor.name
    membership.ended_by_self = action == "membership.left"
    ctx.session.add(membership)
    name = await _get_member_name(ctx, membership)
    audit_log.record(ctx, action, membership.id, before=before, after={"state": state.value}, member=name)
    await membership_end.end_promises(ctx, [membership.user_id])
    await _publish_change(ctx, membership)
    await queue.put(ctx, ACCESS_ENDED_TASK, membership_id=membership.id)


async def build_access_ended_mail(ctx: Ctx, membership_id: str) -> Email | None:
    """None for a member whose access was restored meanwhile."""
    membership = await member_repository.lock_membership(ctx, membership_id)
    if membership is None or membership.state is MembershipState.ACTIVE or membership.ended_at is None:
        return None
    person = await member_repository.get_user(ctx, membership.user_id)
    return Email(
        to=person.email,
        template="left" if membership.ended_by_self else "access_ended",
        message_id=f"ended-{membership.id}-{membership.ended_at:%Y%m%d%H%M%S}",
        values={"name": person.name, "tenant": ctx.tenant_name, "by": membership.ended_by},
        frame=await mail_branding.build_frame(ctx, notification_kinds.ACCESS),
    )


async def _end_promises(ctx: Ctx, membership: Membership) -> None:
    """Of an active member, after their role has changed. The promises of others have ended before."""
    if membership.state is MembershipState.ACTIVE:
        permissions = await roles.get_permissions(ctx, membership.role) or frozenset()
        await membership_end.end_promises(ctx, [membership.user_id], permissions)


async def _require_another_owner(ctx: Ctx, membership: Membership) -> None:
    other_owners = [owner for owner in await member_repository.lock_owners(ctx) if owner.id != membership.id]
    if not other_owners:
        raise Conflict(
            "An organisation needs at least one owner.",
            "Contact support." if ctx.tenant_state == TenantState.SUSPENDED else TRANSFER_FIRST,
            reason="last_owner",
        )


async def _view(ctx: Ctx, membership: Membership) -> Member:
    return build_member(membership, await member_repository.get_user(ctx, membership.user_id))


async def _get_member_name(ctx: Ctx, membership: Membership) -> str:
    return (await member_repository.get_user(ctx, membership.user_id)).name


async def _publish_change(ctx: Ctx, membership: Membership) -> None:
    await live_events.refresh_pages(ctx.session, ctx.tenant_id, "members")
    await live_events.refresh_user(ctx.session, membership.user_id)
