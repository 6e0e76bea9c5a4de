"""Compare a tenant's aggregates with their events, hour by hour, once a day. There should be no difference.

What differs is an alarm: it is logged, and operators see it on the overview and on the tenant's page.
"""

from datetime import timedelta

from shared.access.meters import LONGEST_LATE_WINDOW, METERS
from shared.core import live_events, log
from shared.core.context import Ctx
from shared.core.db import now
from shared.jobs import queue
from shared.metering import change_repository
from shared.metering import check_repository as repository
from shared.metering.models import UsageCheck

TASK = "metering.check_usage"
TOPIC = "usage_check"  # of pages that show the result
INTERVAL = timedelta(days=1)
MAX_SHOWN_HOURS = 50
CHECKED_TIME = LONGEST_LATE_WINDOW + timedelta(days=1)  # older hours change by corrections only


async def put_job_if_due(ctx: Ctx) -> None:
    """Once a day for a tenant whose usage is added up. For the roll-up; it checks no permission."""
    latest = await repository.find_check(ctx)
    if latest is None or latest.asked_at < now() - INTERVAL:
        await put_job(ctx)


async def put_job(ctx: Ctx) -> None:
    """Compare soon. For the roll-up and operators; it checks no permission."""
    await repository.save_asked(ctx, now())
    await queue.put(ctx, TASK, ordered=False)


async def run_check(ctx: Ctx) -> UsageCheck:
    """Compare all meters and keep the result. A job; it checks no permission."""
    until = now().replace(minute=0, second=0, microsecond=0) + timedelta(hours=1)
    since = until - CHECKED_TIME
    hour_count, differing = 0, list[str]()
    for meter in METERS.values():
        count, hours = await change_repository.list_differing_hours(
            ctx, meter.key, since=since, until=until, aggregation=meter.aggregation
        )
        hour_count += count
        differing += [f"{meter.key} {hour:%Y-%m-%dT%H}" for hour in hours]
    check = UsageCheck(
        tenant_id=ctx.tenant_id,
        checked_at=now(),
        hour_count=hour_count,
        differing_count=len(differing),
        differing_hours=differing[:MAX_SHOWN_HOURS],
    )
    await repository.save_result(ctx, check)
    await live_events.refresh_pages(ctx.session, ctx.tenant_id, TOPIC)
    if differing:
        log.get_logger(__name__).error(
            "usage_differs_from_events", tenant_id=ctx.tenant_id, hours=len(differing), first=differing[0]
        )
    return check


async def find_latest(ctx: Ctx) -> UsageCheck | None:
    """None before the first one. The caller checks the permission."""
    return await repository.find_check(ctx)
