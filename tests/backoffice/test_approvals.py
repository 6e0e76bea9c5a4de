"""A second operator approves plans, prices, flags for everyone, support sessions with changes and deletions of tenants. The
first one can't.
"""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import update
from sqlalchemy.exc import IntegrityError, ProgrammingError
from sqlmodel import col, select

from shared.access import actions
from shared.audit.models import AuditEvent, OperatorEvent
from shared.backoffice import (
    approvals,
    approved_changes,
    catalog_drafts,
    flag_admin,
    impersonations,
    price_admin,
    tenant_deletions,
    tenant_directory,
)
from shared.backoffice.approved_changes import DraftPublication, PriceChange, TenantDeletionOrder
from shared.backoffice.catalog_drafts import PublishRequest
from shared.backoffice.impersonations import ImpersonationRequest
from shared.backoffice.models import ApprovalState, OperatorApproval
from shared.backoffice.price_admin import PriceRequest
from shared.backoffice.reasons import state_reason
from shared.core import db
from shared.core.config import ConfigurationError, settings
from shared.core.context import Approval
from shared.core.db import now
from shared.core.errors import Conflict, Invalid, NotFound, Refused
from shared.identity.models import Operator
from shared.offboarding import deletions
from shared.tenancy import entry
from tests.backoffice.test_catalog_drafts import create_draft, save_draft
from tests.conftest import Cast, Operating
from tests.support import factories, support_sessions
from tests.support.billing import sold_plans
from tests.support.entitlements import flag_fixtures

WHY, ANSWER = "As agreed in ticket 4471", "Compared with the contract"
EVERYONE = [{"kind": "everyone"}]
SetVariable = Callable[[str, str], None]


@pytest.fixture
def required(environment: SetVariable) -> None:
    environment("BULKHEAD_APPROVALS", "required")


async def operating(role: str = "owner") -> Operating:
    return Operating(await factories.create_operator("Nora", role))


async def ask_for_deletion(cast: Cast, tenant_id: str = "") -> str:
    tenant_id = tenant_id or cast.acme
    async with cast.olga.octx() as octx:
        order = TenantDeletionOrder(tenant_id=tenant_id, grace_days=30)
        reason = state_reason(octx, WHY, tenant_id=tenant_id)
        return (await approvals.submit(octx, actions.OP_TENANT_DELETE, order, reason)).approval_id


async def approve(operator: Operating, approval_id: str) -> None:
    async with operator.octx() as octx:
        await approvals.approve(octx, approval_id, ANSWER)


async def state_of(cast: Cast, approval_id: str) -> ApprovalState:
    async with cast.olga.octx() as octx:
        return (await approvals.get_approval(octx, approval_id)).view.state


async def is_scheduled(cast: Cast) -> bool:
    async with cast.ann.ctx() as ctx:
        return await deletions.get(ctx) is not None


async def count_events(action: str, object_id: str) -> int:
    async with db.transaction("operator") as session:
        statement = select(OperatorEvent).where(
            col(OperatorEvent.action) == action, col(OperatorEvent.object_id) == object_id
        )
        return len((await session.exec(statement)).all())


async def test_deletion_happens_when_another_owner_approves_and_both_are_recorded(
    cast: Cast, required: None
) -> None:
    approval_id = await ask_for_deletion(cast)
    assert not await is_scheduled(cast)
    second = await operating()
    await approve(second, approval_id)
    assert await is_scheduled(cast)
    async with cast.olga.octx() as octx:
        detail = await approvals.get_approval(octx, approval_id)
        requester = octx.actor
    assert (detail.view.state, detail.view.decided_by_name) == (ApprovalState.APPROVED, "Nora")
    async with cast.ann.ctx() as ctx:
        statement = select(AuditEvent).where(
            col(AuditEvent.tenant_id) == ctx.tenant_id,
            col(AuditEvent.action) == "tenant.deletion_scheduled",
        )
        event = (await ctx.session.exec(statement)).one()
    assert (event.actor_id, event.reason) == (requester.id, WHY)
    assert event.details == {"approval": approval_id, "approved_by": "Nora"}
    for action in ("approval.requested", "approval.approved"):
        assert await count_events(action, approval_id) == 1


async def test_own_request_is_refused_and_can_be_withdrawn(cast: Cast, required: None) -> None:
    approval_id = await ask_for_deletion(cast)
    for decide in (approvals.approve, approvals.decline):
        with pytest.raises(Refused, match="own request"):
            async with cast.olga.octx() as octx:
                await decide(octx, approval_id, ANSWER)
    second = await operating()
    with pytest.raises(Refused):
        async with second.octx() as octx:
            await approvals.withdraw(octx, approval_id, ANSWER)
    async with cast.olga.octx() as octx:
        await approvals.withdraw(octx, approval_id, ANSWER)
    with pytest.raises(Conflict, match="withdrawn"):
        await approve(second, approval_id)
    assert not await is_scheduled(cast)
    assert await ask_for_deletion(cast)  # again


async def test_database_refuses_a_request_that_its_requester_approves(cast: Cast, required: None) -> None:
    approval_id = await ask_for_deletion(cast)
    values = {"decided_by": OperatorApproval.requested_by, "decided_at": now()}
    decision = update(OperatorApproval).where(col(OperatorApproval.id) == approval_id)
    with pytest.raises(IntegrityError, match="operator_approval_check"):
        async with db.transaction("operator") as session:
            await session.exec(decision.values(state=ApprovalState.APPROVED, **values))
    with pytest.raises(ProgrammingError, match="permission denied"):
        async with db.transaction("operator") as session:
            await session.exec(update(OperatorApproval).values(payload={}))


@pytest.mark.parametrize("role", ["support", "billing", "engineer"])
async def test_role_without_the_permission_of_the_action_is_refused(
    cast: Cast, required: None, role: str
) -> None:
    approval_id = await ask_for_deletion(cast)
    lower = await operating(role)
    with pytest.raises(Refused):
        await approve(lower, approval_id)
    async with lower.octx() as octx:
        assert "permission" in (await approvals.get_approval(octx, approval_id)).obstacle
    assert await state_of(cast, approval_id) is ApprovalState.WAITING


async def test_two_approvals_at_once_carry_it_out_once(cast: Cast, required: None) -> None:
    approval_id = await ask_for_deletion(cast)
    operators = [await operating(), await operating()]
    outcomes = await asyncio.gather(
        *(approve(operator, approval_id) for operator in operators), return_exceptions=True
    )
    (refusal,) = [str(outcome) for outcome in outcomes if isinstance(outcome, Conflict)]
    assert "Nora has approved this request" in refusal
    assert outcomes.count(None) == 1
    assert await count_events("approval.approved", approval_id) == 1


async def test_expired_request_is_refused_and_can_be_asked_for_again(
    cast: Cast, required: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(approvals, "LIFETIME", timedelta(milliseconds=1))
        approval_id = await ask_for_deletion(cast)
    with pytest.raises(Conflict, match="expired"):
        await approve(await operating(), approval_id)
    assert not await is_scheduled(cast)
    assert await state_of(cast, approval_id) is ApprovalState.EXPIRED
    assert await ask_for_deletion(cast)  # again


async def test_object_that_has_changed_is_a_conflict_and_the_request_stays(
    cast: Cast, required: None
) -> None:
    async with cast.olga.octx() as octx:
        key = await _create_flag(cast)
        number = (await flag_admin.get_flag(octx, key)).versions[0].number
        submission = await approved_changes.change_flag(
            octx, key, number, EVERYONE, reason=state_reason(octx, WHY)
        )
    assert submission.is_waiting
    async with cast.olga.octx() as octx:
        await flag_admin.change_rules(octx, key, number, [{"kind": "beta"}], state_reason(octx, WHY))
    second = await operating()
    with pytest.raises(Conflict):
        await approve(second, submission.approval_id)
    async with second.octx() as octx:
        detail = await approvals.get_approval(octx, submission.approval_id)
        rules = (await flag_admin.get_flag(octx, key)).versions[0].rules
        assert (detail.view.state, rules) == (ApprovalState.WAITING, [{"kind": "beta"}])
        assert "changed" in detail.obstacle
        await approvals.decline(octx, submission.approval_id, ANSWER)


async def test_tenant_that_was_suspended_meanwhile_is_not_deleted(cast: Cast, required: None) -> None:
    approval_id = await ask_for_deletion(cast)
    async with cast.olga.octx() as octx:
        reason = state_reason(octx, WHY, tenant_id=cast.acme)
        await tenant_directory.suspend_tenant(octx, cast.acme, reason, message="Please call us.")
    with pytest.raises(Conflict, match="has changed since"):
        await approve(await operating(), approval_id)
    assert await state_of(cast, approval_id) is ApprovalState.WAITING


async def _create_flag(cast: Cast) -> str:
    return await flag_fixtures.create_flag(cast, {"kind": "internal"})


async def test_requester_who_lost_the_permission_is_a_conflict(cast: Cast, required: None) -> None:
    asker = await operating()
    async with asker.octx() as octx:
        order = TenantDeletionOrder(tenant_id=cast.acme, grace_days=30)
        reason = state_reason(octx, WHY, tenant_id=cast.acme)
        approval_id = (await approvals.submit(octx, actions.OP_TENANT_DELETE, order, reason)).approval_id
        asker_id = octx.actor_id
    async with db.transaction("operator") as session:
        await session.exec(update(Operator).where(col(Operator.id) == asker_id).values(role="support"))
    with pytest.raises(Conflict, match="no longer has permission"):
        await approve(cast.olga, approval_id)
    assert not await is_scheduled(cast)


async def test_services_refuse_without_an_approval(cast: Cast, required: None) -> None:
    key = await _create_flag(cast)
    async with cast.olga.octx() as octx:
        reason = state_reason(octx, WHY)
        with pytest.raises(Refused, match="second operator"):
            await flag_admin.change_rules(octx, key, 2, EVERYONE, reason)
        price = PriceRequest(version_id="plv_pro_1", period="month", kind="flat", amount=100)
        with pytest.raises(Refused, match="second operator"):
            await price_admin.set_price(octx, price, reason)
        tenant_reason = state_reason(octx, WHY, tenant_id=cast.acme)
        with pytest.raises(Refused, match="second operator"):
            await tenant_deletions.schedule(octx, cast.acme, tenant_reason, grace_days=30)
        request = PublishRequest(revision=1, reason=WHY, moves=False, confirmed_digest="")
        with pytest.raises(Refused, match="second operator"):
            await catalog_drafts.publish(octx, "plv_pro_1", request)


async def test_flag_for_some_needs_no_approval_and_a_revived_one_for_everyone_does(
    cast: Cast, environment: SetVariable
) -> None:
    key = await flag_fixtures.create_flag(cast, {"kind": "percentage", "percent": 100})
    async with cast.olga.octx() as octx:
        await flag_admin.kill_flag(octx, key, state_reason(octx, WHY))
    environment("BULKHEAD_APPROVALS", "required")
    async with cast.olga.octx() as octx:
        reason = state_reason(octx, WHY)
        with pytest.raises(Refused, match="second operator"):
            await flag_admin.revive_flag(octx, key, 3, reason)
        revival = await approved_changes.change_flag(octx, key, 3, None, reason=reason)
        narrower = await approved_changes.change_flag(octx, key, 3, [{"kind": "beta"}], reason=reason)
    assert (revival.is_waiting, narrower.is_waiting) == (True, False)


async def test_price_and_draft_are_carried_out_as_they_were_asked_for(
    cast: Cast, environment: SetVariable
) -> None:
    version = await sold_plans.publish_with_prices(cast)
    draft = await save_draft(cast.olga, await create_draft(cast.olga))
    environment("BULKHEAD_APPROVALS", "required")
    second = await operating("billing")
    start = now() + timedelta(days=30)
    async with cast.olga.octx() as octx:
        change = PriceChange(
            version_id=version.id,
            period="year",
            kind="flat",
            currency="eur",
            amount=4_900,
            effective_at=start,
        )
        price = await approvals.submit(octx, actions.OP_PRICE_SET, change, state_reason(octx, WHY))
        publication = DraftPublication(
            draft_id=draft.id, revision=draft.revision, moves=False, confirmed_digest=""
        )
        published = await approvals.submit(
            octx, actions.OP_CATALOG_PUBLISH, publication, state_reason(octx, WHY)
        )
        requester = octx.actor.name
    for submission in (price, published):
        await approve(second, submission.approval_id)
    async with second.octx() as octx:
        _, after = await catalog_drafts.get_draft(octx, draft.id)
        history = await price_admin.list_price_history(octx)
    prices = next(each.prices for each in history.versions if each.version.id == version.id)
    new = next(each for each in prices if each.currency == "eur")
    assert (new.amount, new.effective_at, new.created_by, new.reason) == (4_900, start, requester, WHY)
    assert (after.status, after.published_by, after.reason) == ("published", requester, WHY)


async def test_key_neither_approves_nor_declines(cast: Cast, required: None) -> None:
    approval_id = await ask_for_deletion(cast)
    second = await operating()
    for decide in (approvals.approve, approvals.decline):
        with pytest.raises(Refused, match="signed in"):
            async with second.octx() as octx:
                await decide(replace(octx, key_id="opk_1", session_hash=""), approval_id, ANSWER)
    assert not await is_scheduled(cast)


async def test_requester_may_do_in_an_approval_what_the_approver_may_too(cast: Cast) -> None:
    async with cast.olga.octx() as octx:
        requester = await octx.session.get_one(Operator, octx.actor_id)
        owner_permissions = octx.permissions
    async with (await operating("billing")).octx() as octx:
        acting = entry.act_for_requester(octx, requester, Approval("apr_1", "op:price:set", "Nora"))
        assert acting.permissions == octx.permissions & owner_permissions < owner_permissions


async def test_same_object_has_one_waiting_request(cast: Cast, required: None) -> None:
    await ask_for_deletion(cast)
    with pytest.raises(Conflict, match="already waiting"):
        await ask_for_deletion(cast)
    assert await ask_for_deletion(cast, cast.globex)


async def test_single_operator_carries_it_out_until_there_is_a_second(
    cast: Cast, environment: SetVariable
) -> None:
    environment("BULKHEAD_APPROVALS", "one_operator")
    async with cast.olga.octx() as octx:
        order = TenantDeletionOrder(tenant_id=cast.acme, grace_days=30)
        reason = state_reason(octx, WHY, tenant_id=cast.acme)
        async with octx.session.begin_nested() as alone:
            others = update(Operator).where(col(Operator.id) != octx.actor_id)
            await octx.session.exec(others.values(disabled_at=now()))
            submission = await approvals.submit(octx, actions.OP_TENANT_DELETE, order, reason)
            await alone.rollback()
    assert not submission.is_waiting
    await operating()
    assert await ask_for_deletion(cast)


def test_production_requires_approval_and_refuses_to_turn_it_off(environment: SetVariable) -> None:
    environment("BULKHEAD_ENV", "prod")
    with pytest.raises(ConfigurationError) as default:
        settings()
    assert "BULKHEAD_APPROVALS" not in str(default.value)
    environment("BULKHEAD_APPROVALS", "off")
    with pytest.raises(ConfigurationError, match="BULKHEAD_APPROVALS is off"):
        settings()


async def test_list_shows_what_waits_and_what_was_decided(cast: Cast, required: None) -> None:
    approval_id = await ask_for_deletion(cast)
    async with cast.sam.octx() as octx:
        waiting = await approvals.list_approvals(octx, waiting=True, limit=100)
        decided = await approvals.list_approvals(octx, waiting=False, limit=100)
    assert approval_id in {row.id for row in waiting.rows}
    assert approval_id not in {row.id for row in decided.rows}


async def test_command_line_asks_for_nothing(cast: Cast, required: None) -> None:
    async with entry.enter_platform("test") as octx:
        order = TenantDeletionOrder(tenant_id=cast.acme, grace_days=30)
        with pytest.raises(Refused, match="signed in"):
            await approvals.submit(
                octx, actions.OP_TENANT_DELETE, order, state_reason(octx, WHY, tenant_id=cast.acme)
            )
    async with db.transaction("operator") as session:
        statement = select(OperatorApproval).where(col(OperatorApproval.object_id) == cast.acme)
        assert (await session.exec(statement)).all() == []


async def ask_for_changes(
    operator: Operating, cast: Cast, **changed: str
) -> approved_changes.RequestedSession:
    """A support session for Adam that may change something."""
    member_id = await support_sessions.find_membership(cast.ann.cookie, cast.ann.slug, cast.adam.user_id)
    order = ImpersonationRequest(
        **{"membership_id": member_id, "ticket": "4471", "write_reason": WHY, **changed},
        minutes=10,
        can_write=True,
    )
    async with operator.octx() as octx:
        reason = state_reason(octx, WHY, tenant_id=cast.acme)
        return await approved_changes.request_support_session(octx, cast.acme, order, reason)


async def test_support_session_with_changes_waits_for_a_second_operator(cast: Cast, required: None) -> None:
    session_request = await ask_for_changes(cast.olga, cast)
    assert session_request.submission is not None
    assert (session_request.submission.is_waiting, session_request.requested.code) == (True, "")
    approval_id, session_id = session_request.submission.approval_id, session_request.requested.id
    with pytest.raises(Refused):
        await approve(cast.olga, approval_id)
    async with cast.olga.octx() as octx:
        with pytest.raises(NotFound):
            await impersonations.begin(octx, cast.acme, session_id)
    second = await operating()
    await approve(second, approval_id)
    async with second.octx() as octx:
        with pytest.raises(NotFound):
            await impersonations.begin(octx, cast.acme, session_id)
    async with cast.olga.octx() as octx:
        begun_session = await impersonations.begin(octx, cast.acme, session_id)
    assert begun_session.code.startswith(f"{cast.acme}.")
    async with cast.ann.ctx() as ctx:
        statement = select(AuditEvent).where(
            col(AuditEvent.tenant_id) == ctx.tenant_id, col(AuditEvent.object_id) == session_id
        )
        event = (await ctx.session.exec(statement)).one()
    assert (event.action, event.actor_name, event.reason) == ("impersonation.requested", "Olga", WHY)
    assert (event.details["approval"], event.details["approved_by"]) == (approval_id, "Nora")


async def test_support_session_with_changes_does_not_begin_without_the_right_to_change(
    cast: Cast, required: None
) -> None:
    requester = await operating()
    session_request = await ask_for_changes(requester, cast)
    assert session_request.submission is not None
    await approve(cast.olga, session_request.submission.approval_id)
    async with requester.octx() as octx:
        requester_id = octx.actor_id
    async with db.transaction("operator") as session:
        await session.exec(update(Operator).where(col(Operator.id) == requester_id).values(role="support"))
    with pytest.raises(Refused) as refused:
        async with requester.octx() as octx:
            await impersonations.begin(octx, cast.acme, session_request.requested.id)
    assert refused.value.action == "op:impersonate:write"


async def test_support_session_with_changes_is_refused_without_approval(cast: Cast, required: None) -> None:
    member_id = await support_sessions.find_membership(cast.ann.cookie, cast.ann.slug, cast.adam.user_id)
    with pytest.raises(Refused) as refused:
        await support_sessions.request(cast.olga.cookie, cast.acme, member_id, can_write=True)
    assert refused.value.reason == "approval_needed"
    await support_sessions.request(cast.olga.cookie, cast.acme, member_id)  # reading needs none


async def test_support_session_with_changes_begins_where_no_second_operator_is_required(cast: Cast) -> None:
    session_request = await ask_for_changes(cast.olga, cast)
    assert session_request.requested.code.startswith(f"{cast.acme}.")
    with pytest.raises(Invalid):
        await ask_for_changes(cast.olga, cast, write_reason=" ")
