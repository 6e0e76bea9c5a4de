"""Paging that page states inherit from `ListState`."""

from typing import Any, ClassVar

import pytest
import reflex as rx
from reflex_base.registry import RegistrationContext

from shared.access import actions
from shared.access.actions import Action
from shared.core.errors import Invalid
from shared.core.paging import Page
from shared.ui.list_state import ListState


class LetterListState(ListState, rx.State):
    reads: ClassVar[Action] = actions.MEMBER_READ
    letters: list[str] = []
    capital: bool = False
    _fails: bool = False

    async def _reload(self) -> None:
        if self._fails:
            raise Invalid("This page of the list does not exist.")
        letters = {"": ["a", "b"], "b": ["c"]}[self._cursor()]
        self.letters = [letter.upper() for letter in letters] if self.capital else letters
        self._show_page(Page(rows=self.letters, next_cursor="" if self._cursors else "b"), "letter")


class EventListState(ListState, rx.State):
    reads: ClassVar[Action] = actions.AUDIT_READ


async def call_handler(state: Any, name: str) -> None:
    await type(state).event_handlers[name].fn(state)


async def load_letters() -> Any:
    state: Any = LetterListState(_reflex_internal_init=True)
    await state._reload()
    return state


def test_list_state_without_reads_raises_at_class_creation() -> None:
    with RegistrationContext(), pytest.raises(TypeError, match="needs `reads"):

        class ForgottenState(ListState, rx.State):
            pass


def test_paging_handlers_carry_the_action_of_their_own_page() -> None:
    for name in ("next_page", "previous_page"):
        assert vars(LetterListState.event_handlers[name].fn)["__action__"] is actions.MEMBER_READ
        assert vars(EventListState.event_handlers[name].fn)["__action__"] is actions.AUDIT_READ


async def test_next_page_shows_the_rows_after_the_cursor() -> None:
    state = await load_letters()
    assert (state.has_previous, state.has_next, state.count_text) == (False, True, "2 letters")
    await call_handler(state, "next_page")
    assert state.letters == ["c"]
    assert (state.has_previous, state.has_next, state.count_text) == (True, False, "1 letter")


async def test_next_page_on_the_last_page_changes_nothing() -> None:
    state = await load_letters()
    await call_handler(state, "next_page")
    await call_handler(state, "next_page")
    assert state.letters == ["c"]


async def test_previous_page_returns_to_the_first_rows() -> None:
    state = await load_letters()
    await call_handler(state, "next_page")
    await call_handler(state, "previous_page")
    assert state.letters == ["a", "b"]
    assert not state.has_previous


async def test_next_page_that_fails_leaves_the_list_where_it_was() -> None:
    state = await load_letters()
    state._fails = True
    with pytest.raises(Invalid):
        await call_handler(state, "next_page")
    assert state._cursors == []


async def test_choosing_a_filter_shows_its_first_page() -> None:
    state = await load_letters()
    await call_handler(state, "next_page")
    await state._show_first_page(capital=True)
    assert (state.letters, state.capital, state.has_previous) == (["A", "B"], True, False)


async def test_choosing_a_filter_that_fails_leaves_the_list_as_it_was() -> None:
    state = await load_letters()
    await call_handler(state, "next_page")
    state._fails = True
    with pytest.raises(Invalid):
        await state._show_first_page(capital=True)
    assert (state.letters, state.capital, state._cursors) == (["c"], False, ["b"])
