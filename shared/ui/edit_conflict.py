"""A form whose object was changed after the form had been opened: shows both versions and keeps what was typed.

The form carries the version of its object in a hidden field. `DialogState` fills and empties `EditConflict`; from then on
the hidden field has the newer version, so that saving again replaces what is shown as the other version.
"""

from dataclasses import dataclass
from typing import Any

import reflex as rx

from shared.core.errors import ChangedMeanwhile
from shared.ui.panels import small

VERSION_FIELD = "row_version"
EMPTY_VALUE = "–"


@dataclass(frozen=True, kw_only=True)
class DifferenceRow:
    label: str
    current: str
    submitted: str


class EditConflict(rx.State):
    """Of the whole tab: the last form that was refused."""

    handler: str = ""  # name of the handler that the form is submitted to, "" without a conflict
    text: str = ""
    next_step: str = ""
    version: int = 0  # of the stored object
    differences: list[DifferenceRow] = []
    attempt: int = 0  # counts conflicts, so that the same sentence is announced again

    def _show(self, handler: str, conflict: ChangedMeanwhile) -> None:
        self.handler, self.version = handler, conflict.version
        self.text, self.next_step = conflict.detail, conflict.next_step
        self.differences = [
            DifferenceRow(
                label=difference.label,
                current=difference.current or EMPTY_VALUE,
                submitted=difference.submitted or EMPTY_VALUE,
            )
            for difference in conflict.differences
        ]
        self.attempt += 1

    def _clear(self) -> None:
        if self.handler:
            self.handler, self.version, self.differences = "", 0, []


def version_fields(submit: Any, version: Any) -> rx.Component:
    """The hidden field of a form that `submit` takes, and the conflict where there is one.

    `version`: a var with the version of the object as the form shows it. The form reads it as a `VersionedForm`.
    """
    name = submit.fn.__name__
    has_conflict: Any = EditConflict.handler == name
    value: Any = rx.cond(has_conflict, EditConflict.version, version)
    hidden = rx.el.input(type="hidden", name=VERSION_FIELD, value=value.to_string())
    return rx.fragment(hidden, rx.cond(has_conflict, _conflict_notice()))


def _conflict_notice() -> rx.Component:
    def line(difference: Any) -> rx.Component:
        return rx.el.li(
            rx.el.span(difference.label, class_name="strong"),
            small("Now: ", difference.current, class_name="cut-anywhere"),
            small("Yours: ", difference.submitted, class_name="cut-anywhere"),
            class_name="two",
        )

    attempt: Any = EditConflict.attempt
    return rx.el.div(
        rx.el.p(EditConflict.text, class_name="strong"),
        rx.el.ul(rx.foreach(EditConflict.differences, line), class_name="stack"),
        small(EditConflict.next_step),
        class_name="conflict",
        role="alert",
        key=attempt.to_string(),
        data_testid="conflict",
    )
