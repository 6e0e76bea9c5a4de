"""Paging of a list, for the states of both apps."""

from typing import Any, ClassVar

import reflex as rx

from shared.core.paging import Page
from shared.core.plurals import plural
from shared.ui.authorize import mark_inherited
from shared.ui.tables import pager


class ListState(rx.State, mixin=True):
    """Mixin of a page state with one list: `class MembersState(ListState, PageState)`.

    The page sets `reads: ClassVar[Action] = …` and defines `_reload`. Without the annotation Reflex makes a var of it.
    A page with two lists has two state classes.
    """

    # Action or OperatorAction, checked when a page is defined: a type checker refuses to narrow a union.
    reads: ClassVar[Any]
    has_next: bool = False
    has_previous: bool = False
    count_text: str = ""
    _cursors: list[str] = []  # of the pages up to this one; empty on the first page
    _next_cursor: str = ""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Raises TypeError for a list without `reads`."""
        super().__init_subclass__(**kwargs)
        if not cls._mixin:
            mark_inherited(cls, dict.fromkeys(("next_page", "previous_page"), getattr(cls, "reads", None)))

    async def _reload(self) -> None:
        """Reads the page after `_cursor()` and shows it with `_show_page`."""
        raise NotImplementedError

    def _cursor(self) -> str:
        """The cursor of the page shown, "" for the first one."""
        return self._cursors[-1] if self._cursors else ""

    def _show_page(self, page: Page[Any], singular: str, plural_form: str = "") -> None:
        """`singular`: what one row is, as in "event"."""
        self._next_cursor = page.next_cursor
        self.has_next, self.has_previous = bool(page.next_cursor), bool(self._cursors)
        self.count_text = plural(len(page.rows), singular, plural_form)

    async def _go_to(self, cursors: list[str], **changes: Any) -> None:
        """Reloads with other cursors and other values of these vars; an error leaves the list as it was."""
        changes = {"_cursors": cursors, **changes}
        previous_values = {name: getattr(self, name) for name in changes}
        self._set_vars(changes)
        try:
            await self._reload()
        except BaseException:
            self._set_vars(previous_values)
            raise

    async def _show_first_page(self, **changes: Any) -> None:
        """The first page with other values of these vars, as after choosing a filter."""
        await self._go_to([], **changes)

    def _set_vars(self, values: dict[str, Any]) -> None:
        for name, value in values.items():
            setattr(self, name, value)

    @rx.event
    async def next_page(self) -> None:
        if self._next_cursor:
            await self._go_to([*self._cursors, self._next_cursor])

    @rx.event
    async def previous_page(self) -> None:
        await self._go_to(self._cursors[:-1])


def list_pager(state: type[ListState], labels: tuple[str, str] = ("Newer", "Older")) -> rx.Component:
    """The footer of the state's list: its count and two arrows. `labels` name the arrows."""
    return pager(
        state.count_text,
        on_next=state.next_page,
        on_previous=state.previous_page,
        has_next=state.has_next,
        has_previous=state.has_previous,
        labels=labels,
    )
