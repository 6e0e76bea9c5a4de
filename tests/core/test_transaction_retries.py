"""A transaction that the database ended because of another one is repeated once, unless that would do something twice."""

import asyncio
from collections.abc import Awaitable, Callable

import psycopg
import pytest
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from shared.billing import provider_registry
from shared.billing.models import PLATFORM
from shared.core import db
from shared.core.errors import Unavailable
from shared.core.transaction_retries import repeat_on_conflict
from shared.jobs import mail
from shared.tenancy import tenant_repository, tenants
from tests.conftest import Cast
from tests.support.stand_in_mail import run_mailbox


def build_conflict() -> OperationalError:
    return OperationalError("update", {}, psycopg.errors.DeadlockDetected("deadlock detected"))


class Attempts:
    """Work whose first run meets another transaction after it has done `before`."""

    def __init__(self, before: Callable[[], Awaitable[object]] | None = None, *, failures: int = 1) -> None:
        self.before, self.failures, self.count = before, failures, 0

    async def run(self) -> str:
        self.count += 1
        if self.before is not None:
            await self.before()
        if self.count <= self.failures:
            raise build_conflict()
        return "done"


async def count_attempts(before: Callable[[], Awaitable[object]] | None = None) -> int:
    attempts = Attempts(before)
    try:
        await repeat_on_conflict(attempts.run)
    except OperationalError:
        assert attempts.count == 1
        return 1
    return attempts.count


async def test_work_is_repeated_when_its_transaction_met_another_one(schema: str) -> None:
    assert await count_attempts() == 2


async def test_second_conflict_is_raised_and_is_a_sentence_with_a_next_step(schema: str) -> None:
    attempts = Attempts(failures=2)
    with pytest.raises(OperationalError) as caught:
        await repeat_on_conflict(attempts.run)
    assert attempts.count == 2
    refusal = db.to_refusal(caught.value)
    assert isinstance(refusal, Unavailable)
    assert "same moment" in refusal.detail
    assert "try again" in refusal.next_step


async def test_other_error_is_raised_at_once() -> None:
    runs = list[int]()

    async def fail() -> None:
        runs.append(1)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await repeat_on_conflict(fail)
    assert runs == [1]


async def test_work_that_has_only_read_before_is_repeated(cast: Cast) -> None:
    async def read() -> None:
        async with cast.ann.ctx() as ctx:
            await tenant_repository.get_version(ctx)

    await read()  # fills the caches
    assert await count_attempts(read) == 2


async def test_work_that_has_written_before_is_not_repeated(cast: Cast) -> None:
    async def rename() -> None:
        async with cast.ann.ctx() as ctx:
            await tenants.rename(ctx, "Acme and sons", version=None)

    assert await count_attempts(rename) == 1


async def test_work_that_was_rolled_back_before_is_repeated(cast: Cast) -> None:
    async def rename_in_vain() -> None:
        async with cast.ann.ctx() as ctx:
            await tenants.rename(ctx, "Acme and sons", version=None)
            await ctx.session.flush()
            raise build_conflict()

    assert await count_attempts(lambda: _ignore_conflict(rename_in_vain)) == 2


async def _ignore_conflict(work: Callable[[], Awaitable[None]]) -> None:
    with pytest.raises(OperationalError):
        await work()


async def test_work_that_called_the_payment_provider_is_not_repeated(schema: str) -> None:
    assert await count_attempts(lambda: provider_registry.get(PLATFORM)) == 1


async def test_work_that_sent_a_mail_is_not_repeated(schema: str) -> None:
    async with run_mailbox():
        values = {"name": "Zoe", "tenant": "Acme"}
        email = mail.Email(to="zoe@acme.test", template="welcome", message_id="once", values=values)
        assert await count_attempts(lambda: mail.send(email)) == 1


async def test_inner_work_is_repeated_alone_and_its_effect_counts_outside(cast: Cast) -> None:
    inner = Attempts()

    async def work() -> None:
        await repeat_on_conflict(inner.run)
        async with cast.ann.ctx() as ctx:
            await tenants.rename(ctx, "Acme and sons", version=None)

    assert await count_attempts(lambda: repeat_on_conflict(work)) == 1
    assert inner.count == 2


async def test_two_transactions_that_wait_for_each_other_both_succeed(cast: Cast) -> None:
    """A real deadlock: each holds one organisation and wants the other one."""
    runs, barrier = list[str](), asyncio.Barrier(2)

    async def lock_both(first: str, second: str) -> None:
        runs.append(first)
        async with db.transaction("operator", reason="Both, in two orders") as session:
            connection = await session.connection()
            statement = text("select pg_advisory_xact_lock(hashtext(:id))")
            await connection.execute(statement, {"id": first})
            if len(runs) <= 2:
                await barrier.wait()
            await connection.execute(statement, {"id": second})

    await asyncio.gather(
        repeat_on_conflict(lambda: lock_both(cast.acme, cast.globex)),
        repeat_on_conflict(lambda: lock_both(cast.globex, cast.acme)),
    )
    assert len(runs) == 3
