"""Which open tabs load again after a notice."""

import asyncio

import pytest
from reflex.event import Event

from shared.ui.live_updates import LiveUpdates, Tab, get_tab_key

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
