"""The database's time limits, in effect: a statement, a wait for a lock and an idle transaction end."""

import asyncio
import time

import psycopg
import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from shared.core import db
from shared.core.errors import TookTooLong, Unavailable
from tests.conftest import Cast


@pytest.mark.usefixtures("app_login")
async def test_statement_of_the_app_is_cancelled_at_its_limit() -> None:
    started_at = time.monotonic()
    with pytest.raises(DBAPIError) as caught:
        async with db.transaction() as session:
            await (await session.connection()).execute(text("select pg_sleep(30)"))
    assert isinstance(caught.value.orig, psycopg.errors.QueryCanceled)
    assert 4 < time.monotonic() - started_at < 12
    assert not db.is_connection_error(caught.value)  # trying again would take as long
    refusal = db.to_refusal(caught.value)
    assert isinstance(refusal, TookTooLong)
    assert (refusal.detail, bool(refusal.next_step)) == (
        "This took too long and was stopped. Nothing was changed.",
        True,
    )


async def test_wait_for_a_lock_ends_and_the_holder_goes_on(cast: Cast) -> None:
    lock = text("select 1 from tenant where id = :id for update")
    async with db.transaction(tenant_id=cast.acme) as holder:
        await (await holder.connection()).execute(lock, {"id": cast.acme})
        with pytest.raises(DBAPIError) as caught:
            async with db.transaction(tenant_id=cast.acme) as session:
                await (await session.connection()).execute(lock, {"id": cast.acme})
        await (await holder.connection()).execute(text("select 1"))
    # Whichever of the two limits ends it: both are 5 s for the app.
    assert isinstance(caught.value.orig, psycopg.errors.LockNotAvailable | psycopg.errors.QueryCanceled)


async def test_idle_transaction_is_ended_and_its_connection_not_used_again(schema: str) -> None:
    async def idle() -> None:
        async with db.transaction() as session:
            connection = await session.connection()
            await connection.execute(text("set idle_in_transaction_session_timeout = '300ms'"))
            await asyncio.sleep(1)
            await connection.execute(text("select 1"))

    with pytest.raises(DBAPIError) as caught:
        await idle()
    assert isinstance(caught.value.orig, psycopg.errors.IdleInTransactionSessionTimeout)
    async with db.transaction() as session:
        limit = (
            await (await session.connection()).execute(text("show idle_in_transaction_session_timeout"))
        ).scalar()
    assert limit == "30s"


@pytest.mark.parametrize(
    ("problem", "is_unavailable"),
    [
        (psycopg.OperationalError("server closed the connection"), True),
        (psycopg.errors.LockNotAvailable(), True),
        (psycopg.errors.QueryCanceled(), False),
        (psycopg.errors.UniqueViolation(), False),
        (ValueError("not a number"), False),
    ],
    ids=lambda value: type(value).__name__,
)
def test_outage_is_told_from_other_errors(problem: Exception, is_unavailable: bool) -> None:
    wrapped = DBAPIError("select 1", None, problem)
    assert isinstance(db.to_refusal(problem), Unavailable) == is_unavailable
    assert isinstance(db.to_refusal(wrapped), Unavailable) == is_unavailable
