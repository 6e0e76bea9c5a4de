"""SQL of API keys."""

from collections.abc import Collection, Sequence
from datetime import datetime

from sqlalchemy import ColumnElement, func, or_
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from shared.api_keys.models import ApiKey
from shared.core import rows
from shared.core.context import Ctx
from shared.core.paging import after_cursor, encode_cursor
from shared.identity.models import User
from shared.tenancy.models import ServiceAccount

NEWEST = (col(ApiKey.created_at), col(ApiKey.id))


async def list_keys(
    ctx: Ctx, *, after: str, limit: int
) -> Sequence[tuple[ApiKey, User | None, ServiceAccount | None]]:
    """With the person or the service account, newest first. Raises Invalid for an unknown page."""
    statement = (
        select(ApiKey, User, ServiceAccount)
        .outerjoin(User, col(User.id) == ApiKey.user_id)
        .outerjoin(
            ServiceAccount,
            (col(ServiceAccount.tenant_id) == ApiKey.tenant_id)
            & (col(ServiceAccount.id) == ApiKey.service_account_id),
        )
        .where(ApiKey.tenant_id == ctx.tenant_id)
        .where(*after_cursor(NEWEST, after, descending=True))
        .order_by(*(column.desc() for column in NEWEST))
        .limit(limit)
    )
    return await rows.all(ctx, statement)


def get_cursor(key: ApiKey) -> str:
    return encode_cursor(key.created_at, key.id)


async def count_working_keys(ctx: Ctx, at: datetime) -> int:
    """Keys that were neither revoked nor expired then."""
    statement = (
        select(func.count()).select_from(ApiKey).where(ApiKey.tenant_id == ctx.tenant_id, *_work_at(at))
    )
    return (await ctx.session.exec(statement)).one()


async def count_working_keys_of_all(session: AsyncSession, at: datetime) -> dict[str, int]:
    """By tenant, for a session that has stated its cross-tenant reason."""
    tenant_id = col(ApiKey.tenant_id)
    statement = select(tenant_id, func.count()).where(*_work_at(at)).group_by(tenant_id).order_by(tenant_id)
    return dict((await session.exec(statement)).all())


def _work_at(at: datetime) -> tuple[ColumnElement[bool], ...]:
    expires_at, revoked_at = col(ApiKey.expires_at), col(ApiKey.revoked_at)
    return (
        col(ApiKey.created_at) <= at,
        or_(revoked_at.is_(None), revoked_at > at),
        or_(expires_at.is_(None), expires_at > at),
    )


async def lock_keys_of_holders(ctx: Ctx, holder_ids: Collection[str]) -> Sequence[ApiKey]:
    """Keys of these people and service accounts that are not revoked."""
    statement = (
        select(ApiKey)
        .where(ApiKey.tenant_id == ctx.tenant_id)
        .where(or_(col(ApiKey.user_id).in_(holder_ids), col(ApiKey.service_account_id).in_(holder_ids)))
        .where(col(ApiKey.revoked_at).is_(None))
        .order_by(col(ApiKey.id))
        .with_for_update(key_share=True)
    )
    return await rows.all(ctx, statement)


async def get_holder_name(ctx: Ctx, key: ApiKey) -> str:
    if key.user_id:
        user = await ctx.session.get(User, key.user_id)
        return user.name if user is not None else ""
    account = await ctx.session.get(ServiceAccount, (ctx.tenant_id, key.service_account_id))
    return account.name if account is not None else ""
