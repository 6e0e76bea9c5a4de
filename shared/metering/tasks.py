"""Jobs of metering. Each may run twice."""

from collections.abc import Awaitable, Callable
from datetime import datetime

from shared.access.meters import METERS
from shared.core.context import Ctx
from shared.core.errors import Invalid
from shared.jobs import worker
from shared.metering import checks, correction_batches, months, rollups


@worker.bulk_job
async def recompute_month(ctx: Ctx, *, meter: str, month: str) -> None:
    """`month`: its first moment. Raises Invalid."""
    try:
        moment = datetime.fromisoformat(month)
    except ValueError:
        raise Invalid("This isn’t a month.", "Choose one.") from None
    if meter not in METERS:
        raise Invalid("There is no such meter.", "Choose another one.")
    await rollups.recompute_month(ctx, meter, months.get_month(moment))


async def check_usage(ctx: Ctx) -> None:
    await checks.run_check(ctx)


async def close_correction(ctx: Ctx, *, correction_id: str) -> None:
    """Raises NotFound."""
    await correction_batches.close(ctx, correction_id, is_program=False)


async def revert_correction(ctx: Ctx, *, correction_id: str) -> None:
    """Raises NotFound."""
    await correction_batches.revert(ctx, correction_id, is_program=False)


TASKS: dict[str, Callable[..., Awaitable[None]]] = {
    checks.TASK: check_usage,
    "metering.close_correction": close_correction,
    "metering.recompute_month": recompute_month,
    "metering.revert_correction": revert_correction,
}
