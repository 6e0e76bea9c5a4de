"""The list of closed usage that changed: what it was, what it is, and why. Both apps show it."""

from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import reflex as rx

from shared.access.meters import METERS
from shared.metering.models import ChangeCause, UsageChange, WindowSize
from shared.metering.usage_reports import Step
from shared.ui.banners import local_time
from shared.ui.panels import small, text_with_note
from shared.ui.tables import Column, table_row
from shared.ui.usage_panels import format_quantity, format_time

COLUMNS = [
    Column("Changed"),
    Column("Usage of"),
    Column("Before", align_end=True),
    Column("After", align_end=True),
    Column("Why", hidden_on_phone=True),
]
CAUSE_TEXTS = {
    ChangeCause.LATE_EVENTS: "Late events",
    ChangeCause.RECOMPUTED: "Recomputed from the events",
    ChangeCause.CORRECTED: "Correction",
}
STEP_OF_SIZE = {WindowSize.HOUR: Step.HOUR, WindowSize.MONTH: Step.MONTH}
SHOWN_KEYS = 3


@dataclass(frozen=True, kw_only=True)
class ChangeRow:
    id: str
    at: str
    window: str
    before: str
    after: str
    cause: str
    events: str
    correction_id: str


def change_row(change: UsageChange) -> ChangeRow:
    meter = METERS.get(change.meter)
    title = meter.title if meter is not None else change.meter
    return ChangeRow(
        id=change.id,
        at=change.created_at.isoformat(),
        window=f"{title}, {format_time(change.starts_at, STEP_OF_SIZE[change.size])} UTC",
        before=format_quantity(change.quantity_before),
        after=format_quantity(change.quantity_after),
        cause=CAUSE_TEXTS[change.cause],
        events=describe_events(change),
        correction_id=change.correction_id or "",
    )


def describe_events(change: UsageChange) -> str:
    """The keys of the first events that caused it, and how many others there are."""
    keys = [event_id[len(change.meter) + 1 :] for event_id in change.event_ids[:SHOWN_KEYS]]
    others = change.event_count - len(keys)
    return ", ".join(keys) + (f" and {others:,} more" if others > 0 else "")


def change_line(change: Any) -> rx.Component:
    """A var of `ChangeRow`."""
    cause = rx.cond(
        change.correction_id != "",
        text_with_note(change.cause, small(change.correction_id, class_name="mono cut-anywhere")),
        change.cause,
    )
    return table_row(
        COLUMNS,
        local_time(change.at, "", "moment"),
        text_with_note(change.window, small(change.events, class_name="cut-anywhere")),
        change.before,
        change.after,
        cause,
    )


def describe_usage_key(key: str) -> str:
    """A meter and its hour or month, from the id of a window or a counter: "Usage events, 29 Nov 02:00 UTC"."""
    meter_key, _, time = key.partition(":")
    title = METERS[meter_key].title if meter_key in METERS else meter_key
    for stored, shown in (("%Y-%m-%dT%H", "%-d %b %H:00 UTC"), ("%Y-%m", "%B %Y")):
        with suppress(ValueError):
            return (
                f"{title}, {datetime.strptime(time.rpartition(':')[2], stored).replace(tzinfo=UTC):{shown}}"
            )
    return f"{title} {time}".strip()
