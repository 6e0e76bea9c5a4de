"""SQL of token issuers."""

from collections.abc import Sequence

from sqlalchemy import func
from sqlmodel import col, select

from shared.api_keys.models import JwtIssuer
from shared.core import rows
from shared.core.context import Ctx
from shared.core.paging import after_cursor, encode_cursor

NEWEST = (col(JwtIssuer.created_at), col(JwtIssuer.id))


async def list_issuers(ctx: Ctx, *, after: str, limit: int) -> Sequence[JwtIssuer]:
    """Newest first. Raises Invalid for an unknown page."""
    statement = (
        select(JwtIssuer)
        .where(JwtIssuer.tenant_id == ctx.tenant_id)
        .where(*after_cursor(NEWEST, after, descending=True))
        .order_by(*(column.desc() for column in NEWEST))
        .limit(limit)
    )
    return await rows.all(ctx, statement)


def get_cursor(issuer: JwtIssuer) -> str:
    return encode_cursor(issuer.created_at, issuer.id)


async def count_issuers(ctx: Ctx) -> int:
    statement = select(func.count()).select_from(JwtIssuer).where(JwtIssuer.tenant_id == ctx.tenant_id)
    return (await ctx.session.exec(statement)).one()


async def is_audience_taken(ctx: Ctx, issuer: str, audience: str, *, other_than: str) -> bool:
    """Whether another row has both. `other_than`: id of the changed row, "" for a new one."""
    statement = (
        select(JwtIssuer.id)
        .where(JwtIssuer.tenant_id == ctx.tenant_id)
        .where(JwtIssuer.issuer == issuer)
        .where(JwtIssuer.audience == audience)
        .where(JwtIssuer.id != other_than)
    )
    return await rows.one(ctx, statement) is not None
