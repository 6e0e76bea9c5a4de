"""What is asked before an operator changes something of a tenant: why, and whether this one is meant."""

from typing import Annotated, Any

import reflex as rx
from pydantic import StringConstraints

from shared.core.errors import Invalid
from shared.tenancy.entry import LONGEST_REASON
from shared.ui.form import field, text_input

Reason = Annotated[str, StringConstraints(min_length=1, max_length=LONGEST_REASON)]
Confirm = Annotated[str, StringConstraints(max_length=200)]
FOR_CUSTOMER = "Write it for the customer: it stands in their audit trail."


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
