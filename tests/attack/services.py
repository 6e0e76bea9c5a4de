"""The wall behind the gate: every service, called by somebody in the tenant without the right for it.

`guarded` are all of them but those named here, which are called by others that were asked. A new service that asks
for nothing turns the report red.
"""

import dataclasses
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from shared.access.actions import ACTIONS
from shared.access.reasons import Reason
from shared.access.roles import ROLES
from shared.core.ctx import Actor, Ctx, OperatorCtx
from shared.core.errors import Refused
from shared.tenancy import entry
from tests.attack import calls
from tests.attack.calls import Call
from tests.attack.report import Report
from tests.attack.world import World

KIND = "services"
HOLDINGS = (
    *("add_addon", "assign", "begin", "end", "facts", "override_feature", "override_limit", "seed_flags"),
    *("set_billing", "set_flag", "set_trait"),
)
ASKED_BEFORE = {
    "audit.trail.export_events": "by tenancy.exports",
    "billing.adjustments.list_all": "by billing.desk",
    "access.evidence.list_refused": "by tenancy.refusals",
    "audit.trail.list_events": "by tenancy.history and tenancy.directory",
    "audit.trail.list_operator_events": "by tenancy.directory",
    "audit.trail.list_security_events": "by tenancy.directory",
    "audit.trail.verify": "by tenancy.history",
    "audit.trail.verify_operators": "by tenancy.directory",
    "billing.usage.record": "by services that count what is used",
    **{f"entitlements.holdings.{name}": "by tenancy.desk and provisioning" for name in HOLDINGS},
    "billing.apply.write": "by billing.sync: what is true at the provider asks nobody",
    "billing.customers.find": "by the verbs and pages of billing",
    "billing.dunning.dun": "a job",
    "billing.dunning.send": "a job",
    "billing.mirror.write": "by billing.apply",
    **dict.fromkeys(
        (f"billing.checkout.{name}" for name in ("on_sale", "seats_of", "sold")),
        "by checkout, changes and overview",
    ),
    **dict.fromkeys(
        (f"billing.subscriptions.{name}" for name in ("counting", "too_small", "waiting")),
        "by the verbs and pages of billing",
    ),
    "entitlements.rollouts.read_rules": "by entitlements.rollouts and tenancy.exposure",
    "entitlements.current.outlook": "by tenancy.standing",
    "entitlements.holdings.facts_ahead": "by tenancy.effective",
    "entitlements.subscribed.follow": "by billing.apply",
    "entitlements.subscribed.last": "by billing.apply",
    "entitlements.holdings.history": "by tenancy.why",
    "tenancy.checklist.add_all": "a step of setting up",
    "tenancy.checklist.complete_itself": "by the service whose work the item is about",
    "tenancy.history.as_shown": "by list_events and tenancy.exports; reads nothing",
    "tenancy.mail_choices.wants": "by jobs that write to somebody",
    "tenancy.notifications.add": "by services and jobs, for somebody else",
    "tenancy.notifications.find": "by jobs, for the mail that goes with it",
    "tenancy.payers.first_address": "by billing.customers",
    "tenancy.payers.list_payers": "by billing.dunning and billing.customers",
    "tenancy.provisioning.begin": "by founding",
    "tenancy.provisioning.fail": "a job",
    "tenancy.provisioning.go_on": "by verifying",
    "tenancy.provisioning.resume": "by retry and tenancy.directory",
    "tenancy.provisioning.run_next": "a job",
    **dict.fromkeys(
        (
            f"tenancy.roles.{name}"
            for name in ("get", "list_all", "name", "permissions", "require_givable", "said")
        ),
        "by services and pages, for the roles of what they show or give",
    ),
    "tenancy.seats.count": "by billing, for what it shows and refuses",
    "tenancy.seats.freeze": "by members and invitations; a second look under the lock",
    "tenancy.seats.take": "by members and invitations; a second look under the lock",
    "tenancy.tenants.lock": "by every verb of billing, after the right",
    "tenancy.tenants.changed": "by tenants and logos; tells open pages to load again",
    "tenancy.why.answer": "by ask and compare",
    "tenancy.why.standing_at": "by ask and compare",
    "tenancy.why.used_at": "by ask and compare",
    "tenancy.why_causes.read": "by tenancy.why",
}


class Undo(Exception):
    """Nothing that is tried here stays."""


async def attack(world: World, report: Report) -> None:
    before, found = world.prints(), [one for one in calls.find() if one.is_service]
    for name in ASKED_BEFORE.keys() - {one.name for one in found}:
        report.unknown(KIND, f"{name} is no service any more")
    for call in found:
        if call.name in ASKED_BEFORE:
            continue
        report.covers(KIND, call.name)
        try:
            taken = calls.arguments(call, world, world.acme)
        except KeyError as unknown:
            report.unknown(KIND, f"{call.name}: parameter {unknown}")
            continue
        async with _able(call, world) as ctx:
            works = not _is_refusal(await outcome(call, ctx, taken))
        report.control(KIND, f"{call.name} by the owner", works=works)
        async with _unable(call, world) as ctx:
            said = await outcome(call, ctx, taken)
        report.attempt(KIND, f"{call.name} without any right", refused=_is_refusal(said))
        if not call.operators and _is_refusal(said):
            await _lower_roles(call, taken, said, world, report)
    report.attempt(KIND, "all of these changed nothing", refused=world.prints() == before)


async def _lower_roles(
    call: Call, taken: dict[str, Any], said: Refused, world: World, report: Report
) -> None:
    """What it asked of somebody without rights, it has to ask of every role that lacks it."""
    (permission,) = {one.permission for one in ACTIONS.values() if f"You may not {one.said}." == said.detail}
    for role, account in world.roles.items():
        if permission not in ROLES[role].permissions:
            async with undone(entry.enter_tenant(account.cookie, world.acme_slug)) as ctx:
                refused = _is_refusal(await outcome(call, ctx, taken))
            report.attempt(KIND, f"{call.name} by a {role}", refused=refused)


def _is_refusal(said: Any) -> bool:
    """For want of a permission; that somebody may not grant a role comes later and is not enough."""
    named = isinstance(said, Refused) and said.detail.startswith("You may not ")
    return named and said.reason == Reason.MISSING_PERMISSION


async def outcome(call: Call, ctx: Ctx | OperatorCtx, taken: dict[str, Any]) -> Any:
    """What it returns or raises. A bug is no refusal, and where a guard is gone it may come to one."""
    try:
        return await call.fn(ctx, **taken)
    except Exception as problem:
        return problem


@asynccontextmanager
async def undone(entered: Any) -> AsyncIterator[Any]:
    try:
        async with entered as ctx:
            yield ctx
            raise Undo
    except Undo:
        pass


def _able(call: Call, world: World) -> Any:
    if call.operators:
        return undone(entry.enter_operator(world.olga))
    return undone(entry.enter_tenant(world.ann.cookie, world.acme_slug))


@asynccontextmanager
async def _unable(call: Call, world: World) -> AsyncIterator[Any]:
    if call.operators:
        async with undone(entry.enter_operator(world.olga)) as octx:
            yield dataclasses.replace(octx, permissions=frozenset())
    else:
        nobody = Actor("user", world.carl.user.id, "Carl")
        async with undone(entry.enter_invitation(world.acme, nobody)) as ctx:
            yield ctx
