"""Dialogs that ask for a reason or a typed name before something changes, and the state behind a dialog."""

from typing import Annotated, Any

import reflex as rx
from pydantic import Field, StringConstraints

from shared.core.errors import Invalid
from shared.core.stated_reason import MAX_REASON_LENGTH
from shared.ui.controls import button, dialog_field, form_field, text_input
from shared.ui.dialog_state import DialogState
from shared.ui.edit_conflict import version_fields
from shared.ui.forms import Form
from shared.ui.panels import panel, small

ReasonText = Annotated[str, StringConstraints(min_length=1, max_length=MAX_REASON_LENGTH)]
ConfirmText = Annotated[str, StringConstraints(max_length=200)]
CUSTOMER_AUDIT_HINT = "Visible to the customer in their audit log."
OPERATOR_AUDIT_HINT = "Recorded in the operator audit log, with your name."


class EmptyForm(Form):
    """A dialog without fields."""


class ReasonForm(Form):
    reason: ReasonText


class ConfirmForm(Form):
    """The reader types a name to confirm."""

    confirm: Annotated[ConfirmText, Field(title="The confirmation")]

    def check(self, name: str) -> None:
        """Raises Invalid unless exactly `name` was typed."""
        if not name or self.confirm != name:
            next_step = f"Type “{name}” to confirm."
            fields = {"confirm": f"That doesn’t match. {next_step}"}
            raise Invalid("That doesn’t match.", next_step, fields=fields)


class ConfirmReasonForm(ConfirmForm):
    reason: ReasonText


def dialog_opener(state: type[DialogState], name: str, row_id: Any = "") -> dict[str, Any]:
    """The props of a control that opens this dialog of the state."""
    return {"on_click": state.open_dialog(name, row_id), "data_opens": _dialog_id(state, name)}


def _dialog_id(state: type[DialogState], name: str) -> str:
    return f"{state.get_name()}-{name}"


def _on_open_change(state: type[DialogState]) -> Any:
    """Tells the server of a closed dialog. Of an open one it hears by the control that opens it."""
    return lambda is_open: rx.cond(is_open, rx.noop(), state.close_dialog(is_open))


def form_dialog(
    state: type[DialogState],
    name: str,
    title: Any,
    description: Any,
    *fields: rx.Component,
    confirm: Any,
    submit: Any,
    kind: str = "primary",
    wide: bool = False,
    back: str = "Cancel",
    version: Any = None,
) -> rx.Component:
    """Title, one sentence, the form, Cancel (or `back`) and one verb. Focus goes to the first field and back again.

    `version`: a var with the version of what is edited, for a `VersionedForm`. The state closes it after the service has returned: what was typed survives a refusal.
    """
    foot = rx.el.div(
        rx.dialog.close(button(back)), button(confirm, kind=kind, type="submit"), class_name="dialog-foot"
    )
    if version is not None:
        fields = (*fields, version_fields(submit, version))
    form = rx.form(
        rx.el.div(*fields, class_name="dialog-body"), foot, on_submit=submit, data_testid=f"{name}-form"
    )
    heading = rx.el.div(rx.dialog.title(title), rx.dialog.description(description))
    content = rx.dialog.content(heading, form, max_width="var(--dialog-wide)" if wide else "var(--dialog)")
    if name not in state.dialogs:
        return rx.dialog.root(content, open=state.dialog == name, on_open_change=_on_open_change(state))
    closed_dialogs: Any = state.closed_dialogs
    # assets/look.js clicks the trigger for a control that `opens` it, wherever that is. Another key is a closed dialog.
    trigger = rx.el.button(type="button", hidden=True, data_dialog=_dialog_id(state, name))
    return rx.dialog.root(
        rx.dialog.trigger(trigger),
        content,
        on_open_change=_on_open_change(state),
        key=closed_dialogs.to_string(),
    )


def result_dialog(
    state: type[DialogState], name: str, title: Any, description: Any, *children: rx.Component
) -> rx.Component:
    """What a submitted form has led to. Its handler opens it by setting `dialog`.

    A click beside it does not close it, because some results can't be shown again.
    """
    heading = rx.el.div(rx.dialog.title(title), rx.dialog.description(description))
    foot = rx.el.div(rx.dialog.close(button("Done", kind="primary")), class_name="dialog-foot")
    content = rx.dialog.content(
        heading,
        rx.el.div(rx.el.div(*children, class_name="dialog-body"), foot),
        max_width="var(--dialog-wide)",
        on_interact_outside=rx.prevent_default,
    )
    return rx.dialog.root(content, open=state.dialog == name, on_open_change=_on_open_change(state))


def reason_field(form_name: str, hint: str = CUSTOMER_AUDIT_HINT, *, example: str = "") -> rx.Component:
    """`form_name` makes the id of the input unique on its page. `example` is a placeholder."""
    field_id = f"{form_name}-reason"
    control = text_input(
        field_id,
        name="reason",
        required=True,
        max_length=MAX_REASON_LENGTH,
        auto_complete="off",
        placeholder=example,
    )
    return dialog_field("Reason", control, id=field_id, name="reason", hint=hint)


def confirm_field(form_name: str, name: Any) -> rx.Component:
    """Asks to type `name`, a text or a var."""
    field_id = f"{form_name}-confirm"
    control = text_input(field_id, name="confirm", required=True, auto_complete="off", max_length=200)
    label = rx.fragment("Type ", rx.el.b(name), " to confirm")
    return dialog_field(label, control, id=field_id, name="confirm")


def access_form(title: str, on_submit: Any, *, hint: str, example: str, label: str = "Open") -> rx.Component:
    """Asks an operator for the reason before tenants' data is shown."""
    control = text_input(
        "reason",
        required=True,
        has_note=True,
        max_length=MAX_REASON_LENGTH,
        auto_complete="off",
        placeholder=example,
    )
    submit_row = rx.el.div(button(label, kind="primary", glyph="eye", type="submit"), class_name="row")
    form = rx.form(
        form_field("Reason", control, id="reason", hint=hint),
        submit_row,
        on_submit=on_submit,
        class_name="stack",
        data_testid="reason-form",
    )
    return panel(form, title=title, body=True)


def access_banner(text: str, reason: Any, on_end: Any) -> rx.Component:
    """Shown to an operator while tenants' data can be seen."""
    end_button = button("End access", glyph="eye-off", kind="quiet", on_click=on_end)
    return rx.el.div(
        small(text, rx.el.b(reason), class_name="grow cut-anywhere"), end_button, class_name="row"
    )
