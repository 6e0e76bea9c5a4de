"""Refused and failed privileged acts are in the audit log, with tenant, actor, reason and result."""

from collections.abc import Sequence

import pytest

from shared.access.actions import OP_TENANT_SUSPEND
from shared.access.refusal_messages import build_refusal
from shared.audit import attempts, audit_log
from shared.audit.audit_filter import AuditFilter
from shared.audit.event_types import AuditResult
from shared.audit.models import AuditEvent, OperatorEvent
from shared.backoffice import operators, tenant_directory
from shared.backoffice.reasons import state_reason
from shared.core import request_ids
from shared.core.context import Actor
from shared.core.errors import Conflict, NotFound, Refused
from shared.core.ids import new_id
from shared.tenancy import operator_attempts, roles
from shared.tenancy.admissions import OperatorAdmission
from tests.conftest import Cast, Person

REASON = "Ticket 4471, looks like fraud"


@pytest.fixture(autouse=True)
def fresh_buckets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempts, "_buckets", attempts.TokenBuckets())


async def list_attempts(cast: Cast) -> Sequence[AuditEvent]:
    async with cast.ann.ctx() as ctx:
        criteria = AuditFilter(action="operator.attempted")
        return (await audit_log.list_events(ctx, criteria)).rows


async def list_operator_attempts(cast: Cast, request_id: str) -> Sequence[OperatorEvent]:
    async with cast.olga.octx() as octx:
        return await audit_log.list_operator_events(octx, AuditFilter(request_id=request_id))


async def suspend(person: Person, tenant_id: str, reason: str = REASON) -> None:
    async with person.octx() as octx:
        stated = state_reason(octx, reason, tenant_id=tenant_id)
        await tenant_directory.suspend_tenant(octx, tenant_id, stated)


async def test_refused_operator_is_in_the_log_of_the_tenant_with_the_reason(cast: Cast) -> None:
    request_id = request_ids.begin()
    with pytest.raises(Refused):
        await suspend(cast.sam, cast.acme)
    (event,) = await list_attempts(cast)
    assert (event.actor_name, event.tenant_id, event.reason) == ("Sam", cast.acme, REASON)
    assert (event.details["result"], event.details["cause"]) == ("denied", "missing_permission")
    assert (event.details["attempt"], event.request_id) == (OP_TENANT_SUSPEND.name, request_id)


async def test_failed_act_of_an_operator_is_in_the_log_of_the_tenant(cast: Cast) -> None:
    await suspend(cast.olga, cast.acme)
    with pytest.raises(Conflict):
        await suspend(cast.olga, cast.acme)
    async with cast.olga.octx() as octx:
        reason = state_reason(octx, REASON, tenant_id=cast.acme)
        events = (await tenant_directory.list_events(octx, cast.acme, reason)).rows
    (event,) = [event for event in events if event.action == "operator.attempted"]
    assert (event.details["result"], event.details["cause"]) == ("failed", "conflict")


async def test_attempt_on_a_tenant_that_does_not_exist_is_in_the_operators_log(cast: Cast) -> None:
    request_id, unknown = request_ids.begin(), new_id("ten")
    with pytest.raises(NotFound):
        await suspend(cast.olga, unknown)
    (event,) = await list_operator_attempts(cast, request_id)
    assert (event.object_id, event.details["result"], event.reason) == (unknown, "failed", REASON)


async def list_operators(person: Person) -> None:
    async with person.octx() as octx:
        await operators.list_operators(octx)


async def test_refused_operator_outside_of_tenants_is_in_the_operators_log(cast: Cast) -> None:
    request_id = request_ids.begin()
    with pytest.raises(Refused):
        await list_operators(cast.sam)
    (event,) = await list_operator_attempts(cast, request_id)
    assert (event.actor_name, event.action, event.object_id) == ("Sam", "action.attempted", "*")
    assert (event.reason, event.details["result"]) == (attempts.NO_REASON, "denied")


async def test_refusal_before_the_handler_is_recorded_with_the_typed_reason(cast: Cast) -> None:
    admission = OperatorAdmission(Actor("operator", new_id("opr"), "Sam"), "support", session_hash="")
    refusal = build_refusal("missing_permission", OP_TENANT_SUSPEND)
    await operator_attempts.record_gate_refusal(
        admission, refusal, tenant_id=cast.acme, reason="x" * 2_000 + "\0"
    )
    (event,) = await list_attempts(cast)
    assert (len(event.reason), event.details["result"]) == (attempts.MAX_REASON_LENGTH, "denied")


async def create_role(person: Person) -> None:
    async with person.ctx() as ctx:
        await roles.create(ctx, "Mine", "", frozenset())


async def test_refused_privileged_act_of_a_member_is_in_the_audit_log(cast: Cast) -> None:
    for _ in range(2 * attempts.MAX_EQUAL):
        with pytest.raises(Refused):
            await create_role(cast.max)
    async with cast.ann.ctx() as ctx:
        denied = (await audit_log.list_events(ctx, AuditFilter(result=AuditResult.DENIED))).rows
    assert len(denied) == attempts.MAX_EQUAL  # the rest is counted, and fills no log that is never shortened
    assert {(event.actor_id, event.action) for event in denied} == {(cast.max.user_id, "action.attempted")}
    assert denied[0].details["attempt"] == "role:create"
