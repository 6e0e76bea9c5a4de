"""Notices for open pages: sent after the commit, with ids only."""

import psycopg
import pytest

from shared.core import db, live_events
from shared.tenancy import notifications
from tests.conftest import Cast


async def list_notifications(listener: psycopg.AsyncConnection) -> list[str]:
    return [notification.payload async for notification in listener.notifies(timeout=0.3)]


@pytest.fixture
async def listener(schema: str) -> psycopg.AsyncConnection:  # type: ignore[misc]
    async with await psycopg.AsyncConnection.connect(db.login_url("app"), autocommit=True) as connection:
        await connection.execute(f"listen {live_events.CHANNEL}")
        yield connection


async def test_page_is_notified_after_the_commit(cast: Cast, listener: psycopg.AsyncConnection) -> None:
    async with cast.ann.ctx() as ctx:
        await live_events.refresh_pages(ctx.session, ctx.tenant_id, "members")
        assert await list_notifications(listener) == []
    assert await list_notifications(listener) == [f"page {cast.acme} members"]


async def test_page_is_not_notified_after_a_rollback(cast: Cast, listener: psycopg.AsyncConnection) -> None:
    async def change_mind() -> None:
        async with cast.ann.ctx() as ctx:
            await live_events.refresh_pages(ctx.session, ctx.tenant_id, "members")
            await live_events.refresh_user(ctx.session, cast.max.user_id)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await change_mind()
    assert await list_notifications(listener) == []


async def test_duplicate_notification_notifies_the_person_once(
    cast: Cast, listener: psycopg.AsyncConnection
) -> None:
    for _ in range(2):
        async with cast.ann.ctx() as ctx:
            await notifications.add(ctx, cast.max.user_id, "news", "T", "B", dedupe="same")
    assert await list_notifications(listener) == [f"page {cast.acme} person:{cast.max.user_id}"]


async def test_notice_names_the_tab_that_shows_the_change_itself(
    cast: Cast, listener: psycopg.AsyncConnection
) -> None:
    async with cast.ann.ctx() as ctx:
        with live_events.skip_tab("0123abcd"):
            await live_events.refresh_pages(ctx.session, ctx.tenant_id, "members")
        await live_events.refresh_pages(ctx.session, ctx.tenant_id, "roles")
    assert await list_notifications(listener) == [
        f"page {cast.acme} members 0123abcd",
        f"page {cast.acme} roles",
    ]
