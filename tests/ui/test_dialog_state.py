"""Dialogs that page states inherit from `DialogState`."""

from collections.abc import Sequence
from typing import Any, ClassVar

import pytest
import reflex as rx
from reflex_base.registry import RegistrationContext

from shared.access import actions
from shared.access.actions import Action
from shared.core.errors import Invalid
from shared.ui.dialog_state import DialogState


class LetterDialogState(DialogState, rx.State):
    reads: ClassVar[Action] = actions.ROLE_READ
    opens_dialogs: ClassVar[Action] = actions.ROLE_CREATE
    dialogs: ClassVar[Sequence[str]] = ("create",)
    row_dialogs: ClassVar[Sequence[str]] = ("rename",)
    letter: str = ""
    confirmable: bool = False

    async def _fill_dialog(self, dialog: str, row_id: str) -> None:
        if dialog == "rename" and row_id != "a":
            raise Invalid("This letter does not exist.")
        self.letter, self.confirmable = row_id, True

    def _empty_dialog(self) -> None:
        self.confirmable = False


class PlainDialogState(DialogState, rx.State):
    reads: ClassVar[Action] = actions.AUDIT_READ
    dialogs: ClassVar[Sequence[str]] = ("verify",)


async def call(state: Any, name: str, *arguments: Any) -> None:
    await type(state).event_handlers[name].fn(state, *arguments)


def create_state() -> Any:
    state: Any = LetterDialogState(_reflex_internal_init=True)
    return state


def test_dialog_state_without_reads_raises_at_class_creation() -> None:
    with RegistrationContext(), pytest.raises(TypeError, match="needs `reads"):

        class ForgottenState(DialogState, rx.State):
            pass


def test_dialog_handlers_carry_the_action_of_their_own_page() -> None:
    def action_of(state: type[rx.State], name: str) -> Any:
        return vars(state.event_handlers[name].fn)["__action__"]

    assert action_of(LetterDialogState, "open_dialog") is actions.ROLE_CREATE
    assert action_of(LetterDialogState, "close_dialog") is actions.ROLE_READ
    assert action_of(PlainDialogState, "open_dialog") is actions.AUDIT_READ


async def test_open_dialog_fills_and_opens_it() -> None:
    state = create_state()
    await call(state, "open_dialog", "rename", "a")
    assert (state.dialog, state.letter) == ("rename", "a")


@pytest.mark.parametrize("dialog", ["delete", "", None, 7, ["rename"]])
async def test_open_dialog_is_refused_for_a_dialog_the_page_does_not_have(dialog: Any) -> None:
    state = create_state()
    with pytest.raises(Invalid):
        await call(state, "open_dialog", dialog, "a")
    assert state.dialog == ""


async def test_dialog_stays_closed_when_its_row_does_not_exist() -> None:
    state = create_state()
    with pytest.raises(Invalid, match="does not exist"):
        await call(state, "open_dialog", "rename", "z")
    assert state.dialog == ""


async def test_close_dialog_forgets_what_could_be_confirmed() -> None:
    state = create_state()
    await call(state, "open_dialog", "create")
    await call(state, "close_dialog", False)
    assert (state.dialog, state.confirmable) == ("", False)
