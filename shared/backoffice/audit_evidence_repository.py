"""SQL of the chains for operators, in a transaction that has a reason to read across tenants."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import func, or_
from sqlalchemy import select as columns
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from shared.evidence.models import AuditAnchor, PlatformAnchor
from shared.tenancy.models import Tenant


async def list_problems(session: AsyncSession, limit: int) -> Sequence[tuple[AuditAnchor, str]]:
    """With the names of their tenants, the oldest problem first."""
    statement = (
        select(AuditAnchor, Tenant.name)
        .join(Tenant, col(Tenant.id) == AuditAnchor.tenant_id)
        .where(AuditAnchor.problem != "")
        .order_by(col(AuditAnchor.problem_at), col(AuditAnchor.tenant_id))
        .limit(limit)
    )
    return (await session.exec(statement)).all()


async def count_chains(session: AsyncSession, before: datetime) -> tuple[int, int]:
    """Tenants, and those whose chain was not verified since that time."""
    is_late = or_(col(AuditAnchor.verified_at).is_(None), col(AuditAnchor.verified_at) < before)
    statement = (
        columns(func.count(), func.count().filter(is_late))
        .select_from(Tenant)
        .outerjoin(AuditAnchor, col(AuditAnchor.tenant_id) == col(Tenant.id))
        .where(col(Tenant.created_at) < before)
    )
    connection = await session.connection()
    total, late = (await connection.execute(statement)).one()
    return total, late


async def get_platform_anchor(session: AsyncSession) -> PlatformAnchor:
    return (await session.exec(select(PlatformAnchor))).one()
