"""How full something is, and how much there was week by week. Drawn in HTML and CSS: no chart library to ship."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import reflex as rx


def meter(label: str, used: Any, limit: Any, *, share: Any, tone: Any, said: Any) -> rx.Component:
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
        aria_valuetext=said,
    )


def gauge(used: float, limit: float) -> tuple[str, str]:
    """Width and tone of a meter."""
    share = used / limit * 100 if limit else 100.0
    tone = "bad" if share >= 100 else "warn" if share >= 80 else "calm"
    return f"{min(share, 100):.1f}%", tone


@dataclass(frozen=True)
class Bar:
    label: str
    share: str  # of the height
    tip: str
    running: bool = False  # a period that has not ended is lighter, or it reads as a fall


@dataclass(frozen=True)
class Tick:
    at: str
    label: str


@dataclass(frozen=True)
class Bars:
    """A finished drawing. Strings only, so that a state can hold it."""

    bars: list[Bar] = field(default_factory=list)
    ticks: list[Tick] = field(default_factory=list)
    summary: str = ""


def draw_bars(values: Sequence[int], labels: Sequence[str], tips: Sequence[str], summary: str) -> Bars:
    """The last one is of a period that still runs. `summary`: what a screen reader hears instead."""
    step = _step(max(values, default=0))
    top = step * 2
    while top < max(values, default=0):
        top += step
    ticks = [Tick(f"{100 - at / top * 100:.1f}%", f"{at:,}") for at in range(0, top + 1, step)]
    last = len(values) - 1
    bars = [
        Bar(label, f"{value / top * 100:.1f}%", tip, place == last)
        for place, (value, label, tip) in enumerate(zip(values, labels, tips, strict=True))
    ]
    return Bars(bars, ticks, summary)


def _step(most: int) -> int:
    """Between two lines: 1, 2 or 5 and noughts, so that there are two to five of them."""
    size = 1
    while True:
        for one in (size, 2 * size, 5 * size):
            if most <= one * 4:
                return one
        size *= 10


def bar_chart(drawn: Any) -> rx.Component:
    """A var of `Bars`. The numbers belong in a table too: hovering needs a pointer."""

    def bar(one: Any) -> rx.Component:
        fill = rx.el.div(style={"--share": one.share})
        return rx.el.div(
            fill,
            rx.el.span(one.tip, class_name="tip"),
            class_name="col",
            data_partial=rx.cond(one.running, "true", "false"),
        )

    return rx.el.div(
        rx.el.div(
            rx.foreach(drawn.ticks, lambda one: rx.el.span(one.label, style={"top": one.at})),
            class_name="ticks",
        ),
        rx.el.div(
            rx.foreach(drawn.ticks, lambda one: rx.el.div(class_name="grid", style={"top": one.at})),
            rx.el.div(rx.foreach(drawn.bars, bar), class_name="cols"),
            class_name="plot",
        ),
        rx.el.div(rx.foreach(drawn.bars, lambda one: rx.el.span(one.label)), class_name="names"),
        class_name="chart",
        role="img",
        aria_label=drawn.summary,
    )
