"""What is wrong with the fields of the open dialog, shown below each of them."""

from typing import Any

import reflex as rx

from shared.core.errors import Invalid


class FieldErrors(rx.State):
    """Of the whole tab: one dialog is open at a time. `DialogState` fills and empties it."""

    errors: dict[str, str] = {}  # sentence by name of the field
    attempt: int = 0  # counts refused submits, so that the same sentence is announced again

    def _show(self, refusal: Invalid, payload: dict[str, Any]) -> bool:
        """Whether all of the wrong fields are in the submitted form. Nothing is shown otherwise."""
        sentences = refusal.field_sentences()
        if not sentences or not sentences.keys() <= payload.keys():
            return False
        self.errors, self.attempt = sentences, self.attempt + 1
        return True

    def _clear(self) -> None:
        if self.errors:
            self.errors = {}


def is_wrong(name: str) -> Any:
    """A var: the field has an error."""
    errors: Any = FieldErrors.errors
    return errors.contains(name)


def describe_field(id: str, name: str, hint: str = "") -> dict[str, Any]:
    """The attributes that tie a control to its `field_note`."""
    described_by = f"{id}-note" if hint else rx.cond(is_wrong(name), f"{id}-note", rx.Var("undefined"))
    return {
        "aria-invalid": rx.cond(is_wrong(name), "true", rx.Var("undefined")),
        "aria-describedby": described_by,
    }


def field_note(id: str, name: str, hint: str = "") -> rx.Component:
    """The error of the field, or its hint."""
    attempt: Any = FieldErrors.attempt
    # Reflex sends an id that it knows of as a field too.
    note_id = {"id": f"{id}-note"}
    error = rx.el.span(
        FieldErrors.errors[name],
        custom_attrs=note_id,
        class_name="wrong",
        role="alert",
        key=attempt.to_string(),
    )
    hint_text = rx.el.span(hint, custom_attrs=note_id, class_name="hint") if hint else rx.fragment()
    return rx.cond(is_wrong(name), error, hint_text)
