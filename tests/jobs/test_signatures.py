"""Only jobs that one of our processes signed run; the database alone can't make one."""

import json
from collections.abc import AsyncIterator
from typing import Any

import psycopg
import pytest

from shared.audit import audit_log
from shared.core import crypto, db
from shared.core.config import settings
from shared.jobs import queue, signatures
from shared.tenancy import notifications
from tests.conftest import Cast, Person
from tests.support import master_keys, workers
from tests.support.database import admin_url

TASK = "tests.tell"


@pytest.fixture
async def empty_queue(schema: str, cast: Cast) -> AsyncIterator[str]:
    workers.clear_queue(schema)
    yield schema
    workers.clear_queue(schema)


def change_queue(statement: str, *values: Any, name: str) -> None:
    with psycopg.connect(admin_url(name), autocommit=True) as connection:
        connection.execute(statement.encode(), values)


def insert_job(args: dict[str, str], *, name: str) -> None:
    """As somebody who writes to the database with the app's role and knows no master key."""
    with psycopg.connect(db.login_url("app"), autocommit=True) as connection:
        connection.execute(
            "insert into procrastinate_jobs (queue_name, task_name, args) values ('bulkhead', %s, %s)",
            [TASK, json.dumps(args)],
        )


async def list_notified_keys(person: Person) -> list[str]:
    async with person.ctx() as ctx:
        return [notification.dedupe for notification in await notifications.list_my_notifications(ctx)]


async def count_forged(cast: Cast) -> int:
    async with cast.olga.octx() as octx:
        events = await audit_log.list_security_events(octx, since=db.now().replace(hour=0, minute=0))
        return sum(
            event.count for event in events if event.kind == "job_forged" and event.actor_id == cast.acme
        )


async def check_refused(cast: Cast, name: str) -> None:
    await workers.run_due_jobs()
    assert await list_notified_keys(cast.ann) == []
    assert workers.list_jobs(name) == [(TASK, "failed")]
    assert await count_forged(cast) == 1


async def test_signed_job_runs(cast: Cast, empty_queue: str) -> None:
    async with cast.ann.ctx() as ctx:
        await queue.put(ctx, TASK, user_id=ctx.actor_id, key="one")
    await workers.run_until_done(empty_queue)
    assert await list_notified_keys(cast.ann) == ["one"]
    assert await count_forged(cast) == 0


@pytest.mark.parametrize("signature", [None, "", "0" * 64, "ä"])
async def test_job_without_our_signature_is_refused_and_recorded(
    cast: Cast, empty_queue: str, signature: str | None
) -> None:
    args = {"tenant_id": cast.acme, "request_id": "req_x", "user_id": cast.ann.user_id, "key": "forged"}
    insert_job(args if signature is None else {**args, "signature": signature}, name=empty_queue)
    await check_refused(cast, empty_queue)


@pytest.mark.parametrize("changed", ["tenant_id", "user_id", "key", "task"])
async def test_signature_covers_tenant_task_and_arguments(cast: Cast, empty_queue: str, changed: str) -> None:
    """A signed job of Globex, changed by whoever can write to the queue."""
    args = {"tenant_id": cast.acme, "request_id": "req_x", "user_id": cast.ann.user_id, "key": "one"}
    original = {**args, changed: "something else"} if changed != "task" else args
    signed = signatures.sign("tests.other" if changed == "task" else TASK, original)
    insert_job({**args, "signature": signed["signature"]}, name=empty_queue)
    await check_refused(cast, empty_queue)


@pytest.mark.parametrize("old_key", ["kept", "dropped after rotate-keys"])
async def test_job_of_a_replaced_master_key_still_runs(cast: Cast, empty_queue: str, old_key: str) -> None:
    async with cast.ann.ctx() as ctx:
        await queue.put(ctx, TASK, user_id=ctx.actor_id, key="one")
    new_keys = {9: b"n" * 32}
    with master_keys.using({**new_keys, **settings().load_master_keys()}):
        if old_key == "kept":
            await workers.run_until_done(empty_queue)
        else:
            async with db.transaction("owner") as session:
                assert await signatures.sign_waiting_jobs_again(session) == 1
    if old_key != "kept":
        with master_keys.using(new_keys):
            await workers.run_until_done(empty_queue)
    assert await list_notified_keys(cast.ann) == ["one"]


async def test_job_that_was_queued_before_the_upgrade_runs_as_it_was_queued(
    cast: Cast, empty_queue: str
) -> None:
    """The migration lists it with its arguments; a job that is changed afterwards is refused."""
    args = {"tenant_id": cast.acme, "request_id": "req_x", "user_id": cast.ann.user_id, "key": "old"}
    for key in ("old", "changed"):
        insert_job({**args, "key": key}, name=empty_queue)
    change_queue(
        "insert into unsigned_job select id, task_name, args from procrastinate_jobs", name=empty_queue
    )
    change_queue(
        "update procrastinate_jobs set args = args || '{\"key\": \"other\"}' where args ->> 'key' = 'changed'",
        name=empty_queue,
    )
    await workers.run_due_jobs()
    assert await list_notified_keys(cast.ann) == ["old"]
    assert workers.list_jobs(empty_queue) == [(TASK, "failed")]
    with psycopg.connect(admin_url(empty_queue)) as connection:
        assert connection.execute("select args ->> 'key' from unsigned_job").fetchall() == [("changed",)]


async def test_unsigned_jobs_run_for_an_hour_after_the_upgrade(cast: Cast, empty_queue: str) -> None:
    """Processes of the older version may still queue some while the new ones start."""
    args = {"tenant_id": cast.acme, "request_id": "req_x", "user_id": cast.ann.user_id, "key": "late"}
    change_queue("update job_signing set unsigned_until = now() + interval '1 minute'", name=empty_queue)
    try:
        insert_job(args, name=empty_queue)
        await workers.run_due_jobs()
    finally:
        change_queue("update job_signing set unsigned_until = now()", name=empty_queue)
    assert await list_notified_keys(cast.ann) == ["late"]


@pytest.mark.parametrize(
    "statement",
    [
        "insert into unsigned_job values (1, 'tests.tell', '{}')",
        "update unsigned_job set args = '{}'",
        "update job_signing set unsigned_until = now() + interval '1 day'",
    ],
)
async def test_tenant_apps_role_cannot_accept_unsigned_jobs(schema: str, statement: str) -> None:
    async with await psycopg.AsyncConnection.connect(db.login_url("app")) as connection:
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            await connection.execute(statement.encode())


def test_signature_of_another_purpose_is_invalid() -> None:
    signature = crypto.compute_signature("job", b"a message")
    assert crypto.is_signature_valid("job", b"a message", signature)
    assert not crypto.is_signature_valid("link", b"a message", signature)
    assert not crypto.is_signature_valid("job", b"another message", signature)
