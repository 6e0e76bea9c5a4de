"""Usage of a tenant over time: what pages, the API and exports show. All of them get their numbers here.

Numbers come from the aggregates, and are complete up to `as_of`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import StrEnum

from shared.access import policy
from shared.access.meters import EVENT_RETENTION, METERS, Aggregation, Meter
from shared.core.context import Ctx
from shared.core.db import now
from shared.core.errors import Invalid, NotFound
from shared.core.paging import Page, build_page, clamp_limit, encode_cursor
from shared.core.replica import ReadSource
from shared.fairness import heavy_reads
from shared.metering import change_repository, event_repository, report_repository
from shared.metering.actions import USAGE_READ
from shared.metering.models import UsageChange, UsageEvent
from shared.metering.months import get_month, get_next_month

MAX_POINTS = 800  # of one series
MAX_RANGE = timedelta(days=400)
FORECAST_AFTER = timedelta(days=1)  # of the month
EARLIEST, LATEST = datetime(2000, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC)


class Step(StrEnum):
    """Length of one point of a series."""

    HOUR = "hour"
    DAY = "day"
    MONTH = "month"


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageQuery:
    """`since` is included, `until` is not. Both are moved to the start of a step."""

    since: datetime
    until: datetime
    step: Step = Step.DAY
    meter: str = ""  # "" for all
    compares: bool = False  # with the same length of time before


@dataclass(frozen=True, slots=True, kw_only=True)
class UsagePoint:
    starts_at: datetime
    quantity: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class MeterUsage:
    meter: Meter
    points: Sequence[UsagePoint]  # every step, with zeros
    total: Decimal  # of the whole time, as the meter adds up
    previous_points: Sequence[UsagePoint] = ()  # none where their events are gone
    previous_total: Decimal = Decimal(0)  # of the same time before, which ends as early in its last step
    this_month: Decimal = Decimal(0)
    monthly_limit: int | None = None  # of the plan; None without one
    forecast: Decimal | None = None  # of the running month, at its rate so far; None where parts don't add up


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageReport:
    as_of: datetime  # everything that was recorded before is in the numbers
    source: ReadSource
    since: datetime
    until: datetime
    step: Step
    meters: Sequence[MeterUsage]


async def get_report(ctx: Ctx, query: UsageQuery) -> UsageReport:
    """Meters whose events of that time are gone, and that can't be counted without them, are left out.

    Raises Refused, NotFound for an unknown meter, Invalid for a time that is too long, has too many steps or is too early,
    and as `heavy_reads.read_report`.
    """
    policy.require(ctx, USAGE_READ)
    if query.meter and query.meter not in METERS:
        raise NotFound("There is no such meter.", "Choose another one.")
    _check_range(query.since, query.until)
    since, until = floor_to_step(query.since, query.step), ceil_to_step(query.until, query.step)
    starts = list_starts(since, until, query.step)
    chosen = [METERS[query.meter]] if query.meter else list(METERS.values())
    countable = [meter for meter in chosen if _can_count(meter, since)]
    if query.meter and not countable:
        raise Invalid(
            f"Subjects are counted from events, which are kept for {EVENT_RETENTION.days} days.",
            "Choose a later time.",
        )

    async def read_meters(reading_ctx: Ctx) -> tuple[datetime | None, list[MeterUsage]]:
        oldest_mark = await event_repository.get_oldest_mark(reading_ctx)
        return oldest_mark, [
            await _get_meter(reading_ctx, meter, query, starts=starts, until=until) for meter in countable
        ]

    reading = await heavy_reads.read_report(ctx, read_meters)
    oldest_mark, meters = reading.value
    as_of = min(oldest_mark or reading.source.as_of, reading.source.as_of)
    return UsageReport(
        as_of=as_of, source=reading.source, since=since, until=until, step=query.step, meters=meters
    )


async def list_events(
    ctx: Ctx, meter: str, since: datetime, *, until: datetime, after: str = "", limit: int = 50
) -> Page[UsageEvent]:
    """The events behind a number, newest first. Raises Refused, NotFound, Invalid."""
    policy.require(ctx, USAGE_READ)
    if meter not in METERS:
        raise NotFound("There is no such meter.", "Choose another one.")
    _check_range(since, until)
    limit = clamp_limit(limit)
    rows = await event_repository.list_events(ctx, meter, since, until=until, after=after, limit=limit + 1)
    return build_page(rows, limit=limit, cursor_of=lambda row: encode_cursor(row.occurred_at, row.id))


async def find_event(ctx: Ctx, meter: str, key: str) -> UsageEvent:
    """The event that used an idempotency key. Raises Refused, NotFound."""
    policy.require(ctx, USAGE_READ)
    event = await event_repository.find_event(ctx, meter, f"{meter}:{key}")
    if event is None:
        raise NotFound("This key was not used.", "Check the meter and the key.")
    return event


async def list_changes(ctx: Ctx, *, after: str = "", limit: int = 50) -> Page[UsageChange]:
    """Closed windows whose aggregate changed, newest first. Raises Refused, Invalid."""
    policy.require(ctx, USAGE_READ)
    limit = clamp_limit(limit)
    rows = await change_repository.list_changes(ctx, after=after, limit=limit + 1)
    return build_page(rows, limit=limit, cursor_of=lambda row: encode_cursor(row.created_at, row.id))


def floor_to_step(at: datetime, step: Step) -> datetime:
    """The start of the step that contains this time, UTC."""
    at = at.astimezone(UTC)
    if step is Step.MONTH:
        return get_month(at)
    return at.replace(hour=0 if step is Step.DAY else at.hour, minute=0, second=0, microsecond=0)


def list_starts(since: datetime, until: datetime, step: Step) -> list[datetime]:
    """The starts of all steps. Raises Invalid for too many."""
    starts = list[datetime]()
    at = floor_to_step(since, step)
    while at < until:
        if len(starts) == MAX_POINTS:
            raise Invalid(f"This has more than {MAX_POINTS} steps.", "Choose a shorter time or longer steps.")
        starts.append(at)
        at = _get_next_start(at, step)
    return starts


def _get_next_start(at: datetime, step: Step) -> datetime:
    if step is Step.MONTH:
        return get_next_month(at)
    return at + (timedelta(days=1) if step is Step.DAY else timedelta(hours=1))


def ceil_to_step(at: datetime, step: Step) -> datetime:
    """The end of the step that contains this time; the time itself where a step begins."""
    start = floor_to_step(at, step)
    return start if start == at else _get_next_start(start, step)


def _check_range(since: datetime, until: datetime) -> None:
    if not EARLIEST <= since < until <= LATEST or until - since > MAX_RANGE:
        raise Invalid(
            f"The time has to end after it begins, at most {MAX_RANGE.days} days later.",
            "Choose another time.",
        )


async def _get_meter(
    ctx: Ctx, meter: Meter, query: UsageQuery, *, starts: Sequence[datetime], until: datetime
) -> MeterUsage:
    at = now()
    month = get_month(at)
    this_month = await _get_total(ctx, meter, month, get_next_month(month))
    limit = ctx.rights.limits.get(meter.key)
    previous_starts = _list_previous_starts(starts, query.step) if query.compares else []
    if previous_starts and not _can_count(meter, previous_starts[0]):
        previous_starts = []
    return MeterUsage(
        meter=meter,
        points=await _list_points(ctx, meter, starts, until=until, step=query.step),
        total=await _get_total(ctx, meter, starts[0], until),
        previous_points=await _list_points(ctx, meter, previous_starts, until=starts[0], step=query.step),
        previous_total=await _get_total(
            ctx, meter, previous_starts[0], min(starts[0], previous_starts[0] + (now() - starts[0]))
        )
        if previous_starts
        else Decimal(0),
        this_month=this_month,
        forecast=forecast_month(this_month, at) if meter.aggregation is Aggregation.SUM else None,
        monthly_limit=limit.amount if limit is not None else None,
    )


def forecast_month(this_month: Decimal, at: datetime) -> Decimal | None:
    """At the rate of the month so far, in whole units. None on its first day, which says too little."""
    month = get_month(at)
    elapsed = at - month
    if elapsed < FORECAST_AFTER:
        return None
    return Decimal(round(this_month * Decimal((get_next_month(month) - month) / elapsed)))


def _can_count(meter: Meter, since: datetime) -> bool:
    return meter.aggregation is not Aggregation.UNIQUE or since >= now() - EVENT_RETENTION


def _list_previous_starts(starts: Sequence[datetime], step: Step) -> list[datetime]:
    """As many steps, ending where these begin."""
    if step is not Step.MONTH:
        length = starts[-1] - starts[0] + (_get_next_start(starts[-1], step) - starts[-1])
        return [start - length for start in starts]
    previous, month = list[datetime](), starts[0]
    for _ in starts:
        month = get_month(month - timedelta(days=1))
        previous.append(month)
    return previous[::-1]


async def _list_points(
    ctx: Ctx, meter: Meter, starts: Sequence[datetime], *, until: datetime, step: Step
) -> list[UsagePoint]:
    if not starts:
        return []
    quantities = await report_repository.list_quantities(
        ctx, meter.key, meter.aggregation, since=starts[0], until=until, step=step
    )
    return [UsagePoint(starts_at=start, quantity=quantities.get(start, Decimal(0))) for start in starts]


async def _get_total(ctx: Ctx, meter: Meter, since: datetime, until: datetime) -> Decimal:
    quantities = await report_repository.list_quantities(
        ctx, meter.key, meter.aggregation, since=since, until=until, step=""
    )
    return next(iter(quantities.values()), Decimal(0))
