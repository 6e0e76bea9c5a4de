"""A recorded decision is found by its id and its request, in its own tenant, and explained as of its time."""

from datetime import timedelta

import pytest

from shared.access import actions, decision_records, policy
from shared.access.models import DecisionRecord
from shared.backoffice import tenant_access
from shared.backoffice.reasons import state_reason
from shared.core import request_ids
from shared.core.db import now
from shared.core.errors import Invalid, NotFound, Refused
from shared.core.ids import new_id
from shared.tenancy import audit_reader, entry, invitations, members, recorded_decisions
from shared.tenancy.recorded_decisions import RecordedDecision
from tests.conftest import Cast, Person
from tests.support import api_clients

API = "/api/v1"


async def refuse(person: Person) -> tuple[str, str]:
    """The ids of a decision and its request: this person may not invite."""
    request_id = request_ids.begin()
    with pytest.raises(Refused) as caught:
        async with person.ctx() as ctx:
            await invitations.invite(ctx, "zoe@acme.test", "viewer")
    return caught.value.decision_id, request_id


async def get(person: Person, decision_id: str) -> RecordedDecision:
    async with person.ctx() as ctx:
        return await recorded_decisions.get(ctx, decision_id)


def find_deciding(decision: RecordedDecision) -> list[str]:
    assert decision.layers is not None
    return [layer.layer for layer in decision.layers if layer.decides]


async def test_decision_is_explained_as_of_its_time_after_the_role_has_changed(cast: Cast) -> None:
    decision_id, request_id = await refuse(cast.max)
    async with cast.ann.ctx() as ctx:
        page = await members.list_members(ctx)
        membership_id = next(row.id for row in page.rows if row.name == "Max")
        await members.set_role(ctx, membership_id, "admin", version=None)
    decision = await get(cast.ann, decision_id)
    assert (decision.actor_name, decision.allowed, decision.request_id) == ("Max", False, request_id)
    assert find_deciding(decision) == ["permission"] == [decision.layer]
    assert "invite people" in decision.detail


async def test_write_that_took_the_last_seat_is_explained_as_before_it(cast: Cast) -> None:
    async with cast.olga.octx() as octx:
        reason = state_reason(octx, "Trying it", tenant_id=cast.acme)
        until = now() + timedelta(days=1)
        await tenant_access.override_limit(octx, cast.acme, "members", 4, reason, ends_at=until)
    async with cast.ann.ctx() as ctx:
        await invitations.invite(ctx, "zoe@acme.test", "viewer")
        decision_id = decision_records.find_recorded_id(ctx, actions.MEMBER_INVITE)
    decision = await get(cast.ann, decision_id)
    assert (decision.allowed, find_deciding(decision)) == (True, [])


async def test_request_finds_its_refusal_first_and_the_others_beside_it(cast: Cast) -> None:
    request_id = request_ids.begin()
    async with cast.ann.ctx() as ctx:
        await invitations.invite(ctx, "zoe@acme.test", "viewer")
    with pytest.raises(Refused):
        async with cast.ann.ctx() as ctx:
            policy.require(ctx, actions.ROLE_DELETE, obstacle="It is in use.")
    async with cast.ann.ctx() as ctx:
        result = await recorded_decisions.search(ctx, f" {request_id} ")
    assert (result.decision.action, result.decision.reason) == ("role:delete", "object_state")
    assert [(record.action, record.allowed) for record in result.others] == [("member:invite", True)]
    assert result.decision.detail == "", "the layers of that time do not know the object"


async def test_decision_of_another_tenant_is_as_unknown_as_one_that_never_was(cast: Cast) -> None:
    decision_id, request_id = await refuse(cast.max)
    problems = []
    for searched in (decision_id, new_id("dcn"), request_id, new_id("req")):
        with pytest.raises(NotFound) as caught:
            async with cast.gil.ctx() as ctx:
                await recorded_decisions.search(ctx, searched)
        problems.append(caught.value.problem_details("req_x"))
    assert problems == problems[:1] * 4


@pytest.mark.parametrize("text", ["", "dcn_", "ten_acme", "dcn_a' or 1=1", "x" * 200])
async def test_other_text_is_refused(cast: Cast, text: str) -> None:
    async with cast.ann.ctx() as ctx:
        with pytest.raises(Invalid):
            await recorded_decisions.search(ctx, text)


async def test_member_may_not_read_decisions(cast: Cast) -> None:
    decision_id, _ = await refuse(cast.max)
    with pytest.raises(Refused):
        await get(cast.max, decision_id)


async def test_decision_of_a_key_without_the_scope_names_the_key(cast: Cast) -> None:
    program = await api_clients.create_key(cast.ann, "audit:read")
    async with program.client() as client:
        problem = (await client.get(f"{API}/members")).json()
        answer = await client.get(f"{API}/decisions/{problem['decision_id']}")
    decision = answer.json()
    assert (answer.status_code, decision["reason"], decision["surface"]) == (200, "missing_scope", "rest")
    assert (decision["actor_type"], decision["actor_id"]) == ("api_key", program.key_id)
    assert decision["holder_id"] == cast.ann.user_id
    first = decision["trace"][0]
    assert (first["decides"], first["source_id"]) == (True, program.key_id)


async def test_decision_of_a_service_account_was_asked_over_rest(cast: Cast) -> None:
    program = await api_clients.create_account_key(cast.ann, "admin", "audit:read")
    async with program.client() as client:
        problem = (await client.get(f"{API}/members")).json()
        decision = (await client.get(f"{API}/decisions/{problem['decision_id']}")).json()
    assert (decision["actor_type"], decision["surface"]) == ("service_account", "rest")


async def test_decision_of_a_job_has_all_permissions(cast: Cast) -> None:
    with pytest.raises(Refused) as caught:
        async with entry.enter_job(cast.acme, "tests.do", new_id("req")) as ctx:
            policy.require(ctx, actions.ROLE_CREATE, obstacle="It is too late.")
    decision = await get(cast.ann, caught.value.decision_id)
    assert (decision.actor_type, decision.surface, decision.actor_name) == ("job", "job", "tests.do")
    assert decision.layers is not None


async def test_decision_of_a_token_is_shown_without_layers(cast: Cast) -> None:
    record = DecisionRecord(
        tenant_id=cast.acme,
        at=now() - timedelta(minutes=1),
        surface="rest",
        actor_type="external",
        actor_id="jwi_x:sub",
        holder_id="",
        action="role:create",
        allowed=False,
        layer="permission",
        reason="missing_permission",
        plan_version="",
        billing_status="",
        request_id=new_id("req"),
    )
    async with cast.ann.ctx() as ctx:
        ctx.session.add(record)
        decision = await recorded_decisions.explain_record(ctx, record)
    assert (decision.layers, decision.actor_name) == (None, "jwi_x:sub")


async def test_audit_event_of_a_write_names_its_decision(cast: Cast) -> None:
    async with cast.ann.ctx() as ctx:
        await invitations.invite(ctx, "zoe@acme.test", "viewer")
        decision_id = decision_records.find_recorded_id(ctx, actions.MEMBER_INVITE)
    async with cast.ann.ctx() as ctx:
        view = await audit_reader.view_audit_log(ctx)
    latest = view.events.rows[0]
    assert (latest.action, view.decision_ids[latest.id]) == ("invitation.created", decision_id)


async def test_write_by_program_names_its_decision_also_when_it_is_replayed(cast: Cast) -> None:
    program = await api_clients.create_key(cast.ann)
    body = {"name": "By program", "scopes": ["member:read"]}
    async with program.client() as client:
        answers = [
            await client.post(f"{API}/api-keys", json=body, headers={"idempotency-key": "once"})
            for _ in range(2)
        ]
        read = await client.get(f"{API}/api-keys")
        decision_id = answers[0].headers["decision-id"]
        decision = (await client.get(f"{API}/decisions/{decision_id}")).json()
    assert [answer.headers["decision-id"] for answer in answers] == [decision_id] * 2
    assert "decision-id" not in read.headers
    assert (decision["allowed"], decision["action"]) == (True, "api_key:create")
    assert not any(layer["decides"] for layer in decision["trace"])
