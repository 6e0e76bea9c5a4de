"""SQL of reconciliation."""

from collections.abc import Sequence

from sqlalchemy import update
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from shared.billing.models import ReconcileRun
from shared.core.db import now


async def begin_run(session: AsyncSession, row: ReconcileRun) -> bool:
    """False when another worker has already begun the run."""
    connection = await session.connection()
    statement = (
        insert(ReconcileRun).values(row.model_dump()).on_conflict_do_nothing().returning(col(ReconcileRun.id))
    )
    return (await connection.execute(statement)).first() is not None


async def get_run(session: AsyncSession, run_id: str) -> ReconcileRun | None:
    return await session.get(ReconcileRun, run_id)


async def save_progress(
    session: AsyncSession, run_id: str, checked: int, drifted: int, failed: int, *, finished: bool = False
) -> None:
    values = {"checked": checked, "drifted": drifted, "failed": failed}
    finish_values = {"finished_at": now()} if finished else {}
    connection = await session.connection()
    await connection.execute(
        update(ReconcileRun).where(col(ReconcileRun.id) == run_id).values(**values, **finish_values)
    )


async def list_runs(session: AsyncSession, limit: int) -> Sequence[ReconcileRun]:
    """Newest first."""
    result = await session.exec(
        select(ReconcileRun).order_by(col(ReconcileRun.started_at).desc()).limit(limit)
    )
    return result.all()
