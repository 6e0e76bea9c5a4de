"""Paging of a list, for the states of both apps."""

from typing import Any, ClassVar

import reflex as rx

from shared.access.actions import Action, OperatorAction
from shared.core.paging import Page
from shared.core.plurals import plural
from shared.ui.tables import pager


class ListState(rx.State, mixin=True):
    """Mixin of a page state with one list: `class MembersState(ListState, PageState)`.

    The page sets `reads: ClassVar[Action] = …` and defines `_reload`. Without the annotation Reflex makes a var of it.
    A page with two lists has two state classes.
    """

    # Action or OperatorAction, checked below: pages narrow it, and a type checker refuses to narrow a union.
    reads: ClassVar[Any]
    has_next: bool = False
    has_previous: bool = False
    count_text: str = ""
    _cursors: list[str] = []  # of the pages up to this one; empty on the first page
    _next_cursor: str = ""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Raises TypeError for a list without `reads`."""
        super().__init_subclass__(**kwargs)
        if not isinstance(getattr(cls, "reads", None), Action | OperatorAction):
            raise TypeError(f"{cls.__name__} needs `reads: ClassVar[Action] = …`, the action of its list.")
        for name in ("next_page", "previous_page"):
            handler: Any = cls.event_handlers[name].fn  # a copy of this class: others keep their own mark
            handler.__action__, handler.__page__ = cls.reads, False

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

    async def _go_to(self, cursors: list[str]) -> None:
        """Reloads with other cursors; an error leaves the list on the page that is shown."""
        previous_cursors, self._cursors = self._cursors, cursors
        try:
            await self._reload()
        except BaseException:
            self._cursors = previous_cursors
            raise

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
