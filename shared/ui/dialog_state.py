"""Which dialog of a page is open, for the states of both apps."""

import functools
import inspect
from collections.abc import Sequence
from typing import Any, ClassVar

import reflex as rx

from shared.core.errors import ChangedMeanwhile, DomainError, Invalid
from shared.ui.authorize import mark_inherited
from shared.ui.edit_conflict import VERSION_FIELD, EditConflict
from shared.ui.field_errors import FieldErrors
from shared.ui.forms import UnknownFields, parse_choice
from shared.ui.states import refusal_toast

PAYLOAD = "payload"  # the argument of every handler that takes a form


class DialogState(rx.State, mixin=True):
    """Mixin of a page state with dialogs: `class RolesState(DialogState, PageState)`.

    The page sets `reads` and the names of its dialogs. Those in `dialogs` show nothing of their own, so they open in the
    browser at once. The others open after `_fill_dialog` has filled them. The handler that submits a dialog closes it after the service
    has returned: what was typed survives a refusal, `Invalid` is shown below the fields that it names, and
    `ChangedMeanwhile` in the form with both versions.
    """

    reads: ClassVar[Any]  # Action or OperatorAction, as in ListState
    opens_dialogs: ClassVar[Any] = None  # the action of opening one, where `reads` is not enough
    dialogs: ClassVar[Sequence[str]] = ()
    filled_dialogs: ClassVar[Sequence[str]] = ()
    row_dialogs: ClassVar[Sequence[str]] = ()  # about one row of its lists
    dialog: str = ""  # the open one
    closed_dialogs: int = 0  # how many the server has closed, which closes one that the browser has opened

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Raises TypeError for a page without `reads`."""
        for name, handler in list(vars(cls).items()):
            if inspect.iscoroutinefunction(handler) and PAYLOAD in inspect.signature(handler).parameters:
                setattr(cls, name, _show_field_errors(handler))
        super().__init_subclass__(**kwargs)
        if not cls._mixin:
            reads = getattr(cls, "reads", None)
            mark_inherited(cls, {"open_dialog": cls.opens_dialogs or reads, "close_dialog": reads})

    async def _fill_dialog(self, dialog: str, row_id: str) -> None:
        """Sets what the dialog shows. `row_id` comes from the browser. Raises Invalid; the dialog stays closed then."""

    def _empty_dialog(self) -> None:
        """Forgets what must not be confirmed once the dialog is closed."""

    @rx.event
    async def open_dialog(self, dialog: str, row_id: str = "") -> None:
        name = parse_choice(dialog, (*self.dialogs, *self.filled_dialogs, *self.row_dialogs))
        await self._fill_dialog(name, row_id)
        self.dialog = name
        await self._clear_field_errors()

    @rx.event
    async def close_dialog(self, open: bool) -> None:  # noqa: ARG002  Radix says whether; we only ever close here
        self.dialog = ""
        self._empty_dialog()
        await self._clear_field_errors()

    def _close_dialog(self) -> None:
        """For the handler that submits a dialog, after the service has returned."""
        self.dialog, self.closed_dialogs = "", self.closed_dialogs + 1

    async def _clear_field_errors(self) -> None:
        (await self.get_state(FieldErrors))._clear()
        (await self.get_state(EditConflict))._clear()


def _show_field_errors(handler: Any) -> Any:
    """The handler, with its `Invalid` and `ChangedMeanwhile` shown in the form. Other errors are raised, for a toast."""

    @functools.wraps(handler)
    async def submit(self: Any, payload: dict[str, Any]) -> Any:
        field_errors = await self.get_state(FieldErrors)
        edit_conflict = await self.get_state(EditConflict)
        try:
            answer = await handler(self, payload)
        except ChangedMeanwhile as conflict:
            if VERSION_FIELD not in payload:  # the form has no place for it
                raise
            field_errors._clear()
            edit_conflict._show(handler.__name__, conflict)
            return None
        except DomainError as refusal:
            is_about_fields = isinstance(refusal, Invalid) and not isinstance(refusal, UnknownFields)
            if self.dialog and is_about_fields and field_errors._show(refusal, payload):
                return None
            if not field_errors.errors:
                raise
            field_errors._clear()  # a raised error would leave those of the last attempt
            return refusal_toast(refusal)
        field_errors._clear()
        edit_conflict._clear()
        return answer

    return submit
