"""Corrections that programs of a tenant make: of events that they may send, for as long as they may send them.

Older ones, and those of other meters, are corrected by operators (`backoffice.usage_corrections`).
"""

from collections.abc import Sequence
from typing import Any

from shared.access import policy
from shared.core.context import Ctx
from shared.core.paging import Page, build_page, clamp_limit, encode_cursor
from shared.fairness import heavy_reads
from shared.metering import correction_batches
from shared.metering.actions import USAGE_CORRECT, USAGE_READ
from shared.metering.correction_batches import CorrectionView
from shared.metering.correction_effects import CorrectionEffect
from shared.metering.models import CorrectionState
from shared.metering.usage import ItemResult


async def open_correction(ctx: Ctx, note: str) -> CorrectionView:
    """Raises Refused, Invalid."""
    policy.require(ctx, USAGE_CORRECT)
    return CorrectionView(correction=await correction_batches.add_correction(ctx, note), item_count=0)


async def add_items(ctx: Ctx, correction_id: str, batch: Sequence[Any]) -> list[ItemResult]:
    """`batch`: any JSON values. A result for each. Raises Refused, NotFound, Conflict, Invalid."""
    policy.require(ctx, USAGE_CORRECT)
    return await correction_batches.add_items(ctx, correction_id, batch, is_program=True)


async def get_effect(ctx: Ctx, correction_id: str) -> CorrectionEffect:
    """What closing it now would change. Raises Refused, NotFound, and as `read_report`."""
    policy.require(ctx, USAGE_READ)

    async def read_effect(reading_ctx: Ctx) -> CorrectionEffect:
        return await correction_batches.get_effect(reading_ctx, correction_id)

    return (await heavy_reads.read_report(ctx, read_effect, on_primary=True)).value


async def close(ctx: Ctx, correction_id: str) -> CorrectionView:
    """At once. Raises Refused, LimitReached, NotFound, Conflict, Invalid for one without items."""
    policy.require(ctx, USAGE_CORRECT)
    await correction_batches.begin(ctx, correction_id, CorrectionState.CLOSING)
    await correction_batches.close(ctx, correction_id, is_program=True)
    return await correction_batches.get(ctx, correction_id)


async def revert(ctx: Ctx, correction_id: str) -> CorrectionView:
    """Give up an open one, or undo what a closed one has done. Raises Refused, LimitReached, NotFound, Conflict."""
    policy.require(ctx, USAGE_CORRECT)
    await correction_batches.begin(ctx, correction_id, CorrectionState.REVERTING)
    await correction_batches.revert(ctx, correction_id, is_program=True)
    return await correction_batches.get(ctx, correction_id)


async def get_correction(ctx: Ctx, correction_id: str) -> CorrectionView:
    """Raises Refused, NotFound."""
    policy.require(ctx, USAGE_READ)
    return await correction_batches.get(ctx, correction_id)


async def list_corrections(ctx: Ctx, *, after: str = "", limit: int = 50) -> Page[CorrectionView]:
    """Newest first. Raises Refused, Invalid."""
    policy.require(ctx, USAGE_READ)
    limit = clamp_limit(limit)
    views = await correction_batches.list_views(ctx, after=after, limit=limit + 1)
    return build_page(
        views,
        limit=limit,
        cursor_of=lambda view: encode_cursor(view.correction.created_at, view.correction.id),
    )
