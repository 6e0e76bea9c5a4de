"""SQL of the onboarding checklist."""

from collections.abc import Sequence

from sqlalchemy import update
from sqlmodel import col, select

from shared.core import rows
from shared.core.context import Ctx
from shared.core.db import now
from shared.tenancy.models import (
    ChecklistItem,
)


async def list_checklist(ctx: Ctx) -> Sequence[ChecklistItem]:
    statement = (
        select(ChecklistItem)
        .where(ChecklistItem.tenant_id == ctx.tenant_id)
        .order_by(col(ChecklistItem.position))
    )
    return await rows.all(ctx, statement)


async def complete_item(ctx: Ctx, key: str, by: str) -> bool:
    """True when the item was open before."""
    result = await ctx.session.exec(
        update(ChecklistItem)
        .where(col(ChecklistItem.tenant_id) == ctx.tenant_id)
        .where(col(ChecklistItem.key) == key)
        .where(col(ChecklistItem.done_at).is_(None))
        .values(done_at=now(), done_by=by)
    )
    return result.rowcount == 1
