"""Which dialog of a page is open, for the states of both apps."""

from collections.abc import Sequence
from typing import Any, ClassVar

import reflex as rx

from shared.ui.authorize import mark_inherited
from shared.ui.forms import parse_choice


class DialogState(rx.State, mixin=True):
    """Mixin of a page state with dialogs: `class RolesState(DialogState, PageState)`.

    The page sets `reads`, `dialogs` and, for dialogs about one row of its lists, `row_dialogs`. A dialog that shows
    something of its own is filled in `_fill_dialog`. The handler that submits a dialog closes it after the service
    has returned: what was typed survives a refusal.
    """

    reads: ClassVar[Any]  # Action or OperatorAction, as in ListState
    opens_dialogs: ClassVar[Any] = None  # the action of opening one, where `reads` is not enough
    dialogs: ClassVar[Sequence[str]] = ()
    row_dialogs: ClassVar[Sequence[str]] = ()
    dialog: str = ""  # the open one

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Raises TypeError for a page without `reads`."""
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
        name = parse_choice(dialog, (*self.dialogs, *self.row_dialogs))
        await self._fill_dialog(name, row_id)
        self.dialog = name

    @rx.event
    async def close_dialog(self, open: bool) -> None:  # noqa: ARG002  Radix says whether; we only ever close here
        self.dialog = ""
        self._empty_dialog()
