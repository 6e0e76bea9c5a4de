"""Usage by meter: a chart with the same time before, and a table beneath. Both apps show it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import reflex as rx

from shared.access.meters import Aggregation
from shared.core.db import now
from shared.metering.usage_reports import MeterUsage, Step, UsagePoint, UsageQuery, UsageReport, ceil_to_step
from shared.ui import charts
from shared.ui.as_of import as_of_note
from shared.ui.charts import BarChart
from shared.ui.controls import segmented_control
from shared.ui.panels import small
from shared.ui.tables import Column, data_table, table_row

DAY = timedelta(days=1)
RANGES = {  # title, length, the possible steps: the first one is chosen
    "day": ("24 hours", DAY, (Step.HOUR,)),
    "days": ("3 days", 3 * DAY, (Step.HOUR, Step.DAY)),
    "month": ("4 weeks", 28 * DAY, (Step.DAY,)),
    "quarter": ("13 weeks", 91 * DAY, (Step.DAY, Step.MONTH)),
    "year": ("12 months", 360 * DAY, (Step.MONTH,)),
}
DEFAULT_RANGE = "month"
STEP_LABELS = {Step.HOUR: "By hour", Step.DAY: "By day", Step.MONTH: "By month"}
AGGREGATION_TEXTS = {
    Aggregation.SUM: "in total",
    Aggregation.MAX: "at most",
    Aggregation.LAST: "at the end",
    Aggregation.UNIQUE: "in all, each counted once",
}
FORMATS = {Step.HOUR: "%-d %b %H:00", Step.DAY: "%-d %b", Step.MONTH: "%b %Y"}
LABEL_FORMATS = {Step.HOUR: "%-d %b", Step.DAY: "%-d %b", Step.MONTH: "%b"}  # six of them fit on a phone
MAX_PERCENT = 999
HOURS_OF_DAY = 24
MAX_LABELS = 6  # below the bars of a chart
COLUMNS = [
    Column("Time, UTC"),
    Column("Usage", align_end=True),
    Column("Before", align_end=True),
]


@dataclass(frozen=True, kw_only=True)
class UsageRow:
    time: str
    quantity: str
    previous: str


@dataclass(frozen=True, kw_only=True)
class MeterPanel:
    key: str
    title: str
    total: str
    change: str  # against the same time before
    month: str  # of the limit of the plan; "" without one
    forecast: str  # of the running month; "" without one
    is_forecast_over: bool
    share: str
    tone: str
    used: float
    limit: float
    chart: BarChart
    rows: list[UsageRow] = field(default_factory=list)


def build_query(range_key: str, step: str, meter: str = "") -> UsageQuery:
    """As long as the range says, to the end of the running step. A step that the range doesn't have becomes its first one."""
    _, length, steps = RANGES[range_key]
    chosen = Step(step) if step in steps else steps[0]
    until = ceil_to_step(now(), chosen)
    return UsageQuery(since=until - length, until=until, step=chosen, meter=meter, compares=True)


def list_step_choices(range_key: str) -> list[tuple[str, str]]:
    return [(step.value, STEP_LABELS[step]) for step in RANGES[range_key][2]]


def meter_panels(report: UsageReport) -> list[MeterPanel]:
    return [meter_panel(usage, report.step) for usage in report.meters]


def meter_panel(usage: MeterUsage, step: Step) -> MeterPanel:
    meter, limit = usage.meter, usage.monthly_limit
    share, tone = charts.meter_width_and_tone(float(usage.this_month), limit) if limit else ("0%", "calm")
    month = f"{format_quantity(usage.this_month)} of {limit:,} {meter.plural} this month" if limit else ""
    return MeterPanel(
        key=meter.key,
        title=meter.title,
        total=f"{format_quantity(usage.total)} {meter.plural} {AGGREGATION_TEXTS[meter.aggregation]}",
        change=describe_change(usage.total, usage.previous_total) if usage.previous_points else "",
        month=month,
        forecast=describe_forecast(usage),
        is_forecast_over=bool(limit and usage.forecast is not None and usage.forecast > limit),
        share=share,
        tone=tone,
        used=float(usage.this_month),
        limit=float(limit or 0),
        chart=usage_chart(usage, step),
        rows=usage_rows(usage, step),
    )


def describe_forecast(usage: MeterUsage) -> str:
    """At the rate of the month so far."""
    if usage.forecast is None or not usage.this_month:
        return ""
    over = ", more than the limit" if usage.monthly_limit and usage.forecast > usage.monthly_limit else ""
    return f"On course for {format_quantity(usage.forecast)} {usage.meter.plural} this month{over}"


def usage_chart(usage: MeterUsage, step: Step) -> BarChart:
    plural = usage.meter.plural
    times = [format_time(point.starts_at, step) for point in usage.points]
    values = [float(point.quantity) for point in usage.points]
    tips = [
        f"{time}: {format_quantity(point.quantity)} {plural}"
        for time, point in zip(times, usage.points, strict=True)
    ]
    limit = usage.monthly_limit if step is Step.MONTH else None
    limit_text = f" The limit is {limit:,} a month." if limit else ""
    total = format_quantity(usage.total)
    return charts.draw_bars(
        values,
        thin_labels(format_labels(usage.points, step)),
        tips,
        f"{usage.meter.title}: {total} {plural} from {times[0]} to {times[-1]}.{limit_text}",
        previous_values=[float(point.quantity) for point in usage.previous_points],
        limit=limit,
    )


def format_labels(points: Sequence[UsagePoint], step: Step) -> list[str]:
    """UTC. Hours of one day show their time, hours of more days show the day."""
    label_format = "%H:00" if step is Step.HOUR and len(points) <= HOURS_OF_DAY else LABEL_FORMATS[step]
    return [point.starts_at.strftime(label_format) for point in points]


def thin_labels(texts: Sequence[str]) -> list[str]:
    """At most `MAX_LABELS` of them, at places that a phone shows too; the others are empty."""
    if len(texts) <= MAX_LABELS:
        return list(texts)
    every = 2 * -(-len(texts) // (2 * MAX_LABELS))
    return [text if index % every == every // 2 | 1 else "" for index, text in enumerate(texts)]


def usage_rows(usage: MeterUsage, step: Step) -> list[UsageRow]:
    """The newest first."""
    previous = [format_quantity(before.quantity) for before in usage.previous_points]
    return [
        UsageRow(
            time=format_time(point.starts_at, step),
            quantity=format_quantity(point.quantity),
            previous=before,
        )
        for point, before in reversed(
            list(zip(usage.points, previous or ["—"] * len(usage.points), strict=True))
        )
    ]


def describe_change(total: Decimal, before: Decimal) -> str:
    if before == 0:
        return "nothing before" if total else ""
    percent = round((total - before) / before * 100)
    if percent > MAX_PERCENT:
        return f"more than {MAX_PERCENT} % on the previous period"
    return f"{percent:+d} % on the previous period" if percent else "the same as in the previous period"


def format_time(at: datetime, step: Step) -> str:
    """UTC."""
    return at.strftime(FORMATS[step])


def format_quantity(quantity: Decimal) -> str:
    """As "1,234.5"."""
    return format(quantity.normalize(), ",f")


def range_controls(state: Any) -> rx.Component:
    """`state`: with the vars `range_key`, `step`, `step_choices` and the handlers `choose_range` and `choose_step`."""
    ranges = [(key, title) for key, (title, _, _) in RANGES.items()]

    def step_option(option: Any) -> rx.Component:
        radio = rx.el.input(
            type="radio",
            name="step",
            value=option[0],
            checked=state.step == option[0],
            on_change=state.choose_step(option[0]),
        )
        return rx.el.label(radio, option[1], class_name="segment")

    steps = rx.el.fieldset(
        rx.el.legend("Length of a bar", class_name="sr"),
        rx.el.div(rx.foreach(state.step_choices, step_option), class_name="segments"),
    )
    return rx.el.div(
        segmented_control("Time", "range", ranges, value=state.range_key, on_change=state.choose_range),
        steps,
        class_name="row wrap",
        data_testid="usage-range",
    )


def meter_box(meter: Any) -> rx.Component:
    """A var of `MeterPanel`."""
    gauge = charts.meter(
        "Used of the monthly limit",
        meter.used,
        meter.limit,
        share=meter.share,
        tone=meter.tone,
        value_text=meter.month,
    )
    month = rx.cond(
        meter.month != "",
        rx.el.div(small(meter.month, class_name="num"), gauge, class_name="two metered"),
    )
    forecast = rx.cond(
        meter.forecast != "",
        rx.el.p(
            small(meter.forecast, class_name=rx.cond(meter.is_forecast_over, "num down", "num")),
            data_testid="usage-forecast",
        ),
    )
    rows = rx.foreach(meter.rows, lambda row: table_row(COLUMNS, row.time, row.quantity, row.previous))
    table = rx.el.details(
        rx.el.summary("Show as a table"), data_table("Usage by time", COLUMNS, rows), class_name="usage-table"
    )
    return rx.el.section(
        rx.el.div(
            rx.el.h2(meter.title),
            small(
                meter.total, rx.cond(meter.change != "", rx.fragment(" · ", meter.change)), class_name="num"
            ),
            class_name="bar",
        ),
        rx.el.div(month, forecast, charts.bar_chart(meter.chart), class_name="body"),
        table,
        class_name="hull",
        aria_label=meter.title,
        data_testid=f"meter-{meter.key}",
    )


def usage_note(as_of: Any) -> rx.Component:
    """`as_of`: a var of `AsOf`."""
    return as_of_note(
        as_of, " Days and months begin at midnight UTC. A line across a bar shows the previous period."
    )
