"""Plans side by side, and add-ons."""

from typing import Any

import reflex as rx

from shared.access import actions
from shared.ui.banners import local_time, skeleton_block
from shared.ui.controls import button, disabled_button, icon, segmented_control, select
from shared.ui.panels import item_list, panel, small, stat_grid, text_with_note
from shared.ui.tables import badge, has_items
from tenant_app.pages.billing.addon_rows import AddonRow
from tenant_app.pages.billing.plan_rows import PERIOD_LABELS, PlanRow
from tenant_app.pages.billing.state import BillingState
from tenant_app.shell import Shell


def plan_card(plan_row: PlanRow) -> rx.Component:
    head = rx.el.div(
        rx.el.h3(plan_row.name, class_name="grow"),
        rx.cond(plan_row.is_current, badge("Current")),
        class_name="row",
    )
    price = rx.el.div(
        rx.el.div(
            plan_row.price_text,
            rx.cond(plan_row.price_unit != "", rx.el.small(" ", plan_row.price_unit)),
            class_name="figure",
        ),
        rx.cond(plan_row.price_note != "", small(plan_row.price_note)),
        small(plan_row.sentence),
        class_name="stat",
    )
    points = rx.el.ul(
        rx.foreach(plan_row.points, lambda point: rx.el.li(icon("check"), rx.el.span(point))),
        class_name="ticks-list",
    )
    return rx.el.section(
        head,
        price,
        points,
        rx.el.div(plan_action(plan_row)),
        class_name="plan",
        data_current=plan_row.is_current,
        data_testid="plan",
        aria_label=f"Plan {plan_row.name}",
    )


def plan_action(plan_row: PlanRow) -> rx.Component:
    """The button of a plan; the suggested plan's is primary."""
    refusals: Any = Shell.refusals
    name = actions.BILLING_CHANGE.name

    def choose(kind: str) -> rx.Component:
        return button(plan_row.action_label, kind=kind, on_click=BillingState.choose_plan(plan_row.id))

    refusal = rx.cond(refusals.contains(name), refusals[name], plan_row.refusal)
    control = rx.cond(
        refusal != "",
        disabled_plan_action(plan_row, refusal),
        rx.cond(plan_row.is_suggested, choose("primary"), choose("plain")),
    )
    return rx.cond(plan_row.action_label != "", control, small(plan_row.note, class_name="as-control"))


def disabled_plan_action(plan_row: PlanRow, refusal: Any) -> rx.Component:
    label: Any = plan_row.action_label
    return disabled_button(label, refusal, id=f"choose-{plan_row.id}")


def plans_section() -> rx.Component:
    yearly = rx.fragment(
        PERIOD_LABELS["year"], rx.cond(BillingState.saving != "", rx.el.span(" · ", BillingState.saving))
    )
    switch = segmented_control(
        "Paid",
        "period",
        [("month", PERIOD_LABELS["month"]), ("year", yearly)],
        value=BillingState.period,
        on_change=BillingState.choose_period,
    )
    currency_switch = rx.cond(
        has_items(BillingState.currencies),
        select(
            "Currency",
            BillingState.currencies,
            value=BillingState.currency,
            on_change=BillingState.choose_currency,
        ),
    )
    placeholder = rx.el.div(
        *[skeleton_block(width, margin="8px 0") for width in ("32%", "48%", "72%", "64%", "70%")],
        class_name="plan",
    )
    plan_cards = rx.el.div(
        rx.foreach(BillingState.plans, plan_card), class_name="cells", style={"--n": "4", "--n-small": "1"}
    )
    box = panel(
        rx.cond(BillingState.loaded, plan_cards, stat_grid(*[placeholder] * 4, columns_on_phone=1)),
        name="Plans",
    )
    note = rx.cond(BillingState.trial_note != "", small(BillingState.trial_note, data_testid="trial-note"))
    return rx.el.div(
        rx.el.div(rx.el.h2("Plans"), switch, currency_switch, class_name="row"),
        box,
        note,
        class_name="section",
        data_testid="plans",
    )


def addon_item(addon_row: AddonRow) -> rx.Component:
    words = text_with_note(
        rx.el.span(addon_row.name, class_name="strong"),
        small(
            addon_row.sentence,
            rx.cond(
                addon_row.paid_until != "",
                rx.fragment(" Paid until ", local_time(addon_row.paid_until, "", "day"), "."),
            ),
        ),
    )
    more = button(
        addon_row.add_label,
        on_click=BillingState.preview_add_addon(addon_row.id),
        aria_label=f"{addon_row.add_label}: {addon_row.name}",
    )
    less = button(
        "Remove",
        kind="quiet",
        on_click=BillingState.preview_remove_addon(addon_row.id),
        aria_label=f"Remove {addon_row.name}",
    )
    refusals: Any = Shell.refusals
    name = actions.BILLING_CHANGE.name
    refusal = rx.cond(refusals.contains(name), refusals[name], addon_row.refusal)
    label: Any = rx.cond(addon_row.add_label != "", addon_row.add_label, "Add")
    buttons = rx.cond(
        refusal != "",
        disabled_button(label, refusal, id=f"addon-{addon_row.id}"),
        rx.fragment(rx.cond(addon_row.can_remove, less), rx.cond(addon_row.add_label != "", more)),
    )
    return rx.el.li(
        words,
        rx.cond(addon_row.status != "", badge(addon_row.status, addon_row.tone)),
        rx.el.span(addon_row.cost, class_name="num nowrap"),
        rx.el.div(buttons, class_name="row"),
        class_name="wrap",
        data_testid="addon",
    )


def addons_section() -> rx.Component:
    return rx.cond(
        BillingState.loaded & has_items(BillingState.addons),
        rx.el.div(
            rx.el.h2("Add-ons"),
            panel(item_list(rx.foreach(BillingState.addons, addon_item)), name="Add-ons"),
            class_name="section",
        ),
    )
