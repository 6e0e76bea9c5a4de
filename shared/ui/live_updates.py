"""A commit asks the open pages it concerns to load again; no data travels this way. One entry per socket.

Each process has one LISTEN connection. What it hears is a hint: the page's own `load` then passes gate
and service like any other event. Sent by `shared.core.live_events`.
"""

import asyncio
import hashlib
import random
import time
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from dataclasses import dataclass, field
from typing import Any

import psycopg
import reflex as rx
from reflex.event import Event
from reflex.state import BaseState, StateUpdate

from shared.core import db, log
from shared.core.live_events import CHANNEL
from shared.entitlements import rights_cache

MIN_SECONDS_BETWEEN_LOADS = 0.3  # seconds between two loads of one tab
MAX_LOADS_PER_SECOND = 200  # loads a second and process
MAX_RECENT_NOTICES = 500  # kept for tabs that do not watch yet
HEARTBEAT_SECONDS = 20.0  # seconds of silence after which the connection is tried and closed tabs are swept
SESSION_CHECK_SECONDS = 2.0  # seconds between two looks at a support session, whose tabs close within five
ALL_TENANTS = "*"  # what operators watch
RELOAD_EVENT = Event.from_event_type(rx.call_script("window.location.reload()"))[
    0
]  # Guard answers whoever lost the right


def get_tab_key(session_id: str) -> str:
    """Names a tab in notices, which every login of the database can hear; it gives no access to the socket."""
    return hashlib.sha256(session_id.encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class PageNotice:
    """A commit that changed what pages show."""

    heard_at: float
    changed_keys: frozenset[tuple[str, str]] = frozenset()  # tenant and topic; empty: all pages
    changed_by: str = ""  # key of the tab that shows the change itself

    def concerns(self, sid: str, tab: "Tab") -> bool:
        is_shown = not self.changed_keys or not self.changed_keys.isdisjoint(tab.topics)
        return is_shown and get_tab_key(sid) != self.changed_by


@dataclass(slots=True)
class Tab:
    session_hash: str
    person_id: str
    topics: frozenset[tuple[str, str]] = frozenset()
    load: Event | None = None
    event_started_at: float = 0.0  # of the latest event
    last_load_at: float = 0.0
    timer: asyncio.TimerHandle | None = field(default=None, repr=False)
    session_check: asyncio.Task[None] | None = field(default=None, repr=False)  # of a support session


class LiveUpdates:
    def __init__(self, role: db.DatabaseRole) -> None:
        """`role`: that listens. `run` connects, past any pooler, because LISTEN does not survive one."""
        self._role: db.DatabaseRole = role
        self._tabs: dict[str, Tab] = {}
        self._recent_notices: deque[PageNotice] = deque(maxlen=MAX_RECENT_NOTICES)
        self._tasks: set[asyncio.Task[None]] = set()
        self._has_lost_connection = False  # said once, not once a second

    def register_tab(
        self,
        state: BaseState,
        session_hash: str,
        person_id: str,
        *,
        navigates: bool,
        event_started_at: float,
    ) -> None:
        """The event middleware calls this for every accepted event.

        A new page watches nothing until its load has run. `event_started_at`: by `time.monotonic`, before the
        middleware read who acts.
        """
        tab = self._tabs.setdefault(state.router.session.session_id, Tab(session_hash, person_id))
        tab.session_hash, tab.person_id = session_hash, person_id
        tab.event_started_at = event_started_at
        if navigates:
            tab.topics, tab.load = frozenset(), None

    def end_with_session(self, state: BaseState, is_live: Callable[[], Awaitable[bool]]) -> None:
        """Starts a timer that asks `is_live`, and closes the tab's socket when the support session is over.

        A notice ends other sessions. A support session also ends by time, and with the access of its operator.
        """
        sid = state.router.session.session_id
        tab = self._tabs[sid]
        if tab.session_check is None:
            tab.session_check = self._start_task(self._check_session(sid, tab, is_live))

    async def _check_session(self, sid: str, tab: Tab, is_live: Callable[[], Awaitable[bool]]) -> None:
        while self._tabs.get(sid) is tab:
            await asyncio.sleep(SESSION_CHECK_SECONDS)
            try:
                has_ended = not await is_live()
            except Exception as problem:  # without the database nothing is shown either
                log.get_logger(__name__).warning("support_session_unchecked", problem=type(problem).__name__)
                continue
            if has_ended and self._tabs.get(sid) is tab:
                await self._close_tab(sid)

    def watch(self, state: BaseState, handler: Any, tenant_id: str, *topics: str) -> None:
        """First line of a page's `load`, before it reads: a commit in between must not be missed.

        The middleware has read role and rights before: a commit since then loads the page once more.
        """
        self.watch_event(state, Event.from_event_type(handler)[0], tenant_id, *topics)

    def watch_event(self, state: BaseState, load: Event, tenant_id: str, *topics: str) -> None:
        """The same for a load that was refused before it ran."""
        sid = state.router.session.session_id
        if tab := self._tabs.get(sid):
            previous_topics, tab.topics = tab.topics, frozenset((tenant_id, topic) for topic in topics)
            tab.load = load
            if tab.topics != previous_topics and any(
                notice.heard_at >= tab.event_started_at and notice.concerns(sid, tab)
                for notice in self._recent_notices
            ):
                self._schedule_loads([sid])

    async def run(self, app: rx.App) -> None:
        """A lifespan task of the app. Never ends: whatever breaks, it must listen again."""
        self._app, self._loop = app, asyncio.get_running_loop()
        while True:
            try:
                await self._listen()
            except Exception as error:
                if not self._has_lost_connection:
                    log.get_logger(__name__).warning("live_not_listening", problem=type(error).__name__)
                self._has_lost_connection = True
            await asyncio.sleep(0.2 + random.random())  # noqa: S311  no secret

    async def _listen(self) -> None:
        url = db.login_url(self._role, direct=True)
        async with await psycopg.AsyncConnection.connect(
            url, autocommit=True, connect_timeout=5
        ) as connection:
            await connection.execute(f"listen {CHANNEL}")
            self._has_lost_connection = False
            self._load_pages(PageNotice(time.monotonic()))  # for events missed while not listening
            while True:
                async for notice in connection.notifies(timeout=HEARTBEAT_SECONDS):
                    self._handle_notice(*notice.payload.split(" "))
                async with asyncio.timeout(5):
                    await connection.execute("select 1")
                self._drop_closed_tabs()

    def _drop_closed_tabs(self) -> None:
        for sid in self._tabs.keys() - self._event_namespace().sid_to_token.keys():
            del self._tabs[sid]

    def _handle_notice(self, kind: str, *key: str) -> None:
        if kind == "page" and len(key) in (2, 3):
            changed_keys = frozenset({(key[0], key[1]), (ALL_TENANTS, key[1])})
            changed_by = key[2] if len(key) == 3 else ""
            self._load_pages(PageNotice(time.monotonic(), changed_keys, changed_by))
        elif kind == "session":
            for sid in self._find_tabs(lambda tab: (tab.session_hash,) == key):
                self._start_task(self._close_tab(sid))
        elif kind == "rights" and len(key) == 1:
            rights_cache.invalidate(key[0])
            if key[0] == rights_cache.ALL_TENANTS:  # plans or flags: whatever is open may look different now
                self._load_pages(PageNotice(time.monotonic()))
        elif kind == "user":
            for sid in self._find_tabs(lambda tab: (tab.person_id,) == key):
                self._start_task(self._emit(sid, RELOAD_EVENT))

    def _load_pages(self, notice: PageNotice) -> None:
        self._recent_notices.append(notice)
        self._schedule_loads([sid for sid, tab in self._tabs.items() if notice.concerns(sid, tab)])

    def _find_tabs(self, matches: Callable[[Tab], bool]) -> list[str]:
        return [sid for sid, tab in self._tabs.items() if matches(tab)]

    def _schedule_loads(self, sids: Iterable[str]) -> None:
        """A crowd is spread over time, so that one commit is not answered by all tabs in the same instant."""
        session_ids = list(sids)
        now, spread = (
            self._loop.time(),
            len(session_ids) / MAX_LOADS_PER_SECOND if len(session_ids) > MAX_LOADS_PER_SECOND / 10 else 0.0,
        )
        for sid in session_ids:
            tab = self._tabs[sid]
            if tab.load is not None and tab.timer is None:
                delay = max(tab.last_load_at + MIN_SECONDS_BETWEEN_LOADS - now, random.random() * spread, 0.0)  # noqa: S311
                tab.timer = self._loop.call_later(delay, self._send_load, sid, tab)

    def _send_load(self, sid: str, tab: Tab) -> None:
        tab.timer, tab.last_load_at = None, self._loop.time()
        if tab.load is not None and sid in self._tabs:
            self._start_task(self._emit(sid, tab.load))

    async def _emit(self, sid: str, event: Event) -> None:
        await self._event_namespace().emit("event", StateUpdate(events=[event]), to=sid)

    async def _close_tab(self, sid: str) -> None:
        """Reloads the tab first, or it would stay stale; then closes the transport, or it would connect again."""
        self._tabs.pop(sid, None)
        await self._emit(sid, RELOAD_EVENT)
        manager: Any = self._app.sio
        if transport := manager.manager.eio_sid_from_sid(sid, self._event_namespace().namespace):
            await manager.eio.disconnect(transport)

    def _event_namespace(self) -> Any:
        return self._app.event_namespace

    def _start_task(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task
