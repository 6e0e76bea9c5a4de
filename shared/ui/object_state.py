"""The object that a page shows, such as the tenant of /tenants/ten_…, for the states of both apps."""

import functools
from typing import Any

import reflex as rx
from reflex.state import BaseState

from shared.core.errors import Conflict

CLOSED_DIALOGS = "closed_dialogs"  # of `DialogState`, where the page has dialogs


class ObjectState(rx.State, mixin=True):
    """Mixin of the state of a page, or of a part of it, whose address names an object.

    A handler works on the object at `_shown_path`. Only a load changes it: one for another object forgets the earlier one
    first. The middleware refuses every other handler of the state while the address names another object, because what was
    typed to confirm, a stated reason and a chosen row belong to the object that was shown.
    """

    _shown_path: str = (
        ""  # path of the page's address when it was loaded; "" before, and after a load that failed
    )

    async def _forget_object(self) -> None:
        """Shows nothing any more. The dialogs that are open in the browser close."""
        closed_dialogs = getattr(self, CLOSED_DIALOGS, None)
        self.reset()
        if closed_dialogs is not None:
            setattr(self, CLOSED_DIALOGS, closed_dialogs + 1)

    def _shows_its_address(self) -> bool:
        return self._shown_path == self.router.url.path


def show_object(load: Any) -> Any:
    """The load, which makes the object of the address the one that an `ObjectState` shows."""

    @functools.wraps(load)
    async def show(self: Any, *args: Any) -> Any:
        if not isinstance(self, ObjectState) or self._shows_its_address():
            return await load(self, *args)
        await self._forget_object()
        self._shown_path = self.router.url.path
        try:
            return await load(self, *args)
        except BaseException:
            self._shown_path = ""
            raise

    return show


async def find_other_object(state: BaseState, state_class: type[BaseState]) -> Conflict | None:
    """The refusal of an event whose page shows another object than its address names."""
    if not issubclass(state_class, ObjectState):
        return None
    page: Any = await state.get_state(state_class)
    if page._shows_its_address():
        return None
    return Conflict("This page no longer matches its address.", "Reload the page and try again.")
