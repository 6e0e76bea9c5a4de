"""The queue: payloads without a tenant, ids of another tenant, and what a job could inherit from the one before."""

import json

import psycopg
from sqlmodel import select

from shared.core import db, request_ids
from shared.core.context import Ctx
from shared.core.errors import DomainError, NoTenant
from shared.jobs import queue, worker
from shared.tenancy import entry
from shared.tenancy.models import Membership
from tests.attack import calls
from tests.attack.calls import Call
from tests.attack.report import Report
from tests.attack.world import CLAIMED, World
from tests.support.stand_in_mail import run_mailbox

KIND = "jobs"


async def attack(world: World, report: Report) -> None:
    payloads(world, report)
    await foreign_ids(world, report)
    await inheritance(world, report)


def payloads(world: World, report: Report) -> None:
    """Into the queue's own table, as the app: the database refuses a job that names no tenant."""
    for task in worker.list_tenant_tasks():
        for args in ({}, {"tenant": world.acme}, {"ids": {"tenant_id": world.acme}}):
            report.attempt(KIND, f"{task} with {args}", refused=not _stored(task, args))
        report.control(KIND, f"{task} with a tenant", works=_stored(task, {"tenant_id": world.acme}))


def _stored(task: str, args: dict[str, object]) -> bool:
    try:
        with psycopg.connect(db.login_url("app")) as connection:
            connection.execute(
                "insert into procrastinate_jobs (queue_name, task_name, args) values ('attack', %s, %s)",
                [task, json.dumps(args)],
            )
            connection.rollback()
    except psycopg.errors.CheckViolation:
        return False
    return True


async def foreign_ids(world: World, report: Report) -> None:
    """Every task of Acme, with every id of Globex that its parameters can take, and otherwise its own."""
    before = world.print_of(world.globex)
    async with run_mailbox() as box:
        for task, handler in worker.list_tenant_tasks().items():
            report.covers(KIND, task)
            try:
                arguments = calls.arguments(Call(task, handler, operators=False), world, world.acme)
            except KeyError as unknown:
                report.unknown(KIND, f"{task}: parameter {unknown}")
                continue
            for name in sorted(arguments.keys() & CLAIMED.keys()):
                values = world.claims(name, world.globex)
                report.control(KIND, f"{task}: {name} of Globex to try", works=bool(values))
                for value in values:
                    try:
                        async with entry.enter_job(world.acme, task, request_ids.current()) as ctx:
                            await handler(ctx, **arguments | {name: value})
                    except DomainError:
                        pass
                    words = world.words(world.globex)
                    leaked = any(word in mail.text for mail in box.mails for word in words)
                    report.attempt(KIND, f"{task} of Acme with {name} of Globex", refused=not leaked)
    report.attempt(KIND, "all of these left Globex as it was", refused=world.print_of(world.globex) == before)


async def inheritance(world: World, report: Report) -> None:
    """On one worker: a job of Globex, then one that names no tenant, then one of Acme."""
    seen: list[tuple[str, str]] = []

    async def look(ctx: Ctx, *, name: str = "") -> None:
        rows = (await ctx.session.exec(select(Membership))).all()
        seen.extend((name, row.tenant_id) for row in rows)

    work = worker._wrap_tenant_handler("attack.look", look, entry.enter_job)
    await work(tenant_id=world.globex, request_id="req_1", name="globex")
    for nothing in ({}, {"tenant_id": ""}, {"tenant_id": "globex"}, {"tenant_id": None}):
        try:
            await work(request_id="req_2", name="nobody", **nothing)
        except (NoTenant, TypeError, AttributeError):
            pass
        report.attempt(
            KIND, f"a job with {nothing} after one of Globex", refused=("nobody", world.globex) not in seen
        )
    await work(tenant_id=world.acme, request_id="req_3", name="acme")
    report.control(KIND, "a job of Globex sees Globex", works=("globex", world.globex) in seen)
    report.attempt(KIND, "a job of Acme after one of Globex", refused=("acme", world.globex) not in seen)
    async with db.transaction() as session:
        try:
            await queue.put_platform_job(session, "tenancy.provision")
            refused = False
        except NoTenant:
            refused = True
    report.attempt(KIND, "a task of tenants as one of the platform", refused=refused)
