"""What transactions tell open pages when they commit."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import psycopg

from shared.core import db, live_events
from shared.ui.live_updates import get_tab_key
from shared.ui.states import SessionState

LAST = "last"  # a notice of our own: they arrive in the order of the commits


@asynccontextmanager
async def recorded_notices() -> AsyncIterator[list[str]]:
    """The notices of every commit inside, complete at the end: "page ten_… members 0123abcd"."""
    notices: list[str] = []
    async with await psycopg.AsyncConnection.connect(db.login_url("app"), autocommit=True) as connection:
        await connection.execute(f"listen {live_events.CHANNEL}")
        yield notices
        await connection.execute("select pg_notify(%s, %s)", (live_events.CHANNEL, LAST))
        async for notice in connection.notifies():
            if notice.payload == LAST:
                return
            notices.append(notice.payload)


def list_pages_that_load(notices: list[str], page: SessionState[object]) -> list[str]:
    """The tenant and topic of each notice that makes the tab of `page` load again. Raises AssertionError without any
    notice about pages: nothing would be proven then."""
    about_pages = [notice.split(" ")[1:] for notice in notices if notice.startswith("page ")]
    assert about_pages, notices
    tab_key = get_tab_key(page.router.session.session_id)
    return [f"{tenant_id} {topic}" for tenant_id, topic, *skipped in about_pages if skipped != [tab_key]]
