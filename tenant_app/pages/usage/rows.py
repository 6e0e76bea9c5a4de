"""Rows of the list of changes on the usage page."""

from dataclasses import dataclass

from shared.access.meters import METERS
from shared.metering.models import ChangeCause, UsageChange, WindowSize
from shared.metering.usage_reports import Step
from shared.ui.tables import Column
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
    )


def describe_events(change: UsageChange) -> str:
    """The keys of the first late events, and how many others there are."""
    keys = [event_id[len(change.meter) + 1 :] for event_id in change.event_ids[:SHOWN_KEYS]]
    others = change.event_count - len(keys)
    return ", ".join(keys) + (f" and {others:,} more" if others > 0 else "")
