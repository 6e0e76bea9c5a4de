"""The reference that a person was shown leads operators to everything that is stored under it."""

import asyncio
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any, LiteralString

import psycopg
import pytest
from sqlmodel.ext.asyncio.session import AsyncSession

from admin_app.pages.audit import state as audit_page
from admin_app.pages.audit.rows import finding_rows
from admin_app.pages.audit.state import AuditPageState
from shared.access import actions, decision_counts
from shared.audit import audit_log, bug_report_repository, bug_reports
from shared.audit.audit_filter import AuditFilter
from shared.backoffice import request_search, tenant_directory
from shared.backoffice.reasons import state_reason
from shared.backoffice.request_search import RequestFindings
from shared.core import db, log, request_ids, trace_ids
from shared.core.db import now
from shared.core.errors import Invalid, Refused
from shared.core.ids import new_id
from shared.jobs import queue
from shared.tenancy import members, tenants
from shared.ui import states
from tests.conftest import Cast
from tests.support import database, database_catalog, workers

REASON = "ticket 4471"
ADD_REPORTS: LiteralString = """
    insert into bug_report (id, at, request_id, process, problem, place)
    select 'bug_' || %(word)s || n, now() - %(age)s::interval, %(word)s, 'tenant app', 'KeyError', %(place)s
    from generate_series(1, %(count)s) n
"""
ADD_SYNC: LiteralString = """
    insert into billing_event (tenant_id, id, at, account_id, customer_id, cause, event_ids, ticket, previous, next,
        recalculated, request_id)
    values (%s, 'bev_found', now(), 'platform', 'cus_x', 'webhook', '{}', 1, '{}', '{}', true, %s)
"""
FLOODED = "tenant_app/pages/home.py:1 in load"
COUNT_REPORTS: LiteralString = "select count(*) from bug_report where request_id = %s"


def break_something(secret: str) -> None:
    raise ValueError(secret)


def report_bug(request_id: str, secret: str = "x") -> None:
    try:
        break_something(secret)
    except ValueError as bug:
        log.report_bug(bug, request_id=request_id)


def add_reports(name: str, word: str, count: int, age: str) -> None:
    with psycopg.connect(database.admin_url(name), autocommit=True) as connection:
        connection.execute(ADD_REPORTS, {"word": word, "count": count, "age": age, "place": FLOODED})


def count_reports(name: str, request_id: str) -> int:
    return int(database_catalog.run_query(COUNT_REPORTS, request_id, name=name)[0][0])


async def find(cast: Cast, request_id: str) -> RequestFindings:
    async with cast.olga.octx() as octx:
        return await request_search.find_request(octx, state_reason(octx, REASON), request_id)


@pytest.fixture(autouse=True)
def no_bugs() -> None:
    """Of other tests."""
    log.take_new_bugs()


async def test_error_that_a_person_was_shown_is_found_with_its_place(cast: Cast) -> None:
    try:
        break_something("the secret of Acme")
    except ValueError as bug:
        shown = re.search(r"Reference: (req_\w+)", str(states.show_refusal(bug)))
    assert shown is not None
    request_id = shown.group(1)
    await bug_reports.store_new_bugs("tenant app")
    (bug,) = (await find(cast, f" {request_id} ")).bugs
    assert (bug.request_id, bug.process, bug.problem) == (request_id, "tenant app", "ValueError")
    assert bug.place.startswith("tests/backoffice/test_request_search.py:")
    assert bug.place.endswith(" in break_something")
    assert "secret" not in str(bug)


async def test_everything_of_a_request_is_found_and_nothing_of_another(cast: Cast, schema: str) -> None:
    workers.clear_queue(schema)
    request_id, other_id = request_ids.begin(), new_id("req")
    report_bug(request_id)
    report_bug(other_id)
    with pytest.raises(Refused):
        async with cast.max.ctx() as ctx:
            await members.set_role(ctx, "mem_x", "owner", version=None)
    await decision_counts.flush()
    async with cast.ann.ctx() as ctx:
        await queue.put(ctx, "tests.tell_late", user_id=ctx.actor_id, key="late")
    request_ids.begin(other_id)
    async with cast.gil.ctx() as ctx:
        await queue.put(ctx, "tests.tell_late", user_id=ctx.actor_id, key="other")
    async with db.transaction() as session:
        for request in (request_id, other_id):
            await audit_log.record_security_event(session, "cross_tenant_attempt", request, "globex", request)
    request_ids.begin(request_id)
    async with cast.olga.octx() as octx:
        audit_log.record_operator(octx, "tenants.read_across", "*", reason="a look")
    await bug_reports.store_new_bugs("worker")
    request_ids.begin()

    findings = await find(cast, request_id)
    assert [bug.process for bug in findings.bugs] == ["worker"]
    assert [(refusal.tenant_id, refusal.action) for refusal in findings.refusals] == [
        (cast.acme, actions.MEMBER_SET_ROLE.name)
    ]
    assert [(job.tenant_id, job.task) for job in findings.jobs] == [(cast.acme, "tests.tell_late")]
    assert {event.reason for event in findings.operator_events} == {"a look"}
    assert [event.actor_id for event in findings.security_events] == [request_id]
    assert findings.tenant_names.keys() == {cast.acme}
    titles = {row.title: (row.note, row.url) for row in finding_rows(findings)}
    assert titles.keys() == {
        *(
            "Unexpected error",
            "Refused to change member roles",
            "Job tests.tell_late",
            "Cross-tenant attempts",
        ),
        "Olga read across tenants",
    }
    assert titles["Job tests.tell_late"] == ("Acme · Waiting", "/jobs")
    note, url = titles["Refused to change member roles"]
    (decision,) = findings.decisions
    assert note == f"Acme · missing permission · {cast.max.user_id} · {decision.id}"
    assert url == f"/access?tenant={cast.acme}&decision={decision.id}"
    assert await find(cast, decision.id) == findings
    assert finding_rows(await find(cast, new_id("dcn"))) == []
    workers.clear_queue(schema)


async def test_page_lists_what_is_found_below_its_filter(cast: Cast) -> None:
    request_id = new_id("req")
    report_bug(request_id)
    await bug_reports.store_new_bugs("tenant app")
    page = cast.olga.opens(AuditPageState, path=f"/audit?request={request_id}")
    handlers: dict[str, Any] = AuditPageState.event_handlers
    await handlers["load"].fn(page)
    await handlers["start_visit"].fn(page, {"reason": REASON})
    assert [(row.title, row.url) for row in page.findings] == [("Unexpected error", "")]
    assert page.findings[0].note.startswith("ValueError in the tenant app · tests/backoffice/")
    assert page.request == request_id
    assert "/audit?actor=Olga" in str(await handlers["apply_filter"].fn(page, {"actor": " Olga"}))
    assert '"/audit"' in str(await handlers["clear_filter"].fn(page))


async def test_later_pages_of_events_keep_what_the_first_one_found(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    request_id = request_ids.begin()
    async with cast.ann.ctx() as ctx:
        for name in ("Acme One", "Acme Two"):
            await tenants.rename(ctx, name, version=None)
    report_bug(request_id)
    await bug_reports.store_new_bugs("tenant app")
    monkeypatch.setattr(audit_page, "PAGE_SIZE", 1)
    page = cast.olga.opens(AuditPageState, path=f"/audit?request={request_id}")
    handlers: dict[str, Any] = AuditPageState.event_handlers
    await handlers["load"].fn(page)
    await handlers["start_visit"].fn(page, {"reason": REASON})
    first_rows, titles = page.rows, [row.title for row in page.findings]
    assert "Unexpected error" in titles
    monkeypatch.setattr(request_search, "find_request", None)  # it would be called for nothing
    await handlers["next_page"].fn(page)
    assert page.rows != first_rows
    assert [row.title for row in page.findings] == titles
    page._close_visit()
    page._show(None, None)
    assert page.findings == []


@pytest.mark.parametrize("text", ["req_\0", "req_é", "req_" + "x" * 41, "req_\n1", "acme"])
async def test_text_that_is_no_reference_is_refused(cast: Cast, text: str) -> None:
    with pytest.raises(Invalid, match="isn’t a reference"):
        await find(cast, text)


async def test_search_requires_an_operator_who_reads_all_tenants(cast: Cast) -> None:
    async with cast.sam.octx() as octx:
        reason = state_reason(octx, REASON)
        with pytest.raises(Refused, match="missing_permission"):
            await request_search.find_request(octx, reason, new_id("req"))


async def test_search_is_recorded_with_its_reason(cast: Cast) -> None:
    await find(cast, new_id("req"))
    async with cast.olga.octx() as octx:
        events = await audit_log.list_operator_events(octx, limit=20)
    assert REASON in {event.reason for event in events}


async def test_search_without_a_reference_is_refused(cast: Cast) -> None:
    with pytest.raises(Invalid, match="reference is missing"):
        await find(cast, "  ")


async def test_error_of_a_tenant_is_listed_once(cast: Cast) -> None:
    request_id = request_ids.begin()
    with pytest.raises(ValueError, match="x"):
        async with cast.ann.ctx():
            break_something("x")
    await decision_counts.flush()
    (row,) = finding_rows(await find(cast, request_id))  # the count, as nothing was reported
    assert (row.title, row.note) == ("Unexpected error", "Acme")
    report_bug(request_id)
    await bug_reports.store_new_bugs("tenant app")
    (row,) = finding_rows(await find(cast, request_id))
    assert row.note.startswith("ValueError in the tenant app")


async def test_changes_of_a_sync_are_found(cast: Cast, schema: str) -> None:
    request_id = new_id("req")
    with psycopg.connect(database.admin_url(schema), autocommit=True) as connection:
        connection.execute(ADD_SYNC, [cast.acme, request_id])
    (row,) = finding_rows(await find(cast, request_id))
    assert (row.title, row.note) == ("Billing updated", "Acme · Cause: webhook")
    assert cast.acme in row.url


async def test_old_reports_go_when_new_ones_come(schema: str) -> None:
    add_reports(schema, "old", 1_020, "31 days")
    add_reports(schema, "kept", 1, "29 days")
    for left in (20, 0):
        report_bug(new_id("req"))
        await bug_reports.store_new_bugs("worker")
        assert count_reports(schema, "old") == left
    assert count_reports(schema, "kept") == 1


async def test_flood_of_one_bug_is_cut_and_hides_no_other(schema: str) -> None:
    add_reports(schema, "flood", 200, "1 minute")
    request_id, other_id = new_id("req"), new_id("req")
    bug = log.Bug(id=new_id("bug"), at=now(), request_id=request_id, problem="KeyError", place=FLOODED)
    log.put_back([bug, replace(bug, id=new_id("bug"), request_id=other_id, place="elsewhere")])
    await bug_reports.store_new_bugs("worker")
    assert (count_reports(schema, request_id), count_reports(schema, other_id)) == (0, 1)


def test_reports_in_memory_are_limited_and_the_newest_are_kept() -> None:
    for number in range(log.MAX_NEW_BUGS + 5):
        report_bug(f"req_{number}")
    bugs = log.take_new_bugs()
    assert (len(bugs), bugs[-1].request_id) == (log.MAX_NEW_BUGS, f"req_{log.MAX_NEW_BUGS + 4}")
    report_bug("req_new")
    log.put_back(bugs)
    bugs = log.take_new_bugs()
    assert (len(bugs), bugs[-1].request_id) == (log.MAX_NEW_BUGS, "req_new")


@pytest.mark.parametrize("problem", [OSError("the database is away"), asyncio.CancelledError()])
async def test_bug_that_could_not_be_stored_is_stored_later_and_once(
    schema: str, monkeypatch: pytest.MonkeyPatch, problem: BaseException
) -> None:
    """Also when the process ends meanwhile, and when only the answer of the database was lost."""
    request_id = new_id("req")
    report_bug(request_id)
    record_bugs = bug_report_repository.record_bugs

    async def record_and_fail(session: AsyncSession, bugs: Sequence[log.Bug], process: str) -> None:
        await record_bugs(session, bugs, process)
        await session.commit()
        raise problem

    monkeypatch.setattr(bug_report_repository, "record_bugs", record_and_fail)
    with suppress(asyncio.CancelledError):
        await bug_reports.store_new_bugs("worker")
    monkeypatch.undo()
    await bug_reports.store_new_bugs("worker")
    assert count_reports(schema, request_id) == 1
    assert log.take_new_bugs() == []


def test_error_of_a_group_is_reported_with_its_own_place() -> None:
    try:
        try:
            break_something("x")
        except ValueError as bug:
            raise ExceptionGroup("several", [bug]) from None
    except ExceptionGroup as group:
        log.report_bug(group)
    (bug,) = log.take_new_bugs()
    assert (bug.problem, bug.place.endswith(" in break_something")) == ("ValueError", True)


async def test_admin_app_stores_its_bugs_as_operator(schema: str) -> None:
    request_id = new_id("req")
    report_bug(request_id)
    await bug_reports.store_new_bugs("admin app", "operator")
    assert count_reports(schema, request_id) == 1


async def test_app_can_add_reports_and_read_none(app_login: None, schema: str) -> None:
    request_id = new_id("req")
    report_bug(request_id)
    await bug_reports.store_new_bugs("tenant app")
    assert count_reports(schema, request_id) == 1
    for statement in ("select * from bug_report", "delete from bug_report"):
        with pytest.raises(Exception, match="permission denied"):
            async with db.transaction() as session:
                await (await session.connection()).exec_driver_sql(statement)


async def test_one_reference_finds_decision_audit_row_job_and_trace(schema: str, cast: Cast) -> None:
    workers.clear_queue(schema)
    request_id = request_ids.begin()
    with suppress(Refused):
        async with cast.max.ctx() as ctx:
            await members.remove(ctx, cast.adam.user_id)
    async with cast.ann.ctx() as ctx:
        audit_log.record(ctx, "tenant.renamed", cast.acme, name="Acme 2")
        await queue.put(ctx, "tests.anything")
    request_ids.end()
    findings = await find(cast, request_id)
    assert [decision.action for decision in findings.decisions] == ["member:remove"]
    assert [job.task for job in findings.jobs] == ["tests.anything"]
    assert findings.trace_id == trace_ids.derive(request_id)
    async with cast.olga.octx() as octx:
        reason = state_reason(octx, REASON)
        events = await tenant_directory.list_all_events(octx, reason, AuditFilter(request_id=request_id))
    assert [event.action for event in events.page.rows] == ["tenant.renamed"]
    workers.clear_queue(schema)
