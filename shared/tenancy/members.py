"""Who works in a tenant: list, change roles, deactivate, remove, hand over.

Nobody touches a person who may do more than they may, and the last active owner stays. Rows of people who left stay
too, with when and by whom.
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
from shared.identity.models import User
from shared.jobs import queue
from shared.tenancy import member_repository, roles, seats
from shared.tenancy.models import Membership, MembershipState


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
    """`sort`: name, role, seen_at or created_at. People who were removed are not among them.

    Raises Invalid for another column, and for a page that does not exist.
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
    page = build_page(records, limit=limit, cursor_of=lambda record: record[0].id)
    return map_page(page, lambda record: build_member(*record))


def require_sort_column(sort: str) -> None:
    """Raises Invalid for a column that is none."""
    if sort not in member_repository.MEMBER_SORT_COLUMNS:
        raise Invalid("This list cannot be sorted like that.", "Reload the page.")


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
    )


async def count_seats(ctx: Ctx) -> int:
    """Active members and pending invitations."""
    policy.require(ctx, actions.MEMBER_READ)
    return len(await member_repository.list_seat_emails(ctx))


async def set_role(ctx: Ctx, membership_id: str, role: str) -> None:
    """Raises NotFound, Refused for a role or a person above one's own rights, Conflict for the last owner."""
    policy.require(ctx, actions.MEMBER_SET_ROLE)
    await seats.lock_membership(ctx, actions.MEMBER_SET_ROLE)
    await roles.require_assignable(ctx, role)
    membership = await _lock_member(ctx, membership_id)
    if membership.role == role:
        return
    if role == OWNER:
        raise Invalid("Ownership is handed over, not given as a role.", "Use “Transfer ownership”.")
    if membership.role == OWNER:
        await _require_another_owner(ctx, membership)

    before, membership.role = membership.role, role
    ctx.session.add(membership)
    audit_log.record(
        ctx,
        "membership.role_changed",
        membership.id,
        before={"role": await roles.get_audit_name(ctx, before)},
        after={"role": await roles.get_audit_name(ctx, role)},
        member=await _get_member_name(ctx, membership),
    )
    await _publish_change(ctx, membership)


async def deactivate(ctx: Ctx, membership_id: str) -> None:
    """They cannot enter until somebody reactivates them; their seat becomes free."""
    policy.require(ctx, actions.MEMBER_DEACTIVATE)
    await seats.lock_membership(ctx, actions.MEMBER_DEACTIVATE)
    membership = await _lock_member(ctx, membership_id)
    if membership.state is MembershipState.DEACTIVATED:
        return
    await _end_membership(ctx, membership, MembershipState.DEACTIVATED, "membership.deactivated")


async def reactivate(ctx: Ctx, membership_id: str) -> None:
    """Takes a seat again. Raises Refused when there is none."""
    policy.require(ctx, actions.MEMBER_DEACTIVATE)
    occupied_seats = await seats.reserve(ctx, actions.MEMBER_DEACTIVATE)
    membership = await _lock_member(ctx, membership_id)
    if membership.state is MembershipState.ACTIVE:
        return
    policy.require(ctx, actions.MEMBER_INVITE, used=len(occupied_seats))

    membership.state, membership.ended_at, membership.ended_by = MembershipState.ACTIVE, None, ""
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


async def remove(ctx: Ctx, membership_id: str) -> None:
    """They lose access at once; to return they need a new invitation."""
    policy.require(ctx, actions.MEMBER_REMOVE)
    await seats.lock_membership(ctx, actions.MEMBER_REMOVE)
    membership = await _lock_member(ctx, membership_id)
    await _end_membership(ctx, membership, MembershipState.REMOVED, "membership.removed")


async def transfer_ownership(ctx: Ctx, membership_id: str, confirm: str) -> None:
    """Another active member becomes owner, the one who hands over becomes admin. `confirm`: the tenant's name."""
    policy.require(ctx, actions.OWNER_TRANSFER)
    if confirm.strip() != ctx.tenant_name:
        raise Invalid(
            f"This is not the name {ctx.tenant_name}.",
            "Type it exactly.",
            fields={"confirm": "Does not match"},
        )
    await seats.lock_membership(ctx, actions.OWNER_TRANSFER)
    (current_owner,) = [
        owner for owner in await member_repository.lock_owners(ctx) if owner.user_id == ctx.actor_id
    ]
    new_owner = await _lock_member(ctx, membership_id)
    if new_owner.id == current_owner.id or new_owner.state is not MembershipState.ACTIVE:
        raise Conflict("Ownership goes to another active member.", "Choose somebody else.")

    before = {"owner": ctx.actor.name, "role": await roles.get_audit_name(ctx, new_owner.role)}
    new_owner.role, current_owner.role = OWNER, "admin"
    ctx.session.add_all([new_owner, current_owner])
    audit_log.record(
        ctx,
        "ownership.transferred",
        new_owner.id,
        before=before,
        after={"owner": await _get_member_name(ctx, new_owner), "role": OWNER},
    )
    await _publish_change(ctx, new_owner)
    await live_events.refresh_user(ctx.session, current_owner.user_id)


async def _lock_member(ctx: Ctx, membership_id: str) -> Membership:
    membership = await member_repository.lock_membership(ctx, membership_id)
    if membership is None or membership.state is MembershipState.REMOVED:
        raise NotFound("This person is not a member any more.", "Reload the page.")
    policy.require_grantable(ctx, await roles.get_permissions(ctx, membership.role))
    return membership


async def _end_membership(ctx: Ctx, membership: Membership, state: MembershipState, action: str) -> None:
    if membership.role == OWNER and membership.state is MembershipState.ACTIVE:
        await _require_another_owner(ctx, membership)
    before = {"state": membership.state.value, "role": await roles.get_name(ctx, membership.role)}
    membership.state, membership.ended_at, membership.ended_by = state, now(), ctx.actor.name
    ctx.session.add(membership)
    name = await _get_member_name(ctx, membership)
    audit_log.record(ctx, action, membership.id, before=before, after={"state": state.value}, member=name)
    await _publish_change(ctx, membership)
    await queue.put(ctx, "tenancy.send_access_ended", membership_id=membership.id)


async def _require_another_owner(ctx: Ctx, membership: Membership) -> None:
    other_owners = [owner for owner in await member_repository.lock_owners(ctx) if owner.id != membership.id]
    if not other_owners:
        raise Conflict(
            "The last owner stays.", "Transfer ownership first; then this is possible.", reason="last_owner"
        )


async def _get_member_name(ctx: Ctx, membership: Membership) -> str:
    return (await member_repository.get_user(ctx, membership.user_id)).name


async def _publish_change(ctx: Ctx, membership: Membership) -> None:
    await live_events.refresh_pages(ctx.session, ctx.tenant_id, "members")
    await live_events.refresh_user(ctx.session, membership.user_id)
