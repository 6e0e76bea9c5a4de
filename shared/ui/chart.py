"""How full something is. Drawn in HTML and CSS: no chart library to ship."""

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
