"""Buttons, fields, choices, dialogs. Native controls: labels, keyboards and phones then behave."""

from collections.abc import Sequence
from typing import Any, Literal

import reflex as rx

from shared.ui.field_errors import describe_field, field_note


def icon(name: str) -> rx.Component:
    return rx.icon(name, class_name="icon", aria_hidden=True)


def button(label: Any, *, kind: str = "plain", glyph: str = "", **props: Any) -> rx.Component:
    """One `primary` per page. `quiet` for what is repeated in rows, `danger` only opens a confirmation."""
    props.setdefault("type", "button")
    return rx.el.button(*([icon(glyph)] if glyph else []), label, class_name="btn", data_kind=kind, **props)


def icon_button(label: str | rx.Var[str], glyph: str, **props: Any) -> rx.Component:
    return rx.el.button(
        icon(glyph),
        class_name="btn",
        data_kind="quiet",
        data_shape="square",
        type="button",
        aria_label=label,
        **props,
    )


def disabled_button(label: str, reason: Any, *, id: str, glyph: str = "") -> rx.Component:
    """A disabled control that explains why, to screen readers too. It stays focusable."""
    control = rx.el.button(
        *([icon(glyph)] if glyph else []),
        label,
        class_name="btn",
        type="button",
        aria_disabled="true",
        aria_describedby=f"{id}-why",
    )
    return rx.fragment(
        rx.tooltip(control, content=reason), rx.el.span(reason, id=f"{id}-why", class_name="sr")
    )


def disabled_icon_button(label: Any, glyph: str, reason: Any, *, id: Any) -> rx.Component:
    """A disabled icon button that explains why."""
    control = rx.el.button(
        icon(glyph),
        class_name="btn",
        data_kind="quiet",
        data_shape="square",
        type="button",
        aria_label=label,
        aria_disabled="true",
        aria_describedby=f"{id}-why",
    )
    return rx.fragment(
        rx.tooltip(control, content=reason), rx.el.span(reason, id=f"{id}-why", class_name="sr")
    )


def disabled_menu_item(glyph: str, label: str, reason: Any) -> rx.Component:
    """A disabled menu item that explains why."""
    words = rx.el.span(label, rx.el.span(reason, class_name="reason"))
    return rx.menu.item(icon(glyph), words, disabled=True)


def form_field(
    label: Any, control: rx.Component, *, id: str, hint: str = "", error: str = ""
) -> rx.Component:
    note = rx.el.span(
        error or hint,
        id=f"{id}-note",
        class_name="wrong" if error else "hint",
        role="alert" if error else None,
    )
    return rx.el.div(
        rx.el.label(label, html_for=id), control, *([note] if error or hint else []), class_name="field"
    )


def filter_form(
    *fields: rx.Component, is_filtered: Any, on_apply: Any, on_clear: Any, test_id: str, key: Any = None
) -> rx.Component:
    """The filters of a list, in a form, so that Enter submits it from every field. `is_filtered` is a var.

    `key`: where the fields show values of the address, a var that changes with them.
    """
    clear = button("Clear filters", kind="quiet", type="reset", on_click=on_clear)
    buttons = rx.el.div(
        button("Filter", type="submit", glyph="list-filter"),
        rx.cond(is_filtered, clear),
        class_name="row wrap",
    )
    return rx.form(
        rx.el.div(*fields, buttons, class_name="filters"),
        on_submit=on_apply,
        data_asks="true",
        data_testid=test_id,
        **({} if key is None else {"key": key}),
    )


def dialog_field(
    label: Any, control: rx.Component, *, id: str, name: str = "", hint: str = ""
) -> rx.Component:
    """A field of a dialog, with its hint or what is wrong with it. `name`: of the form's field, where it is not the id."""
    name = name or id
    control.custom_attrs = {**control.custom_attrs, **describe_field(id, name, hint)}
    return rx.el.div(rx.el.label(label, html_for=id), control, field_note(id, name, hint), class_name="field")


def text_input(id: str, *, name: str = "", has_note: bool = False, **props: Any) -> rx.Component:
    """`name`: of the form's field, where it is not the id: several dialogs of a page ask for a reason, say."""
    note_props = {"aria_describedby": f"{id}-note"} if has_note else {}
    # Reflex sends an id that it knows of as a field too, so one that differs from the name goes past it.
    id_props = {"custom_attrs": {"id": id}} if name else {"id": id}
    return rx.el.input(name=name or id, class_name="input", **id_props, **note_props, **props)


class DateTimeInput(rx.el.Span):
    """A date and time in the reader's zone; the form gets it in UTC under `field`, "" where none is chosen.

    `ident` is the id of the control, for its label. Filled by assets/look.js; changing `value` fills it again.
    """

    tag, alias = "bkmoment", "bk-moment"  # see `feedback.LocalTime`
    field: rx.Var[str]
    ident: rx.Var[str]
    value: rx.Var[str]  # ISO, "" for none
    needed: rx.Var[str]  # "true" where one has to be chosen


def datetime_input(
    id: str, *, name: str = "", value: str | rx.Var[str] = "", required: bool = False
) -> rx.Component:
    return DateTimeInput.create(
        field=name or id, ident=id, value=value, needed="true" if required else "false"
    )


def select(label: str, options: Sequence[tuple[str, str]] | rx.Var[Any], **props: Any) -> rx.Component:
    """Options: value and label. For a row of filters; inside a form give it `field` and an id."""
    choices = rx.foreach(options, lambda option: rx.el.option(option[1], value=option[0]))
    return rx.el.select(choices, class_name="input", data_size="small", aria_label=label, **props)


def search_input(label: str, **props: Any) -> rx.Component:
    box = rx.el.input(
        type="search", class_name="input", data_size="small", aria_label=label, placeholder=label, **props
    )
    return rx.el.div(icon("search"), box, class_name="search", role="search")


def radio_cards(legend: str, name: str, options: Any, *, value: Any, required: bool = True) -> rx.Component:
    """Radio cards, for the few decisions where words matter. Options: value, label, sentence; or a var."""

    def card(option: Any) -> rx.Component:
        key, label, sentence = option[0], option[1], option[2]
        radio = rx.el.input(
            type="radio",
            name=name,
            value=key,
            default_checked=key == value,
            required=required,
            aria_label=label,
            aria_describedby=f"{name}-{key}",
        )
        words = rx.el.span(sentence, id=f"{name}-{key}", class_name="small muted")
        return rx.el.label(radio, rx.el.span(label, class_name="strong"), words, class_name="choice")

    cards = rx.el.div(rx.foreach(options, card), class_name="choices")
    note = rx.el.div(field_note(f"{name}-cards", name), class_name="field")
    return rx.el.fieldset(rx.el.legend(legend, class_name="legend"), cards, note)


def segmented_control(
    legend: str, name: str, options: Sequence[tuple[str, Any]], *, value: Any, on_change: Any
) -> rx.Component:
    """One of a few, applied at once: a range, a view. Arrow keys move, as in any radio group. Options: value, label."""

    def segment(key: str, label: Any) -> rx.Component:
        radio = rx.el.input(
            type="radio", name=name, value=key, checked=value == key, on_change=on_change(key)
        )
        return rx.el.label(radio, label, class_name="segment")

    return rx.el.fieldset(
        rx.el.legend(legend, class_name="sr"),
        rx.el.div(*[segment(*option) for option in options], class_name="segments"),
    )


def stepper(id: str, *, value: Any, minimum: int = 1, on_change: Any) -> rx.Component:
    """A whole number, typed or stepped (assets/look.js). `on_change` hears both."""

    def step(label: str, glyph: str, by: str) -> rx.Component:
        return rx.el.button(
            icon(glyph),
            class_name="btn",
            data_shape="square",
            type="button",
            aria_label=label,
            tab_index=-1,  # the arrow keys do the same in the field itself
            data_step=by,
            data_for=id,
        )

    number = rx.el.input(
        custom_attrs={"id": id},  # an id that Reflex knows of is sent as a field, also where none is shown
        name=id,
        type="number",
        min=minimum,
        step=1,
        required=True,
        default_value=value,
        on_change=on_change,
        class_name="input",
        input_mode="numeric",
    )
    return rx.el.div(
        step("One less", "minus", "-1"), number, step("One more", "plus", "1"), class_name="stepper"
    )


def text_area(id: str, **props: Any) -> rx.Component:
    return rx.el.textarea(custom_attrs={"id": id}, name=id, class_name="input", rows="3", **props)


def checkbox_group(legend: Any, options: Any) -> rx.Component:
    """A group of boxes to tick. Options: a var of rows with field, label, second, ticked and refused (why, or "")."""

    def box(option: Any) -> rx.Component:
        tick = rx.el.input(
            type="checkbox",
            name=option.field,
            value="on",
            default_checked=option.is_checked,
            disabled=option.refusal != "",
            aria_describedby=f"{option.field}-note",
        )
        note = rx.el.span(
            rx.cond(option.refusal != "", option.refusal, option.note),
            id=f"{option.field}-note",
            class_name="small muted cut-anywhere",
        )
        return rx.el.label(
            tick,
            rx.el.span(option.label, class_name="strong"),
            note,
            class_name="check",
            data_refused=option.refusal != "",
        )

    return rx.el.fieldset(
        rx.el.legend(legend, class_name="legend"), rx.el.div(rx.foreach(options, box), class_name="checks")
    )


def menu(
    trigger: rx.Component, *items: rx.Component, align: Literal["start", "end"] = "start"
) -> rx.Component:
    return rx.menu.root(rx.menu.trigger(trigger), rx.menu.content(*items, align=align, variant="soft"))
