"""Jobs are enqueued with the caller's commit and always name a tenant."""

import psycopg
import pytest
from sqlalchemy import text

from shared.core import db
from shared.core.errors import NoTenant
from shared.jobs import queue, queue_status
from shared.jobs.lanes import Lane
from shared.tenancy import entry
from tests.conftest import Cast
from tests.support import workers


@pytest.fixture
async def empty_queue(schema: str, cast: Cast) -> str:
    workers.clear_queue(schema)
    return schema


async def test_job_is_visible_after_the_commit(cast: Cast, empty_queue: str) -> None:
    async with cast.ann.ctx() as ctx:
        await queue.put(ctx, "tests.tell", user_id=ctx.actor_id, key="one")
        assert workers.list_jobs(empty_queue) == []
    assert workers.list_jobs(empty_queue) == [("tests.tell", "todo")]


async def test_job_is_absent_after_a_rollback(cast: Cast, empty_queue: str) -> None:
    async def change_mind() -> None:
        async with cast.ann.ctx() as ctx:
            await queue.put(ctx, "tests.tell", user_id=ctx.actor_id, key="one")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await change_mind()
    assert workers.list_jobs(empty_queue) == []


async def test_job_names_its_tenant_and_the_causing_request(cast: Cast, empty_queue: str) -> None:
    async with cast.ann.ctx() as ctx:
        await queue.put(ctx, "tests.tell", user_id=ctx.actor_id, key="one")
    async with db.transaction() as session:
        connection = await session.connection()
        args = await connection.execute(text("select args, lock, queue_name from procrastinate_jobs"))
        row = args.one()
    assert row.args.pop("signature")
    assert row.args == {
        "tenant_id": cast.acme,
        "request_id": ctx.request_id,
        "user_id": cast.ann.user_id,
        "key": "one",
    }
    assert (row.lock, row.queue_name) == (cast.acme, Lane.WORK)


async def test_job_without_a_tenant_is_refused_by_the_queue(empty_queue: str) -> None:
    async with db.transaction() as session:
        with pytest.raises(NoTenant):
            await queue.put_platform_job(session, "tenancy.provision")
    assert workers.list_jobs(empty_queue) == []


@pytest.mark.parametrize("role", ["app", "operator"])
async def test_job_without_a_tenant_is_refused_by_the_database(
    empty_queue: str, role: db.DatabaseRole
) -> None:
    async with await psycopg.AsyncConnection.connect(db.login_url(role)) as connection:
        with pytest.raises(psycopg.errors.CheckViolation, match="job_names_its_tenant"):
            await connection.execute(
                "insert into procrastinate_jobs (queue_name, task_name, args) values ('bulkhead', 'tests.tell', '{}')"
            )


async def test_job_enqueued_during_an_operator_visit_belongs_to_the_tenant(
    cast: Cast, empty_queue: str
) -> None:
    async with cast.olga.octx() as octx, entry.enter_as_operator(octx, cast.globex, "ticket 7") as ctx:
        await queue.put(ctx, "tests.tell", user_id=cast.gil.user_id, key="one")
    async with cast.olga.octx() as octx, entry.read_across_tenants(octx, "looking at jobs") as session:
        (job,) = (await queue_status.list_jobs(session)).rows
    assert (job.tenant_id, job.task, job.status) == (cast.globex, "tests.tell", "waiting")
