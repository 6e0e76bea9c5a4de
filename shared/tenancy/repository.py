"""All SQL of the tenancy module. Every statement starts from `ctx.tenant_id`.

Row-level security would hide another tenant's rows anyway: it is the net, not the filter.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, SQLColumnExpression, and_, case, delete, literal, text, tuple_, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import IntegrityError
from sqlmodel import col, func, select
from sqlmodel.ext.asyncio.session import AsyncSession

from shared.access.roles import ROLES
from shared.core.ctx import Ctx
from shared.core.db import now
from shared.core.errors import Invalid
from shared.core.ids import new_id
from shared.identity.models import User
from shared.tenancy.models import (
    ChecklistItem,
    Invitation,
    InvitationStatus,
    MailChoice,
    Membership,
    MembershipState,
    Notification,
    ProvisioningStep,
    RoleRow,
    SignUp,
    Tenant,
    TenantKey,
    TenantSettings,
)

EARLIEST = datetime.fromisoformat("1970-01-01T00:00:00+00:00")


# Tenants


async def get_sign_up(session: AsyncSession, sign_up_id: str) -> SignUp | None:
    return await session.get(SignUp, sign_up_id)


async def take_sign_ups(session: AsyncSession, email: str) -> Sequence[SignUp]:
    """All that wait for this address, in the order they came; nobody else gets them."""
    statement = select(SignUp).where(SignUp.email == email).order_by(col(SignUp.created_at), col(SignUp.id))
    found = (await session.exec(statement)).all()
    await session.exec(delete(SignUp).where(col(SignUp.id).in_([one.id for one in found])))
    return found


async def delete_old_sign_ups(session: AsyncSession, than: timedelta) -> None:
    await session.exec(delete(SignUp).where(col(SignUp.created_at) < now() - than))


async def add_tenant(session: AsyncSession, tenant: Tenant) -> bool:
    """False when the slug is taken; the transaction goes on."""
    try:
        async with session.begin_nested():
            session.add(tenant)
            await session.flush()
    except IntegrityError:
        return False
    return True


async def lock_tenant(ctx: Ctx) -> Tenant:
    tenant = await ctx.session.get(Tenant, ctx.tenant_id, with_for_update=True, populate_existing=True)
    assert tenant is not None  # or there would be no ctx
    return tenant


async def set_slug(ctx: Ctx, tenant: Tenant, slug: str) -> bool:
    """False when somebody else has it; the transaction goes on."""
    try:
        async with ctx.session.begin_nested():
            tenant.slug = slug
            ctx.session.add(tenant)
            await ctx.session.flush()
    except IntegrityError:
        return False
    return True


async def get_settings(ctx: Ctx) -> TenantSettings | None:
    return await ctx.session.get(TenantSettings, (ctx.tenant_id, "settings"))


async def get_logo_digest(ctx: Ctx) -> str:
    """ "" without a logo."""
    statement = select(TenantSettings.logo_digest).where(TenantSettings.tenant_id == ctx.tenant_id)
    return (await ctx.session.exec(statement)).first() or ""


async def lock_settings(ctx: Ctx) -> TenantSettings:
    await insert_missing(ctx, [TenantSettings(tenant_id=ctx.tenant_id)])
    found = await ctx.session.get(
        TenantSettings, (ctx.tenant_id, "settings"), with_for_update=True, populate_existing=True
    )
    assert found is not None
    return found


async def insert_missing(ctx: Ctx, rows: Sequence[Any]) -> bool:
    """Adds rows of one table unless ones with their keys are there: for steps that may run twice. True when any was
    added."""
    table = rows[0].__table__
    values = [
        {column.name: getattr(row, column.name) for column in table.columns} | {"tenant_id": ctx.tenant_id}
        for row in rows
    ]
    connection = await ctx.session.connection()
    adding = insert(table).values(values).on_conflict_do_nothing().returning(table.c.id)
    return (await connection.execute(adding)).first() is not None


async def add_roles(ctx: Ctx) -> None:
    rows = [RoleRow(tenant_id=ctx.tenant_id, key=role.key, name=role.name) for role in ROLES.values()]
    await insert_missing(ctx, rows)


async def get_role(ctx: Ctx, key: str) -> RoleRow | None:
    """As it is now: under the lock of the members it may be another one than before it."""
    statement = select(RoleRow).where(RoleRow.tenant_id == ctx.tenant_id).where(RoleRow.key == key)
    return (await ctx.session.exec(statement, execution_options={"populate_existing": True})).first()


async def list_own_roles(ctx: Ctx) -> Sequence[RoleRow]:
    statement = (
        select(RoleRow)
        .where(RoleRow.tenant_id == ctx.tenant_id)
        .where(col(RoleRow.builtin).is_(False))
        .where(col(RoleRow.deleted_at).is_(None))
        .order_by(func.lower(RoleRow.name), RoleRow.id)
    )
    return (await ctx.session.exec(statement)).all()


async def is_role_name_taken(ctx: Ctx, name: str, other_than: str) -> bool:
    """By a role that is not deleted, in whatever case. `other_than`: key of the role that is renamed."""
    statement = (
        select(RoleRow.id)
        .where(RoleRow.tenant_id == ctx.tenant_id)
        .where(func.lower(RoleRow.name) == func.lower(name))
        .where(col(RoleRow.deleted_at).is_(None))
        .where(RoleRow.key != other_than)
    )
    return (await ctx.session.exec(statement)).first() is not None


async def count_holders(ctx: Ctx) -> dict[str, int]:
    """By role: people who have it, or would have it again when they are reactivated."""
    statement = (
        select(Membership.role, func.count())
        .where(Membership.tenant_id == ctx.tenant_id)
        .where(Membership.state != MembershipState.REMOVED)
        .group_by(Membership.role)
        .order_by(Membership.role)
    )
    return dict((await ctx.session.exec(statement)).all())


async def count_promised(ctx: Ctx) -> dict[str, int]:
    """By role: invitations that can still be accepted."""
    statement = (
        select(Invitation.role, func.count())
        .where(Invitation.tenant_id == ctx.tenant_id)
        .where(Invitation.status == InvitationStatus.PENDING)
        .where(col(Invitation.expires_at) > now())
        .group_by(Invitation.role)
        .order_by(Invitation.role)
    )
    return dict((await ctx.session.exec(statement)).all())


async def list_holders(ctx: Ctx, role: str) -> Sequence[str]:
    """Ids of the people who may enter with this role."""
    statement = (
        select(Membership.user_id)
        .where(Membership.tenant_id == ctx.tenant_id)
        .where(Membership.role == role)
        .where(Membership.state == MembershipState.ACTIVE)
    )
    return (await ctx.session.exec(statement)).all()


async def add_key(ctx: Ctx, kek_id: int, wrapped: bytes) -> None:
    await insert_missing(ctx, [TenantKey(tenant_id=ctx.tenant_id, kek_id=kek_id, wrapped=wrapped)])


# Members


MEMBER_SORTS: dict[str, SQLColumnExpression[Any]] = {
    "name": func.lower(col(User.name)),
    # The built-in ones from the most to the least, then the tenant's own by name.
    "role": case(
        {key: literal(str(place)) for place, key in enumerate(ROLES)},
        value=col(Membership.role),
        else_=select(literal("own ") + func.lower(col(RoleRow.name)))
        .where(col(RoleRow.tenant_id) == col(Membership.tenant_id))
        .where(col(RoleRow.key) == col(Membership.role))
        .correlate(Membership)
        .scalar_subquery(),
    ),
    "seen_at": func.coalesce(col(Membership.seen_at), EARLIEST),
    "created_at": col(Membership.created_at),
}


async def list_members(
    ctx: Ctx, *, query: str, role: str, sort: str, descending: bool, after: str, limit: int
) -> Sequence[tuple[Membership, User]]:
    """`after`: the id of the row before. Raises Invalid when there is no such row."""
    key = (MEMBER_SORTS[sort], col(Membership.id))
    conditions = _matching(ctx, query, role)
    if after:
        here = await _place(ctx, key, after)
        conditions.append(tuple_(*key) < here if descending else tuple_(*key) > here)
    statement = (
        select(Membership, User)
        .join(User, col(User.id) == Membership.user_id)
        .where(*conditions)
        .order_by(*(one.desc() if descending else one.asc() for one in key))
        .limit(limit)
    )
    return (await ctx.session.exec(statement)).all()


async def _place(
    ctx: Ctx, key: tuple[SQLColumnExpression[Any], SQLColumnExpression[str]], after: str
) -> ColumnElement[Any]:
    """Where a row stands in the order, in the database's own words: it and Python do not agree on lower case."""
    statement = (
        select(*key)
        .select_from(Membership)
        .join(User, col(User.id) == Membership.user_id)
        .where(col(Membership.tenant_id) == ctx.tenant_id)
        .where(col(Membership.id) == after)
    )
    found = (await ctx.session.exec(statement)).first()
    if found is None:
        raise Invalid("This page does not exist.", "Start again at the first one.")
    return tuple_(*(literal(value) for value in found))


def _matching(ctx: Ctx, query: str, role: str) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = [
        col(Membership.tenant_id) == ctx.tenant_id,
        col(Membership.state) != MembershipState.REMOVED,
    ]
    if query:
        words = func.lower(col(User.name)) + " " + col(User.email)
        conditions.append(func.strpos(words, query.lower()) > 0)
    if role:
        conditions.append(col(Membership.role) == role)
    return conditions


async def lock_membership(ctx: Ctx, membership_id: str) -> Membership | None:
    key = (ctx.tenant_id, membership_id)
    return await ctx.session.get(Membership, key, with_for_update=True, populate_existing=True)


async def lock_membership_of(ctx: Ctx, user_id: str) -> Membership | None:
    statement = (
        select(Membership)
        .where(Membership.tenant_id == ctx.tenant_id)
        .where(Membership.user_id == user_id)
        .with_for_update()
    )
    return (await ctx.session.exec(statement)).first()


async def get_membership_of(ctx: Ctx, user_id: str) -> Membership | None:
    statement = (
        select(Membership).where(Membership.tenant_id == ctx.tenant_id).where(Membership.user_id == user_id)
    )
    return (await ctx.session.exec(statement)).first()


async def get_person(ctx: Ctx, user_id: str) -> User:
    """Somebody who belongs or belonged to this tenant: people are everybody's table, so membership is the filter."""
    statement = (
        select(User)
        .join(Membership, col(Membership.user_id) == User.id)
        .where(Membership.tenant_id == ctx.tenant_id)
        .where(User.id == user_id)
    )
    user = (await ctx.session.exec(statement)).first()
    assert user is not None  # by the foreign key of the membership that named them
    return user


async def list_people_with(ctx: Ctx, roles: Sequence[str]) -> Sequence[User]:
    """Active members that hold one of these roles, owners first."""
    statement = (
        select(User)
        .join(Membership, col(Membership.user_id) == User.id)
        .where(Membership.tenant_id == ctx.tenant_id)
        .where(Membership.state == MembershipState.ACTIVE)
        .where(col(Membership.role).in_(roles))
        .order_by(col(Membership.role) != "owner", col(Membership.created_at), col(User.id))
    )
    return (await ctx.session.exec(statement)).all()


async def lock_owners(ctx: Ctx) -> Sequence[Membership]:
    """The active owners, frozen: two who leave at once cannot both find another one left."""
    statement = (
        select(Membership)
        .where(Membership.tenant_id == ctx.tenant_id)
        .where(Membership.role == "owner")
        .where(Membership.state == MembershipState.ACTIVE)
        .order_by(col(Membership.id))
        .with_for_update()
    )
    return (await ctx.session.exec(statement)).all()


async def get_active_role(ctx: Ctx, user_id: str) -> RoleRow | None:
    """As it is now; None for somebody who is no active member."""
    statement = (
        select(RoleRow)
        .join(
            Membership,
            and_(
                col(Membership.tenant_id) == col(RoleRow.tenant_id), col(Membership.role) == col(RoleRow.key)
            ),
        )
        .where(RoleRow.tenant_id == ctx.tenant_id)
        .where(Membership.user_id == user_id)
        .where(Membership.state == MembershipState.ACTIVE)
    )
    return (await ctx.session.exec(statement, execution_options={"populate_existing": True})).first()


async def lock_members(ctx: Ctx) -> None:
    """One change of who belongs and with what role at a time, so that two of them never wait for each other."""
    key = func.hashtextextended(f"seats:{ctx.tenant_id}", 0)
    await ctx.session.exec(select(func.pg_advisory_xact_lock(key)))


async def list_seats(ctx: Ctx) -> set[str]:
    """Active members, and pending invitations that have not expired."""
    members = (
        select(User.email)
        .join(Membership, col(Membership.user_id) == User.id)
        .where(Membership.tenant_id == ctx.tenant_id)
        .where(Membership.state == MembershipState.ACTIVE)
    )
    at = now()
    invited = [one.email for one in await list_pending_invitations(ctx) if one.expires_at > at]
    return {*(await ctx.session.exec(members)).all(), *invited}


async def list_pending_invitations(ctx: Ctx) -> Sequence[Invitation]:
    statement = (
        select(Invitation)
        .where(Invitation.tenant_id == ctx.tenant_id)
        .where(Invitation.status == InvitationStatus.PENDING)
        .order_by(col(Invitation.created_at), col(Invitation.id))
    )
    return (await ctx.session.exec(statement)).all()


async def get_invitation(ctx: Ctx, invitation_id: str) -> Invitation | None:
    return await ctx.session.get(Invitation, (ctx.tenant_id, invitation_id))


async def lock_invitation(ctx: Ctx, invitation_id: str) -> Invitation | None:
    key = (ctx.tenant_id, invitation_id)
    return await ctx.session.get(Invitation, key, with_for_update=True, populate_existing=True)


async def lock_expired_invitation(ctx: Ctx, email: str) -> Invitation | None:
    """A pending one whose time is over: it holds no seat and gives way to a new one."""
    statement = (
        select(Invitation)
        .where(Invitation.tenant_id == ctx.tenant_id)
        .where(Invitation.email == email)
        .where(Invitation.status == InvitationStatus.PENDING)
        .where(col(Invitation.expires_at) <= now())
        .with_for_update()
    )
    return (await ctx.session.exec(statement)).first()


# Provisioning, checklist, notifications


async def list_steps(ctx: Ctx) -> Sequence[ProvisioningStep]:
    statement = (
        select(ProvisioningStep)
        .where(ProvisioningStep.tenant_id == ctx.tenant_id)
        .order_by(col(ProvisioningStep.position))
    )
    return (await ctx.session.exec(statement)).all()


async def lock_steps(ctx: Ctx) -> Sequence[ProvisioningStep]:
    statement = (
        select(ProvisioningStep)
        .where(ProvisioningStep.tenant_id == ctx.tenant_id)
        .order_by(col(ProvisioningStep.position))
        .with_for_update()
    )
    return (await ctx.session.exec(statement)).all()


async def list_checklist(ctx: Ctx) -> Sequence[ChecklistItem]:
    statement = (
        select(ChecklistItem)
        .where(ChecklistItem.tenant_id == ctx.tenant_id)
        .order_by(col(ChecklistItem.position))
    )
    return (await ctx.session.exec(statement)).all()


async def complete_item(ctx: Ctx, key: str, by: str) -> bool:
    """True when it was open until now."""
    done = await ctx.session.exec(
        update(ChecklistItem)
        .where(col(ChecklistItem.tenant_id) == ctx.tenant_id)
        .where(col(ChecklistItem.key) == key)
        .where(col(ChecklistItem.done_at).is_(None))
        .values(done_at=now(), done_by=by)
    )
    return done.rowcount == 1


async def list_notifications(ctx: Ctx, user_id: str, limit: int) -> Sequence[Notification]:
    statement = (
        select(Notification)
        .where(Notification.tenant_id == ctx.tenant_id)
        .where(Notification.user_id == user_id)
        .order_by(col(Notification.created_at).desc(), col(Notification.id).desc())
        .limit(limit)
    )
    return (await ctx.session.exec(statement)).all()


async def count_unread(ctx: Ctx, user_id: str) -> int:
    statement = (
        select(func.count())
        .select_from(Notification)
        .where(Notification.tenant_id == ctx.tenant_id)
        .where(Notification.user_id == user_id)
        .where(col(Notification.read_at).is_(None))
    )
    return (await ctx.session.exec(statement)).one()


async def mark_read(ctx: Ctx, user_id: str, notification_id: str) -> bool:
    done = await ctx.session.exec(
        update(Notification)
        .where(col(Notification.tenant_id) == ctx.tenant_id)
        .where(col(Notification.user_id) == user_id)
        .where(col(Notification.id) == notification_id)
        .values(read_at=func.coalesce(col(Notification.read_at), now()))
    )
    return done.rowcount == 1


async def add_notification(ctx: Ctx, row: Notification) -> bool:
    row.id = row.id or new_id("ntf")
    return await insert_missing(ctx, [row])


async def get_notification(ctx: Ctx, notification_id: str) -> Notification | None:
    return await ctx.session.get(Notification, (ctx.tenant_id, notification_id))


async def list_owner_ids(ctx: Ctx) -> set[str]:
    """Of people who own the organisation now."""
    statement = (
        select(Membership.user_id)
        .where(Membership.tenant_id == ctx.tenant_id)
        .where(Membership.role == "owner")
        .where(Membership.state == MembershipState.ACTIVE)
    )
    return set((await ctx.session.exec(statement)).all())


async def list_declined(ctx: Ctx, user_id: str) -> set[str]:
    """Kinds of mails that this person does not want."""
    statement = (
        select(MailChoice.kind)
        .where(MailChoice.tenant_id == ctx.tenant_id)
        .where(MailChoice.user_id == user_id)
        .where(col(MailChoice.wanted).is_(False))
    )
    return set((await ctx.session.exec(statement)).all())


async def put_mail_choice(ctx: Ctx, user_id: str, kind: str, wanted: bool) -> None:
    row = MailChoice(tenant_id=ctx.tenant_id, user_id=user_id, kind=kind, wanted=wanted)
    statement = insert(MailChoice).values(row.model_dump())
    statement = statement.on_conflict_do_update(
        index_elements=["tenant_id", "user_id", "kind"],
        set_={"wanted": wanted, "changed_at": row.changed_at},
    )
    connection = await ctx.session.connection()
    await connection.execute(statement)


async def lock_user(session: AsyncSession, user_id: str) -> None:
    """One founding at a time per person, so that a double click does not found twice."""
    await session.exec(select(func.pg_advisory_xact_lock(func.hashtextextended(f"founder:{user_id}", 0))))


async def find_recent_tenant(session: AsyncSession, name: str, within: str = "1 minute") -> Tenant | None:
    """In a transaction that looks as the founder: one of their tenants of this name, founded a moment ago."""
    statement = (
        select(Tenant)
        .where(Tenant.name == name)
        .where(col(Tenant.created_at) > text(f"now() - interval '{within}'"))
        .limit(1)
    )
    return (await session.exec(statement)).first()
