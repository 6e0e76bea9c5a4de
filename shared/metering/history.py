"""Usage from before this platform counted: of a demo, or of a system that it replaces."""

from collections.abc import Sequence

from shared.core.context import Ctx
from shared.core.db import now
from shared.metering import emissions, event_repository, rollup_repository, rollups
from shared.metering.items import UsageItem

ITEMS_AT_ONCE = 5_000


async def add_history(ctx: Ctx, history_items: Sequence[UsageItem], *, is_billed: bool) -> None:
    """Add events of any time, add them up and close their windows. Nothing of it counts as late.

    `is_billed`: False for what was billed elsewhere; it never leaves for a sink. For operators' programs; it checks no permission.
    """
    await rollup_repository.lock_rollup(ctx)
    for first in range(0, len(history_items), ITEMS_AT_ONCE):
        await event_repository.add_events(ctx, history_items[first : first + ITEMS_AT_ONCE])
    while marks := await rollup_repository.take_marks(ctx, rollups.MARKS_AT_ONCE):
        await rollups.recompute(ctx, rollups.build_windows((meter, hour) for meter, hour, _ in marks))
    ended_before = now() - rollups.CLOSE_DELAY
    await rollups.recompute(ctx, await rollup_repository.list_ended_months(ctx, ended_before))
    await rollup_repository.close_windows(ctx, ended_before, now())
    if is_billed:
        while await emissions.emit_closed(ctx, limit=ITEMS_AT_ONCE):
            pass
        return
    while unsettled := await rollup_repository.list_unsettled(ctx, ITEMS_AT_ONCE):
        await rollup_repository.settle_windows(ctx, [window.id for window in unsettled])
