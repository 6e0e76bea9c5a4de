"""Notices for open pages: sent after the commit, with ids only."""

from collections.abc import Awaitable, Callable

import psycopg
import pytest

from shared.core import db, live_events
from shared.core.context import Ctx
from shared.tenancy import members, notifications, roles
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


async def find_membership_id(cast: Cast, user_id: str) -> str:
    async with cast.ann.ctx() as ctx:
        return next(row.id for row in (await members.list_members(ctx)).rows if row.user_id == user_id)


@pytest.mark.parametrize("change", [members.deactivate, members.remove])
async def test_person_who_loses_access_is_notified(
    cast: Cast, listener: psycopg.AsyncConnection, change: Callable[[Ctx, str], Awaitable[None]]
) -> None:
    membership_id = await find_membership_id(cast, cast.max.user_id)
    async with cast.ann.ctx() as ctx:
        await change(ctx, membership_id)
    assert f"user {cast.max.user_id}" in await list_notifications(listener)


async def test_people_are_notified_when_their_role_is_changed(
    cast: Cast, listener: psycopg.AsyncConnection
) -> None:
    membership_id = await find_membership_id(cast, cast.max.user_id)
    async with cast.ann.ctx() as ctx:
        role = await roles.create(ctx, "Greeter", "", ["member:read"])
        await ctx.session.flush()
        await members.set_role(ctx, membership_id, role.key, version=None)
    assert f"user {cast.max.user_id}" in await list_notifications(listener)
    async with cast.ann.ctx() as ctx:
        await roles.change(ctx, role.key, "Greeter", "", ["member:read", "member:invite"], version=None)
    assert f"user {cast.max.user_id}" in await list_notifications(listener)
