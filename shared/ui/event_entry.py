"""The entry of socket events into Reflex, behind `shared.web.guarded_socket`.

Here an event is known by its handler: a page of an older version is told to reload, a load that already waits is not
queued again, and what a closed tab has queued or holds is dropped.
"""

import asyncio
import inspect
from collections import Counter
from functools import cache
from typing import Any

import reflex as rx
from reflex.app import EventNamespace
from reflex.event import Event, EventSpec
from reflex.istate.manager.memory import StateManagerMemory
from reflex.istate.manager.token import BaseStateToken
from reflex.state import StateUpdate

from shared.core import socket_frames
from shared.core.socket_frames import OversizedEvent
from shared.ui.authorize import FRAMEWORK_EVENTS, PAGE_LOAD_EVENTS, STATE_PREFIX

MAX_QUEUED = 20  # events of one tab; more wait outside of Reflex
QUEUE_CHECK_SECONDS = 0.02
STATE_SECONDS = 300.0  # that the state of a closed tab is kept for its return
MAX_ERROR_REPORTS = 5  # of one socket
ERROR_REPORT = STATE_PREFIX + "reflex___state____frontend_event_exception_state.handle_frontend_exception"
OLD_PAGE = rx.toast.error("This page is from an older version.", description="Reload it.", duration=60_000)
TOO_LONG = rx.toast.error("Your input is too long.", description="Shorten it and try again.", duration=8_000)


class EventEntry(EventNamespace):
    """Registered with socket.io in the place of Reflex' own namespace."""

    def __init__(self, namespace: str, app: rx.App) -> None:
        super().__init__(namespace, app)
        self._error_reports: Counter[str] = Counter()
        self._forget_timers: dict[str, asyncio.TimerHandle] = {}

    async def on_event(self, sid: str, data: Any) -> None:
        token = self.sid_to_token.get(sid)
        if token is None:  # its tab has connected again since
            return
        try:
            socket_frames.check_lengths(data)
        except OversizedEvent:
            await self._answer(sid, TOO_LONG)
            return
        registered: Any = self.app._registration_context.event_handlers.get(data["name"])
        if registered is None or not _accepts(registered.handler.fn, data.get("payload", {})):
            await self._answer(sid, OLD_PAGE)
            return
        if data["name"] == ERROR_REPORT and not self._may_report_error(sid):
            return
        while len(self._list_queued(token)) >= MAX_QUEUED:  # noqa: ASYNC110  Reflex has no signal for it
            await asyncio.sleep(QUEUE_CHECK_SECONDS)
        if not self._is_queued_load(token, data):
            await super().on_event(sid, data)

    def on_disconnect(self, sid: str) -> asyncio.Task[Any] | None:
        token = self.sid_to_token.get(sid)
        self._error_reports.pop(sid, None)
        task = super().on_disconnect(sid)
        if token is not None:
            self._drop_queued(token)
            self._schedule_forgetting(token)
        return task

    async def _answer(self, sid: str, toast: EventSpec) -> None:
        await self.emit("event", StateUpdate(events=Event.from_event_type(toast)), to=sid)

    def _may_report_error(self, sid: str) -> bool:
        self._error_reports[sid] += 1
        return self._error_reports[sid] <= MAX_ERROR_REPORTS

    def _list_queued(self, token: str) -> list[Any]:
        """Pairs of queue entry and handler of one tab; the first one is running."""
        processor: Any = self.app._event_processor
        return list(processor._token_queues.get(token, ())) if processor is not None else []

    def _is_queued_load(self, token: str, data: dict[str, Any]) -> bool:
        """True for a page load that the tab has queued already: it will show what this one would."""
        return any(
            entry.event.name == data["name"]
            and _is_load(entry.event.name, registered.handler.fn)
            and entry.event.payload == data.get("payload", {})
            and entry.event.router_data.get("asPath") == data.get("router_data", {}).get("asPath")
            for entry, registered in self._list_queued(token)[1:]
        )

    def _drop_queued(self, token: str) -> None:
        """Drops what would only draw a page that is gone. Queued changes stay: the person has asked for them."""
        processor: Any = self.app._event_processor
        for entry, registered in self._list_queued(token)[1:]:
            future = processor._futures.get(entry.ctx.txid)
            if future is not None and not _writes(entry.event.name, registered.handler.fn):
                future.cancel()

    def _schedule_forgetting(self, token: str) -> None:
        if (timer := self._forget_timers.pop(token, None)) is not None:
            timer.cancel()
        loop = asyncio.get_running_loop()
        self._forget_timers[token] = loop.call_later(STATE_SECONDS, self._forget_state, token)

    def _forget_state(self, token: str) -> None:
        """Frees the state of a tab that has not come back. Redis expires states automatically."""
        self._forget_timers.pop(token, None)
        manager, state_class = self.app._state_manager, self.app._state
        if token in self.token_to_sid or not isinstance(manager, StateManagerMemory) or state_class is None:
            return
        state_token = BaseStateToken(ident=token, cls=state_class)
        lock = manager._states_locks.get(state_token.lock_key)
        if lock is not None and lock.locked():
            self._schedule_forgetting(token)
        else:
            manager._purge_token(state_token)


def _accepts(handler: Any, payload: dict[str, Any]) -> bool:
    """Whether the handler has these arguments: those of a page of an older version may have had others."""
    names, required_names = _list_arguments(handler)
    return required_names <= payload.keys() <= names


@cache
def _list_arguments(handler: Any) -> tuple[frozenset[str], frozenset[str]]:
    """The names of its arguments, and of those without a default."""
    _, *arguments = inspect.signature(handler).parameters.values()
    names = frozenset(argument.name for argument in arguments)
    return names, frozenset(argument.name for argument in arguments if argument.default is argument.empty)


def _is_load(name: str, handler: Any) -> bool:
    return name in PAGE_LOAD_EVENTS or getattr(handler, "__page__", False)


def _writes(name: str, handler: Any) -> bool:
    if name in FRAMEWORK_EVENTS or _is_load(name, handler):
        return False
    return getattr(getattr(handler, "__action__", None), "writes", True)


def install(app: rx.App) -> EventEntry:
    """Replaces the event namespace of an app that is not served yet."""
    assert app.sio is not None
    assert app.event_namespace is not None
    entry = EventEntry(app.event_namespace.namespace, app)
    app.sio.register_namespace(entry)
    app._event_namespace = entry
    return entry
