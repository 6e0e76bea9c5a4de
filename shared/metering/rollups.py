"""Aggregates of usage by hour and, where hours don't add up, by month: always recomputed from the events.

Only marked hours are recomputed. A running month, which no view reads, is recomputed now and then, and before it closes.
A window closes `CLOSE_DELAY` after its end. When a closed one changes, a `UsageChange` says what it was, what it is, and by
which events; the difference is billed by the policy of late usage.
"""

import asyncio
import hashlib
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from shared.access.meters import EVENT_RETENTION, METERS, Aggregation
from shared.audit import audit_log
from shared.core import db, live_events, log, request_ids
from shared.core.context import Ctx
from shared.core.db import now
from shared.core.errors import Invalid, NotFound, Refused
from shared.metering import allowances, change_repository, checks, counters, emissions, limit_warnings
from shared.metering import rollup_repository as repository
from shared.metering.models import ChangeCause, UsageChange, WindowSize
from shared.metering.months import get_month, get_next_month
from shared.metering.rollup_repository import ChangedWindow, WindowKey
from shared.tenancy import entry

TASK = "metering.roll_up"
TOPIC = "usage"  # of pages that show usage
CLOSE_DELAY = timedelta(minutes=10)
MONTH_INTERVAL = timedelta(hours=1)  # between two recomputations of a running month
HOUR = timedelta(hours=1)
MARKS_AT_ONCE, WINDOWS_AT_ONCE = 5_000, 2_000
TENANTS_AT_ONCE = 50
MAX_EVENT_IDS = 100  # that a change names
POLL_INTERVAL_S, MAINTENANCE_INTERVAL_S = 2.0, 3_600.0


async def roll_up(ctx: Ctx) -> bool:
    """Recompute marked windows, close those whose time has passed, and emit. True where more is left to do.

    Does nothing while another process rolls up this tenant.
    """
    if not await repository.try_lock_rollup(ctx):
        return False
    is_left = await roll_up_windows(ctx)
    await add_up_counters(ctx, {}, is_limited=False)
    return is_left


async def add_up_counters(
    ctx: Ctx, gained: Mapping[tuple[str, datetime], Decimal], *, is_limited: bool
) -> None:
    """As `counters.add_up`, and tell what follows. Raises Exceeded.

    It comes last, because a reservation of one of these counters waits until the transaction ends.
    """
    counted = await counters.add_up(ctx, gained, is_limited=is_limited)
    await limit_warnings.warn_members(ctx, counted)
    for source in allowances.SOURCES:
        await source.note_counted(ctx)


async def roll_up_windows(ctx: Ctx) -> bool:
    """Recompute, close and emit. True where more is left to do. Nothing closes before all marks are taken.

    Needs the lock of the roll-up.
    """
    marks = await repository.take_marks(ctx, MARKS_AT_ONCE)
    batches_by_hour = defaultdict[tuple[str, datetime], set[str]](set)
    for meter, hour, batch_id in marks:
        batches_by_hour[meter, hour].add(batch_id)
    is_complete = len(marks) < MARKS_AT_ONCE
    ended_before = now() - CLOSE_DELAY
    windows = await _leave_out_fresh_months(ctx, build_windows(batches_by_hour), ended_before)
    if is_complete:
        windows |= {window.id: window for window in await repository.list_ended_months(ctx, ended_before)}
    changed = await recompute(ctx, windows.values())
    for window in changed:
        if was_closed(window):
            batch_ids = {
                batch_id
                for (meter, hour), ids in batches_by_hour.items()
                if meter == window.meter and window.starts_at <= hour < window.ends_at
                for batch_id in ids
            }
            await record_change(ctx, window, ChangeCause.LATE_EVENTS, batch_ids)
    if is_complete:
        await repository.close_windows(ctx, ended_before, now())
    await checks.put_job_if_due(ctx)
    settled_count = await emissions.emit_closed(ctx, limit=WINDOWS_AT_ONCE)
    if changed:
        await live_events.refresh_pages(ctx.session, ctx.tenant_id, TOPIC)
    return not is_complete or settled_count == WINDOWS_AT_ONCE


async def recompute_month(ctx: Ctx, meter: str, month: datetime) -> str:
    """Recompute a month from its events, marked or not. Returns its digest, the same for the same events.

    `month`: its first moment, UTC. A closed window that changes leaves a `UsageChange`. For jobs; it checks no permission.
    Raises Invalid for a month whose events may be gone: its aggregates are all that is left of it.
    """
    end = get_next_month(month)
    require_events(month)
    await repository.lock_rollup(ctx)
    hours = [month + number * HOUR for number in range(int((end - month) / HOUR))]
    stored = {
        row.id for row in await repository.list_windows(ctx, meter, WindowSize.HOUR, since=month, until=end)
    }
    windows = build_windows((meter, hour) for hour in hours)
    marked_hours = await change_repository.list_hours_with_events(ctx, meter, since=month, until=end)
    due_windows = [
        window
        for window in windows
        if window.size is WindowSize.MONTH or window.id in stored or window.starts_at in marked_hours
    ]
    changed = await recompute(ctx, due_windows)
    for window in changed:
        if was_closed(window):
            await record_change(ctx, window, ChangeCause.RECOMPUTED, ())
    digest = await get_digest(ctx, meter, month)
    audit_log.record(
        ctx, "usage.recomputed", f"{meter}:{month:%Y-%m}", after={"digest": digest, "changed": len(changed)}
    )
    await live_events.refresh_pages(ctx.session, ctx.tenant_id, TOPIC)
    return digest


def require_events(month: datetime) -> None:
    """Raises Invalid where they may be gone. `month`: its first moment."""
    if is_month_gone(month):
        raise Invalid("The events of this month are gone.", "Keep its numbers as they are.")


def is_month_gone(month: datetime) -> bool:
    """Whether its events may be dropped by now. `month`: its first moment."""
    return get_next_month(month) < now() - EVENT_RETENTION


async def get_digest(ctx: Ctx, meter: str, month: datetime) -> str:
    """Of the month's aggregates: equal for equal events, whenever and however often they were computed."""
    digest = hashlib.sha256()
    for size in WindowSize:
        for row in await repository.list_windows(ctx, meter, size, since=month, until=get_next_month(month)):
            quantity = format(row.quantity.normalize(), "f")
            digest.update(f"{row.id} {quantity} {row.event_count} {row.checksum}\n".encode())
    return digest.hexdigest()


def build_windows(hours: Iterable[tuple[str, datetime]]) -> list[WindowKey]:
    """The windows that hours of meters are in, each once. Meters that no module declares any more are left out."""
    windows = dict[str, WindowKey]()
    for meter, moment in hours:
        if meter not in METERS:
            continue
        hour = moment.astimezone(UTC)
        keys = [WindowKey(meter=meter, size=WindowSize.HOUR, starts_at=hour, ends_at=hour + HOUR)]
        if METERS[meter].aggregation is not Aggregation.SUM:
            month = get_month(hour)
            keys.append(
                WindowKey(meter=meter, size=WindowSize.MONTH, starts_at=month, ends_at=get_next_month(month))
            )
        windows.update({key.id: key for key in keys})
    return list(windows.values())


async def _leave_out_fresh_months(
    ctx: Ctx, windows: Iterable[WindowKey], ended_before: datetime
) -> dict[str, WindowKey]:
    """By id. All events of a month are read to recompute it, so a running one isn't recomputed with every batch."""
    window_by_id = {window.id: window for window in windows}
    running = [
        window.id
        for window in window_by_id.values()
        if window.size is WindowSize.MONTH and window.ends_at > ended_before
    ]
    fresh = await repository.list_computed(ctx, running, since=now() - MONTH_INTERVAL)
    return {window_id: window for window_id, window in window_by_id.items() if window_id not in fresh}


async def recompute(ctx: Ctx, windows: Iterable[WindowKey]) -> list[ChangedWindow]:
    """From the events. Returns those that changed. Needs the lock of the roll-up."""
    by_aggregation = defaultdict[Aggregation, list[WindowKey]](list)
    for window in windows:
        by_aggregation[METERS[window.meter].aggregation].append(window)
    return [
        changed
        for aggregation, group in sorted(by_aggregation.items())
        for changed in await repository.recompute_windows(ctx, group, aggregation)
    ]


def was_closed(window: ChangedWindow) -> bool:
    """Whether the window was closed before it changed. An hour without events has no row: it is closed once its time has passed, as the others."""
    if window.is_stored:
        return window.closed_at is not None
    first = window.first_recorded_at
    return first is not None and first >= window.ends_at + CLOSE_DELAY


async def record_change(
    ctx: Ctx,
    window: ChangedWindow,
    cause: ChangeCause,
    batch_ids: Collection[str],
    *,
    event_ids: Sequence[str] = (),
    correction_id: str = "",
) -> None:
    """Say what a closed window was and is. `batch_ids`: of the late events; `event_ids`: of a correction."""
    event_count, shown_ids = len(event_ids), list(event_ids[:MAX_EVENT_IDS])
    if not event_ids:
        event_count, shown_ids = await repository.list_event_ids(ctx, window, batch_ids, limit=MAX_EVENT_IDS)
    change = UsageChange(
        tenant_id=ctx.tenant_id,
        window_id=window.id,
        meter=window.meter,
        size=window.size,
        starts_at=window.starts_at,
        revision=window.revision,
        cause=cause,
        quantity_before=window.quantity_before,
        quantity_after=window.quantity,
        count_before=window.count_before,
        count_after=window.event_count,
        event_count=event_count,
        event_ids=shown_ids,
        correction_id=correction_id or None,
    )
    ctx.session.add(change)
    audit_log.record(
        ctx,
        "usage.changed",
        window.id,
        before={"quantity": str(window.quantity_before), "events": window.count_before},
        after={"quantity": str(window.quantity), "events": window.event_count},
        cause=cause.value,
        change=change.id,
        correction=correction_id or None,
    )


async def run() -> None:
    """Roll up the usage of all tenants and care for the partitions, until cancelled."""
    tasks = [asyncio.create_task(_run_roll_ups()), asyncio.create_task(_maintain_hourly())]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def roll_up_all() -> int:
    """Once for each tenant that has something to do. Returns how many still have; 0 where all of them fail."""
    async with db.transaction() as session:
        tenant_ids = await repository.list_open_tenants(session, now() - CLOSE_DELAY, TENANTS_AT_ONCE)
    left = done_count = 0
    for tenant_id in tenant_ids:
        try:
            left += await _roll_up_tenant(tenant_id)
            done_count += 1
        except NotFound:
            continue  # a test tenant that is suspended: nothing of it is billed
        except Exception as problem:  # one tenant must not block the others
            log.report_bug(problem, tenant_id=tenant_id)
    return left + (done_count > 0 and len(tenant_ids) == TENANTS_AT_ONCE)


async def _roll_up_tenant(tenant_id: str) -> bool:
    """In whatever state it is: what was used before a suspension or deletion is billed. True where more is left to do.

    Raises NotFound.
    """
    try:
        async with entry.enter_job(tenant_id, TASK, request_ids.current()) as ctx:
            return await roll_up(ctx)
    except Refused:
        async with entry.enter_billing_sync(tenant_id, TASK, request_ids.current()) as ctx:
            return await roll_up(ctx)


async def maintain_partitions() -> None:
    """Make the months ahead. Drop months whose keys have been kept long enough."""
    while True:
        async with db.transaction() as session:
            if not await repository.maintain_partitions(session):
                return


async def _run_roll_ups() -> None:
    while True:
        left = 0
        try:
            left = await roll_up_all()
        except Exception as problem:
            log.get_logger(__name__).error("usage_not_rolled_up", problem=type(problem).__name__)
        await asyncio.sleep(0 if left else POLL_INTERVAL_S)


async def _maintain_hourly() -> None:
    while True:
        try:
            await maintain_partitions()
        except Exception as problem:
            log.get_logger(__name__).error("usage_partitions_not_made", problem=type(problem).__name__)
        await asyncio.sleep(MAINTENANCE_INTERVAL_S)
