"""SQL of service accounts."""

from collections.abc import Sequence

from sqlmodel import col, func, select

from shared.core import rows
from shared.core.context import Ctx
from shared.core.paging import after_cursor, encode_cursor
from shared.tenancy.models import ServiceAccount

NEWEST = (col(ServiceAccount.created_at), col(ServiceAccount.id))


async def list_accounts(ctx: Ctx, *, after: str, limit: int) -> Sequence[ServiceAccount]:
    """Those that have not ended, newest first. Raises Invalid for an unknown page."""
    statement = (
        select(ServiceAccount)
        .where(ServiceAccount.tenant_id == ctx.tenant_id)
        .where(col(ServiceAccount.ended_at).is_(None))
        .where(*after_cursor(NEWEST, after, descending=True))
        .order_by(*(column.desc() for column in NEWEST))
        .limit(limit)
    )
    return await rows.all(ctx, statement)


async def get_account(ctx: Ctx, service_account_id: str) -> ServiceAccount | None:
    return await ctx.session.get(ServiceAccount, (ctx.tenant_id, service_account_id))


def get_cursor(account: ServiceAccount) -> str:
    return encode_cursor(account.created_at, account.id)


async def count_accounts(ctx: Ctx) -> int:
    """Those that have not ended."""
    statement = (
        select(func.count())
        .select_from(ServiceAccount)
        .where(ServiceAccount.tenant_id == ctx.tenant_id)
        .where(col(ServiceAccount.ended_at).is_(None))
    )
    return (await ctx.session.exec(statement)).one()
