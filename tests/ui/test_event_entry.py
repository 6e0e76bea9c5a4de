"""The entry of events into Reflex: old pages, loads that wait already, and tabs that have closed."""

import asyncio
from collections import deque
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest
import reflex as rx
from reflex.app import EventNamespace
from reflex.istate.manager.memory import StateManagerMemory
from reflex.istate.manager.token import BaseStateToken

from shared.access import actions
from shared.ui import event_entry
from shared.ui.authorize import needs
from shared.ui.event_entry import EventEntry

LOAD, SEARCH, SAVE = "page.load", "page.search", "page.save"


@needs(actions.HOME_READ, page=True)
async def load(self: Any) -> None: ...


@needs(actions.HOME_READ)
async def search(self: Any, query: str = "") -> None: ...


@needs(actions.MEMBER_INVITE)
async def save(self: Any, text: str) -> None: ...


async def report_error(self: Any, info: str, component_stack: str) -> None: ...


HANDLERS = {
    name: SimpleNamespace(handler=SimpleNamespace(fn=handler))
    for name, handler in {
        LOAD: load,
        SEARCH: search,
        SAVE: save,
        event_entry.ERROR_REPORT: report_error,
    }.items()
}


@dataclass
class Processor:
    _token_queues: dict[str, Any] = field(default_factory=dict)
    _futures: dict[str, asyncio.Future[None]] = field(default_factory=dict)

    def queue(self, token: str, *names: str, path: str = "/t/acme/home") -> list[asyncio.Future[None]]:
        """The first one is running."""
        entries, futures = deque[Any](), []
        for name in names:
            txid = f"tx{len(self._futures)}"
            event = SimpleNamespace(name=name, payload={}, router_data={"asPath": path})
            entries.append((SimpleNamespace(event=event, ctx=SimpleNamespace(txid=txid)), HANDLERS[name]))
            futures.append(asyncio.get_running_loop().create_future())
            self._futures[txid] = futures[-1]
        self._token_queues[token] = entries
        return futures


@dataclass
class Entry:
    entry: EventEntry
    processor: Processor
    passed: list[str] = field(default_factory=list)
    answers: list[str] = field(default_factory=list)

    async def send(self, name: str, path: str = "/t/acme/home", **payload: Any) -> None:
        data = {"name": name, "payload": payload, "router_data": {"pathname": path, "asPath": path}}
        await asyncio.wait_for(self.entry.on_event("sid", data), 5)


@pytest.fixture
def entry(monkeypatch: pytest.MonkeyPatch) -> Entry:
    processor = Processor()
    app: Any = SimpleNamespace(
        _registration_context=SimpleNamespace(event_handlers=HANDLERS),
        _event_processor=processor,
        _state_manager=None,
        _state=None,
    )
    made = Entry(EventEntry("/_event", app), processor)

    async def record(self: Any, sid: str, data: Any) -> None:
        made.passed.append(data["name"])

    async def emit(event: str, update: Any, to: str) -> None:
        made.answers += [str(event.payload) for event in update.events]

    monkeypatch.setattr(EventNamespace, "on_event", record)
    monkeypatch.setattr(EventNamespace, "on_disconnect", lambda self, sid: None)
    monkeypatch.setattr(made.entry, "emit", emit)
    monkeypatch.setattr(type(made.entry), "sid_to_token", {"sid": "tab"})
    return made


async def test_handler_that_is_gone_is_answered_with_a_reload(entry: Entry) -> None:
    await entry.send("page.renamed")
    assert entry.passed == []
    assert "This page is from an older version." in entry.answers[0]
    assert "Reload it." in entry.answers[0]


@pytest.mark.parametrize(
    ("name", "payload"),
    [
        (LOAD, {"": 1}),
        (LOAD, {"self": 1}),
        (SEARCH, {"text": "x"}),
        (SAVE, {}),
        (SAVE, {"text": "x", "more": 1}),
    ],
)
async def test_event_with_other_arguments_is_told_to_reload(
    entry: Entry, name: str, payload: dict[str, Any]
) -> None:
    """An older version of the handler may have had them. Without the check the handler breaks."""
    data = {"name": name, "payload": payload, "router_data": {"pathname": "/", "asPath": "/"}}
    await entry.entry.on_event("sid", data)
    assert entry.passed == []
    assert "This page is from an older version." in entry.answers[0]


@pytest.mark.parametrize(("name", "payload"), [(SEARCH, {}), (SEARCH, {"query": "x"}), (SAVE, {"text": "x"})])
async def test_event_with_the_arguments_of_its_handler_passes(
    entry: Entry, name: str, payload: dict[str, Any]
) -> None:
    await entry.send(name, **payload)
    assert entry.passed == [name]


async def test_event_that_is_too_long_is_answered_in_words(entry: Entry) -> None:
    await entry.send(SAVE, text="x" * 30_000)
    await entry.send(LOAD, path="/" + "x" * 3_000)
    assert entry.passed == []
    assert all("Your input is too long." in answer for answer in entry.answers)


@pytest.mark.parametrize(
    ("queued", "sent", "passes"),
    [
        ([], LOAD, True),
        ([LOAD], LOAD, True),  # it runs already, and may have read before the change
        ([SEARCH, LOAD], LOAD, False),
        ([SEARCH, SEARCH], SEARCH, True),  # not a load
        ([SEARCH, LOAD], SAVE, True),
    ],
    ids=["nothing queued", "running", "queued", "no load", "another event"],
)
async def test_load_passes_unless_the_tab_has_queued_it(
    entry: Entry, queued: list[str], sent: str, passes: bool
) -> None:
    entry.processor.queue("tab", *queued)
    await entry.send(sent, **({"text": "x"} if sent == SAVE else {}))
    assert bool(entry.passed) is passes
    await entry.send(LOAD, path="/t/acme/members")
    assert entry.passed[-1] == LOAD, "another page"


async def test_event_waits_while_the_queue_of_its_tab_is_full(entry: Entry) -> None:
    entry.processor.queue("tab", *[SEARCH] * event_entry.MAX_QUEUED)
    sending = asyncio.create_task(entry.send(SAVE, text="x"))
    await asyncio.sleep(0.1)
    assert entry.passed == []
    entry.processor._token_queues.clear()
    await sending
    assert entry.passed == [SAVE]


async def test_closed_tab_loses_what_would_draw_and_keeps_changes(entry: Entry) -> None:
    running, search_, load_, save_ = entry.processor.queue("tab", LOAD, SEARCH, LOAD, SAVE)
    (other,) = entry.processor.queue("another tab", LOAD)
    entry.entry.on_disconnect("sid")
    assert [future.cancelled() for future in (running, search_, load_, save_, other)] == [
        *(False, True, True, False, False)
    ]


async def test_error_reports_of_one_socket_are_bounded(entry: Entry) -> None:
    for _ in range(50):
        await entry.send(event_entry.ERROR_REPORT, info="boom", component_stack="")
    assert len(entry.passed) == event_entry.MAX_ERROR_REPORTS


async def test_state_of_a_closed_tab_is_freed_unless_it_has_come_back(
    entry: Entry, monkeypatch: pytest.MonkeyPatch
) -> None:
    manager, app = StateManagerMemory(), entry.entry.app
    app._state_manager, app._state = manager, rx.State
    monkeypatch.setattr(event_entry, "STATE_SECONDS", 0.05)
    monkeypatch.setattr(type(entry.entry), "token_to_sid", {"back": "sid2"})
    keys = {}
    for tab in ("tab", "back"):
        token = BaseStateToken(ident=tab, cls=rx.State)
        keys[tab] = token.cache_key
        await manager.get_state(token)
        monkeypatch.setattr(type(entry.entry), "sid_to_token", {"sid": tab})
        entry.entry.on_disconnect("sid")
    assert manager.states.keys() == {*keys.values()}
    await asyncio.sleep(0.2)
    assert manager.states.keys() == {keys["back"]}
    await manager.close()
