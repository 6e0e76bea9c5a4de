"""Provisioning of a tenant: completed once, also when workers die."""

import asyncio
import dataclasses
from collections import Counter
from typing import Any

import pytest
from sqlalchemy import text

from shared.access.roles import ROLES
from shared.backoffice import tenant_directory
from shared.core import db
from shared.core.context import Ctx
from shared.core.errors import Refused
from shared.dev.mailbox import Mailbox
from shared.tenancy import (
    audit_reader,
    entry,
    notifications,
    onboarding_checklist,
    provisioning,
    signups,
    tasks,
)
from tests.conftest import Cast, Person
from tests.support import factories, workers
from tests.support.stand_in_mail import run_mailbox

LATER = [step.key for step in provisioning.STEPS if not step.runs_on_creation]


async def count_rows(tenant_id: str, table: str) -> int:
    async with db.transaction(tenant_id=tenant_id) as session:
        connection = await session.connection()
        counted = text(f"select count(*) from {table} where tenant_id = :id")
        return int((await connection.execute(counted, {"id": tenant_id})).scalar_one())


async def list_step_states(person: Person) -> dict[str, str]:
    async with person.ctx() as ctx:
        return {step.key: step.state for step in await provisioning.list_steps(ctx)}


async def check_finished_once(person: Person, tenant_id: str, box: Mailbox) -> None:
    assert await list_step_states(person) == {step.key: "done" for step in provisioning.STEPS}
    counts = {
        "role": len(ROLES),
        "membership": 1,
        "tenant_settings": 1,
        "tenant_key": 1,
        "checklist_item": len(onboarding_checklist.ITEM_KEYS),
        "notification": 1,
        "provisioning_step": len(provisioning.STEPS),
    }
    assert {table: await count_rows(tenant_id, table) for table in counts} == counts
    welcomes = {mail.id for mail in box.mails if mail.to == person.email}
    assert welcomes == {f"welcome-{tenant_id}@bulkhead.test"}
    async with person.ctx() as ctx:
        assert await notifications.count_unread(ctx) == 1
        events = (await audit_reader.list_events(ctx, limit=100)).rows
        done_counts = Counter(event.object_id for event in events if event.action == "provisioning.step_done")
        assert done_counts == {step.key: 1 for step in provisioning.STEPS}
        assert (await audit_reader.verify_audit_log(ctx)).is_intact


async def create_tenant() -> tuple[Person, str]:
    zoe = await factories.create_account("Zoe")
    tenant = await factories.create_tenant(zoe, "Harbour")
    return Person(zoe, tenant.slug), tenant.id


async def test_new_tenant_can_be_entered_before_provisioning_ends(schema: str) -> None:
    zoe, tenant_id = await create_tenant()
    assert [key for key, state in (await list_step_states(zoe)).items() if state == "done"] == [
        "roles",
        "owner",
    ]
    async with db.transaction(tenant_id=tenant_id) as session:
        connection = await session.connection()
        keys = await connection.execute(text("select key from role order by key"))
        assert set(keys.scalars()) == set(ROLES)


async def test_worker_completes_provisioning(schema: str) -> None:
    workers.clear_queue(schema)
    zoe, tenant_id = await create_tenant()
    async with run_mailbox() as box:
        await workers.run_until_done(schema)
    await check_finished_once(zoe, tenant_id, box)


# `make test` kills one worker in each step, in turn before, inside and after it.
DEATHS = [
    pytest.param(
        key, when, marks=() if (step - moment) % len(workers.CRASH_MOMENTS) == 0 else pytest.mark.long
    )
    for step, key in enumerate(LATER)
    for moment, when in enumerate(workers.CRASH_MOMENTS)
]


@pytest.mark.parametrize(("key", "when"), DEATHS)
async def test_provisioning_is_resumed_after_a_worker_was_killed(schema: str, key: str, when: str) -> None:
    """The worker dies before, inside and just after each step."""
    workers.clear_queue(schema)
    zoe, tenant_id = await create_tenant()
    async with run_mailbox() as box:
        await workers.run_until_killed(f"step:{key}:{when}")
        so_far = await list_step_states(zoe)
        reached = LATER.index(key) + (when == "committed")
        assert [so_far[step] for step in LATER] == ["done"] * reached + ["waiting"] * (len(LATER) - reached)
        await workers.run_until_done(schema)
    await check_finished_once(zoe, tenant_id, box)


async def test_concurrent_workers_run_each_provisioning_step_once(schema: str) -> None:
    workers.clear_queue(schema)
    zoe, tenant_id = await create_tenant()
    async with entry.enter_job(tenant_id, provisioning.TASK_NAME, "req_x") as ctx:
        await provisioning.enqueue_waiting_steps(ctx)  # a second promise of the same
    async with run_mailbox() as box:
        await asyncio.gather(workers.run_until_done(schema), workers.run_until_done(schema))
    await check_finished_once(zoe, tenant_id, box)


async def test_failed_step_is_shown_and_retried(
    schema: str, cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(ctx: Ctx) -> None:
        raise ConnectionError

    workers.clear_queue(schema)
    zoe, tenant_id = await create_tenant()
    async with entry.enter_job(tenant_id, provisioning.TASK_NAME, "req_x") as ctx:
        while await provisioning.run_next_step(ctx) != LATER[LATER.index("welcome_mail") - 1]:
            pass
    steps = provisioning._STEPS_BY_KEY
    monkeypatch.setitem(steps, "welcome_mail", dataclasses.replace(steps["welcome_mail"], run=fail))
    with pytest.raises(ConnectionError):
        async with entry.enter_job(tenant_id, provisioning.TASK_NAME, "req_x") as ctx:
            await tasks.provision(ctx)
    monkeypatch.undo()
    async with cast.olga.octx() as octx:
        (stuck,) = [
            provisioning_step
            for provisioning_step in await tenant_directory.list_provisioning_steps(octx, tenant_id)
            if provisioning_step.state == "failed"
        ]
        assert (stuck.key, stuck.attempts) == ("welcome_mail", 1)
        assert stuck.error.endswith("we’ll try again.")
        assert tenant_id in [
            tenant_view.tenant_id for tenant_view in (await tenant_directory.get_overview(octx)).unfinished
        ]
    async with zoe.ctx() as ctx:
        events = (await audit_reader.list_events(ctx)).rows
        assert events[0].action == "provisioning.step_failed"
        await provisioning.retry(ctx)
    async with run_mailbox() as box:
        await workers.run_until_done(schema)
    await check_finished_once(zoe, tenant_id, box)


async def test_welcome_mail_waits_for_the_verified_address(schema: str) -> None:
    workers.clear_queue(schema)
    email = f"zoe.{schema[-6:]}.{id(object())}@harbour.test"
    await signups.sign_up(email, "seven lanterns over quiet water", "Zoe", "Harbour")
    async with run_mailbox() as box:
        await workers.run_until_done(schema)
        assert [mail.id.partition("-")[0] for mail in box.mails if "welcome" in mail.id] == []
        (link,) = [
            line for mail in box.mails if mail.to == email for line in mail.text.split() if "token=" in line
        ]
        verified = await signups.verify_email(link.partition("token=")[2], "")
        await workers.run_until_done(schema)
    async with db.transaction() as session:
        user = await factories.users.get(session, verified.user_id)
    assert user is not None
    zoe = Person(factories.SignedInUser(user, await factories.sign_in(user)), verified.slug)
    assert set((await list_step_states(zoe)).values()) == {"done"}
    assert len([mail for mail in box.mails if mail.id.startswith("welcome-")]) == 1


async def test_retry_is_refused_for_members_and_changes_nothing_when_complete(
    schema: str, cast: Cast
) -> None:
    async with cast.max.ctx() as ctx:
        with pytest.raises(Refused, match="missing_permission"):
            await provisioning.retry(ctx)
    workers.clear_queue(schema)
    zoe, _ = await create_tenant()
    async with run_mailbox():
        await workers.run_until_done(schema)
    async with zoe.ctx() as ctx:
        before: Any = (await audit_reader.list_events(ctx, limit=1)).rows[0].id
        await provisioning.retry(ctx)
        assert (await audit_reader.list_events(ctx, limit=1)).rows[0].id == before
    assert workers.list_jobs(schema) == []
