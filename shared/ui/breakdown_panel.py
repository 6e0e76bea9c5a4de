"""Usage of one meter by a dimension or by sender: the largest values with a bar each. Both apps may show it."""

from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Any

import reflex as rx

from shared.access.meters import METERS
from shared.metering import breakdowns
from shared.metering.breakdowns import Breakdown
from shared.metering.usage_reports import UsageReport
from shared.ui.controls import select
from shared.ui.panels import panel, small
from shared.ui.tables import Column, data_table, has_items, table_row
from shared.ui.usage_panels import format_quantity

COLUMNS = [Column("Value"), Column("Usage", align_end=True), Column("Events", align_end=True)]
BY_LABELS = {breakdowns.SENDER: "Sender"}


@dataclass(frozen=True, kw_only=True)
class PartRow:
    value: str
    quantity: str
    events: str
    share: str  # of the largest, as the width of its bar


def part_rows(breakdown: Breakdown) -> list[PartRow]:
    largest = max((row.quantity for row in breakdown.rows), default=Decimal(0))
    return [
        PartRow(
            value=row.value or "None",
            quantity=format_quantity(row.quantity),
            events=f"{row.event_count:,}",
            share=f"{row.quantity / largest * 100:.1f}%" if largest else "0%",
        )
        for row in breakdown.rows
    ]


def describe_others(breakdown: Breakdown) -> str:
    """ "" where all values are shown."""
    if not breakdown.other_values:
        return ""
    values = "value" if breakdown.other_values == 1 else "values"
    quantity = breakdown.other_quantity
    total = (
        f" with {format_quantity(quantity)} {METERS[breakdown.meter].plural}" if quantity is not None else ""
    )
    return f"{breakdown.other_values:,} other {values}{total}"


def by_choices(meter: str) -> list[tuple[str, str]]:
    """None without a meter."""
    if meter not in METERS:
        return []
    return [(by, BY_LABELS.get(by, by.capitalize())) for by in breakdowns.list_choices(meter)]


def meter_choices() -> list[tuple[str, str]]:
    return [("", "All meters"), *((meter.key, meter.title) for meter in METERS.values())]


def longest_span(report: UsageReport) -> timedelta:
    """For how long before the end of the report events are broken down."""
    return min(report.until - report.since, breakdowns.MAX_RANGE)


def breakdown_panel(state: Any) -> rx.Component:
    """`state`: with `by`, `by_choices`, `parts`, `other_parts` and the handler `choose_by`."""

    def line(part: Any) -> rx.Component:
        bar = rx.el.div(rx.el.div(style={"--share": part.share}), class_name="meter", data_tone="calm")
        value = rx.el.div(rx.el.span(part.value, class_name="cut-anywhere"), bar, class_name="two metered")
        return table_row(COLUMNS, value, part.quantity, part.events)

    table = data_table(
        "Usage by value",
        COLUMNS,
        rx.foreach(state.parts, line),
        footer=rx.cond(state.other_parts != "", small(state.other_parts, class_name="num")),
        test_id="usage-breakdown",
    )
    choice = select("By", state.by_choices, value=state.by, on_change=state.choose_by)
    return rx.cond(
        has_items(state.by_choices),
        panel(
            rx.cond(has_items(state.parts), table, rx.el.p("No events in this time.")),
            title="Breakdown",
            aside=choice,
        ),
    )
