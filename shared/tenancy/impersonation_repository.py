"""SQL of impersonations: whose cookie it is, the rows, and what is recorded aside."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import insert, text
from sqlmodel import col, func, select
from sqlmodel.ext.asyncio.session import AsyncSession

from shared.core import rows
from shared.core.context import Ctx
from shared.core.database_logins import ASIDE_ROLE
from shared.core.db import RawConnection, now
from shared.core.paging import after_cursor, encode_cursor
from shared.identity.models import User
from shared.tenancy.entry_repository import StandingRole, TenantStanding
from shared.tenancy.models import (
    Consent,
    ImpersonationEvent,
    ImpersonationRow,
    Membership,
    MembershipState,
)

AUTHENTICATE = "select * from authenticate_impersonation(%s, %s)"
BECOME_ASIDE = text(f"set local role {ASIDE_ROLE}")
NEWEST = (col(ImpersonationRow.created_at), col(ImpersonationRow.id))


class ImpersonationStanding(NamedTuple):
    """A running impersonation, the operator's present role, and what the member is in the tenant."""

    id: str
    operator_id: str
    operator_name: str
    operator_role: str
    operator_session_hash: str
    can_write: bool
    started_at: datetime
    expires_at: datetime
    proof: str
    user_id: str
    user_name: str
    user_verified: bool
    tenant: TenantStanding


async def find_standing(
    connection: RawConnection, tenant_id: str, token_hash: str
) -> ImpersonationStanding | None:
    """In one statement, with the row security of the claimed tenant. The caller checks proof and role."""
    row = await (await connection.execute(AUTHENTICATE, (tenant_id, token_hash))).fetchone()
    if row is None:
        return None
    tenant = TenantStanding._make((*row[12:23], StandingRole._make(row[23:30]), row[30], ""))
    return ImpersonationStanding._make((*row[:12], tenant))


async def find_by_code(session: AsyncSession, tenant_id: str, code_hash: str) -> ImpersonationRow | None:
    """In a transaction of this tenant."""
    statement = (
        select(ImpersonationRow)
        .where(ImpersonationRow.tenant_id == tenant_id)
        .where(ImpersonationRow.code_hash == code_hash)
    )
    return (await session.exec(statement)).first()


async def find_by_token(session: AsyncSession, tenant_id: str, token_hash: str) -> ImpersonationRow | None:
    """In a transaction of this tenant, including one that has ended."""
    statement = (
        select(ImpersonationRow)
        .where(ImpersonationRow.tenant_id == tenant_id)
        .where(ImpersonationRow.token_hash == token_hash)
    )
    return (await session.exec(statement)).first()


async def lock(ctx: Ctx, impersonation_id: str) -> ImpersonationRow | None:
    return await rows.lock(ctx, ImpersonationRow, impersonation_id)


async def get(ctx: Ctx, impersonation_id: str) -> ImpersonationRow | None:
    return await ctx.session.get(ImpersonationRow, (ctx.tenant_id, impersonation_id))


async def list_newest(ctx: Ctx, *, after: str, limit: int) -> Sequence[ImpersonationRow]:
    """Raises Invalid for an unknown page."""
    statement = (
        select(ImpersonationRow)
        .where(ImpersonationRow.tenant_id == ctx.tenant_id)
        .where(*after_cursor(NEWEST, after, descending=True))
        .order_by(*(column.desc() for column in NEWEST))
        .limit(limit)
    )
    return await rows.all(ctx, statement)


def get_cursor(row: ImpersonationRow) -> str:
    return encode_cursor(row.created_at, row.id)


async def count_pending(ctx: Ctx, operator_id: str, since: datetime) -> int:
    statement = (
        select(func.count())
        .select_from(ImpersonationRow)
        .where(ImpersonationRow.tenant_id == ctx.tenant_id)
        .where(ImpersonationRow.operator_id == operator_id)
        .where(ImpersonationRow.consent == Consent.PENDING)
        .where(col(ImpersonationRow.ended_at).is_(None))
        .where(col(ImpersonationRow.created_at) > since)
    )
    return (await ctx.session.exec(statement)).one()


async def find_member(ctx: Ctx, membership_id: str) -> tuple[Membership, User] | None:
    """The membership in any state, with its person. None for an unknown and for a foreign one."""
    statement = (
        select(Membership, User)
        .join(User, col(User.id) == Membership.user_id)
        .where(Membership.tenant_id == ctx.tenant_id)
        .where(Membership.id == membership_id)
        .where(Membership.state != MembershipState.REMOVED)
    )
    return await rows.one(ctx, statement)


async def list_events(ctx: Ctx, impersonation_id: str, limit: int) -> Sequence[ImpersonationEvent]:
    """The newest, newest first."""
    statement = (
        select(ImpersonationEvent)
        .where(ImpersonationEvent.tenant_id == ctx.tenant_id)
        .where(ImpersonationEvent.impersonation_id == impersonation_id)
        .order_by(col(ImpersonationEvent.id).desc())
        .limit(limit)
    )
    return await rows.all(ctx, statement)


async def count_events(ctx: Ctx, impersonation_ids: Sequence[str]) -> dict[tuple[str, str], int]:
    """By impersonation and kind."""
    statement = (
        select(ImpersonationEvent.impersonation_id, ImpersonationEvent.kind, func.count())
        .where(ImpersonationEvent.tenant_id == ctx.tenant_id)
        .where(col(ImpersonationEvent.impersonation_id).in_(impersonation_ids))
        .group_by(col(ImpersonationEvent.impersonation_id), col(ImpersonationEvent.kind))
    )
    return {(row[0], row[1]): row[2] for row in await rows.all(ctx, statement)}


async def become_aside(session: AsyncSession) -> None:
    """Until its end the transaction can only add rows to three tables, and can read none."""
    connection = await session.connection()
    await connection.execute(BECOME_ASIDE)


async def add_aside(session: AsyncSession, *added_rows: Any) -> None:
    """`added_rows`: of tables that bulkhead_aside may add to. It can't read a row back, so nothing is returned."""
    connection = await session.connection()
    for row in added_rows:
        values = {name: value for name, value in row.model_dump().items() if value is not None}
        await connection.execute(insert(type(row)).values(values).inline())


def is_running(row: ImpersonationRow) -> bool:
    return row.ended_at is None and row.expires_at is not None and row.expires_at > now()
