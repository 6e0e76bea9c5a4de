"""The tenant filter of a session, for statements of every shape. The row policies would hide its absence."""

from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.orm import aliased
from sqlmodel import col, select

from shared.backoffice import tenant_directory
from shared.core import db
from shared.core.errors import NoTenant
from shared.identity.models import User
from shared.tenancy.models import Membership
from tests.conftest import Cast

SHAPES: dict[str, Callable[[], Any]] = {
    "rows": lambda: select(Membership),
    "alias": lambda: sa.select(aliased(Membership)),
    "column": lambda: sa.select(sa.func.max(col(Membership.seen_at))),
    "count": lambda: sa.select(sa.func.count()).select_from(Membership),
    "exists": lambda: select(User).where(sa.exists().where(col(Membership.user_id) == User.id)),
    "join": lambda: select(User).join(Membership, col(Membership.user_id) == User.id),
    "subquery": lambda: select(User).where(col(User.id).in_(sa.select(col(Membership.user_id)))),
    "update": lambda: sa.update(Membership).values(ended_by=""),
}


@pytest.mark.parametrize("shape", SHAPES)
async def test_statement_of_every_shape_is_refused_without_a_tenant(shape: str) -> None:
    async with db.transaction() as session:
        with pytest.raises(NoTenant):
            await session.exec(SHAPES[shape]())


@pytest.mark.parametrize("shape", SHAPES)
async def test_statement_of_every_shape_names_the_tenant(cast: Cast, shape: str) -> None:
    statements: list[str] = []

    def record_statement(connection: Any, cursor: Any, statement: str, *arguments: Any) -> None:
        statements.append(statement)

    async with db.transaction(tenant_id=cast.acme) as session:
        engine = db.engine("app").sync_engine
        event.listen(engine, "before_cursor_execute", record_statement)
        try:
            await session.exec(SHAPES[shape]())
        finally:
            event.remove(engine, "before_cursor_execute", record_statement)
    assert "tenant_id = %(" in statements[-1]


async def test_global_table_needs_no_tenant(cast: Cast) -> None:
    async with db.transaction() as session:
        assert (await session.exec(select(User).where(User.id == cast.ann.user_id))).one()


async def test_statement_without_a_tenant_is_counted_for_operators(cast: Cast) -> None:
    async def count_missing_tenants() -> int:
        async with cast.olga.octx() as octx:
            overview = await tenant_directory.get_security_overview(octx)
        return overview.counts.get("missing_tenant_context", 0)

    before = await count_missing_tenants()
    for _ in range(2):
        with pytest.raises(NoTenant):
            async with db.transaction() as session:
                await session.exec(select(Membership))
    assert await count_missing_tenants() == before + 2
