"""How full something is, and how much there was week by week. Drawn in HTML and CSS: no chart library to ship."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import reflex as rx

DENSE_FROM = 14  # bars; more of them stand closer


def meter(label: str, used: Any, limit: Any, *, share: Any, tone: Any, value_text: Any) -> rx.Component:
    """Values or vars of a state; width and tone come from `gauge`."""
    return rx.el.div(
        rx.el.div(style={"--share": share}),
        class_name="meter",
        data_tone=tone,
        custom_attrs={"role": "meter"},  # `role=` refuses "meter"
        aria_label=label,
        aria_valuenow=used,
        aria_valuemin=0,
        aria_valuemax=limit,
        aria_valuetext=value_text,
    )


def meter_width_and_tone(used: float, limit: float) -> tuple[str, str]:
    """Width and tone of a meter."""
    share = used / limit * 100 if limit else 100.0
    tone = "bad" if share >= 100 else "warn" if share >= 80 else "calm"
    return f"{min(share, 100):.1f}%", tone


@dataclass(frozen=True)
class Bar:
    label: str
    share: str  # of the height
    tooltip: str
    is_partial: bool = False  # a period that has not ended is lighter, or it reads as a fall
    previous_share: str = ""  # of the same period before; "" without one


@dataclass(frozen=True)
class Tick:
    position: str
    label: str


@dataclass(frozen=True)
class BarChart:
    """A finished drawing. Strings only, so that a state can hold it."""

    bars: list[Bar] = field(default_factory=list)
    ticks: list[Tick] = field(default_factory=list)
    summary: str = ""
    limit_position: str = ""  # of the line, "" without one
    is_dense: bool = False


def draw_bars(
    values: Sequence[float],
    labels: Sequence[str],
    tips: Sequence[str],
    summary: str,
    *,
    previous_values: Sequence[float] = (),
    limit: float | None = None,
    is_last_partial: bool = True,
) -> BarChart:
    """`is_last_partial`: the last one is of a period that still runs. `summary`: what a screen reader hears instead.

    `limit`: drawn where it is near enough not to flatten the bars.
    """
    highest = max((*values, *previous_values), default=0)
    has_limit = limit is not None and 0 < limit <= 2 * highest
    highest = max(highest, limit) if has_limit and limit is not None else highest
    step = _grid_step(highest)
    chart_top = step * 2
    while chart_top < highest:
        chart_top += step
    ticks = [
        Tick(f"{100 - at / chart_top * 100:.1f}%", _format_tick(at, chart_top))
        for at in range(0, chart_top + 1, step)
    ]
    last = len(values) - 1
    previous_shares = [f"{value / chart_top * 100:.1f}%" if value else "" for value in previous_values]
    previous_shares = previous_shares or [""] * len(values)
    bars = [
        Bar(label, f"{value / chart_top * 100:.1f}%", tip, is_last_partial and index == last, previous_share)
        for index, (value, label, tip, previous_share) in enumerate(
            zip(values, labels, tips, previous_shares, strict=True)
        )
    ]
    position = f"{100 - limit / chart_top * 100:.1f}%" if has_limit and limit is not None else ""
    return BarChart(bars, ticks, summary, position, len(values) > DENSE_FROM)


def _format_tick(at: int, chart_top: int) -> str:
    """Short enough for the space beside the bars: "300k" and not "300,000"."""
    for size, unit in ((1_000_000_000_000, "T"), (1_000_000_000, "B"), (1_000_000, "M")):
        if chart_top >= size:
            return f"{at / size:g}{unit}" if at else "0"
    return f"{at // 1_000}k" if at and chart_top >= 10_000 else f"{at:,}"


def _grid_step(maximum: float) -> int:
    """Between two lines: 1, 2 or 5 and noughts, so that there are two to five of them."""
    size = 1
    while True:
        for step in (size, 2 * size, 5 * size):
            if maximum <= step * 4:
                return step
        size *= 10


def bar_chart(data: Any) -> rx.Component:
    """A var of `BarChart`. The numbers belong in a table too: hovering needs a pointer."""

    def bar(bar: Any) -> rx.Component:
        fill = rx.el.div(style={"--share": bar.share})
        before = rx.el.span(style={"--share": bar.previous_share}, class_name="before")
        return rx.el.div(
            fill,
            rx.cond(bar.previous_share != "", before),
            rx.el.span(bar.tooltip, class_name="tip"),
            class_name="col",
            data_partial=rx.cond(bar.is_partial, "true", "false"),
        )

    return rx.el.div(
        rx.el.div(
            rx.foreach(data.ticks, lambda tick: rx.el.span(tick.label, style={"top": tick.position})),
            class_name="ticks",
        ),
        rx.el.div(
            rx.foreach(data.ticks, lambda tick: rx.el.div(class_name="grid", style={"top": tick.position})),
            rx.el.div(rx.foreach(data.bars, bar), class_name="cols"),
            rx.cond(
                data.limit_position != "",
                rx.el.div(class_name="limit", style={"top": data.limit_position}),
            ),
            class_name="plot",
        ),
        rx.el.div(rx.foreach(data.bars, lambda bar: rx.el.span(bar.label)), class_name="names"),
        class_name="chart",
        data_dense=rx.cond(data.is_dense, "true", "false"),
        role="img",
        aria_label=data.summary,
    )
