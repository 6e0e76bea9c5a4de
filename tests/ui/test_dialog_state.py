"""Dialogs that page states inherit from `DialogState`."""

import re
from collections.abc import Sequence
from typing import Annotated, Any, ClassVar

import pytest
import reflex as rx
from pydantic import StringConstraints
from reflex_base.registry import RegistrationContext

from shared.access import actions
from shared.access.actions import Action
from shared.core.errors import Conflict, Invalid
from shared.ui.authorize import needs
from shared.ui.dialog_state import DialogState
from shared.ui.dialogs import dialog_opener, form_dialog
from shared.ui.field_errors import FieldErrors
from shared.ui.forms import Form, UnknownFields, whole


class LetterForm(Form):
    size: Annotated[int, whole(1, 9)]
    colour: Annotated[str, StringConstraints(min_length=3)]


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

    @rx.event
    @needs(actions.ROLE_CREATE)
    async def create_letter(self, payload: dict[str, Any]) -> str:
        form = LetterForm.read(payload)
        if form.colour == "red":
            raise Conflict("There is a red letter.")
        if form.colour == "none":
            raise Invalid("Letters need ink.", fields={"ink": "Letters need ink."})
        self._close_dialog()
        return "created"


class PlainDialogState(DialogState, rx.State):
    reads: ClassVar[Action] = actions.AUDIT_READ
    dialogs: ClassVar[Sequence[str]] = ("verify",)


async def call(state: Any, name: str, *arguments: Any) -> Any:
    return await type(state).event_handlers[name].fn(state, *arguments)


def create_state() -> Any:
    tree: Any = rx.State(_reflex_internal_init=True)  # pyright: ignore[reportCallIssue]
    return tree.get_substate(LetterDialogState.get_full_name().split("."))


async def open_with_errors() -> tuple[Any, FieldErrors]:
    state = create_state()
    await call(state, "open_dialog", "create")
    assert await call(state, "create_letter", {"size": "many", "colour": "x"}) is None
    field_errors = await state.get_state(FieldErrors)
    assert field_errors.errors == {
        "size": "Size must be a whole number from 1 to 9.",
        "colour": "Colour is missing.",
    }
    return state, field_errors


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


async def test_dialog_that_the_browser_opened_is_closed_by_another_key() -> None:
    state = create_state()
    await call(state, "open_dialog", "create")
    await call(state, "close_dialog", False)
    assert state.closed_dialogs == 0, "the browser has closed it already"
    await call(state, "open_dialog", "create")
    await call(state, "create_letter", {"size": "3", "colour": "blue"})
    assert (state.dialog, state.closed_dialogs) == ("", 1)


async def test_dialog_opens_in_the_browser_unless_it_is_filled_first() -> None:
    def render(name: str) -> str:
        submit = LetterDialogState.create_letter
        return str(form_dialog(LetterDialogState, name, "A letter", "", confirm="Create", submit=submit))

    assert "data-dialog" in render("create")
    assert "data-dialog" not in render("rename")
    opener = str(rx.el.button("New", **dialog_opener(LetterDialogState, "create")))
    (dialog_id,) = set(re.findall(r'"data-dialog":"([^"]+)"', render("create")))
    assert f'"data-opens":"{dialog_id}"' in opener


async def test_close_dialog_forgets_what_could_be_confirmed() -> None:
    state = create_state()
    await call(state, "open_dialog", "create")
    await call(state, "close_dialog", False)
    assert (state.dialog, state.confirmable) == ("", False)


# ── errors of fields ─────────────────────────────────────────────────────────────────────────────────────────────


async def test_refused_form_keeps_its_dialog_open_and_shows_all_wrong_fields() -> None:
    state, field_errors = await open_with_errors()
    assert (state.dialog, field_errors.attempt) == ("create", 1)
    await call(state, "create_letter", {"size": "many", "colour": "blue"})
    assert list(field_errors.errors) == ["size"]
    assert field_errors.attempt == 2, "or the browser would not announce the same sentence again"


async def test_accepted_form_clears_the_errors() -> None:
    state, field_errors = await open_with_errors()
    assert await call(state, "create_letter", {"size": "3", "colour": "blue"}) == "created"
    assert (state.dialog, field_errors.errors) == ("", {})


@pytest.mark.parametrize(("handler", "argument"), [("close_dialog", False), ("open_dialog", "create")])
async def test_opening_and_closing_a_dialog_clear_the_errors(handler: str, argument: Any) -> None:
    state, field_errors = await open_with_errors()
    await call(state, handler, argument)
    assert field_errors.errors == {}


async def test_error_about_no_field_is_a_toast_and_clears_those_of_the_last_attempt() -> None:
    state, field_errors = await open_with_errors()
    answer = await call(state, "create_letter", {"size": "3", "colour": "red"})
    assert "There is a red letter." in str(answer)
    assert (state.dialog, field_errors.errors) == ("create", {})
    with pytest.raises(Conflict):
        await call(state, "create_letter", {"size": "3", "colour": "red"})


async def test_error_of_a_field_that_is_not_in_the_form_is_raised() -> None:
    state = create_state()
    await call(state, "open_dialog", "create")
    with pytest.raises(Invalid, match="ink"):
        await call(state, "create_letter", {"size": "3", "colour": "none"})
    with pytest.raises(UnknownFields, match="isn’t a field of this form"):
        await call(state, "create_letter", {"size": "3", "colour": "blue", "tenant_id": "ten_x"})


async def test_refused_form_without_an_open_dialog_is_raised() -> None:
    state = create_state()
    with pytest.raises(Invalid, match="Size must be"):
        await call(state, "create_letter", {"size": "many", "colour": "blue"})
    assert (await state.get_state(FieldErrors)).errors == {}
