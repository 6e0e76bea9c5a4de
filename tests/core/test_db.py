"""Transactions of one tenant: row filters, clean connections, and refused rows of other tenants."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import psycopg
import pytest
from sqlalchemy import delete, exists, func, text, update
from sqlalchemy.exc import DBAPIError, ProgrammingError
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.orm import aliased
from sqlmodel import select

from shared.core import db
from shared.core.errors import Invalid, NoTenant
from shared.tenancy.models import ChecklistItem, Membership, Notification, Tenant, TenantKey
from tests.conftest import Cast
from tests.support.database import admin_url

TENANT_TABLES = (ChecklistItem, Membership, Notification, TenantKey)
SETTINGS = "select current_setting('app.tenant_id', true), current_setting('app.user_id', true), current_setting('app.cross_tenant_reason', true)"


@pytest.fixture
async def one_connection(schema: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[None]:
    """A pool of one: the next transaction gets the connection of the last one."""
    target = db.make_url(db.login_url("app")).set(drivername="postgresql+psycopg")
    small = create_async_engine(target, pool_size=1, max_overflow=0, pool_timeout=5)
    monkeypatch.setattr(db, "engine", lambda role: small)
    yield
    monkeypatch.undo()
    await small.dispose()


async def list_member_tenants(session: db.AsyncSession) -> set[str]:
    return set((await session.exec(select(Membership.tenant_id))).all())


def build_statements(table: type[db.TenantRow]) -> list[Any]:
    """Queries for rows, a column and a count, with a join and in a subquery."""
    of_it = table.tenant_id == Tenant.id
    return [
        select(table),
        select(table.tenant_id),
        select(func.count()).select_from(table),
        select(Tenant).join(table, of_it),
        select(Tenant).where(exists().where(of_it)),
        select(Tenant).where(Tenant.id.in_(select(table.tenant_id))),  # type: ignore[attr-defined]
        select(aliased(table)),
        update(table).values(tenant_id="ten_x"),
        delete(table),
    ]


@pytest.mark.parametrize("table", TENANT_TABLES, ids=lambda table: table.__name__)
async def test_tenant_table_is_refused_without_a_tenant(cast: Cast, table: type[db.TenantRow]) -> None:
    async with db.transaction() as session:
        for statement in build_statements(table):
            with pytest.raises(NoTenant, match=str(table.__tablename__)):
                await session.exec(statement)
        with pytest.raises(NoTenant):
            await session.get(table, (cast.acme, "x"))


async def test_query_of_every_shape_returns_own_rows_without_row_security(cast: Cast, schema: str) -> None:
    """The filter in Python and the row policies do not depend on each other."""
    tables = ", ".join(("membership", "tenant"))
    toggled = "; ".join(f"alter table {table} {{0}} row level security" for table in tables.split(", "))
    with psycopg.connect(admin_url(schema), autocommit=True) as connection:
        connection.execute(toggled.format("disable"))  # type: ignore[arg-type]
        try:
            async with db.transaction(tenant_id=cast.globex) as session:
                rows, column, count, join, inside, among, alias, *_ = build_statements(Membership)
                assert {membership.tenant_id for membership in await session.exec(rows)} == {cast.globex}
                assert set(await session.exec(column)) == {cast.globex}
                assert (await session.exec(count)).one() == 1
                for statement in (join, inside, among):
                    assert {tenant.id for tenant in await session.exec(statement)} == {cast.globex}
                assert {membership.tenant_id for membership in await session.exec(alias)} == {cast.globex}
                assert (
                    await session.exec(delete(Membership).where(Membership.role == "nobody"))
                ).rowcount == 0
                assert (await session.exec(update(Membership).values(seen_at=db.now()))).rowcount == 1
        finally:
            connection.execute(toggled.format("enable"))  # type: ignore[arg-type]


async def test_query_without_a_filter_returns_own_rows_only(cast: Cast) -> None:
    async with db.transaction(tenant_id=cast.acme) as session:
        assert await list_member_tenants(session) == {cast.acme}
        connection = await session.connection()
        rows = await connection.execute(text("select distinct tenant_id from membership"))
        assert rows.scalars().all() == [cast.acme]


async def test_connection_keeps_nothing_of_its_last_transaction(cast: Cast, one_connection: None) -> None:
    async with db.transaction(tenant_id=cast.acme) as session:
        assert await list_member_tenants(session) == {cast.acme}
    async with db.transaction() as session:
        connection = await session.connection()
        row = (await connection.execute(text(SETTINGS))).one()
        assert {value or "" for value in row} == {""}
        assert (await connection.execute(text("select count(*) from membership"))).scalar_one() == 0
    async with db.transaction(tenant_id=cast.globex) as session:
        assert await list_member_tenants(session) == {cast.globex}


async def test_connection_keeps_nothing_after_an_error_or_cancellation(
    cast: Cast, one_connection: None
) -> None:
    async def cause_error() -> None:
        async with db.transaction(tenant_id=cast.acme) as session:
            await (await session.connection()).execute(text("select 1 / 0"))

    async def sleep_in_query() -> None:
        async with db.transaction(tenant_id=cast.acme) as session:
            await (await session.connection()).execute(text("select pg_sleep(60)"))

    with pytest.raises(DBAPIError):
        await cause_error()
    hanging = asyncio.create_task(sleep_in_query())
    await asyncio.sleep(0.1)
    hanging.cancel()
    with pytest.raises(asyncio.CancelledError):
        await hanging
    async with db.transaction() as session:
        connection = await session.connection()
        assert {value or "" for value in (await connection.execute(text(SETTINGS))).one()} == {""}


async def test_tenants_in_turns_on_one_connection_see_their_own_rows(
    cast: Cast, one_connection: None
) -> None:
    async def list_tenants(tenant_id: str) -> set[str]:
        async with db.transaction(tenant_id=tenant_id) as session:
            return await list_member_tenants(session)

    tenant_ids = [cast.acme, cast.globex] * 10
    assert await asyncio.gather(*map(list_tenants, tenant_ids)) == [{tenant_id} for tenant_id in tenant_ids]


async def test_changing_the_tenant_drops_the_rows_of_the_first(cast: Cast) -> None:
    async with db.transaction(tenant_id=cast.acme) as session:
        (row,) = (await session.exec(select(Membership).where(Membership.role == "owner"))).all()
        await db.set_tenant(session, cast.globex)
        assert row not in session
        assert await list_member_tenants(session) == {cast.globex}
        assert await session.get(Membership, (cast.acme, row.id)) is None
        await db.clear_scope(session)
        with pytest.raises(NoTenant):
            await list_member_tenants(session)


async def test_flushing_a_row_of_another_tenant_is_refused(cast: Cast) -> None:
    for tenant_id in (cast.acme, ""):
        async with db.transaction(tenant_id=tenant_id) as session:
            session.add(ChecklistItem(tenant_id=cast.globex, key="x", position=1))
            with pytest.raises(NoTenant, match="another tenant"):
                await session.flush()
            session.expunge_all()


async def test_flushing_a_row_moved_to_another_tenant_is_refused(cast: Cast) -> None:
    async with db.transaction(tenant_id=cast.acme) as session:
        row = (await session.exec(select(Membership).limit(1))).one()
        row.tenant_id = cast.globex
        with pytest.raises(NoTenant, match="another tenant"):
            await session.flush()
        session.expunge_all()


async def test_database_refuses_rows_of_another_tenant_in_plain_sql(cast: Cast) -> None:
    for statement in (
        "insert into checklist_item (tenant_id, id, key, position) values (:other, 'chk_x', 'x', 1)",
        "update membership set tenant_id = :other",
    ):
        with pytest.raises(ProgrammingError, match="row-level security"):
            async with db.transaction(tenant_id=cast.acme) as session:
                await (await session.connection()).execute(text(statement), {"other": cast.globex})


async def test_transaction_of_a_user_reads_own_memberships_and_changes_nothing(cast: Cast) -> None:
    async with db.transaction(user_id=cast.ann.user_id) as session:
        assert await list_member_tenants(session) == {cast.acme}
        assert {tenant.id for tenant in (await session.exec(select(Tenant))).all()} == {cast.acme}
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


async def test_transaction_with_a_reason_is_read_only_and_for_operators(cast: Cast) -> None:
    async with db.transaction(reason="a test") as session:
        assert await list_member_tenants(session) == set()
    async with db.transaction("operator", reason="a test") as session:
        assert {cast.acme, cast.globex} <= await list_member_tenants(session)
        connection = await session.connection()
        assert (await connection.execute(text("update membership set role = 'viewer'"))).rowcount == 0


@pytest.mark.parametrize("odd", ["\x00", "half \ud800 pair"])
async def test_text_that_cannot_be_stored_is_refused(cast: Cast, odd: str) -> None:
    with pytest.raises(Invalid, match="unsupported character"):
        async with db.transaction(tenant_id=cast.acme) as session:
            await session.get(Membership, (cast.acme, odd))
