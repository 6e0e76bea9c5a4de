"""A transaction works for one tenant; nothing of it is left for the next, and mistakes are loud."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, ProgrammingError
from sqlalchemy.ext.asyncio import create_async_engine
from sqlmodel import select

from shared.core import db
from shared.core.errors import Invalid, NoTenant
from shared.tenancy.models import ChecklistItem, Membership, Tenant
from tests.conftest import Cast

SETTINGS = "select current_setting('app.tenant_id', true), current_setting('app.user_id', true), current_setting('app.cross_tenant_reason', true)"


@pytest.fixture
async def one_connection(schema: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[None]:
    """A pool of one: who comes next gets the very connection of who went before."""
    target = db.make_url(db.url("app")).set(drivername="postgresql+psycopg")
    small = create_async_engine(target, pool_size=1, max_overflow=0, pool_timeout=5)
    monkeypatch.setattr(db, "engine", lambda role: small)
    yield
    monkeypatch.undo()
    await small.dispose()


async def members(session: db.AsyncSession) -> set[str]:
    return set((await session.exec(select(Membership.tenant_id))).all())


async def test_a_forgotten_filter_finds_the_own_rows_only(cast: Cast) -> None:
    async with db.transaction(tenant_id=cast.acme) as session:
        assert await members(session) == {cast.acme}
        connection = await session.connection()
        found = await connection.execute(text("select distinct tenant_id from membership"))
        assert found.scalars().all() == [cast.acme]


async def test_nothing_is_left_for_the_next_who_gets_the_connection(cast: Cast, one_connection: None) -> None:
    async with db.transaction(tenant_id=cast.acme) as session:
        assert await members(session) == {cast.acme}
    async with db.transaction() as session:
        connection = await session.connection()
        row = (await connection.execute(text(SETTINGS))).one()
        assert {one or "" for one in row} == {""}
        assert (await connection.execute(text("select count(*) from membership"))).scalar_one() == 0
    async with db.transaction(tenant_id=cast.globex) as session:
        assert await members(session) == {cast.globex}


async def test_nor_after_an_error_nor_after_being_cancelled(cast: Cast, one_connection: None) -> None:
    async def fail() -> None:
        async with db.transaction(tenant_id=cast.acme) as session:
            await (await session.connection()).execute(text("select 1 / 0"))

    async def hang() -> None:
        async with db.transaction(tenant_id=cast.acme) as session:
            await (await session.connection()).execute(text("select pg_sleep(60)"))

    with pytest.raises(DBAPIError):
        await fail()
    hanging = asyncio.create_task(hang())
    await asyncio.sleep(0.1)
    hanging.cancel()
    with pytest.raises(asyncio.CancelledError):
        await hanging
    async with db.transaction() as session:
        connection = await session.connection()
        assert {one or "" for one in (await connection.execute(text(SETTINGS))).one()} == {""}


async def test_tenants_in_turns_on_one_connection_see_themselves(cast: Cast, one_connection: None) -> None:
    async def look(tenant_id: str) -> set[str]:
        async with db.transaction(tenant_id=tenant_id) as session:
            return await members(session)

    wanted = [cast.acme, cast.globex] * 10
    assert await asyncio.gather(*map(look, wanted)) == [{one} for one in wanted]


async def test_entering_another_tenant_forgets_the_first(cast: Cast) -> None:
    async with db.transaction(tenant_id=cast.acme) as session:
        (row,) = (await session.exec(select(Membership).where(Membership.role == "owner"))).all()
        await db.enter(session, cast.globex)
        assert row not in session
        assert await members(session) == {cast.globex}
        assert await session.get(Membership, (cast.acme, row.id)) is None
        await db.leave(session)
        with pytest.raises(NoTenant):
            await members(session)


async def test_a_row_of_another_tenant_is_not_flushed(cast: Cast) -> None:
    for tenant_id in (cast.acme, ""):
        async with db.transaction(tenant_id=tenant_id) as session:
            session.add(ChecklistItem(tenant_id=cast.globex, key="x", position=1))
            with pytest.raises(NoTenant, match="another tenant"):
                await session.flush()
            session.expunge_all()


async def test_nor_is_one_that_is_moved_to_another_tenant(cast: Cast) -> None:
    async with db.transaction(tenant_id=cast.acme) as session:
        row = (await session.exec(select(Membership).limit(1))).one()
        row.tenant_id = cast.globex
        with pytest.raises(NoTenant, match="another tenant"):
            await session.flush()
        session.expunge_all()


async def test_the_database_refuses_the_same_below_python(cast: Cast) -> None:
    for statement in (
        "insert into checklist_item (tenant_id, id, key, position) values (:other, 'chk_x', 'x', 1)",
        "update membership set tenant_id = :other",
    ):
        with pytest.raises(ProgrammingError, match="row-level security"):
            async with db.transaction(tenant_id=cast.acme) as session:
                await (await session.connection()).execute(text(statement), {"other": cast.globex})


async def test_who_looks_as_a_person_sees_their_places_and_changes_nothing(cast: Cast) -> None:
    async with db.transaction(user_id=cast.ann.user_id) as session:
        assert await members(session) == {cast.acme}
        assert {one.id for one in (await session.exec(select(Tenant))).all()} == {cast.acme}
        connection = await session.connection()
        for statement in (
            "update membership set role = 'owner'",
            "update tenant set name = 'Mine'",
            "delete from membership",
        ):
            assert (await connection.execute(text(statement))).rowcount == 0
    async with db.transaction(user_id=cast.ann.user_id) as session:
        row = (await session.exec(select(Membership))).one()
        row.role = "viewer"
        with pytest.raises(NoTenant):
            await session.flush()
        session.expunge_all()


async def test_a_reason_opens_rows_to_operators_only_and_to_read_only(cast: Cast) -> None:
    async with db.transaction(reason="a test") as session:
        assert await members(session) == set()
    async with db.transaction("operator", reason="a test") as session:
        assert {cast.acme, cast.globex} <= await members(session)
        connection = await session.connection()
        assert (await connection.execute(text("update membership set role = 'viewer'"))).rowcount == 0


@pytest.mark.parametrize("odd", ["\x00", "half \ud800 pair"])
async def test_what_cannot_be_stored_is_refused_in_a_sentence(cast: Cast, odd: str) -> None:
    with pytest.raises(Invalid, match="cannot be stored"):
        async with db.transaction(tenant_id=cast.acme) as session:
            await session.get(Membership, (cast.acme, odd))
