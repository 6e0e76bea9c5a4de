"""What is asked before an operator changes or sees something of a tenant: why, and whether this one is meant."""

from typing import Annotated, Any

import reflex as rx
from pydantic import StringConstraints

from shared.core.errors import Invalid
from shared.tenancy.entry import LONGEST_REASON
from shared.ui.form import button, field, text_input
from shared.ui.hull import hull, small

Reason = Annotated[str, StringConstraints(min_length=1, max_length=LONGEST_REASON)]
Confirm = Annotated[str, StringConstraints(max_length=200)]
FOR_CUSTOMER = "Write it for the customer: it stands in their audit trail."
FOR_US = "It stands in the operators' trail, with your name."


def reason_field(which: str, hint: str = FOR_CUSTOMER) -> rx.Component:
    control = text_input(
        f"{which}-reason",
        name="reason",
        noted=True,
        required=True,
        max_length=LONGEST_REASON,
        auto_complete="off",
    )
    return field("Reason", control, id=f"{which}-reason", hint=hint)


def confirm_field(which: str, name: Any) -> rx.Component:
    control = text_input(f"{which}-confirm", name="confirm", required=True, auto_complete="off")
    label = rx.fragment("Type ", rx.el.b(name), " to confirm")
    return field(label, control, id=f"{which}-confirm")


def check_name(name: str, confirm: str) -> None:
    """Raises Invalid for anything but the name."""
    if not name or confirm != name:
        raise Invalid(
            f"This is not the name {name}.",
            "Type it exactly as it is written above.",
            fields={"confirm": "Not the name"},
        )


def door(title: str, enter: Any, *, hint: str, example: str, label: str = "Look inside") -> rx.Component:
    """Before what belongs to tenants can be seen."""
    reason = field(
        "Reason",
        text_input(
            "reason",
            required=True,
            noted=True,
            max_length=LONGEST_REASON,
            auto_complete="off",
            placeholder=example,
        ),
        id="reason",
        hint=hint,
    )
    go = rx.el.div(button(label, kind="primary", glyph="eye", type="submit"), class_name="row")
    return hull(
        rx.form(reason, go, on_submit=enter, class_name="stack", data_testid="reason-form"),
        title=title,
        body=True,
    )


def looking(said: str, reason: Any, leave: Any) -> rx.Component:
    """While it can be seen."""
    stop = button("Stop looking", glyph="eye-off", kind="quiet", on_click=leave)
    return rx.el.div(small(said, rx.el.b(reason), class_name="grow cut-anywhere"), stop, class_name="row")
