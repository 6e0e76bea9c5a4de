"""Jobs of metering. Each may run twice."""

from collections.abc import Awaitable, Callable
from datetime import datetime

from shared.core.context import Ctx
from shared.core.errors import Invalid
from shared.jobs import worker
from shared.metering import rollups


@worker.bulk_job
async def recompute_month(ctx: Ctx, *, meter: str, month: str) -> None:
    """`month`: its first moment. Raises Invalid."""
    try:
        moment = datetime.fromisoformat(month)
    except ValueError:
        raise Invalid("This isn’t a month.", "Choose one.") from None
    await rollups.recompute_month(ctx, meter, rollups.get_month(moment))


TASKS: dict[str, Callable[..., Awaitable[None]]] = {"metering.recompute_month": recompute_month}
