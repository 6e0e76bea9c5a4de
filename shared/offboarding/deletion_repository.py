"""SQL of deletions."""

from collections.abc import Sequence

from sqlalchemy import text
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from shared.core import rows
from shared.core.context import Ctx
from shared.offboarding.models import TenantDeletion
from shared.tenancy.models import Tenant

FIND_NEXT = text("select next_tenant_to_delete(:former)")


async def find_open_deletion(ctx: Ctx) -> TenantDeletion | None:
    """The one that isn't cancelled: scheduled or done."""
    statement = (
        select(TenantDeletion)
        .where(TenantDeletion.tenant_id == ctx.tenant_id)
        .where(col(TenantDeletion.canceled_at).is_(None))
    )
    return await rows.one(ctx, statement)


async def find_next_due_tenant(session: AsyncSession, former_tenant_id: str) -> str:
    """The tenant after this one whose grace period is over; "" for none. In a transaction without a tenant."""
    connection = await session.connection()
    return str((await connection.execute(FIND_NEXT, {"former": former_tenant_id})).scalar_one())


async def list_unfinished(session: AsyncSession, limit: int) -> Sequence[tuple[TenantDeletion, Tenant]]:
    """For operators: scheduled ones and those whose data isn't erased, the first due first."""
    statement = (
        select(TenantDeletion, Tenant)
        .join(Tenant, col(Tenant.id) == col(TenantDeletion.tenant_id))
        .where(col(TenantDeletion.canceled_at).is_(None))
        .where(col(TenantDeletion.erased_at).is_(None))
        .order_by(col(TenantDeletion.delete_at), col(TenantDeletion.tenant_id))
        .limit(limit)
    )
    return (await session.exec(statement)).all()
