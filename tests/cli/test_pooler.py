"""Behind a pooler that pools transactions: what is refused at the start, and that the app works. Needs pgbouncer."""

from collections.abc import AsyncIterator, Iterator

import psycopg
import pytest
from sqlalchemy import text

from shared.cli import login_checks
from shared.core import db
from shared.core.config import ConfigurationError, settings
from tests.support import database, pooler

pytestmark = pytest.mark.skipif(pooler.find_pgbouncer() is None, reason=pooler.MISSING)


@pytest.fixture(scope="module")
def address(schema: str) -> Iterator[str]:
    with pooler.run_pooler(database._server()) as address:
        yield address


@pytest.fixture
async def pooled(
    schema: str, address: str, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[pytest.MonkeyPatch]:
    """This process reaches its database through the pooler; the direct URL is unset."""
    await db.dispose()
    monkeypatch.setenv("DATABASE_URL", database.through_pooler(database.admin_url(schema), address))
    monkeypatch.delenv("DATABASE_DIRECT_URL", raising=False)
    db.login_url.cache_clear()
    settings.cache_clear()
    yield monkeypatch
    await db.dispose()
    monkeypatch.undo()
    settings.cache_clear()
    db.login_url.cache_clear()


def set_direct_url(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("DATABASE_DIRECT_URL", url)
    settings.cache_clear()
    db.login_url.cache_clear()


def test_direct_connection_is_no_pooler(schema: str) -> None:
    login_checks.require_direct_connection("app")


def test_pooler_without_a_direct_url_is_refused(pooled: pytest.MonkeyPatch) -> None:
    with pytest.raises(
        ConfigurationError, match=r"DATABASE_URL goes through a pooler.*Set DATABASE_DIRECT_URL"
    ):
        login_checks.require_direct_connection("app")


def test_direct_url_that_is_pooled_is_refused(pooled: pytest.MonkeyPatch, schema: str, address: str) -> None:
    direct_url = settings().database_url
    assert direct_url is not None
    set_direct_url(pooled, direct_url.get_secret_value())
    with pytest.raises(ConfigurationError, match="DATABASE_DIRECT_URL goes through a pooler"):
        login_checks.require_direct_connection("app")


async def test_transactions_and_notifications_work_through_the_pooler(
    pooled: pytest.MonkeyPatch, schema: str
) -> None:
    set_direct_url(pooled, _admin_past_the_pooler(schema))
    login_checks.require_direct_connection("app")
    async with await psycopg.AsyncConnection.connect(
        db.login_url("app", direct=True), autocommit=True
    ) as listener:
        await listener.execute("listen of_the_pooler")
        for number in range(20):  # more than the statements that psycopg prepares by itself
            async with db.transaction(tenant_id=f"ten_{number}") as session:
                scope = await (await session.connection()).execute(
                    text("select current_setting('app.tenant_id')")
                )
                assert scope.scalar() == f"ten_{number}"
            async with db.transaction() as session:
                scope = await (await session.connection()).execute(
                    text("select current_setting('app.tenant_id', true), pg_notify('of_the_pooler', 'page')")
                )
                assert not scope.scalar()
            async with db.raw_connection() as connection:
                await connection.execute("select %s::int", [number], prepare=True)
                cursor = await connection.execute("select count(*) from pg_prepared_statements")
                assert await cursor.fetchone() == (0,)
        notices = [notice.payload async for notice in listener.notifies(timeout=5, stop_after=20)]
    assert notices == ["page"] * 20


def _admin_past_the_pooler(schema: str) -> str:
    return database._server().url(database=schema)
