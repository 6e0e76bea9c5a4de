"""A page of members reads a page of rows, in a tenant of any size: judged by what its statements have read."""

from collections.abc import AsyncIterator
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa
from sqlalchemy import event

from shared.core import db
from shared.identity import users
from shared.identity.realms import USER
from shared.tenancy import entry, member_repository, members
from tests.conftest import Cast, own_database
from tests.support import database

TENANT, MEMBERS, OTHER_TENANTS = "ten_growth", 5_000, 500
MAX_ROWS = 150  # that a page of 25 may read of a table
FILL = f"""
insert into tenant (id, slug, name, state) values ('{TENANT}', 'growth', 'Growth', 'active');
insert into tenant (id, slug, name, state)
select 'ten_g' || n, 'growth-' || n, 'Growth', 'active' from generate_series(1, {OTHER_TENANTS}) n;
insert into role (tenant_id, id, key, name, builtin)
select t.id, 'rol_' || key, key, key, true from tenant t, unnest(array['owner', 'admin', 'member', 'viewer']) key;
insert into "user" (id, email, name)
select 'usr_g' || n, 'growth' || n || '@test.test', 'Person ' || n from generate_series(1, {MEMBERS}) n;
insert into membership (tenant_id, id, user_id, role, state, seen_at)
select '{TENANT}', 'mem_g' || n, 'usr_g' || n, (array['admin', 'member', 'viewer'])[1 + n % 3], 'active',
    case when n % 5 > 0 then now() - n * interval '1 minute' end from generate_series(1, {MEMBERS}) n;
insert into membership (tenant_id, id, user_id, role, state)
select 'ten_g' || 1 + n % {OTHER_TENANTS}, 'mem_o' || n, 'usr_g' || n, 'member', 'active'
from generate_series(1, {MEMBERS}) n;
analyze;
"""


@pytest.fixture(scope="module")
async def large_tenant(anyio_backend: str, schema: str) -> AsyncIterator[str]:
    """In a database of its own, among many small tenants."""
    async with own_database(schema, "members"):
        name = db.engine("app").url.database or ""
        with psycopg.connect(database.admin_url(name), autocommit=True) as connection:
            connection.execute(FILL.encode())
        yield TENANT


async def list_read_rows(tenant_id: str, **arguments: Any) -> tuple[dict[str, int], str]:
    """By table, how many rows the list has read; and the cursor of its last row."""
    rows_by_table: dict[str, int] = {}

    def explain(connection: sa.Connection, cursor: Any, statement: str, values: Any, *_: Any) -> None:
        if statement.startswith("SELECT") and "membership" in statement:
            cursor.execute(f"explain (analyze, format json) {statement}", values)
            _add_rows(cursor.fetchone()[0][0]["Plan"], rows_by_table)

    async with entry.enter_job(tenant_id, "test", "req_test") as ctx:
        engine = db.engine("app").sync_engine
        event.listen(engine, "before_cursor_execute", explain)
        try:
            page = await member_repository.list_members(
                ctx, **{"query": "", "role": "", "after": "", "limit": 25, **arguments}
            )
        finally:
            event.remove(engine, "before_cursor_execute", explain)
    return rows_by_table, page[-1][2]


def _add_rows(node: dict[str, Any], rows_by_table: dict[str, int]) -> None:
    if table := node.get("Relation Name"):
        rows = node["Actual Rows"] + node.get("Rows Removed by Filter", 0)
        rows_by_table[table] = rows_by_table.get(table, 0) + round(rows * node["Actual Loops"])
    for child in node.get("Plans", ()):
        _add_rows(child, rows_by_table)


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("sort", member_repository.SORTS)
async def test_page_reads_few_rows(large_tenant: str, sort: str, descending: bool) -> None:
    after = ""
    for _ in range(3):
        rows_by_table, after = await list_read_rows(
            large_tenant, sort=sort, descending=descending, after=after
        )
        assert {"membership", "user"} <= rows_by_table.keys()
        assert max(rows_by_table.values()) <= MAX_ROWS, rows_by_table


async def test_search_reads_only_the_people_it_finds(large_tenant: str) -> None:
    rows_by_table, _ = await list_read_rows(large_tenant, sort="name", descending=False, query="growth4999@")
    assert rows_by_table["user"] == 1


async def test_renamed_person_is_listed_and_found_by_the_new_name(cast: Cast) -> None:
    async with db.transaction() as session:
        await users.rename(session, USER, cast.max.user_id, "Aaron Émile")
    async with cast.ann.ctx() as ctx:
        assert (await members.list_members(ctx)).rows[0].user_id == cast.max.user_id
        assert [row.name for row in (await members.list_members(ctx, query="ÉMILE")).rows] == ["Aaron Émile"]
        assert (await members.list_members(ctx, query="max.")).rows[0].user_id == cast.max.user_id


async def test_renaming_leaves_the_keys_of_others(cast: Cast) -> None:
    async with db.transaction() as session:
        await users.rename(session, USER, cast.gil.user_id, "Aaron")
    async with cast.ann.ctx() as ctx:
        assert [row.name for row in (await members.list_members(ctx)).rows] == ["Adam", "Ann", "Max"]
