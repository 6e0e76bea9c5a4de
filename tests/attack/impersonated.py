"""A read-only support session: no service, job, handler or route writes anything beyond its own transcript.

Two guards stand behind one another, so each is tried without the other. `attack` calls every service twice: as it is, where
the decision has to refuse what writes; and as if the decision had allowed it, where only the database refuses.
"""

import dataclasses
import re
from typing import Any

from shared.access.actions import ACTIONS, list_support_permissions
from shared.access.decision import decide
from shared.access.refusal_codes import Reason
from shared.access.roles import OWNER, ROLES
from shared.core import db, registry
from shared.core.context import Ctx
from shared.core.errors import Refused
from shared.jobs import queue
from shared.jobs.queue import PLATFORM_PREFIX
from shared.tenancy import entry
from tests.attack import calls
from tests.attack.apps import App
from tests.attack.calls import Call
from tests.attack.frames import short
from tests.attack.handlers import BUG, Attack
from tests.attack.report import Report
from tests.attack.routes import USES
from tests.attack.services import ASKED_BEFORE, outcome
from tests.attack.world import World, list_changes
from tests.support.support_sessions import SupportSession

KIND = "impersonated"
# Reads by its action, and begins a job: only the database refuses it.
WRITES_BY_READING = {"tenancy.audit_reader.verify_audit_log"}
REFUSED_PAGE = re.compile(r'"refusal_rx_state_":"[^"]')  # what stands in place of a page
BY_DECISION = (Reason.SUPPORT_CLOSED, Reason.SUPPORT_READ_ONLY, Reason.MISSING_PERMISSION)


async def attack(world: World, report: Report) -> None:
    """What needs no app: decisions, services and jobs."""
    before = world.prints()
    await _decisions(world, report)
    await _jobs(world, report)  # first: where a guard is gone, a service may end the session
    for call in calls.find():
        if call.operators or not call.is_service:
            continue
        try:
            arguments = calls.arguments(call, world, world.acme)
        except KeyError as unknown:
            report.unknown(KIND, f"{call.name}: parameter {unknown}")
            continue
        report.covers(KIND, call.name)
        answer = await _call(world.support, call, arguments)
        if call.name not in {*ASKED_BEFORE, *WRITES_BY_READING}:
            report.attempt(
                KIND, f"{call.name} reaches the database with a write", refused=not _is_stopped(answer)
            )
        if call.name in ASKED_BEFORE or _is_refused(answer):
            await _call(world.support, call, arguments, is_allowed=True)
    changes = list_changes(before, world.prints())
    report.attempt(KIND, f"services and jobs wrote nothing{changes}", refused=not changes)


async def _decisions(world: World, report: Report) -> None:
    async with world.support.ctx() as ctx:
        report.control(KIND, "the session reads members", works=decide(ctx, ACTIONS["member:read"]).allowed)
        for name, action in ACTIONS.items():
            is_closed = action.writes or not action.open_to_support
            if is_closed:
                report.attempt(KIND, f"{name} is decided", refused=not decide(ctx, action).allowed)


async def _jobs(world: World, report: Report) -> None:
    for task in registry.list_tasks():
        if task.startswith(PLATFORM_PREFIX):
            continue
        try:
            async with world.support.ctx() as ctx:
                await queue.put(ctx, task)
        except Refused as refusal:
            stopped = refusal.reason == Reason.SUPPORT_READ_ONLY
        else:
            stopped = False
        report.attempt(KIND, f"the job {task} is enqueued", refused=stopped)


async def _call(
    session: SupportSession, call: Call, arguments: dict[str, Any], *, is_allowed: bool = False
) -> Any:
    """What it returns or raises. `is_allowed`: with all rights of an owner, as if the decision were gone."""
    try:
        async with session.ctx() as ctx:
            answer = await outcome(call, _allow_all(ctx) if is_allowed else ctx, arguments)
            if isinstance(answer, Exception):
                raise answer
            await ctx.session.flush()
            return answer
    except Exception as problem:
        return problem


def _allow_all(ctx: Ctx) -> Ctx:
    verdicts = dict.fromkeys(ctx.rights.verdicts, Reason.ALLOWED.value)
    return dataclasses.replace(
        ctx, permissions=ROLES[OWNER].permissions, rights=ctx.rights.with_verdicts(verdicts)
    )


def _is_refused(answer: Any) -> bool:
    return isinstance(answer, Refused) and answer.reason in BY_DECISION


def _is_stopped(answer: Any) -> bool:
    """By the database, although the decision should have come first."""
    return (
        isinstance(answer, Refused) and answer.detail == entry.READ_ONLY_MESSAGE
    ) or db.is_read_only_error(answer)


async def attack_app(app: App, listings: dict[str, Any], world: World, report: Report) -> None:
    """Every handler over a socket, and every route, with the cookie of the session."""
    if app.name != "tenant":
        return
    before, attempts = world.prints(), Attack(app, listings, world, report)
    async with app.socket(world.support.cookie) as socket:
        for name, handler in attempts.handlers.items():
            answer = await attempts._call(socket, name, handler, world.acme)
            report.covers(KIND, short(name))
            if handler["page"] and handler["permission"] in list_support_permissions():
                is_shown = BUG not in answer and not REFUSED_PAGE.search(answer)
                report.control(KIND, f"{short(name)} is shown: {answer[-300:]}", works=is_shown)
    for name in listings[app.name]["routes"]:
        method, _, path = name.partition(" ")
        use = USES[app.name].get(name)
        if (
            use is None
            or use.audience == "signed"
            or path == "/auth/sign-out"
            or path.startswith("/auth/support")
        ):
            continue  # these end the session, as they should
        values = {"slug": world.acme_slug, "name": "Taken over"}
        sent = {key: value.format(**values) for key, value in use.fields.items()}
        data: dict[str, Any] = {"data": sent} if method == "POST" else {}
        await app.ask(method, path.replace("{slug}", world.acme_slug), world.support.cookie, **data)
    changes = list_changes(before, world.prints())
    report.attempt(KIND, f"handlers and routes wrote nothing{changes}", refused=not changes)
