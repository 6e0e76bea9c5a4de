"""Plans side by side, and what can be added to one."""

from typing import Any

import reflex as rx

from shared.access import actions
from shared.ui.feedback import bone, when
from shared.ui.form import button, icon, refused, segments
from shared.ui.hull import cells, hull, listing, small, two
from shared.ui.table import badge, some
from tenant_app.billing.rows import PERIODS, AddonRow, PlanRow
from tenant_app.billing.state import BillingState
from tenant_app.shell import Shell


def plan(one: PlanRow) -> rx.Component:
    head = rx.el.div(
        rx.el.h3(one.name, class_name="grow"),
        rx.cond(one.current, badge("Current")),
        class_name="row",
    )
    price = rx.el.div(
        rx.el.div(one.figure, rx.cond(one.per != "", rx.el.small(" ", one.per)), class_name="figure"),
        rx.cond(one.second != "", small(one.second)),
        small(one.sentence),
        class_name="stat",
    )
    points = rx.el.ul(
        rx.foreach(one.points, lambda point: rx.el.li(icon("check"), rx.el.span(point))),
        class_name="ticks-list",
    )
    return rx.el.section(
        head,
        price,
        points,
        rx.el.div(choice(one)),
        class_name="plan",
        data_current=one.current,
        data_testid="plan",
        aria_label=f"Plan {one.name}",
    )


def choice(one: PlanRow) -> rx.Component:
    """What can be done about this plan: one of them stands out."""
    why: Any = Shell.why
    name = actions.BILLING_CHANGE.name

    def choose(kind: str) -> rx.Component:
        return button(one.verb, kind=kind, on_click=BillingState.choose(one.id))

    closed = rx.cond(why.contains(name), why[name], one.refused)
    control = rx.cond(
        closed != "",
        refused_choice(one, closed),
        rx.cond(one.next, choose("primary"), choose("plain")),
    )
    return rx.cond(one.verb != "", control, small(one.note, class_name="as-control"))


def refused_choice(one: PlanRow, closed: Any) -> rx.Component:
    label: Any = one.verb
    return refused(label, closed, id=f"choose-{one.id}")


def plans() -> rx.Component:
    yearly = rx.fragment(
        PERIODS["year"], rx.cond(BillingState.saving != "", rx.el.span(" · ", BillingState.saving))
    )
    switch = segments(
        "Paid",
        "period",
        [("month", PERIODS["month"]), ("year", yearly)],
        value=BillingState.period,
        on_change=BillingState.choose_period,
    )
    blank = rx.el.div(
        *[bone(width, margin="8px 0") for width in ("32%", "48%", "72%", "64%", "70%")], class_name="plan"
    )
    shown = rx.el.div(
        rx.foreach(BillingState.plans, plan), class_name="cells", style={"--n": "4", "--n-small": "1"}
    )
    box = hull(rx.cond(BillingState.loaded, shown, cells(*[blank] * 4, small=1)), name="Plans")
    return rx.el.div(
        rx.el.div(rx.el.h2("Plans"), switch, class_name="row"), box, class_name="section", data_testid="plans"
    )


def addon(one: AddonRow) -> rx.Component:
    words = two(
        rx.el.span(one.name, class_name="strong"),
        small(
            one.sentence,
            rx.cond(one.kept_until != "", rx.fragment(" Paid until ", when(one.kept_until, "", "day"), ".")),
        ),
    )
    more = button(one.more, on_click=BillingState.add_addon(one.id), aria_label=f"{one.more}: {one.name}")
    less = button(
        "Remove", kind="quiet", on_click=BillingState.drop_addon(one.id), aria_label=f"Remove {one.name}"
    )
    why: Any = Shell.why
    name = actions.BILLING_CHANGE.name
    closed = rx.cond(why.contains(name), why[name], one.refused)
    label: Any = rx.cond(one.more != "", one.more, "Add")
    buttons = rx.cond(
        closed != "",
        refused(label, closed, id=f"addon-{one.id}"),
        rx.fragment(rx.cond(one.less, less), rx.cond(one.more != "", more)),
    )
    return rx.el.li(
        words,
        rx.cond(one.status != "", badge(one.status, one.tone)),
        rx.el.span(one.cost, class_name="num nowrap"),
        rx.el.div(buttons, class_name="row"),
        class_name="wrap",
        data_testid="addon",
    )


def addons() -> rx.Component:
    return rx.cond(
        BillingState.loaded & some(BillingState.addons),
        rx.el.div(
            rx.el.h2("Add-ons"),
            hull(listing(rx.foreach(BillingState.addons, addon)), name="Add-ons"),
            class_name="section",
        ),
    )
