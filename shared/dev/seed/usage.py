"""A year of usage of the demo cast: by the day, and by the hour in the last ninety days.

History is added up and closed without being billed. The last 31 days, with all of the running month, are billed as the
worker does it, and one event comes late.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from zlib import crc32

from shared.core.context import Ctx
from shared.core.db import now
from shared.metering import history, rollups, usage, usage_reports
from shared.metering.items import UsageItem
from shared.tenancy import entry

DAY, HOUR = timedelta(days=1), timedelta(hours=1)
HISTORY, BY_HOUR, BILLED = 365 * DAY, 90 * DAY, 31 * DAY
REGIONS = ("eu-central", "us-east")


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoUsage:
    """As of today. A year ago it was about half of it."""

    calls_per_day: int
    events_per_day: int
    gigabytes: int
    users: int


DEMO_USAGE = {
    "Acme": DemoUsage(calls_per_day=12_000, events_per_day=26_000, gigabytes=420, users=24),
    "Globex": DemoUsage(calls_per_day=700, events_per_day=1_500, gigabytes=35, users=6),
}


async def seed(tenants: dict[str, str]) -> None:
    """`tenants`: id by name. Tenants that have usage already are left alone."""
    await rollups.maintain_partitions()
    for name, demo_usage in DEMO_USAGE.items():
        async with entry.enter_job(tenants[name], rollups.TASK, "") as ctx:
            if not await _has_usage(ctx):
                await _seed_tenant(ctx, demo_usage)


async def _has_usage(ctx: Ctx) -> bool:
    at = now()
    return bool((await usage_reports.list_events(ctx, "usage_events", at - HISTORY, until=at, limit=1)).rows)


async def _seed_tenant(ctx: Ctx, demo_usage: DemoUsage) -> None:
    at = now()
    items = list(_list_items(demo_usage, at))
    for is_billed in (False, True):
        part = [item for item in items if (item.occurred_at >= at - BILLED) is is_billed]
        await history.add_history(ctx, part, is_billed=is_billed)
    await usage.record(
        ctx,
        "usage_events",
        "import-4471",
        quantity=380,
        occurred_at=at - 2 * DAY,
        dimensions={"source": "import"},
    )
    await rollups.roll_up(ctx)


def _list_items(demo_usage: DemoUsage, at: datetime) -> Iterator[UsageItem]:
    today = at.replace(hour=0, minute=0, second=0, microsecond=0)
    for days_ago in range(HISTORY.days, -1, -1):
        day = today - days_ago * DAY
        scale = _get_scale(days_ago, day)
        yield _build_item(
            "stored_gigabytes", day, round(demo_usage.gigabytes * (1 - days_ago / 700)), REGIONS[0]
        )
        devices = round(demo_usage.users * (2.5 + _get_noise(f"devices {day:%F}") / 2))
        yield _build_item("connected_devices", day, devices, REGIONS[0])
        for number in range(demo_usage.users):
            if _get_noise(f"user {number} {day:%F}") < 0.75 * scale:
                yield UsageItem(
                    meter="active_users",
                    key=f"demo-{day:%F}-{number}",
                    quantity=Decimal(1),
                    occurred_at=min(day + 9 * HOUR, at),
                    subject=f"user-{number + 1}",
                )
        hours = range(24) if days_ago * DAY <= BY_HOUR else (12,)
        for hour in hours:
            moment = day + hour * HOUR + timedelta(minutes=20)
            if moment < at:
                part = scale * (_get_share_of_hour(hour) if len(hours) > 1 else 1)
                yield _build_item("api_calls", moment, round(demo_usage.calls_per_day * part), "")
                region = REGIONS[hour % len(REGIONS)]
                yield _build_item("usage_events", moment, round(demo_usage.events_per_day * part), region)


def _build_item(meter: str, moment: datetime, quantity: int, region: str) -> UsageItem:
    return UsageItem(
        meter=meter,
        key=f"demo-{moment:%FT%H}",
        quantity=Decimal(quantity),
        occurred_at=moment,
        dimensions={"region": region} if region else {},
    )


def _get_scale(days_ago: int, day: datetime) -> float:
    """Growth over the year, quiet weekends, and some noise."""
    growth = 1 - days_ago / 730
    return growth * (0.35 if day.weekday() >= 5 else 1) * (0.85 + 0.3 * _get_noise(f"{day:%F}"))


def _get_share_of_hour(hour: int) -> float:
    """Of a day: most of it around two in the afternoon. The shares of 24 hours sum up to 1."""
    return (1 + math.cos((hour - 14) / 12 * math.pi)) / 24


def _get_noise(text: str) -> float:
    """From 0 to 1, the same for the same text."""
    return crc32(text.encode()) % 1_000 / 1_000
