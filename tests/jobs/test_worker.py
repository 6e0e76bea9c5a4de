"""Workers: one tenant per job, one effect per job, also after a worker died."""

import asyncio
from collections.abc import AsyncIterator

import psycopg
import pytest
from procrastinate import RetryStrategy

from shared.access import actions, policy
from shared.backoffice import tenant_directory
from shared.backoffice.reasons import state_reason
from shared.core.context import Ctx
from shared.core.errors import NoTenant, Refused
from shared.jobs import queue, worker
from shared.tenancy import entry, notifications, onboarding_checklist, recorded_decisions
from shared.tenancy.models import TenantState
from tests.conftest import Cast, Person
from tests.support import example_tasks, workers
from tests.tenancy.test_entry import set_state


@pytest.fixture
async def empty_queue(schema: str, cast: Cast) -> AsyncIterator[str]:
    workers.clear_queue(schema)
    example_tasks.views_by_key.clear()
    example_tasks.attempts_by_key.clear()
    yield schema
    workers.clear_queue(schema)


async def put_job(person: Person, key: str, task: str = "tests.tell") -> None:
    async with person.ctx() as ctx:
        await queue.put(ctx, task, user_id=ctx.actor_id, key=key)


async def test_job_whose_transaction_met_another_one_is_repeated_at_once(
    cast: Cast, empty_queue: str
) -> None:
    keys = list[str]()

    async def conflict_once(ctx: Ctx, *, user_id: str, key: str) -> None:
        keys.append(key)
        if len(keys) == 1:
            raise psycopg.errors.DeadlockDetected("deadlock detected")

    await put_job(cast.ann, "once")
    await workers.run_due_jobs({"tests.tell": conflict_once})
    assert keys == ["once", "once"]
    assert workers.list_jobs(empty_queue) == []


async def list_notified_keys(person: Person) -> list[str]:
    async with person.ctx() as ctx:
        return [notification.dedupe for notification in await notifications.list_my_notifications(ctx)]


async def test_job_sees_only_its_own_tenant_on_a_shared_worker(cast: Cast, empty_queue: str) -> None:
    async with cast.ann.ctx() as ctx:
        await onboarding_checklist.add_items(ctx)
    requests = {}
    for round_number in range(6):
        person = (cast.ann, cast.gil)[round_number % 2]
        async with person.ctx() as ctx:
            await queue.put(ctx, "tests.see", key=str(round_number))
            requests[str(round_number)] = ctx.request_id
    await workers.run_until_done(empty_queue)
    acme = {cast.ann.email, cast.adam.email, cast.max.email}
    for round_number in range(6):
        tenant, members, items = ((cast.acme, acme, 3), (cast.globex, {cast.gil.email}, 0))[round_number % 2]
        assert example_tasks.views_by_key[str(round_number)] == {
            "tenant": tenant,
            "believed": tenant,
            "members": members,
            "items": items,
            "request": requests[str(round_number)],
        }


@pytest.mark.parametrize("tenant_id", ["", "usr_x", "%", "ten_", None])
async def test_job_without_a_tenant_does_not_inherit_the_previous_one(
    cast: Cast, empty_queue: str, tenant_id: str | None
) -> None:
    """The job before it on the same worker had a tenant."""
    work = worker._wrap_tenant_handler("tests.see", example_tasks.record_view, entry.enter_job)
    await work(tenant_id=cast.acme, request_id="req_1", key="before")
    arguments = {} if tenant_id is None else {"tenant_id": tenant_id}
    with pytest.raises(NoTenant):
        await work(request_id="req_2", key="after", **arguments)
    assert set(example_tasks.views_by_key) == {"before"}


async def test_platform_task_with_a_tenant_name_is_refused() -> None:
    with pytest.raises(NoTenant, match="has no tenant"):
        worker.build_app({}, {"tenancy.everything": example_tasks.notify_user}, entry.enter_job)


async def test_job_of_a_deleted_tenant_is_skipped(
    cast: Cast, empty_queue: str, capsys: pytest.CaptureFixture[str]
) -> None:
    await put_job(cast.ann, "acme")
    await put_job(cast.gil, "globex")
    await set_state(cast.acme, TenantState.DELETED)
    await workers.run_until_done(empty_queue)
    await set_state(cast.acme, TenantState.ACTIVE)
    assert (await list_notified_keys(cast.ann), await list_notified_keys(cast.gil)) == ([], ["globex"])
    assert workers.list_jobs(empty_queue) == []
    assert "tenant_deleted" in capsys.readouterr().out


async def test_job_of_a_suspended_tenant_runs_after_its_restoration(
    cast: Cast, empty_queue: str, capsys: pytest.CaptureFixture[str]
) -> None:
    await put_job(cast.ann, "acme")
    await put_job(cast.gil, "globex")
    async with cast.olga.octx() as octx:
        await tenant_directory.suspend_tenant(
            octx, cast.acme, state_reason(octx, "Unpaid, ticket 4471", tenant_id=cast.acme)
        )
    await workers.run_until_done(empty_queue)
    assert "tenant_suspended" in capsys.readouterr().out
    async with cast.olga.octx() as octx:
        await tenant_directory.restore_tenant(
            octx, cast.acme, state_reason(octx, "Paid, ticket 4471", tenant_id=cast.acme)
        )
    assert (await list_notified_keys(cast.ann), await list_notified_keys(cast.gil)) == ([], ["globex"])
    await workers.run_until_done(empty_queue)
    assert await list_notified_keys(cast.ann) == ["acme"]


async def test_job_that_is_refused_fails(cast: Cast, empty_queue: str) -> None:
    async def refuse(ctx: entry.Ctx) -> None:
        raise Refused("Nobody may do this.")

    work = worker._wrap_tenant_handler("tests.refuse", refuse, entry.enter_job)
    with pytest.raises(Refused):
        await work(tenant_id=cast.acme, request_id="req_1")


async def test_job_that_a_decision_refuses_is_skipped_with_the_reason_and_the_decision(
    cast: Cast, empty_queue: str
) -> None:
    attempts = list[str]()

    async def refuse(ctx: Ctx) -> None:
        attempts.append(ctx.request_id)
        policy.require(ctx, actions.ROLE_CREATE, obstacle="It is too late.")

    async with cast.ann.ctx() as ctx:
        await queue.put(ctx, "tests.refuse")
    await workers.run_due_jobs({"tests.refuse": refuse})
    assert (workers.list_jobs(empty_queue), len(attempts)) == ([("tests.refuse", "failed")], 1)
    async with cast.olga.octx() as octx:
        (job,) = (await tenant_directory.list_jobs(octx, "failed")).page.rows
    async with cast.ann.ctx() as reader:
        result = await recorded_decisions.search(reader, ctx.request_id)
    decision = result.decision
    assert (decision.actor_type, decision.actor_id, decision.surface) == ("job", "tests.refuse", "job")
    assert job.error.startswith(f"JobSkipped: decision {decision.id}, role:create object_state: ")


async def test_jobs_of_one_tenant_run_in_sequence_beside_other_tenants(cast: Cast, empty_queue: str) -> None:
    running, most, both = {"ten": 0}, {"one": 0, "all": 0}, asyncio.Event()

    async def count_running(ctx: entry.Ctx, *, key: str) -> None:
        running[ctx.tenant_id] = running.get(ctx.tenant_id, 0) + 1
        running["ten"] += 1
        most["one"] = max(most["one"], running[ctx.tenant_id])
        most["all"] = max(most["all"], running["ten"])
        if most["all"] == 2:
            both.set()
        await asyncio.wait_for(both.wait(), 10)  # the other tenant's job is running too
        running[ctx.tenant_id] -= 1
        running["ten"] -= 1

    for person in (cast.ann, cast.gil, cast.ann, cast.gil):
        async with person.ctx() as ctx:
            await queue.put(ctx, "tests.busy", key="x")
    await workers.run_due_jobs({"tests.busy": count_running})
    assert most == {"one": 1, "all": 2}


async def test_failing_job_is_retried_and_takes_effect_once(
    cast: Cast, empty_queue: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "RETRY", RetryStrategy(max_attempts=6, wait=0))
    await put_job(cast.ann, "late", "tests.tell_late")
    await workers.run_until_done(empty_queue)
    assert example_tasks.attempts_by_key["late"] == 3
    assert await list_notified_keys(cast.ann) == ["late"]
    assert workers.list_jobs(empty_queue) == []


async def test_job_that_always_fails_is_marked_failed_without_effect(
    cast: Cast, empty_queue: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "RETRY", RetryStrategy(max_attempts=1, wait=0))
    await put_job(cast.ann, "late", "tests.tell_late")
    await put_job(cast.ann, "after")  # of the same tenant: it does not wait for ever
    await workers.run_until_done(empty_queue)
    assert await list_notified_keys(cast.ann) == ["after"]
    assert workers.list_jobs(empty_queue) == [("tests.tell_late", "failed")]


@pytest.mark.parametrize("when", workers.CRASH_MOMENTS)
async def test_job_of_a_killed_worker_takes_effect_once(cast: Cast, empty_queue: str, when: str) -> None:
    await put_job(cast.ann, "one")
    await workers.run_until_killed(f"task:tests.tell:{when}")
    assert workers.list_jobs(empty_queue) == [("tests.tell", "doing")]
    assert await list_notified_keys(cast.ann) == (["one"] if when == "committed" else [])
    await workers.run_until_done(empty_queue)
    assert await list_notified_keys(cast.ann) == ["one"]
    assert workers.list_jobs(empty_queue) == []
