"""Test mode: no page, list, export or figure of the live organisation, nor of operators, has anything of its test tenant.

The test tenant gets a row in every table that it can have, and its rows are sought in the answer of every service. Whoever
is in test mode gets nothing of the live data, and what needs the live organisation is refused.
"""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from shared.access import decision_counts
from shared.access.actions import ACTIONS
from shared.access.decision import decide
from shared.access.file_kinds import EXPORT_KINDS
from shared.access.refusal_codes import Reason
from shared.api_keys import idempotency, keys
from shared.core import registry
from shared.core.errors import Refused
from shared.files import exports, files, storage_registry
from shared.files.models import ExportJob
from shared.tenancy import entry
from shared.test_mode import test_tenants
from tests.attack import calls, metered, webhooked
from tests.attack.calls import Call
from tests.attack.report import Report
from tests.attack.services import undone
from tests.attack.world import World, run_jobs

KIND = "siblings"
MARK = "Quokka of the test tenant"
EXPORT_FILTERS = {"usage_events": {"meter": metered.METER}}
MIN_LENGTH = 16  # of an id that is in no other text
SHOWN = {  # services that name single rows of any tenant to operators; the names of test tenants say "(test)"
    "backoffice.key_renewal.list_due_tenants": "every key is renewed",
    "backoffice.noisy_tenants.list_noisy": "the load of every tenant",
    "backoffice.request_search.find_request": "what happened in one request",
    "backoffice.tenant_directory.list_all_events": "what happened anywhere",
    "backoffice.tenant_directory.list_jobs": "the queue of the worker",
    "backoffice.tenant_keys.list_wrapped_keys": "every key is renewed",
}
NAMED = {  # services that say which one the test tenant is, and nothing of what is in it
    **dict.fromkeys(
        (
            *("audit.audit_log.export_events", "audit.audit_log.list_events"),
            *("backoffice.tenant_directory.list_events", "tenancy.audit_reader.list_events"),
            "backoffice.tenant_timeline.list_timeline",
            *("tenancy.audit_reader.view_audit_log", "tenancy.exports.list_event_batch"),
        ),
        "turning test mode on is recorded",
    ),
    "backoffice.tenant_directory.get_tenant": "the page of the live tenant leads to it",
    "test_mode.test_tenants.get": "the page leads to it",
    "test_mode.test_tenants.turn_on": "it is on",
}


@dataclass(frozen=True)
class TestTenant:
    __test__ = False

    id: str
    slug: str
    key: str
    marks: frozenset[str]  # of its rows

    def is_in(self, text: str) -> bool:
        return any(mark in text for mark in self.marks)


async def attack(world: World, report: Report) -> None:
    figures = await _read_figures(world)
    test_tenant = await make(world)
    _check_rows(world, test_tenant, report)
    await _compare_figures(world, report, figures)
    await _look_in_services(world, test_tenant, report)
    await _look_in_exports(world, test_tenant, report)
    await _call_in_test_mode(world, test_tenant, report)


async def make(world: World) -> TestTenant:
    """Test mode of Acme, with rows."""
    async with entry.enter_tenant(world.ann.cookie, world.acme_slug) as ctx:
        test_mode = await test_tenants.turn_on(ctx)
    async with entry.enter_tenant(world.ann.cookie, test_mode.slug) as ctx:
        key = await keys.create(ctx, keys.KeyRequest(name=MARK, scopes=keys.list_scopes(ctx)))
        for module in registry.list_modules():
            if module.example is not None:
                await module.example(ctx)
        await ctx.session.flush()
        await webhooked.deliver(ctx)
        await idempotency.begin(ctx, key=MARK, operation=MARK, request=b"")
        await exports.begin(ctx, "audit", "csv", {})
    await run_jobs()
    await storage_registry.close()
    marks = {MARK}
    with world.superuser() as superuser:
        superuser.execute("update tenant set name = %s where id = %s", [MARK, test_mode.tenant_id])
    for table, column in world.tables().items():
        if table != "tenant":
            rows = world.rows(table, column, test_mode.tenant_id)
            marks |= {row["id"] for row in rows if len(str(row.get("id", ""))) >= MIN_LENGTH}
    return TestTenant(test_mode.tenant_id, test_mode.slug, key.text, frozenset(marks))


def _check_rows(world: World, test_tenant: TestTenant, report: Report) -> None:
    """It has rows of its own, and none of what the live tenant alone has."""
    for table in (
        "api_key",
        "audit_event",
        "event_outbox",
        "stored_file",
        "webhook_delivery",
        "webhook_endpoint",
    ):
        works = bool(world.rows(table, "tenant_id", test_tenant.id))
        report.control(KIND, f"the test tenant has rows in {table}", works=works)
    for table in (
        "billing_customer",
        "billing_usage",
        "invitation",
        "membership",
        "notification",
        "tenant_plan",
    ):
        refused = not world.rows(table, "tenant_id", test_tenant.id)
        report.attempt(KIND, f"the test tenant has no rows in {table}", refused=refused)


async def _read_figures(world: World) -> dict[str, str]:
    """What operators' services answer that answer the same when they are asked again."""
    first, second = [await _ask_operators(world) for _ in range(2)]
    return {name: answer for name, answer in first.items() if second.get(name) == answer}


async def _ask_operators(world: World) -> dict[str, str]:
    """What was decided in the live tenant meanwhile is left out; what was decided in test mode is not."""
    await decision_counts.flush()
    with world.superuser() as superuser:
        superuser.execute("delete from decision_count where tenant_id = %s", [world.acme])
    answers = {}
    for call in calls.find():
        if call.operators and call.is_service and call.name not in {*SHOWN, *NAMED}:
            async with undone(entry.enter_operator(world.olga)) as octx:
                answers[call.name] = repr(
                    await _outcome(call, octx, calls.arguments(call, world, world.acme))
                )
    return answers


async def _compare_figures(world: World, report: Report, figures: Mapping[str, str]) -> None:
    """Counts have no words in them: they must be as they were before test mode was turned on."""
    answers = await _ask_operators(world)
    for name, answer in figures.items():
        report.attempt(KIND, f"{name} is as before test mode", refused=answers[name] == answer)
    overview = "backoffice.tenant_directory.get_overview"
    report.control(KIND, "the figures of the overview are compared", works=overview in figures)


async def _look_in_services(world: World, test_tenant: TestTenant, report: Report) -> None:
    for call in calls.find():
        if not call.is_service or call.name in SHOWN:
            continue
        report.covers(KIND, call.name)
        entered = (
            entry.enter_operator(world.olga)
            if call.operators
            else entry.enter_tenant(world.ann.cookie, world.acme_slug)
        )
        async with undone(entered) as ctx:
            answer = repr(await _outcome(call, ctx, calls.arguments(call, world, world.acme)))
        has_id = call.name not in NAMED and test_tenant.id in answer
        report.attempt(
            KIND, f"{call.name} in the live tenant", refused=not test_tenant.is_in(answer) and not has_id
        )
    listed = repr(await _list_keys(world, test_tenant.slug))
    report.control(KIND, "test mode shows its own rows", works=test_tenant.is_in(listed))


async def _list_keys(world: World, slug: str) -> Any:
    async with entry.enter_tenant(world.ann.cookie, slug) as ctx:
        return (await keys.list_keys(ctx)).rows


async def _look_in_exports(world: World, test_tenant: TestTenant, report: Report) -> None:
    for kind in EXPORT_KINDS:
        async with entry.enter_tenant(world.ann.cookie, world.acme_slug) as ctx:
            export_id = (await exports.begin(ctx, kind, "jsonl", EXPORT_FILTERS.get(kind, {}))).id
        await run_jobs()
        async with entry.enter_tenant(world.ann.cookie, world.acme_slug) as ctx:
            export = await ctx.session.get_one(ExportJob, (ctx.tenant_id, export_id))
            assert export.file_id is not None
            download = files.Download(
                path=files.FilePath(ctx.tenant_id, export.file_id), name="", content_type="", size=0
            )
        content = b"".join([chunk async for chunk in files.read(download)]).decode()
        report.control(KIND, f"the export of {kind} has rows", works=len(content) > MIN_LENGTH)
        report.attempt(KIND, f"the export of {kind}", refused=not test_tenant.is_in(content))
    await storage_registry.close()


async def _call_in_test_mode(world: World, test_tenant: TestTenant, report: Report) -> None:
    """By the owner, with ids of live rows: what needs the live tenant is refused, the rest finds nothing."""
    before, words = world.prints(), [*world.secrets[world.acme][1:], *world.billed[world.acme]]
    async with entry.enter_tenant(world.ann.cookie, test_tenant.slug) as ctx:
        for action in ACTIONS.values():
            if action.live_only:
                report.attempt(
                    KIND,
                    f"{action.name} in test mode",
                    refused=decide(ctx, action).reason is Reason.TEST_MODE,
                )
    for call in calls.find():
        if call.operators or not call.is_service:
            continue
        async with undone(entry.enter_tenant(world.ann.cookie, test_tenant.slug)) as ctx:
            answer = await _outcome(call, ctx, calls.arguments(call, world, world.acme))
        refused = isinstance(answer, Refused) or not _has_word(repr(answer), words)
        report.attempt(KIND, f"{call.name} in test mode", refused=refused)
    report.attempt(KIND, "none of these changed live data", refused=world.prints() == before)


def _has_word(text: str, words: Collection[str]) -> bool:
    return any(word in text or json.dumps(word)[1:-1] in text for word in words)


async def _outcome(call: Call, ctx: Any, arguments: dict[str, Any]) -> Any:
    """What it returns or raises."""
    try:
        return await call.fn(ctx, **calls.with_reason(call, ctx, arguments))
    except Exception as problem:
        return problem
