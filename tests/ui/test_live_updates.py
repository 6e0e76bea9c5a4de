"""Which open tabs load again after a notice."""

import asyncio

import pytest
from reflex.event import Event

from shared.core import crypto
from shared.tenancy import authentication, support_access
from shared.tenancy.admissions import Principal
from shared.ui import live_updates
from shared.ui.authorize import AuthorizeMiddleware
from shared.ui.live_updates import LiveUpdates, Tab, get_tab_key
from tenant_app import shell
from tenant_app.pages.members.state import MembersState
from tests.conftest import Cast, opens
from tests.support import database, factories, support_sessions

TOPIC = ("ten_acme", "members")


@pytest.fixture
async def live() -> LiveUpdates:
    updates = LiveUpdates("app")
    updates._loop = asyncio.get_running_loop()
    updates._tabs = {
        name: Tab("hash", "usr_ann", frozenset({TOPIC}), Event(name="load")) for name in ("first", "second")
    }
    return updates


def list_scheduled(live: LiveUpdates) -> set[str]:
    scheduled = {name for name, tab in live._tabs.items() if tab.timer is not None}
    for tab in live._tabs.values():
        if tab.timer is not None:
            tab.timer.cancel()
    return scheduled


async def test_notice_loads_every_tab_that_shows_the_topic(live: LiveUpdates) -> None:
    live._handle_notice("page", *TOPIC)
    assert list_scheduled(live) == {"first", "second"}


async def test_notice_skips_the_tab_that_caused_it(live: LiveUpdates) -> None:
    live._handle_notice("page", *TOPIC, get_tab_key("first"))
    assert list_scheduled(live) == {"second"}


async def test_notice_about_another_topic_loads_nothing(live: LiveUpdates) -> None:
    live._handle_notice("page", "ten_acme", "roles")
    live._handle_notice("page", "ten_globex", "members")
    assert list_scheduled(live) == set()


async def load_members(cast: Cast, live: LiveUpdates, *notice: str) -> set[str]:
    """Opens the page and hears the notice after the middleware has read who acts. Returns the tabs that load again."""
    loaded = set()

    async def emit(sid: str, _event: Event) -> None:
        loaded.add(sid)

    live._emit = emit  # type: ignore[method-assign]

    async def authenticate(cookies: str, slug: str, *, touches: bool) -> Principal | None:
        principal = await authentication.authenticate(cookies, slug, touches=touches)
        live._handle_notice(*notice)
        return principal

    page = cast.ann.opens(MembersState)
    event = Event.from_event_type(MembersState.load)[0]
    await AuthorizeMiddleware(authenticate, live).preprocess(
        app=None,  # type: ignore[arg-type]
        state=page._get_root_state(),
        event=event,
    )
    await MembersState.event_handlers["load"].fn(page)
    await asyncio.sleep(0.01)
    return loaded | list_scheduled(live)


@pytest.fixture
def opening(live: LiveUpdates, monkeypatch: pytest.MonkeyPatch) -> LiveUpdates:
    """What the pages of the tenant app watch with; no tab is open."""
    live._tabs = {}
    monkeypatch.setattr(shell, "live", live)
    return live


async def test_page_that_is_being_opened_loads_again_when_rights_change_after_they_were_read(
    cast: Cast, opening: LiveUpdates
) -> None:
    assert await load_members(cast, opening, "page", cast.acme, "tenant") == {""}


async def test_page_that_is_being_opened_loads_again_when_the_catalog_changes_after_it_was_read(
    cast: Cast, opening: LiveUpdates
) -> None:
    assert await load_members(cast, opening, "rights", "*") == {""}


async def test_page_that_is_being_opened_does_not_load_again_for_another_tenant(
    cast: Cast, opening: LiveUpdates
) -> None:
    assert await load_members(cast, opening, "page", cast.globex, "tenant") == set()


async def test_page_that_is_being_opened_does_not_load_again_for_an_earlier_change(
    cast: Cast, opening: LiveUpdates
) -> None:
    opening._handle_notice("page", cast.acme, "tenant")
    assert await load_members(cast, opening, "page", cast.globex, "tenant") == set()


async def test_open_tab_of_a_support_session_closes_when_the_operator_is_signed_out_without_a_notice(
    cast: Cast, opening: LiveUpdates, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert live_updates.SESSION_CHECK_SECONDS <= 2  # a tab closes within five seconds
    monkeypatch.setattr(live_updates, "SESSION_CHECK_SECONDS", 0.02)
    closed = asyncio.Event()

    async def close(sid: str) -> None:
        opening._tabs.pop(sid)
        closed.set()

    monkeypatch.setattr(opening, "_close_tab", close)
    operator = await factories.create_operator("Ora")
    membership = await support_sessions.find_membership(cast.ann.cookie, cast.ann.slug, cast.ann.user_id)
    session = await support_sessions.start(operator, cast.acme, membership)
    page = opens(MembersState, session.cookie, f"/t/{session.slug}/members")
    event = Event.from_event_type(MembersState.load)[0]
    middleware = AuthorizeMiddleware(authentication.authenticate, opening)
    assert await middleware.preprocess(None, page._get_root_state(), event) is None  # type: ignore[arg-type]
    await MembersState.event_handlers["load"].fn(page)
    assert page.rows
    await asyncio.sleep(0.1)
    assert not closed.is_set()
    database.connect().execute(
        "delete from operator_session where token_hash = %s", [crypto.hash_token(operator.partition("=")[2])]
    )
    await asyncio.wait_for(closed.wait(), 1)
    async with cast.ann.ctx() as ctx:
        seen = (await support_access.get_transcript(ctx, session.id)).events
    assert [(event.kind, event.page, event.action) for event in seen] == [("page", "members", "load")]
