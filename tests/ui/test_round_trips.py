"""How often a page and an event wait for the database. Each is as a browser causes it, from the guard to the handler."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import pytest
from reflex.event import Event
from starlette.datastructures import Headers

from shared.access import decision_counts
from shared.tenancy import authentication, invitations
from shared.ui.authorize import STATE_PREFIX, AuthorizeMiddleware
from shared.ui.live_updates import LiveUpdates
from shared.ui.states import SessionState
from shared.web.app_sites import TENANT
from shared.web.session_guard import SessionGuard
from tenant_app.pages.audit import AuditState
from tenant_app.pages.billing.state import BillingState
from tenant_app.pages.home import HomeState
from tenant_app.pages.members.state import MembersState
from tenant_app.pages.roles.state import RolesState
from tenant_app.pages.settings.state import SettingsState
from tenant_app.shell import Shell
from tests.conftest import Cast, Person
from tests.support.round_trips import RoundTrips, recorded_round_trips

PAGES: dict[str, type[SessionState]] = {
    "home": HomeState,
    "members": MembersState,
    "billing": BillingState,
    "audit": AuditState,
    "roles": RolesState,
    "settings": SettingsState,
}
ON_LOAD = STATE_PREFIX + "reflex___state____on_load_internal_state."
EVENTS_BEFORE_LOAD = (STATE_PREFIX + "hydrate_and_load", ON_LOAD + "on_load_internal")
EVENT_AFTER_LOAD = ON_LOAD + "set_is_hydrated"
MAX_OF_PAGE = 20


@pytest.fixture
async def round_trips() -> AsyncIterator[RoundTrips]:
    async with recorded_round_trips() as recorded:
        yield recorded


def _list_handlers(page: type[SessionState], name: str) -> tuple[Event, Any]:
    handler = page.event_handlers[name]
    return Event.from_event_type(getattr(page, name) if name == "load" else handler)[0], handler.fn


async def send(page: SessionState, name: str, *payload: Any) -> None:
    """As Reflex runs an event: in a task of its own, after the middleware."""
    handler = type(page).event_handlers.get(name)
    tree: Any = page._get_root_state()
    middleware = AuthorizeMiddleware(authentication.authenticate, LiveUpdates("app"), frame=Shell.refresh)
    full_name = f"{type(page).get_full_name()}.{name}" if handler else name

    async def run() -> None:
        answer = await middleware.preprocess(app=None, state=tree, event=Event(name=full_name))  # type: ignore[arg-type]
        assert answer is None
        if handler is not None:
            await handler.fn(page, *payload)

    await asyncio.create_task(run())


async def open_page(person: Person, name: str) -> SessionState:
    """What a browser without anything in its caches asks for: the HTML, the socket, and the events of the first load."""
    path = f"/t/{person.slug}/{name}"
    headers = {"cookie": person.cookie, "origin": TENANT.origin}
    raw_headers = [(key.encode(), value.encode()) for key, value in headers.items()]
    guard = SessionGuard(Shell, site=TENANT)  # type: ignore[arg-type]  nothing behind it is asked
    scope: dict[str, Any] = {"type": "http", "path": path, "headers": raw_headers, "state": {}}
    assert await guard.find_refusal(scope, person.cookie) is None
    socket = {
        "type": "websocket",
        "path": "/_event/",
        "query_string": f"token={uuid4()}".encode(),
        "state": {},
    }
    assert await guard.find_connecting(socket, Headers(headers), person.cookie) is not None
    page = person.opens(PAGES[name], path=name)
    for event_name in EVENTS_BEFORE_LOAD:
        await send(page, event_name)
    await send(page, "load")
    await send(page, EVENT_AFTER_LOAD)
    return page


@pytest.mark.parametrize("name", PAGES)
async def test_cold_page_waits_for_the_database_few_times(
    cast: Cast, round_trips: RoundTrips, name: str
) -> None:
    await open_page(cast.ann, name)  # reads what the process keeps of a tenant, and notes that Ann was seen
    round_trips.start()
    await open_page(cast.ann, name)
    statements = round_trips.list_statements()
    assert len(statements) <= MAX_OF_PAGE, "\n".join(statements)


MEMBER_EVENTS = {  # how often each may wait; what it sends
    "sort": (6, "sort_by", "role"),
    "search": (6, "search_members", "max"),
    "open dialog": (1, "open_dialog", "invite"),
}


@pytest.mark.parametrize("name", MEMBER_EVENTS)
async def test_event_waits_for_the_database_few_times(cast: Cast, round_trips: RoundTrips, name: str) -> None:
    page = await open_page(cast.ann, "members")
    max_round_trips, handler, argument = MEMBER_EVENTS[name]
    round_trips.start()
    await send(page, handler, argument)
    statements = round_trips.list_statements()
    assert len(statements) <= max_round_trips, "\n".join(statements)


MAX_OF_INVITATION = (
    19  # one is the record of the decision, two are notices: to open pages, and to the dispatcher of webhooks
)


async def test_write_waits_once_more_for_the_record_of_its_decision(
    cast: Cast, round_trips: RoundTrips
) -> None:
    async with cast.ann.ctx() as ctx:
        await invitations.invite(ctx, "first@acme.test", "viewer")
    await decision_counts.flush()
    round_trips.start()
    async with cast.ann.ctx() as ctx:
        await invitations.invite(ctx, "zoe@acme.test", "viewer")
    statements = round_trips.list_statements()
    inserts = [text for text in statements if text.lower().startswith("insert into decision_record")]
    assert len(inserts) == 1, "\n".join(statements)
    assert len(statements) <= MAX_OF_INVITATION, "\n".join(statements)
