"""SQL of members and of the seats they use."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import (
    ColumnElement,
    SQLColumnExpression,
    case,
    exists,
    literal,
    literal_column,
    true,
)
from sqlalchemy.orm import aliased
from sqlmodel import col, func, select

from shared.access.roles import ROLES
from shared.core import rows
from shared.core.context import Ctx
from shared.core.db import now, timestamptz
from shared.core.paging import after_cursor, contains_folded, decode_cursor, encode_cursor
from shared.identity.models import User
from shared.tenancy.invitation_repository import list_pending_invitations
from shared.tenancy.models import (
    Invitation,
    InvitationStatus,
    Membership,
    MembershipState,
    RoleRow,
)

# Who was never seen comes before everybody else. Written as in the index of migration 0010, or it is not used.
SEEN_AT = func.coalesce(
    col(Membership.seen_at),
    literal_column("'1970-01-01 00:00:00+00'::timestamptz", timestamptz()),
    type_=timestamptz(),
)
MEMBER_SORT_COLUMNS: dict[str, SQLColumnExpression[Any]] = {
    "name": col(Membership.name_key),
    "seen_at": SEEN_AT,
    "created_at": col(Membership.created_at),
}
# Built-in roles by descending permissions, then custom roles by name.
ROLE_RANK = case(
    {key: literal(str(position)) for position, key in enumerate(ROLES)},
    value=col(RoleRow.key),
    else_=literal("own ") + func.lower(col(RoleRow.name)),
)
SORTS = (*MEMBER_SORT_COLUMNS, "role")
BEFORE_EVERY_ID, AFTER_EVERY_ID = "", "~"


async def list_members(
    ctx: Ctx, *, query: str, role: str, sort: str, descending: bool, after: str, limit: int
) -> Sequence[tuple[Membership, User, str]]:
    """With the cursor of each row. Raises Invalid for a page that doesn't exist.

    An index gives the rows in this order, so that a page costs the same in a tenant of any size.
    """
    conditions = _member_conditions(ctx, query, role)
    if sort == "role":
        statement = _select_by_role(ctx, conditions, descending=descending, after=after, limit=limit)
    else:
        key = (MEMBER_SORT_COLUMNS[sort], col(Membership.id))
        statement = (
            select(Membership, User, key[0])
            .join(User, col(User.id) == Membership.user_id)
            .where(*conditions, *after_cursor(key, after, descending=descending))
            .order_by(*(column.desc() if descending else column.asc() for column in key))
            .limit(limit)
        )
    return [
        (membership, user, encode_cursor(value, membership.id))
        for membership, user, value in await rows.all(ctx, statement)
    ]


async def count_members(ctx: Ctx, query: str, role: str) -> int:
    """Of those that `list_members` lists."""
    statement = (
        select(func.count())
        .select_from(Membership)
        .join(User, col(User.id) == Membership.user_id)
        .where(*_member_conditions(ctx, query, role))
    )
    return (await ctx.session.exec(statement)).one()


async def find_member(ctx: Ctx, membership_id: str) -> tuple[Membership, User] | None:
    """None for an unknown and for a removed one."""
    statement = (
        select(Membership, User)
        .join(User, col(User.id) == Membership.user_id)
        .where(Membership.tenant_id == ctx.tenant_id)
        .where(Membership.id == membership_id)
        .where(Membership.state != MembershipState.REMOVED)
    )
    return await rows.one(ctx, statement)


def _select_by_role(
    ctx: Ctx, conditions: Sequence[ColumnElement[bool]], *, descending: bool, after: str, limit: int
) -> Any:
    """A page of each role that may have rows of it, and of these the first ones.

    A role's name can't be in an index of memberships.
    """
    roles = select(col(RoleRow.key), ROLE_RANK.label("rank")).where(RoleRow.tenant_id == ctx.tenant_id)
    start: ColumnElement[Any] = literal(AFTER_EVERY_ID if descending else BEFORE_EVERY_ID)
    last_rank, last_id = decode_cursor(after, (str, str)) if after else (None, "")
    if last_rank is not None:
        roles = roles.where(last_rank >= ROLE_RANK if descending else last_rank <= ROLE_RANK)
    ranked = roles.subquery("ranked")
    if last_rank is not None:
        start = case((ranked.c.rank == last_rank, literal(last_id)), else_=start)
    member_id = col(Membership.id)
    members_of_role = (
        select(Membership)
        .where(*conditions, col(Membership.role) == ranked.c.key)
        .where(member_id < start if descending else member_id > start)
        .order_by(member_id.desc() if descending else member_id.asc())
        .limit(limit)
        .lateral("members_of_role")
    )
    member = aliased(Membership, members_of_role)
    key = (ranked.c.rank, col(member.id))
    statement: Any = select(member, User, ranked.c.rank)
    return (
        statement.select_from(ranked)
        .join(members_of_role, true())
        .join(User, col(User.id) == col(member.user_id))
        .order_by(*(column.desc() if descending else column.asc() for column in key))
        .limit(limit)
    )


def _member_conditions(ctx: Ctx, query: str, role: str) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = [
        col(Membership.tenant_id) == ctx.tenant_id,
        col(Membership.state) != MembershipState.REMOVED,
    ]
    if query:
        conditions.append(contains_folded(col(Membership.search_text), query))
    if role:
        conditions.append(col(Membership.role) == role)
    return conditions


async def lock_membership(ctx: Ctx, membership_id: str) -> Membership | None:
    return await rows.lock(ctx, Membership, membership_id)


async def lock_membership_of_user(ctx: Ctx, user_id: str) -> Membership | None:
    statement = (
        select(Membership)
        .where(Membership.tenant_id == ctx.tenant_id)
        .where(Membership.user_id == user_id)
        .with_for_update(key_share=True)
    )
    return await rows.one(ctx, statement)


async def get_membership_of_user(ctx: Ctx, user_id: str) -> Membership | None:
    statement = (
        select(Membership).where(Membership.tenant_id == ctx.tenant_id).where(Membership.user_id == user_id)
    )
    return await rows.one(ctx, statement)


async def get_user(ctx: Ctx, user_id: str) -> User:
    """A current or former member. `user` is a global table, so the membership is the tenant filter."""
    statement = (
        select(User)
        .join(Membership, col(Membership.user_id) == User.id)
        .where(Membership.tenant_id == ctx.tenant_id)
        .where(User.id == user_id)
    )
    user = (await ctx.session.exec(statement)).first()
    assert user is not None  # by the foreign key of the membership
    return user


async def get_active_member(ctx: Ctx, user_id: str) -> User | None:
    """None for a stranger and for a former member."""
    statement = (
        select(User)
        .join(Membership, col(Membership.user_id) == User.id)
        .where(Membership.tenant_id == ctx.tenant_id)
        .where(Membership.state == MembershipState.ACTIVE)
        .where(User.id == user_id)
    )
    return (await ctx.session.exec(statement)).first()


async def list_users_with_roles(ctx: Ctx, roles: Sequence[str]) -> Sequence[User]:
    """Active members with one of these roles, owners first."""
    statement = (
        select(User)
        .join(Membership, col(Membership.user_id) == User.id)
        .where(Membership.tenant_id == ctx.tenant_id)
        .where(Membership.state == MembershipState.ACTIVE)
        .where(col(Membership.role).in_(roles))
        .order_by(col(Membership.role) != "owner", col(Membership.created_at), col(User.id))
    )
    return await rows.all(ctx, statement)


async def lock_owners(ctx: Ctx) -> Sequence[Membership]:
    """Lock the active owners, so that two owners who leave concurrently do not both succeed."""
    statement = (
        select(Membership)
        .where(Membership.tenant_id == ctx.tenant_id)
        .where(Membership.role == "owner")
        .where(Membership.state == MembershipState.ACTIVE)
        .order_by(col(Membership.id))
        .with_for_update(key_share=True)
    )
    return await rows.all(ctx, statement)


async def lock_members(ctx: Ctx) -> None:
    """Serialise changes of memberships and roles in this tenant, which also prevents deadlocks."""
    key = func.hashtextextended(f"seats:{ctx.tenant_id}", 0)
    await ctx.session.exec(select(func.pg_advisory_xact_lock(key)))


async def list_seat_emails(ctx: Ctx) -> set[str]:
    """Addresses that use a seat: active members and pending invitations that have not expired."""
    members = (
        select(User.email)
        .join(Membership, col(Membership.user_id) == User.id)
        .where(Membership.tenant_id == ctx.tenant_id)
        .where(Membership.state == MembershipState.ACTIVE)
    )
    at = now()
    invited_emails = [
        invitation.email for invitation in await list_pending_invitations(ctx) if invitation.expires_at > at
    ]
    return {*(await ctx.session.exec(members)).all(), *invited_emails}


async def count_seats(ctx: Ctx) -> int:
    """How many addresses `list_seat_emails` has, without reading them."""
    has_seat = (
        exists()
        .where(col(User.email) == col(Invitation.email))
        .where(col(Membership.user_id) == col(User.id))
        .where(col(Membership.tenant_id) == ctx.tenant_id)
        .where(col(Membership.state) == MembershipState.ACTIVE)
    )
    members = (
        select(func.count())
        .select_from(Membership)
        .where(Membership.tenant_id == ctx.tenant_id)
        .where(Membership.state == MembershipState.ACTIVE)
    )
    invited = (
        select(func.count())
        .select_from(Invitation)
        .where(Invitation.tenant_id == ctx.tenant_id)
        .where(Invitation.status == InvitationStatus.PENDING)
        .where(col(Invitation.expires_at) > now())
        .where(~has_seat)
    )
    statement = select(members.scalar_subquery() + invited.scalar_subquery())
    return int((await ctx.session.exec(statement)).one())


async def list_owner_ids(ctx: Ctx) -> set[str]:
    """User ids of the active owners."""
    statement = (
        select(Membership.user_id)
        .where(Membership.tenant_id == ctx.tenant_id)
        .where(Membership.role == "owner")
        .where(Membership.state == MembershipState.ACTIVE)
    )
    return set((await ctx.session.exec(statement)).all())
