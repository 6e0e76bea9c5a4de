"""Records of decisions: who was refused or allowed what, by which layer; how many, and for how long."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from sqlalchemy import text
from sqlalchemy.exc import ProgrammingError
from sqlmodel import col, select

from shared.access import actions, decision_counts, decision_records, policy
from shared.access.models import DecisionCount, DecisionRecord
from shared.access.refusal_codes import ALLOWED_REASONS, LAYER_BY_REASON, Reason
from shared.audit import audit_log
from shared.core import db, request_ids
from shared.core.context import Actor, Ctx
from shared.core.db import now
from shared.core.errors import Conflict, Refused
from shared.core.ids import lowest_id, new_id
from shared.entitlements.evaluate import Layer
from shared.tenancy import entry, invitations, members, roles
from tests.conftest import Cast, Person


async def list_records(tenant_id: str, *, allowed: bool) -> Sequence[DecisionRecord]:
    async with db.transaction(tenant_id=tenant_id) as session:
        statement = select(DecisionRecord).where(DecisionRecord.allowed == allowed)
        return (await session.exec(statement.order_by(col(DecisionRecord.id)))).all()


async def refuse(person: Person) -> tuple[Refused, str]:
    """The refusal of an invitation, and its request."""
    request_id = request_ids.begin()
    with pytest.raises(Refused) as caught:
        async with person.ctx() as ctx:
            await invitations.invite(ctx, "zoe@acme.test", "viewer")
    return caught.value, request_id


async def test_refusal_is_recorded_with_layer_plan_and_request(cast: Cast) -> None:
    refusal, request_id = await refuse(cast.max)
    (record,) = await list_records(cast.acme, allowed=False)
    assert record.id == refusal.decision_id
    assert refusal.problem_details(request_id)["decision_id"] == record.id
    assert (record.surface, record.actor_type, record.actor_id) == ("page", "user", cast.max.user_id)
    assert (record.action, record.layer, record.reason) == (
        "member:invite",
        "permission",
        "missing_permission",
    )
    assert (record.request_id, record.holder_id) == (request_id, cast.max.user_id)
    assert record.plan_version.startswith("plv_")
    assert record.billing_status


async def test_allowed_write_is_recorded_once_in_its_own_transaction(cast: Cast) -> None:
    before = await list_records(cast.acme, allowed=True)
    async with cast.ann.ctx() as ctx:
        await invitations.invite(ctx, "zoe@acme.test", "viewer")
        recorded_id = decision_records.find_recorded_id(ctx, actions.MEMBER_INVITE)
    (record,) = (await list_records(cast.acme, allowed=True))[len(before) :]
    assert record.id == recorded_id
    assert (record.action, record.reason, record.layer) == ("member:invite", "allowed", "")
    assert record.request_id == ctx.request_id


async def test_reads_and_writes_that_fail_leave_no_record(cast: Cast) -> None:
    before = await list_records(cast.acme, allowed=True)
    async with cast.ann.ctx() as ctx:
        await members.list_members(ctx)
        policy.require(ctx, actions.SETTINGS_WRITE)  # asked by a page that only shows a form
    with pytest.raises(Conflict):
        async with cast.ann.ctx() as ctx:
            await invitations.invite(ctx, cast.max.email, "viewer")
    assert await list_records(cast.acme, allowed=True) == before


def ask_twice(ctx: Ctx) -> None:
    """As a service does that asks again under a lock."""
    policy.require(ctx, actions.MEMBER_INVITE)
    policy.require(ctx, actions.MEMBER_INVITE, obstacle="It is too late.")


async def test_action_that_is_refused_under_the_lock_is_recorded_as_refused_only(cast: Cast) -> None:
    before = await list_records(cast.acme, allowed=True)
    with pytest.raises(Refused):
        async with cast.ann.ctx() as ctx:
            ask_twice(ctx)
    (record,) = await list_records(cast.acme, allowed=False)
    assert (record.layer, record.reason) == ("object", "object_state")
    assert await list_records(cast.acme, allowed=True) == before


async def test_equal_refusals_of_one_minute_are_bounded_and_all_counted(cast: Cast) -> None:
    refusals = [(await refuse(cast.max))[0] for _ in range(decision_records.MAX_EQUAL + 3)]
    records = await list_records(cast.acme, allowed=False)
    assert {record.id for record in records} == {each.decision_id for each in refusals if each.decision_id}
    assert len(records) == decision_records.MAX_EQUAL
    await decision_counts.flush()
    async with db.transaction(tenant_id=cast.acme) as session:
        counts = (await session.exec(select(DecisionCount))).all()
    assert sum(each.count for each in counts if each.reason not in ALLOWED_REASONS) == len(refusals)


async def test_refusals_of_one_tenant_are_bounded_and_others_are_recorded(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decision_records, "MAX_OF_TENANT", 1)
    first, _ = await refuse(cast.max)
    async with cast.ann.ctx() as ctx:
        pass
    second, other = build_refusal(), build_refusal()
    await decision_counts.record_refused(ctx, second, ctx.request_id, surface="page")
    async with cast.gil.ctx() as other_ctx:
        pass
    await decision_counts.record_refused(other_ctx, other, "req_x", surface="page")
    assert (bool(first.decision_id), second.decision_id, bool(other.decision_id)) == (True, "", True)


def build_refusal() -> Refused:
    return Refused("No.", action="role:create", reason=Reason.NOT_IN_PLAN)


async def test_refused_job_is_recorded_as_the_job(cast: Cast) -> None:
    with pytest.raises(Refused) as caught:
        async with entry.enter_job(cast.acme, "tests.do", new_id("req")) as ctx:
            policy.require(ctx, actions.ROLE_CREATE, obstacle="It is too late.")
    (record,) = await list_records(cast.acme, allowed=False)
    assert (record.surface, record.actor_type, record.actor_id) == ("job", "job", "tests.do")
    assert (record.id, record.holder_id) == (caught.value.decision_id, "")


async def test_allowed_write_of_a_job_is_recorded_as_the_job_or_its_requester(cast: Cast) -> None:
    task, request_id = "tests.do", new_id("req")
    async with entry.enter_job(cast.acme, task, request_id) as ctx:
        await roles.create(ctx, "By job", "", [])
    async with entry.enter_requester(cast.acme, cast.ann.user_id, key_id="", request_id=request_id) as ctx:
        await roles.create(ctx, "By Ann", "", [])
    records = [each for each in await list_records(cast.acme, allowed=True) if each.surface == "job"]
    assert [(each.action, each.actor_id, each.request_id) for each in records] == [
        ("role:create", task, request_id),
        ("role:create", cast.ann.user_id, request_id),
    ]


async def test_old_records_are_deleted_in_every_tenant_and_new_ones_kept(cast: Cast) -> None:
    old_at = now() - decision_records.RETENTION - timedelta(hours=1)
    for tenant_id in (cast.acme, cast.globex):
        async with db.transaction(tenant_id=tenant_id) as session:
            for at, letter in ((old_at, "a"), (old_at + timedelta(hours=2), "b")):
                session.add(build_record(tenant_id, f"{lowest_id('dcn', at)[:-1]}{letter}", at=at))
    assert await decision_records.delete_old() >= 2
    for tenant_id in (cast.acme, cast.globex):
        ids = [record.id[-1] for record in await list_records(tenant_id, allowed=False)]
        assert ids == ["b"]


async def test_new_records_are_not_deleted_by_whatever_time_is_given(cast: Cast) -> None:
    await refuse(cast.max)
    await decision_records.delete_old(now() + timedelta(days=365))
    assert len(await list_records(cast.acme, allowed=False)) == 1


def build_record(tenant_id: str, record_id: str, *, at: datetime) -> DecisionRecord:
    return DecisionRecord(
        tenant_id=tenant_id,
        id=record_id,
        at=at,
        surface="page",
        actor_type="user",
        actor_id="usr_x",
        holder_id="usr_x",
        action="role:create",
        allowed=False,
        layer="plan",
        reason="not_in_plan",
        plan_version="",
        billing_status="",
        request_id="req_x",
    )


async def test_record_is_no_row_that_the_apps_can_change(cast: Cast) -> None:
    async with cast.ann.ctx() as ctx:
        connection = await ctx.session.connection()
        with pytest.raises(ProgrammingError, match="permission denied"):
            await connection.execute(text("update decision_record set allowed = true"))
        await ctx.session.rollback()


def test_every_reason_names_a_layer_of_the_trace() -> None:
    assert LAYER_BY_REASON.keys() == set(Reason)
    assert set(LAYER_BY_REASON.values()) - {""} <= set(Layer)


async def test_operators_write_is_recorded_in_the_tenant(cast: Cast) -> None:
    async with cast.olga.octx() as octx:
        policy.require_operator(octx, actions.OP_RIGHTS_WRITE)
        async with entry.enter_as_operator(octx, cast.acme, "Ticket 4471") as ctx:
            audit_log.record(ctx, "tenant.renamed", cast.acme)
    (record,) = [
        record for record in await list_records(cast.acme, allowed=True) if record.actor_type == "operator"
    ]
    assert (record.action, record.actor_id) == ("op:rights:write", octx.actor_id)


async def add_records(tenant_id: str, request_id: str, count: int) -> list[str]:
    ids = [new_id("dcn") for _ in range(count)]
    async with db.transaction(tenant_id=tenant_id) as session:
        for record_id in ids:
            record = build_record(tenant_id, record_id, at=now())
            record.request_id = request_id
            session.add(record)
    return ids


async def test_request_with_many_records_hides_none_of_another_request(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decision_records, "MAX_OF_REQUEST", 2)
    many, single = new_id("req"), new_id("req")
    many_ids, single_ids = await add_records(cast.acme, many, 5), await add_records(cast.acme, single, 1)
    async with cast.ann.ctx() as ctx:
        records = await decision_records.list_of_requests(ctx, [many, single])
    assert [record.id for record in records] == [*many_ids[-2:], *single_ids]


async def test_operator_who_only_visits_has_no_record_of_a_write(cast: Cast) -> None:
    async with cast.olga.octx() as octx:
        policy.require_operator(octx, actions.OP_RIGHTS_WRITE)
        async with entry.enter_as_operator(octx, cast.acme, "Ticket 4471"):
            pass
    records = await list_records(cast.acme, allowed=True)
    assert [record for record in records if record.actor_type == "operator"] == []


async def test_refusals_of_one_person_are_bounded_by_day_with_all_keys_and_others_are_recorded(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decision_records, "MAX_OF_HOLDER_A_DAY", 2)
    async with cast.max.ctx() as ctx:
        pass
    keys = [
        replace(ctx, actor=Actor("api_key", new_id("key"), "By program"), key_holder_id=ctx.actor_id)
        for _ in range(2)
    ]
    async with cast.ann.ctx() as other_ctx:
        pass
    refusals = [build_refusal() for _ in range(4)]
    for each, principal in zip(refusals, (ctx, *keys, other_ctx), strict=True):
        await decision_counts.record_refused(principal, each, ctx.request_id, surface="rest")
    assert [bool(each.decision_id) for each in refusals] == [True, True, False, True]
