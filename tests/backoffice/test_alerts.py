"""Alerts: each fires by its fault and is silent without it, for the subject alone, with a runbook that opens."""

import dataclasses
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from shared.backoffice import health, runbooks
from shared.backoffice.alerts import alert_repository, evaluation
from shared.backoffice.alerts.alert_catalog import ALERTS
from shared.backoffice.alerts.conditions import Finding
from shared.core import db, request_ids, traffic
from shared.core.context import Actor, Rights
from shared.core.db import now
from shared.core.errors import NotFound
from shared.core.ids import new_id
from shared.monitoring import traffic_writer
from tests.conftest import Cast, Operating, _moved
from tests.support import database, factories, workers
from tests.support.sizes import is_full
from tests.support.stand_in_mail import run_mailbox

RUNBOOKS = Path(__file__).parents[2] / "docs" / "runbooks"
FLAG, PLAN = "beta_reports", "team"


@pytest.fixture(scope="module")
async def alerts_database(schema: str) -> AsyncIterator[str]:
    """The platform's alerts judge what other tests leave behind, so these tests have a database of their own."""
    name = f"{schema}_alerts"
    await _moved(lambda: database.do_not_wait_for_disk(database.build(name)))
    await _moved(lambda: database.use(schema))
    yield name
    database.drop(name)


@pytest.fixture
async def separate_database(schema: str, alerts_database: str) -> AsyncIterator[str]:
    await _moved(lambda: database.use(alerts_database))
    traffic._minutes.clear()
    undo_faults()
    yield alerts_database
    traffic._minutes.clear()
    await _moved(lambda: database.use(schema))


@pytest.fixture
async def operator(separate_database: str) -> Operating:
    return Operating(await factories.create_operator("Ola", "engineer"))


def run_requests(
    tenant_id: str, *, errors: int, requests: int = 40, seconds: float = 0.1, **rights: Any
) -> None:
    """Requests of one tenant, as the edges count them."""
    facts = {"plan": rights.get("plan", "free"), "flags": frozenset(rights.get("flags", ()))}
    for number in range(requests):
        request_ids.begin()
        held = Rights(facts["plan"], "", "", "none", frozenset(), {}, facts["flags"], {}, {})
        if tenant_id:
            request_ids.note_tenant(tenant_id, Actor("user", "usr_x", "X"), held)
        if number < errors:
            request_ids.note_failure()
        traffic.count(traffic.Kind.EVENT, seconds, failed=False)
    request_ids.end()


async def evaluate() -> dict[str, set[str]]:
    """Subjects by name of the alert, in a minute from now: what was counted is complete then."""
    await traffic_writer.store_minutes(also_current=True)
    async with db.transaction("operator", reason="test") as session:
        states = await evaluation.evaluate_all(session, now() + timedelta(minutes=1))
    firing: dict[str, set[str]] = {}
    for state in states:
        firing.setdefault(state.name, set()).add(state.subject)
    return firing


def execute(statement: str, **values: Any) -> None:
    """As a superuser, who is under no row security."""
    with database.connect() as connection:
        connection.execute(statement, values)  # type: ignore[call-overload]


class Fault(NamedTuple):
    inject: Callable[[Cast], None]
    subject: Callable[[Cast], str] = lambda cast: cast.acme


def platform(_: Cast) -> str:
    return ""


def say(subject: str) -> Callable[[Cast], str]:
    return lambda _: subject


def reach_limit(cast: Cast) -> None:
    traffic.count_decision(cast.acme, "limit_reached", is_about_limit=True)


def healthy(cast: Cast) -> None:
    run_requests(cast.globex, errors=0, requests=400)


def fail_in_tenant(cast: Cast) -> None:
    healthy(cast)
    run_requests(cast.acme, errors=20)


def fail_in_flag(cast: Cast) -> None:
    healthy(cast)
    run_requests(cast.acme, errors=8, requests=60, flags=[FLAG])


def fail_in_plan(cast: Cast) -> None:
    healthy(cast)
    run_requests(cast.acme, errors=8, requests=60, plan=PLAN)


def add_job(status: str, **more: str) -> Callable[[Cast], None]:
    def add(_: Cast) -> None:
        execute(
            "insert into procrastinate_jobs (queue_name, task_name, status, scheduled_at)"
            " values ('bulkhead', 'platform.x', cast(%(status)s as procrastinate_job_status), %(at)s)",
            status=status,
            at=now() - timedelta(minutes=10),
        )

    return add


def silence_workers(_: Cast) -> None:
    execute("update procrastinate_workers set last_heartbeat = now() - interval '10 minutes'")


def add_webhook(status: str) -> Callable[[Cast], None]:
    def add(_: Cast) -> None:
        execute(
            "insert into inbound_webhook (account_id, event_id, type, livemode, api_version, customer_id, payload, status,"
            " created_at, received_at, due_at) values ('platform', %(id)s, 'invoice.paid', false, '', 'cus_1', '{}',"
            " %(status)s, %(at)s, %(at)s, %(at)s)",
            id=new_id("evt"),
            status=status,
            at=now() - timedelta(minutes=10),
        )

    return add


def pause_account(_: Cast) -> None:
    execute("update provider_account set paused_at = now(), pause_reason = 'its key is refused'")


def add_endpoint(state: str, pause_reason: str) -> Callable[[Cast], None]:
    def add(cast: Cast) -> None:
        execute(
            "insert into webhook_endpoint (tenant_id, id, url, event_types, api_version, state, pause_reason, turn_at,"
            " paused_at, created_by) values (%(tenant)s, %(id)s, 'https://x.example', '{}', '1', %(state)s, %(why)s, %(at)s,"
            " case when %(state)s = 'paused' then now() end, '')",
            tenant=cast.acme,
            id=new_id("whe"),
            state=state,
            why=pause_reason,
            at=now() - timedelta(minutes=10) if state == "active" else None,
        )

    return add


def set_snapshot(*, extra: int = 0, alert: str = "") -> Callable[[Cast], None]:
    def add(cast: Cast) -> None:
        execute(
            "insert into billing_snapshot (tenant_id, id, schedule, status, method, balance, currency, upcoming,"
            " payment_methods, alert, deleted_customer_id, extra_subscriptions, ticket, changed_at)"
            " values (%(tenant)s, 'standing', '{}', '', '', 0, '', '{}', '{}', %(alert)s, '', %(extra)s, 1, now())"
            " on conflict (tenant_id, id) do update set alert = greatest(billing_snapshot.alert, excluded.alert),"
            " extra_subscriptions = greatest(billing_snapshot.extra_subscriptions, excluded.extra_subscriptions)",
            tenant=cast.acme,
            alert=alert,
            extra=extra,
        )

    return add


def fail_provisioning(cast: Cast) -> None:
    execute(
        "update provisioning_step set state = 'failed', error = 'x' where tenant_id = %(tenant)s and position ="
        " (select min(position) from provisioning_step where tenant_id = %(tenant)s)",
        tenant=cast.acme,
    )


def add_security_event(kind: str, count: int) -> Callable[[Cast], None]:
    def add(_: Cast) -> None:
        execute(
            "insert into security_event (id, at, hour, kind, actor_id, count, subject, request_id)"
            " values (%(id)s, now(), date_trunc('hour', now()), %(kind)s, 'usr_x', %(count)s, '', '')",
            id=new_id("sec"),
            kind=kind,
            count=count,
        )

    return add


def break_log(cast: Cast) -> None:
    execute(
        "insert into audit_verification (tenant_id, id, state, checked_seq, checked_hash, checked_id,"
        " checked_events, target_seq, problem, broken_id, started_at, changed_at, verified_seq)"
        " values (%(tenant)s, 'verification', 'broken', 0, 'x', '', 0, 0, 'changed', '', now(), now(), 0)",
        tenant=cast.acme,
    )


def add_unbilled(cast: Cast) -> None:
    execute(
        "insert into billing_usage (tenant_id, id, meter, quantity, at, problem, identifier, recorded_at)"
        " values (%(tenant)s, %(id)s, 'api_calls', 1, now(), 'refused', %(id)s, now())",
        tenant=cast.acme,
        id=new_id("use"),
    )


FAULTS = {
    "error_rate": Fault(lambda cast: run_requests("", errors=10), platform),
    "latency": Fault(lambda cast: run_requests("", errors=0, seconds=4), platform),
    "tenant_errors": Fault(fail_in_tenant),
    "plan_errors": Fault(fail_in_plan, say(PLAN)),
    "flag_errors": Fault(fail_in_flag, say(FLAG)),
    "limits": Fault(reach_limit),
    "failed_jobs": Fault(add_job("failed"), say("bulkhead")),
    "late_jobs": Fault(add_job("todo"), say("bulkhead")),
    "workers": Fault(silence_workers, platform),
    "late_webhooks": Fault(add_webhook("pending"), platform),
    "dead_webhooks": Fault(add_webhook("dead"), say("invoice.paid")),
    "payment_accounts": Fault(pause_account, lambda _: find_account_subject()),
    "late_deliveries": Fault(add_endpoint("active", "")),
    "paused_endpoints": Fault(add_endpoint("paused", "failures")),
    "provisioning": Fault(fail_provisioning),
    "double_payments": Fault(set_snapshot(extra=1)),
    "unbilled_usage": Fault(add_unbilled),
    "billing_review": Fault(set_snapshot(alert="A payment is disputed")),
    "audit_logs": Fault(break_log),
    "isolation": Fault(add_security_event("missing_tenant_context", 1), platform),
    "attempts": Fault(add_security_event("cross_tenant_attempt", 25), say("cross_tenant_attempt")),
}


OF_ERRORS = {"error_rate", "latency", "tenant_errors", "plan_errors", "flag_errors"}


def find_account_subject() -> str:
    with database.connect() as connection:
        row = connection.execute("select name from provider_account").fetchone()
    assert row is not None
    return f"{row[0]}: paused"


def test_every_alert_has_a_fault_and_a_runbook_with_its_parts() -> None:
    assert FAULTS.keys() == ALERTS.keys()
    assert {path.stem for path in RUNBOOKS.glob("*.md")} == ALERTS.keys()
    for name in ALERTS:
        parts = runbooks.read_runbook(name)
        assert [part.title for part in parts] == list(runbooks.PARTS), name
        assert all((parts[0].paragraphs, parts[1].steps, parts[2].steps)), name


def undo_faults() -> None:
    execute(
        "truncate traffic_minute, alert_state, alert_subscription, procrastinate_jobs, inbound_webhook, webhook_endpoint,"
        " security_event, audit_verification, billing_usage, billing_snapshot cascade"
    )
    execute("update provider_account set paused_at = null, pause_reason = ''")
    execute("delete from procrastinate_workers")
    execute("insert into procrastinate_workers (last_heartbeat) values (now())")
    execute("update provisioning_step set state = 'done' where state = 'failed'")


async def test_each_alert_fires_by_its_fault_alone_and_is_silent_without_it(
    separate_database: str, cast: Cast
) -> None:
    """The short run injects all faults together that do not meet in the same numbers."""
    assert await evaluate() == {}
    together = [] if is_full() else sorted(FAULTS.keys() - OF_ERRORS)
    for names in (together, *([name] for name in FAULTS if name not in together)):
        for name in names:
            FAULTS[name].inject(cast)
        assert await evaluate() == {name: {FAULTS[name].subject(cast)} for name in names}
        undo_faults()
    assert await evaluate() == {}


async def test_cohort_fault_is_named_while_the_platform_is_healthy(operator: Operating, cast: Cast) -> None:
    fail_in_flag(cast)
    assert await evaluate() == {"flag_errors": {FLAG}}
    async with operator.octx() as octx:
        overview = await health.get_health(octx)
    (alert,) = overview.alerts
    assert (alert.name, alert.subject_name) == ("flag_errors", FLAG)
    assert (overview.total.errors, overview.total.requests) == (8, 460)  # 1.7 %: no alert of its own
    assert [(flag.value, flag.is_failing) for flag in overview.flags] == [(FLAG, True)]


async def test_failing_tenant_is_visible_while_the_platform_is_healthy(
    operator: Operating, cast: Cast
) -> None:
    run_requests(cast.globex, errors=0, requests=1_000)
    run_requests(cast.acme, errors=20)
    assert await evaluate() == {"tenant_errors": {cast.acme}}
    async with operator.octx() as octx:
        overview = await health.get_health(octx)
    assert [(row.value, row.is_failing) for row in overview.tenants] == [
        (cast.acme, True),
        (cast.globex, False),
    ]
    assert overview.alerts[0].tenant_id == cast.acme


async def test_quota_alert_fires_for_the_tenant_that_met_its_limit_only(
    separate_database: str, cast: Cast
) -> None:
    await cast.ann.gets("free")
    healthy(cast)
    reach_limit(cast)
    assert await evaluate() == {"limits": {cast.acme}}


async def test_one_process_takes_the_turn_while_it_evaluates(separate_database: str) -> None:
    async with db.transaction("operator", reason="test") as first:
        assert await alert_repository.take_turn(first)
        async with db.transaction("operator", reason="test") as second:
            assert not await alert_repository.take_turn(second)
    async with db.transaction("operator", reason="test") as third:
        assert await alert_repository.take_turn(third)


async def test_new_alert_is_mailed_once_to_operators_who_want_it(
    separate_database: str, operator: Operating, cast: Cast
) -> None:
    workers.clear_queue(separate_database)
    async with operator.octx() as octx:
        await health.subscribe(octx, is_on=True)
    fail_in_flag(cast)
    async with run_mailbox() as mailbox:
        await evaluate()
        await evaluate()
        await workers.run_due_jobs()
        (mail,) = mailbox.mails
    assert "The cohort of a flag fails" in mail.text
    assert "/health/flag_errors" in mail.text
    assert cast.acme not in mail.text


async def test_failing_check_keeps_its_alerts_and_silences_no_other(
    separate_database: str, cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail_in_flag(cast)
    await evaluate()

    async def fail(_: object) -> list[Finding]:
        raise ZeroDivisionError

    alert = ALERTS["flag_errors"]
    monkeypatch.setitem(ALERTS, "flag_errors", dataclasses.replace(alert, check=fail))
    reach_limit(cast)
    assert await evaluate() == {"flag_errors": {FLAG}, "limits": {cast.acme}}


async def test_round_is_evaluated_by_one_process_at_a_time(separate_database: str) -> None:
    assert await evaluation.evaluate_in_turn()
    async with db.transaction("operator", reason="test") as session:
        assert await alert_repository.take_turn(session)
        assert not await evaluation.evaluate_in_turn()


async def test_runbook_of_an_unknown_alert_is_refused(cast: Cast) -> None:
    async with cast.olga.octx() as octx:
        with pytest.raises(NotFound):
            runbooks.get_runbook(octx, "../settings")
