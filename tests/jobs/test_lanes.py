"""Mail waits in a lane of its own: it delays no other job, is final when it is refused, and is retried for days."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import psycopg
import pytest
from procrastinate.jobs import Job

from shared.billing import dunning
from shared.core import db
from shared.core.ids import new_id
from shared.identity import tokens, users
from shared.jobs import lanes, mail, queue, worker
from shared.jobs.lanes import Lane, lane_of_task
from shared.tenancy import entry, invitations, provisioning, signups
from shared.tenancy.models import Invitation
from tests.conftest import Cast
from tests.support import example_tasks, workers
from tests.support.database import admin_url
from tests.support.stand_in_mail import run_mailbox

MAIL_TASKS = {
    "platform.send_account_changed",
    dunning.MAIL_TASK,
    "platform.send_account_exists",
    "platform.send_factor_reset",
    "platform.send_new_device",
    "platform.send_alert",
    "platform.send_operator_notice",
    "platform.send_password_changed",
    "platform.send_reset",
    "platform.send_verification",
    "tenancy.send_access_ended",
    "tenancy.send_digest",
    "tenancy.send_invitation",
    "tenancy.send_notice",
    "tenancy.send_support_notice",
    "tenancy.send_welcome",
    "webhook.send_pause_notice",
}
NO_SUCH_USER = "550 5.1.1 No such user here"


@pytest.fixture
async def empty_queue(schema: str, cast: Cast) -> AsyncIterator[str]:
    workers.clear_queue(schema)
    yield schema
    workers.clear_queue(schema)


@asynccontextmanager
async def running_worker() -> AsyncIterator[None]:
    """The worker as it runs in production, until the block ends."""
    tasks = {**worker.list_tenant_tasks(), **example_tasks.TASKS}
    run = asyncio.create_task(worker.run(tasks, worker.list_platform_tasks(), entry.enter_job))
    try:
        yield
    finally:
        run.cancel()
        await asyncio.gather(run, return_exceptions=True)


def query(name: str, statement: Any, *values: Any) -> list[tuple[Any, ...]]:
    with psycopg.connect(admin_url(name), autocommit=True) as connection:
        return connection.execute(statement, values).fetchall()


async def invite(cast: Cast, email: str) -> Invitation:
    async with cast.ann.ctx() as ctx:
        return await invitations.invite(ctx, email, "member")


async def get_invitation(cast: Cast, invitation_id: str) -> Invitation:
    async with cast.ann.ctx() as ctx:
        (invitation,) = [row for row in await invitations.list_pending(ctx) if row.id == invitation_id]
        return invitation


def test_every_task_that_sends_mail_is_in_the_lane_of_mail() -> None:
    tasks = {*worker.list_tenant_tasks(), *worker.list_platform_tasks()}
    assert {task for task in tasks if lane_of_task(task) is Lane.MAIL} == MAIL_TASKS


async def test_mail_never_waits_in_the_sequence_of_its_tenant(cast: Cast, empty_queue: str) -> None:
    await invite(cast, "zoe@harbour.test")
    assert query(empty_queue, "select queue_name, lock from procrastinate_jobs") == [(Lane.MAIL, None)]


async def test_refused_invitation_is_shown_and_delays_nothing(cast: Cast, empty_queue: str) -> None:
    async with run_mailbox() as box:
        box.replies["typo@harbour.test"] = NO_SUCH_USER
        wrong, right = await invite(cast, "typo@harbour.test"), await invite(cast, "zoe@harbour.test")
        async with cast.ann.ctx() as ctx:
            await queue.put(ctx, "tests.tell", user_id=ctx.actor_id, key="after")
        await workers.run_due_jobs()
        assert [received.to for received in box.mails] == ["zoe@harbour.test"]
    assert workers.list_jobs(empty_queue) == []  # a refusal is final: nobody asks again
    assert (await get_invitation(cast, wrong.id)).delivery_problem == NO_SUCH_USER
    assert (await get_invitation(cast, right.id)).delivery_problem == ""


async def test_resent_invitation_is_tried_again(cast: Cast, empty_queue: str) -> None:
    async with run_mailbox() as box:
        box.replies["zoe@harbour.test"] = NO_SUCH_USER
        invitation = await invite(cast, "zoe@harbour.test")
        await workers.run_due_jobs()
        box.replies.clear()
        async with cast.ann.ctx() as ctx:
            await invitations.resend(ctx, invitation.id)
        assert (await get_invitation(cast, invitation.id)).delivery_problem == ""
        await workers.run_due_jobs()
        assert [received.to for received in box.mails] == ["zoe@harbour.test"]


async def test_busy_recipient_waits_alone_with_its_reason(cast: Cast, empty_queue: str) -> None:
    async with run_mailbox() as box:
        box.replies["busy@harbour.test"] = "451 4.7.1 Try again later"
        busy = await invite(cast, "busy@harbour.test")
        await invite(cast, "zoe@harbour.test")
        await workers.run_due_jobs()
        assert [received.to for received in box.mails] == ["zoe@harbour.test"]
        ((task, error),) = query(
            empty_queue,
            "select task_name, error from procrastinate_jobs j join job_failure f on f.job_id = j.id",
        )
        assert (task, error) == ("tenancy.send_invitation", "MailDeferred: 451 4.7.1 Try again later")
        box.replies.clear()
        workers.make_jobs_due(empty_queue)
        await workers.run_due_jobs()
    assert (await get_invitation(cast, busy.id)).sent_nonce == 1
    assert query(empty_queue, "select count(*) from job_failure") == [(0,)]  # goes with its job


def test_mail_is_retried_for_three_days_at_most_an_hour_apart() -> None:
    def decide(attempts: int, problem: Exception) -> float | None:
        job = Job(queue=Lane.MAIL, lock=None, queueing_lock=None, task_name="x", attempts=attempts)
        decision = worker.MAIL_RETRY.get_retry_decision(exception=problem, job=job)
        return None if decision is None else worker.MAIL_RETRY.wait_after(attempts)

    waits, attempts = list[float](), 0
    while (wait := decide(attempts, mail.MailServerAway("x"))) is not None:
        waits.append(wait)
        attempts += 1
    assert waits[:4] == [10, 30, 90, 270]
    assert max(waits) == 3600
    assert 72 * 3600 <= sum(waits) <= 73 * 3600
    assert decide(0, mail.MailRejected("550")) is None


IN_TRANSACTION = """
    select count(*) from pg_stat_activity
    where datname = current_database() and state = 'idle in transaction' and xact_start < now() - interval '1 second'
"""


async def ask_for_ten_resets(cast: Cast, name: str) -> None:
    """Wait until the mails of all of them are in the queue or on their way."""
    async with db.transaction() as session:
        for person in [cast.ann, cast.adam, cast.max, cast.gil, cast.carl] * 2:
            await users.request_reset(session, person.email)
    for _ in range(200):
        if not query(name, "select 1 from procrastinate_jobs where task_name = 'platform.request_reset'"):
            return
        await asyncio.sleep(0.05)
    raise AssertionError("the resets were not looked up")


async def is_founded(email: str, *, within_seconds: float) -> bool:
    await signups.sign_up(email, "seven lanterns over quiet water", "Zoe", "Harbour")
    end = time.monotonic() + within_seconds
    while time.monotonic() < end:
        await asyncio.sleep(0.05)
        async with db.transaction() as session:
            if await users.get_by_email(session, email) is not None:
                return True
    return False


@pytest.mark.parametrize("mail_server", ["answering", "frozen"])
async def test_organisation_is_founded_at_once_whatever_the_mail_server_does(
    cast: Cast, empty_queue: str, mail_server: str
) -> None:
    """Each attempt at a frozen server takes ten seconds. `answering` is the control."""
    async with run_mailbox() as box, running_worker():
        if mail_server == "frozen":
            box.running.clear()
        await ask_for_ten_resets(cast, empty_queue)
        assert await is_founded(f"zoe.{new_id('x')[-8:]}@harbour.test", within_seconds=5)
        await asyncio.sleep(1.2)
        assert query(empty_queue, IN_TRANSACTION) == [(0,)]  # nobody waits for a server inside a transaction
        box.running.set()


async def test_without_lanes_a_frozen_mail_server_delays_everybody(
    cast: Cast, empty_queue: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control of the test above: it notices mail that takes the slots of other jobs."""
    monkeypatch.setattr(lanes, "_lanes_by_handler", {})
    async with run_mailbox() as box, running_worker():
        box.running.clear()
        async with db.transaction() as session:
            for person in [cast.ann, cast.adam, cast.max, cast.gil, cast.carl] * 2:
                token = await tokens.issue(session, person.user_id, "reset")
                await queue.put_platform_job(session, "platform.send_reset", token_id=token.id)
        await asyncio.sleep(1)
        assert not await is_founded(f"zoe.{new_id('x')[-8:]}@harbour.test", within_seconds=3)
        box.running.set()


async def test_jobs_of_an_older_version_move_to_their_lane(cast: Cast, empty_queue: str) -> None:
    """One has failed before and would hold up its tenant; the other is next in the sequence."""
    invitation = await invite(cast, "zoe@harbour.test")
    query(
        empty_queue,
        "update procrastinate_jobs set queue_name = 'bulkhead', lock = %s where args ->> 'invitation_id' = %s"
        " returning id",
        cast.acme,
        invitation.id,
    )
    async with run_mailbox() as box:
        await workers.run_due_jobs()
        assert [received.to for received in box.mails] == ["zoe@harbour.test"]


async def test_welcome_mail_is_no_step_that_provisioning_waits_for(cast: Cast, empty_queue: str) -> None:
    async with entry.enter_job(cast.acme, provisioning.TASK_NAME, "req_x") as ctx:
        await provisioning._STEPS_BY_KEY["welcome_mail"].run(ctx)
    assert query(empty_queue, "select task_name, queue_name, lock from procrastinate_jobs") == [
        ("tenancy.send_welcome", Lane.MAIL, None)
    ]
