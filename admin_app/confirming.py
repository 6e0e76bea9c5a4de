"""What is asked before an operator changes or sees something of a tenant: why, and whether this one is meant."""

from typing import Annotated, Any

import reflex as rx
from pydantic import StringConstraints

from shared.core.errors import Invalid
from shared.tenancy.entry import MAX_REASON_LENGTH
from shared.ui.controls import button, form_field, text_input
from shared.ui.panels import panel, small

ReasonText = Annotated[str, StringConstraints(min_length=1, max_length=MAX_REASON_LENGTH)]
ConfirmText = Annotated[str, StringConstraints(max_length=200)]
CUSTOMER_AUDIT_HINT = "Write it for the customer: it stands in their audit trail."
OPERATOR_AUDIT_HINT = "It stands in the operators' trail, with your name."


def reason_field(name: str, hint: str = CUSTOMER_AUDIT_HINT) -> rx.Component:
    control = text_input(
        f"{name}-reason",
        name="reason",
        has_note=True,
        required=True,
        max_length=MAX_REASON_LENGTH,
        auto_complete="off",
    )
    return form_field("Reason", control, id=f"{name}-reason", hint=hint)


def confirm_field(form_name: str, name: Any) -> rx.Component:
    control = text_input(f"{form_name}-confirm", name="confirm", required=True, auto_complete="off")
    label = rx.fragment("Type ", rx.el.b(name), " to confirm")
    return form_field(label, control, id=f"{form_name}-confirm")


def check_confirmation(name: str, confirm: str) -> None:
    """Raises Invalid for anything but the name."""
    if not name or confirm != name:
        raise Invalid(
            f"This is not the name {name}.",
            "Type it exactly as it is written above.",
            fields={"confirm": "Not the name"},
        )


def access_form(
    title: str, on_submit: Any, *, hint: str, example: str, label: str = "Look inside"
) -> rx.Component:
    """Before what belongs to tenants can be seen."""
    reason = form_field(
        "Reason",
        text_input(
            "reason",
            required=True,
            has_note=True,
            max_length=MAX_REASON_LENGTH,
            auto_complete="off",
            placeholder=example,
        ),
        id="reason",
        hint=hint,
    )
    submit_row = rx.el.div(button(label, kind="primary", glyph="eye", type="submit"), class_name="row")
    return panel(
        rx.form(reason, submit_row, on_submit=on_submit, class_name="stack", data_testid="reason-form"),
        title=title,
        body=True,
    )


def access_banner(text: str, reason: Any, on_end: Any) -> rx.Component:
    """While it can be seen."""
    end_button = button("Stop looking", glyph="eye-off", kind="quiet", on_click=on_end)
    return rx.el.div(
        small(text, rx.el.b(reason), class_name="grow cut-anywhere"), end_button, class_name="row"
    )
