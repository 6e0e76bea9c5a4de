"""Who works in a tenant: list, change roles, deactivate, remove, hand over.

Nobody touches a person who may do more than they may, and the last active owner stays. Rows of people who left stay
too, with when and by whom.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from shared.access import actions, policy
from shared.access.roles import OWNER
from shared.audit import trail
from shared.core import notices
from shared.core.ctx import Ctx
from shared.core.db import now
from shared.core.errors import Conflict, Invalid, NotFound
from shared.identity.models import User
from shared.jobs import queue
from shared.tenancy import repository, roles, seats
from shared.tenancy.models import Membership, MembershipState

MOST = 100


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


@dataclass(frozen=True, slots=True)
class Page:
    """`after` is the cursor of the next page, "" on the last one."""

    rows: Sequence[Member]
    after: str = ""


async def list_members(
    ctx: Ctx,
    *,
    query: str = "",
    role: str = "",
    sort: str = "name",
    descending: bool = False,
    after: str = "",
    limit: int = 50,
) -> Page:
    """`sort`: name, role, seen_at or created_at. People who were removed are not among them.

    Raises Invalid for another column, and for a page that does not exist.
    """
    policy.require(ctx, actions.MEMBER_READ)
    require_sort(sort)
    limit = min(max(limit, 1), MOST)
    found = await repository.list_members(
        ctx, query=query.strip(), role=role, sort=sort, descending=descending, after=after, limit=limit + 1
    )
    rows = [of(membership, user) for membership, user in found[:limit]]
    return Page(rows, rows[-1].id if len(found) > limit else "")


def require_sort(sort: str) -> None:
    """Raises Invalid for a column that is none."""
    if sort not in repository.MEMBER_SORTS:
        raise Invalid("This list cannot be sorted like that.", "Reload the page.")


def of(one: Membership, user: User) -> Member:
    return Member(
        one.id, user.id, user.name, user.email, one.role, one.state.value, one.created_at, one.seen_at
    )


async def count_seats(ctx: Ctx) -> int:
    """Active members and pending invitations."""
    policy.require(ctx, actions.MEMBER_READ)
    return len(await repository.list_seats(ctx))


async def set_role(ctx: Ctx, membership_id: str, role: str) -> None:
    """Raises NotFound, Refused for a role or a person above one's own rights, Conflict for the last owner."""
    policy.require(ctx, actions.MEMBER_SET_ROLE)
    await seats.freeze(ctx, actions.MEMBER_SET_ROLE)
    await roles.require_givable(ctx, role)
    membership = await _lock(ctx, membership_id)
    if membership.role == role:
        return
    if role == OWNER:
        raise Invalid("Ownership is handed over, not given as a role.", "Use “Transfer ownership”.")
    if membership.role == OWNER:
        await _keep_an_owner(ctx, membership)

    before, membership.role = membership.role, role
    ctx.session.add(membership)
    trail.record(
        ctx,
        "membership.role_changed",
        membership.id,
        before={"role": await roles.said(ctx, before)},
        after={"role": await roles.said(ctx, role)},
        member=await _name(ctx, membership),
    )
    await _changed(ctx, membership)


async def deactivate(ctx: Ctx, membership_id: str) -> None:
    """They cannot enter until somebody reactivates them; their seat becomes free."""
    policy.require(ctx, actions.MEMBER_DEACTIVATE)
    await seats.freeze(ctx, actions.MEMBER_DEACTIVATE)
    membership = await _lock(ctx, membership_id)
    if membership.state is MembershipState.DEACTIVATED:
        return
    await _end(ctx, membership, MembershipState.DEACTIVATED, "membership.deactivated")


async def reactivate(ctx: Ctx, membership_id: str) -> None:
    """Takes a seat again. Raises Refused when there is none."""
    policy.require(ctx, actions.MEMBER_DEACTIVATE)
    taken = await seats.take(ctx, actions.MEMBER_DEACTIVATE)
    membership = await _lock(ctx, membership_id)
    if membership.state is MembershipState.ACTIVE:
        return
    policy.require(ctx, actions.MEMBER_INVITE, used=len(taken))

    membership.state, membership.ended_at, membership.ended_by = MembershipState.ACTIVE, None, ""
    ctx.session.add(membership)
    trail.record(
        ctx,
        "membership.reactivated",
        membership.id,
        before={"state": "deactivated"},
        after={"state": "active"},
        member=await _name(ctx, membership),
    )
    await _changed(ctx, membership)


async def remove(ctx: Ctx, membership_id: str) -> None:
    """They lose access at once; to return they need a new invitation."""
    policy.require(ctx, actions.MEMBER_REMOVE)
    await seats.freeze(ctx, actions.MEMBER_REMOVE)
    membership = await _lock(ctx, membership_id)
    await _end(ctx, membership, MembershipState.REMOVED, "membership.removed")


async def transfer_ownership(ctx: Ctx, membership_id: str, confirm: str) -> None:
    """Another active member becomes owner, the one who hands over becomes admin. `confirm`: the tenant's name."""
    policy.require(ctx, actions.OWNER_TRANSFER)
    if confirm.strip() != ctx.tenant_name:
        raise Invalid(
            f"This is not the name {ctx.tenant_name}.",
            "Type it exactly.",
            fields={"confirm": "Does not match"},
        )
    await seats.freeze(ctx, actions.OWNER_TRANSFER)
    (mine,) = [one for one in await repository.lock_owners(ctx) if one.user_id == ctx.actor_id]
    heir = await _lock(ctx, membership_id)
    if heir.id == mine.id or heir.state is not MembershipState.ACTIVE:
        raise Conflict("Ownership goes to another active member.", "Choose somebody else.")

    before = {"owner": ctx.actor.name, "role": await roles.said(ctx, heir.role)}
    heir.role, mine.role = OWNER, "admin"
    ctx.session.add_all([heir, mine])
    trail.record(
        ctx,
        "ownership.transferred",
        heir.id,
        before=before,
        after={"owner": await _name(ctx, heir), "role": OWNER},
    )
    await _changed(ctx, heir)
    await notices.person(ctx.session, mine.user_id)


async def _lock(ctx: Ctx, membership_id: str) -> Membership:
    membership = await repository.lock_membership(ctx, membership_id)
    if membership is None or membership.state is MembershipState.REMOVED:
        raise NotFound("This person is not a member any more.", "Reload the page.")
    policy.require_grantable(ctx, await roles.permissions(ctx, membership.role))
    return membership


async def _end(ctx: Ctx, membership: Membership, state: MembershipState, action: str) -> None:
    if membership.role == OWNER and membership.state is MembershipState.ACTIVE:
        await _keep_an_owner(ctx, membership)
    before = {"state": membership.state.value, "role": await roles.name(ctx, membership.role)}
    membership.state, membership.ended_at, membership.ended_by = state, now(), ctx.actor.name
    ctx.session.add(membership)
    name = await _name(ctx, membership)
    trail.record(ctx, action, membership.id, before=before, after={"state": state.value}, member=name)
    await _changed(ctx, membership)
    await queue.put(ctx, "tenancy.send_access_ended", membership_id=membership.id)


async def _keep_an_owner(ctx: Ctx, leaving: Membership) -> None:
    others = [one for one in await repository.lock_owners(ctx) if one.id != leaving.id]
    if not others:
        raise Conflict(
            "The last owner stays.", "Transfer ownership first; then this is possible.", reason="last_owner"
        )


async def _name(ctx: Ctx, membership: Membership) -> str:
    return (await repository.get_person(ctx, membership.user_id)).name


async def _changed(ctx: Ctx, membership: Membership) -> None:
    await notices.page(ctx.session, ctx.tenant_id, "members")
    await notices.person(ctx.session, membership.user_id)
