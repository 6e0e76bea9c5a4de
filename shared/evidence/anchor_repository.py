"""SQL of anchors, and of the functions that look across tenants. Migration 0038 has those."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import text
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from shared.core import db
from shared.core.context import Ctx
from shared.evidence.models import AuditAnchor, PlatformAnchor

NEXT_TO_ANCHOR = text("select next_tenant_to_anchor(:former)")
NEXT_TO_VERIFY = text("select next_tenant_to_verify(:former, :before)")
ADD_ANCHOR = text(
    "insert into audit_anchor (tenant_id, id) values (:tenant_id, 'anchor') on conflict do nothing"
)
GET_OPERATOR_HEAD = text("select seq, coalesce(hash, '\\x00'), sought_hash from get_operator_head(:number)")
CHECK_OPERATOR_EVENTS = text("""
    select checked, last_seq, last_hash, broken_at from check_operator_events(:after, :previous_hash, :limit)
""")


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedOperatorEvents:
    count: int
    last_number: int
    last_hash: bytes
    broken_at: int | None


@asynccontextmanager
async def operators_chain() -> AsyncIterator[AsyncSession]:
    """A transaction without a tenant, for the functions about the operators' chain."""
    async with db.transaction() as session:
        yield session


async def find_next_to_anchor(session: AsyncSession, former_tenant_id: str) -> str:
    """The tenant after this one whose chain is not at its anchor; "" for none."""
    connection = await session.connection()
    return str((await connection.execute(NEXT_TO_ANCHOR, {"former": former_tenant_id})).scalar_one())


async def find_next_to_verify(session: AsyncSession, former_tenant_id: str, before: datetime) -> str:
    """The tenant after this one that was not verified since that time; "" for none."""
    connection = await session.connection()
    values = {"former": former_tenant_id, "before": before}
    return str((await connection.execute(NEXT_TO_VERIFY, values)).scalar_one())


async def lock_anchor(ctx: Ctx) -> AuditAnchor:
    """The tenant's row, made where it is missing. Locked until the commit."""
    connection = await ctx.session.connection()
    await connection.execute(ADD_ANCHOR, {"tenant_id": ctx.tenant_id})
    return await ctx.session.get_one(
        AuditAnchor, (ctx.tenant_id, "anchor"), with_for_update={"key_share": True}, populate_existing=True
    )


async def lock_platform_anchor(session: AsyncSession) -> PlatformAnchor:
    statement = select(PlatformAnchor).where(col(PlatformAnchor.id)).with_for_update(key_share=True)
    return (await session.exec(statement)).one()


async def get_operator_head(session: AsyncSession, number: int) -> tuple[int, bytes, bytes | None]:
    """Number and hash of the last event, and the hash of the event with this number."""
    connection = await session.connection()
    row = (await connection.execute(GET_OPERATOR_HEAD, {"number": number})).one()
    return row[0], row[1], row[2]


async def check_operator_events(
    session: AsyncSession, after: int, previous_hash: bytes, *, limit: int
) -> CheckedOperatorEvents:
    """Up to `limit` events behind number `after`, whose hash is `previous_hash`."""
    connection = await session.connection()
    values = {"after": after, "previous_hash": previous_hash, "limit": limit}
    count, last_number, last_hash, broken_at = (await connection.execute(CHECK_OPERATOR_EVENTS, values)).one()
    return CheckedOperatorEvents(
        count=count, last_number=last_number, last_hash=last_hash, broken_at=broken_at
    )
