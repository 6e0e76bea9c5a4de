"""Operators' lists read what they show, however many tenants there are: judged by the plans of their statements."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa
from sqlalchemy import event

from shared.audit.audit_filter import AuditFilter
from shared.backoffice import tenant_directory
from shared.backoffice.reasons import state_reason
from shared.core import db
from shared.core.context import OperatorCtx
from shared.tenancy import audit_reader, entry
from tests.conftest import Operating, own_database
from tests.support import database, factories

TENANTS = 3_000
FILL = """
set session_replication_role = replica;  -- the hash chain of each audit event is not what is measured
insert into tenant (id, slug, name, state)
select 'ten_g' || n, 'growth-' || n, 'Growth ' || n, 'active' from generate_series(1, %(tenants)s) as n;
insert into "user" (id, email, name)
select 'usr_g' || n, 'growth' || n || '@test.test', 'Growth ' || n from generate_series(1, %(tenants)s) as n;
insert into role (tenant_id, id, key, name, builtin) select id, 'rol_owner', 'owner', 'owner', true from tenant
where id like 'ten_g%%';
insert into membership (tenant_id, id, user_id, role, state)
select 'ten_g' || n, 'mem_g' || n, 'usr_g' || n, 'owner', 'active' from generate_series(1, %(tenants)s) as n;
insert into audit_event (tenant_id, id, seq, at, actor_type, actor_id, actor_name, impersonator_id, action, object_id,
    reason, before, after, details, request_id, prev, hash)
select 'ten_g' || n, 'aud_g' || n, 1, now() - n * interval '1 minute', 'user', 'usr_g' || n, 'Growth', '', 'tenant.renamed', '',
    '', '{}', '{}', '{}', '', '', '' from generate_series(1, %(tenants)s) as n;
analyze;
"""


@pytest.fixture(scope="module")
async def operator(anyio_backend: str, schema: str) -> AsyncIterator[Operating]:
    """In a database with thousands of tenants."""
    async with own_database(schema, "growth"):
        olga = Operating(await factories.create_operator("Olga"))
        name = db.engine("operator").url.database or ""
        with psycopg.connect(database.admin_url(name), autocommit=True) as connection:
            for statement in FILL.split(";"):
                if statement.strip():
                    connection.execute(
                        statement.encode(), {"tenants": TENANTS} if "%(" in statement else None
                    )
        yield olga


async def list_plans(run: Callable[[], Awaitable[object]], role: db.DatabaseRole) -> list[dict[str, Any]]:
    """The nodes of the plans of the statements that read tables, as the database role plans them."""
    nodes: list[dict[str, Any]] = []

    def explain(connection: sa.Connection, cursor: Any, statement: str, values: Any, *_: Any) -> None:
        if statement.startswith("SELECT"):
            cursor.execute(f"explain (format json) {statement}", values)
            nodes.extend(_flatten(cursor.fetchone()[0][0]["Plan"]))

    engine = db.engine(role).sync_engine
    event.listen(engine, "before_cursor_execute", explain)
    try:
        await run()
    finally:
        event.remove(engine, "before_cursor_execute", explain)
    return nodes


def _flatten(node: dict[str, Any]) -> list[dict[str, Any]]:
    return [node, *(inner for child in node.get("Plans", ()) for inner in _flatten(child))]


def find_scanned_tables(nodes: list[dict[str, Any]]) -> set[str]:
    return {node["Relation Name"] for node in nodes if node["Node Type"] == "Seq Scan"}


def find_used_indexes(nodes: list[dict[str, Any]]) -> set[str]:
    return {node["Index Name"] for node in nodes if "Index Name" in node}


# Without tenant: this few rows of it are read faster at once than by their ids. The index proves that the page is first.
GROWING = {"membership", "user", "audit_event"}
LISTS: dict[str, tuple[Callable[[OperatorCtx], Awaitable[object]], str]] = {
    "tenants by name": (lambda octx: tenant_directory.search_tenants(octx), "tenant_by_name"),
    "tenants by creation": (
        lambda octx: tenant_directory.search_tenants(octx, sort="created_at", descending=True),
        "tenant_by_creation",
    ),
    "second page": (
        lambda octx: tenant_directory.search_tenants(octx, after='["growth 2","ten_g2"]'),
        "tenant_by_name",
    ),
    "audit log of all tenants": (
        lambda octx: tenant_directory.list_all_events(
            octx, state_reason(octx, "Growth of the lists"), AuditFilter()
        ),
        "audit_event_of_all_tenants",
    ),
    "events of a request": (
        lambda octx: tenant_directory.list_all_events(
            octx, state_reason(octx, "Growth of the lists"), AuditFilter(request_id="req_x")
        ),
        "audit_event_by_request_of_all_tenants",
    ),
}


@pytest.mark.parametrize("name", LISTS)
async def test_operators_list_reads_one_page_by_an_index(operator: Operating, name: str) -> None:
    run, index = LISTS[name]
    async with operator.octx() as octx:
        nodes = await list_plans(lambda: run(octx), "operator")
    assert index in find_used_indexes(nodes)
    assert not find_scanned_tables(nodes) & GROWING


async def test_tenants_of_a_person_are_found_by_an_index(operator: Operating) -> None:
    async with operator.octx() as octx:
        nodes = await list_plans(
            lambda: tenant_directory.search_tenants(octx, "growth77@test.test"), "operator"
        )
        page = await tenant_directory.search_tenants(octx, "growth77@test.test")
    assert "membership_by_user" in find_used_indexes(nodes)
    assert not find_scanned_tables(nodes) & {"membership", "tenant"}
    assert [tenant.id for tenant in page.rows] == ["ten_g77"]


async def test_tenants_own_lists_use_no_index_of_the_operators(operator: Operating) -> None:
    """Source: DECISIONS 6."""
    async with entry.enter_job("ten_g5", "growth", "growth") as ctx:
        nodes = await list_plans(lambda: audit_reader.list_events(ctx), "app")
    assert nodes
    assert not {
        index for index in find_used_indexes(nodes) if index.endswith(("_of_all_tenants", "_by_user"))
    }
