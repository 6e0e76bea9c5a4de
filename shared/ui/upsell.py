"""A page that is not in the plan: why, what one would get, which plans have it, and one step for this person."""

from typing import Any

import reflex as rx

from shared.ui.controls import icon


def upsell_panel(reason: Any, upsell: Any, action: rx.Component | None = None) -> rx.Component:
    """`upsell`: a var of `authorize.Upsell`. `action`: a link for this person."""
    words = rx.el.div(
        rx.el.p(icon("lock"), reason, class_name="row small muted", role="status"),
        rx.el.h2(upsell.description),
        rx.el.ul(
            rx.foreach(upsell.points, lambda point: rx.el.li(icon("check"), point)), class_name="ticks-list"
        ),
        class_name="body",
    )

    def fact(label: str, value: Any) -> rx.Component:
        return rx.el.div(rx.el.h3(label, class_name="label"), rx.el.p(value, class_name="strong"))

    aside = rx.el.div(
        fact("Included in", rx.cond(upsell.plans != "", upsell.plans, "No plan currently on sale")),
        fact("Next step", upsell.next_step),
        *([action] if action is not None else []),
        class_name="plans",
    )
    return rx.el.section(
        words, aside, class_name="hull upsell", aria_label=upsell.feature, data_testid="upsell"
    )
