"""Explanations of access: at past times, on another plan, and comparisons of two times with their causes."""

import asyncio
import dataclasses
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest
from sqlmodel import select

from shared.access import actions, decision_counts, policy
from shared.access.permissions import OperatorPermission, Permission
from shared.access.refusal_codes import Reason
from shared.audit import audit_log
from shared.audit.audit_filter import AuditFilter
from shared.backoffice import explanations, recent_refusals, tenant_access, tenant_directory
from shared.backoffice.explanations import ExplanationComparison
from shared.backoffice.reasons import state_reason
from shared.core import db
from shared.core.context import Ctx
from shared.core.db import now
from shared.core.errors import DomainError, Invalid, NotFound, Refused
from shared.entitlements import explain
from shared.entitlements.evaluate import Layer, Verdict
from shared.identity.models import User
from shared.tenancy import entry, invitations, members
from shared.tenancy.decision_history import PERSON_WITHOUT_ROLE, Explanation
from shared.tenancy.models import Membership, RoleRow
from tests.conftest import Cast, Person
from tests.support import factories

REASON = "Ticket 4471, as agreed"


async def explain_access(
    cast: Cast, person: str, action: str, at: datetime | None = None, plan: str = "", tenant: str = ""
) -> Explanation:
    async with cast.olga.octx() as octx:
        return await explanations.explain_access(octx, tenant or cast.acme, person, action, at=at, plan=plan)


async def compare_access(
    cast: Cast, person: str, action: str, before: datetime, after: datetime | None = None
) -> ExplanationComparison:
    async with cast.olga.octx() as octx:
        return await explanations.compare_access(octx, cast.acme, person, action, before, after)


def get_verdict(answer: Explanation, layer: Layer) -> Verdict:
    return next(line.verdict for line in answer.trace.lines if line.layer is layer)


def get_reason(answer: Explanation) -> Reason:
    return answer.trace.decision.reason


async def find_membership_id(person: Person, ctx: Ctx) -> str:
    page = await members.list_members(ctx, query=person.email)
    return page.rows[0].id


# ── past times ───────────────────────────────────────────────────────────────────────────────────────────────────


async def test_explanation_of_the_past_uses_the_plan_of_that_time(cast: Cast) -> None:
    then = now()
    async with cast.olga.octx() as octx:
        await tenant_access.assign_plan(
            octx, cast.acme, "plv_free_1", state_reason(octx, REASON, tenant_id=cast.acme)
        )
    assert get_reason(await explain_access(cast, cast.ann.user_id, "member:export", then)) == Reason.ALLOWED
    today = await explain_access(cast, cast.ann.user_id, "member:export")
    assert (get_reason(today), today.trace.decided_by) == (Reason.NOT_IN_PLAN, Layer.PLAN)
    assert today.detail == "Free doesn’t include CSV export."

    comparison = await compare_access(cast, cast.ann.user_id, "member:export", then)
    (changed,) = [change for change in comparison.changes if change.after.layer is Layer.PLAN]
    assert [change.after.layer for change in comparison.changes] == [Layer.PLAN, Layer.TRIAL]
    cause = changed.causes[0]
    assert cause.source_id.startswith("tpl_")
    assert (cause.actor_name, cause.reason) == ("Olga", REASON)
    assert cause.text == "Free version 1 was assigned."
    async with cast.olga.octx() as octx:
        page = await tenant_directory.list_events(
            octx, cast.acme, state_reason(octx, REASON, tenant_id=cast.acme), request_id=cause.request_id
        )
    assert "plan.assigned" in {event.action for event in page.rows}
    assert {event.request_id for event in page.rows} == {cause.request_id}


async def test_explanation_of_the_past_uses_the_role_of_that_time(cast: Cast) -> None:
    then = now()
    async with cast.ann.ctx() as ctx:
        await members.set_role(ctx, await find_membership_id(cast.max, ctx), "admin", version=None)
    assert (
        get_reason(await explain_access(cast, cast.max.user_id, "audit:read", then))
        == Reason.MISSING_PERMISSION
    )
    assert get_reason(await explain_access(cast, cast.max.user_id, "audit:read")) == Reason.ALLOWED
    comparison = await compare_access(cast, cast.max.user_id, "audit:read", then)
    (changed,) = comparison.changes
    assert changed.after.layer is Layer.PERMISSION
    assert changed.causes[0].source_id == changed.after.source_id
    assert (changed.causes[0].text, changed.causes[0].actor_name) == ("Max became Admin.", "Ann")
    assert changed.causes[0].request_id


async def test_comparison_names_suspension_and_restoration_as_causes(cast: Cast) -> None:
    open_ = now()
    async with cast.olga.octx() as octx:
        await tenant_directory.suspend_tenant(
            octx, cast.acme, state_reason(octx, "Card testing", tenant_id=cast.acme)
        )
    shut = now()
    async with cast.olga.octx() as octx:
        await tenant_directory.restore_tenant(
            octx, cast.acme, state_reason(octx, "It was a mistake", tenant_id=cast.acme)
        )
    for at, expected in (
        (open_, Reason.ALLOWED),
        (shut, Reason.TENANT_SUSPENDED),
        (None, Reason.ALLOWED),
    ):
        assert get_reason(await explain_access(cast, cast.ann.user_id, "member:invite", at)) == expected
    closed = await compare_access(cast, cast.ann.user_id, "member:invite", open_, shut)
    (changed,) = closed.changes
    assert [(cause.source_id, cause.actor_name, cause.reason) for cause in changed.causes] == [
        (changed.after.source_id, "Olga", "Card testing")
    ]
    both = await compare_access(cast, cast.ann.user_id, "member:invite", open_)
    assert [cause.reason for cause in both.changes[0].causes] == ["It was a mistake", "Card testing"]


async def test_comparison_names_an_expired_override(cast: Cast) -> None:
    until = now() + timedelta(seconds=0.5)
    async with cast.olga.octx() as octx:
        await tenant_access.override_feature(
            octx,
            cast.acme,
            "exports.csv",
            False,
            state_reason(octx, REASON, tenant_id=cast.acme),
            ends_at=until,
        )
    inside = now()
    answer = await explain_access(cast, cast.ann.user_id, "member:export", inside)
    assert (get_reason(answer), answer.trace.decided_by) == (Reason.NOT_IN_PLAN, Layer.OVERRIDE)
    await asyncio.sleep((until - now()).total_seconds() + 0.01)
    assert get_reason(await explain_access(cast, cast.ann.user_id, "member:export", until)) == Reason.ALLOWED
    comparison = await compare_access(cast, cast.ann.user_id, "member:export", inside)
    assert get_reason(comparison.after) == Reason.ALLOWED
    # The plan was overruled and is not any more: it found the same, and is not named.
    (changed,) = comparison.changes
    (cause,) = changed.causes
    assert (cause.source_id, cause.at, cause.actor_name) == (answer.trace.lines[5].source_id, until, "")
    assert cause.text == "The override of CSV export ended on schedule."


async def test_comparison_names_an_override_that_was_ended(cast: Cast) -> None:
    async with cast.olga.octx() as octx:
        await tenant_access.override_feature(
            octx,
            cast.acme,
            "sso",
            True,
            state_reason(octx, REASON, tenant_id=cast.acme),
            ends_at=now() + timedelta(days=1),
        )
        await tenant_access.override_limit(
            octx,
            cast.acme,
            "members",
            3,
            state_reason(octx, REASON, tenant_id=cast.acme),
            ends_at=now() + timedelta(days=1),
        )
    full = now()
    async with cast.olga.octx() as octx:
        access = await tenant_access.get_tenant_access(octx, cast.acme)
        row = next(override for override in access.overrides if override.name == "members")
        await tenant_access.end_assignment(
            octx, cast.acme, row.id, state_reason(octx, "They pay for more", tenant_id=cast.acme)
        )
    comparison = await compare_access(cast, cast.ann.user_id, "member:invite", full)
    assert (get_reason(comparison.before), get_reason(comparison.after)) == (
        Reason.LIMIT_REACHED,
        Reason.ALLOWED,
    )
    (changed,) = comparison.changes
    cause = changed.causes[0]
    assert (cause.source_id, cause.actor_name, cause.reason) == (row.id, "Olga", "They pay for more")


async def test_comparison_counts_seats_at_both_times(cast: Cast) -> None:
    then = now()
    async with cast.ann.ctx() as ctx:
        await invitations.invite(ctx, "zoe@acme.test", "viewer")
        await members.remove(ctx, await find_membership_id(cast.max, ctx))
        await invitations.invite(ctx, "yan@acme.test", "viewer")
    before, after = (
        next(
            explain.describe_line(line, answer.trace.inputs)
            for line in answer.trace.lines
            if line.layer is Layer.LIMIT
        )
        for answer in (
            await explain_access(cast, cast.ann.user_id, "member:invite", then),
            await explain_access(cast, cast.ann.user_id, "member:invite"),
        )
    )
    assert before.startswith("3 of 100 in use.")
    assert after.startswith("4 of 100 in use.")
    comparison = await compare_access(cast, cast.ann.user_id, "member:invite", then)
    (changed,) = comparison.changes
    assert {(cause.text, cause.actor_name) for cause in changed.causes} == {
        ("yan@acme.test was invited.", "Ann"),
        ("Max was removed.", "Ann"),
        ("zoe@acme.test was invited.", "Ann"),
    }


async def test_comparison_names_changes_of_billing_trial_and_flags(cast: Cast) -> None:
    start = now()
    async with cast.olga.octx() as octx:
        await tenant_access.set_billing_status(
            octx, cast.acme, "read_only", state_reason(octx, "Did not pay", tenant_id=cast.acme)
        )
    owing = now()
    async with cast.olga.octx() as octx:
        await tenant_access.set_billing_status(
            octx, cast.acme, "active", state_reason(octx, "Paid, ticket 4471", tenant_id=cast.acme)
        )
        await tenant_access.set_flag_override(
            octx, cast.acme, "role_editor", False, state_reason(octx, "Trying it", tenant_id=cast.acme)
        )
    comparison = await compare_access(cast, cast.ann.user_id, "role:create", start, owing)
    assert [change.causes[0].reason for change in comparison.changes] == ["Did not pay"]
    assert comparison.changes[0].causes[0].source_id == comparison.changes[0].after.source_id
    comparison = await compare_access(cast, cast.ann.user_id, "role:create", owing)
    assert {
        change.after.layer: [cause.reason for cause in change.causes] for change in comparison.changes
    } == {
        Layer.BILLING: ["Paid, ticket 4471"],
        Layer.FLAG: [
            "Trying it"
        ],  # once: that an earlier word made room for this one is no change of its own
    }
    assert get_reason(comparison.after) == Reason.FLAG_OFF


# ── people ───────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_explanation_for_a_former_member_is_the_text_they_read(cast: Cast) -> None:
    then = now()
    async with cast.ann.ctx() as ctx:
        await members.deactivate(ctx, await find_membership_id(cast.max, ctx))
        await members.remove(ctx, await find_membership_id(cast.adam, ctx))
    for person, word in ((cast.max, "deactivated"), (cast.adam, "removed")):
        assert get_reason(await explain_access(cast, person.user_id, "home:read", then)) == Reason.ALLOWED
        answer = await explain_access(cast, person.user_id, "home:read")
        assert (get_reason(answer), answer.detail) == (Reason.MISSING_PERMISSION, f"Your access was {word}.")
        assert (
            explain.describe_line(answer.trace.lines[0], answer.trace.inputs)
            == f"This person was {word} and has no role."
        )
        assert answer.trace.lines[0].source_id.startswith("mbc_")


async def test_explanation_before_joining_finds_no_role(cast: Cast) -> None:
    zoe, then = await factories.create_account("Zoe"), now()
    await factories.join_tenant(cast.ann.account, cast.ann.slug, zoe, "viewer")
    early = await explain_access(cast, zoe.user.id, "home:read", then)
    assert (
        explain.describe_line(early.trace.lines[0], early.trace.inputs)
        == "This person has no role, so home:read is missing."
    )
    comparison = await compare_access(cast, zoe.user.id, "home:read", then)
    assert comparison.changes[0].causes[-1].text == "Zoe joined as Viewer."


async def test_explanation_of_the_past_uses_the_permissions_the_role_had(cast: Cast) -> None:
    key = await save_custom_role(cast, [Permission.HOME_READ])
    async with cast.olga.octx() as octx, entry.enter_as_operator(octx, cast.acme, REASON) as ctx:
        max_ = await get_membership(ctx, cast.max)
        max_.role = key
        ctx.session.add(max_)
    then = now()
    await save_custom_role(cast, [Permission.HOME_READ, Permission.AUDIT_READ], key)
    assert (
        get_reason(await explain_access(cast, cast.max.user_id, "audit:read", then))
        == Reason.MISSING_PERMISSION
    )
    assert get_reason(await explain_access(cast, cast.max.user_id, "audit:read")) == Reason.ALLOWED
    comparison = await compare_access(cast, cast.max.user_id, "audit:read", then)
    (changed,) = comparison.changes
    assert changed.before.source_id.startswith("mbc_")
    assert changed.after.source_id.startswith("rlc_")
    assert [cause.source_id for cause in changed.causes] == [changed.after.source_id]


async def test_explanation_without_a_person_finds_no_role_and_for_strangers_fails(cast: Cast) -> None:
    nobody = await explain_access(cast, "", "home:read")
    assert (get_reason(nobody), nobody.person_name) == (
        Reason.MISSING_PERMISSION,
        PERSON_WITHOUT_ROLE,
    )
    for stranger in (cast.gil.user_id, cast.carl.user_id, "usr_nobody"):
        with pytest.raises(NotFound, match="This person isn’t"):
            await explain_access(cast, stranger, "home:read")


async def test_explanation_for_an_unverified_address_is_the_one_of_an_unverified_tenant(cast: Cast) -> None:
    then = now()
    await set_verified_at(cast.adam, None)
    answer = await explain_access(cast, cast.adam.user_id, "member:invite")
    assert (get_reason(answer), answer.trace.decided_by) == (Reason.TENANT_UNVERIFIED, Layer.TENANT)
    with pytest.raises(Refused, match="tenant_unverified") as caught:
        async with cast.adam.ctx() as ctx:
            policy.require(ctx, actions.MEMBER_INVITE, used=0)
    assert answer.detail == caught.value.detail
    await set_verified_at(cast.adam, now())
    assert get_reason(await explain_access(cast, cast.adam.user_id, "member:invite")) == Reason.ALLOWED
    assert (
        get_reason(await explain_access(cast, cast.adam.user_id, "member:invite", then))
        == Reason.TENANT_UNVERIFIED
    )
    comparison = await compare_access(cast, cast.adam.user_id, "member:invite", then)
    assert comparison.changes[0].causes[0].text == "Adam verified their email."


# ── what might be ────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("plan", ["free", "starter", "pro", "business", "enterprise"])
async def test_explanation_for_another_plan_equals_the_decision_on_that_plan(cast: Cast, plan: str) -> None:
    zed = await factories.create_account("Zed")
    tenant = await factories.create_tenant(zed, "Supposing", "free")
    names = ("role:create", "member:export", "report:read", "audit:read", "member:invite")
    supposed = [
        get_reason(await explain_access(cast, zed.user.id, action_name, plan=plan, tenant=tenant.id))
        for action_name in names
    ]
    if plan != "free":
        async with cast.olga.octx() as octx:
            await tenant_access.assign_plan(
                octx, tenant.id, f"plv_{plan}_1", state_reason(octx, REASON, tenant_id=tenant.id)
            )
    assert supposed == [
        get_reason(await explain_access(cast, zed.user.id, action_name, tenant=tenant.id))
        for action_name in names
    ]


async def test_explanation_for_an_unknown_plan_or_an_addon_is_refused(cast: Cast) -> None:
    for plan in ("extra_seats", "nothing", "x" * 500):
        with pytest.raises(Invalid, match="This plan doesn’t exist"):
            await explain_access(cast, cast.ann.user_id, "home:read", plan=plan)


# ── what cannot be asked ─────────────────────────────────────────────────────────────────────────────────────────


async def test_explanation_for_an_impossible_question_is_refused(cast: Cast) -> None:
    soon, long_ago = now() + timedelta(minutes=1), datetime(1, 1, 1, tzinfo=UTC)
    expected: list[tuple[type[DomainError], datetime | None, str]] = [
        (Invalid, soon, cast.acme),
        (NotFound, long_ago, cast.acme),
        (NotFound, None, "ten_nobody"),
    ]
    for kind, at, tenant in expected:
        with pytest.raises(kind):
            await explain_access(cast, cast.ann.user_id, "home:read", at, tenant=tenant)
    with pytest.raises(Invalid, match="This action doesn’t exist"):
        await explain_access(cast, cast.ann.user_id, "home:burn")
    with pytest.raises(Invalid, match="before the second"):
        await compare_access(cast, cast.ann.user_id, "home:read", now(), now() - timedelta(seconds=1))
    with pytest.raises(Invalid, match="in the future"):
        await compare_access(cast, cast.ann.user_id, "home:read", soon)


async def test_explanation_is_recorded_in_the_audit_log_of_the_tenant(cast: Cast) -> None:
    await explain_access(cast, cast.ann.user_id, "home:read")
    async with cast.olga.octx() as octx, entry.enter_as_operator(octx, cast.acme, "Looking") as ctx:
        looked = (await audit_log.list_events(ctx, AuditFilter(action="operator.looked"))).rows
    assert explanations.VISIT_REASON in {event.reason for event in looked}


async def test_explanation_is_refused_without_permission(cast: Cast) -> None:
    async with cast.olga.octx() as octx:
        nobody = dataclasses.replace(octx, permissions=octx.permissions - {OperatorPermission.RIGHTS_EXPLAIN})
        for call in (
            explanations.list_choices(nobody, cast.acme),
            explanations.explain_access(nobody, cast.acme, cast.ann.user_id, "home:read"),
            explanations.compare_access(nobody, cast.acme, cast.ann.user_id, "home:read", now()),
            recent_refusals.list_recent(nobody, cast.acme),
            tenant_access.get_tenant_access(nobody, cast.acme),
        ):
            with pytest.raises(Refused, match="missing_permission"):
                await call


async def test_people_to_choose_from_are_searched_by_address(cast: Cast) -> None:
    async with cast.olga.octx() as octx:
        few = await explanations.list_choices(octx, cast.acme)
        assert ([person.name for person in few.people], few.has_more) == (["Adam", "Ann", "Max"], False)
        filtered = await explanations.list_choices(octx, cast.acme, cast.max.email[:8].upper())
        assert [each.name for each in filtered.people] == ["Max"]
        kept = await explanations.list_choices(
            octx, cast.acme, "nobody is called that", include_user_id=cast.ann.user_id
        )
        assert [each.name for each in kept.people] == ["Ann"]
        none = await explanations.list_choices(octx, cast.acme, "%", include_user_id=cast.gil.user_id)
        assert list(none.people) == []


async def test_people_to_choose_from_are_limited(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(explanations, "MAX_PEOPLE", 2)
    async with cast.olga.octx() as octx:
        choices = await explanations.list_choices(octx, cast.acme, include_user_id=cast.max.user_id)
    assert ([person.name for person in choices.people], choices.has_more) == (["Max", "Adam", "Ann"], True)


# ── what was refused ─────────────────────────────────────────────────────────────────────────────────────────────


async def test_recorded_refusal_is_explained_with_the_same_reason(cast: Cast) -> None:
    for _ in range(3):
        with pytest.raises(Refused):
            async with cast.max.ctx() as ctx:
                await invitations.invite(ctx, "zoe@acme.test", "viewer")
    await flush_counts()
    async with cast.sam.octx() as octx:
        (refusal,) = await recent_refusals.list_recent(octx, cast.acme)
        assert await recent_refusals.list_recent(octx, cast.globex) == []
        (recorded,) = await recent_refusals.list_recent(octx, cast.acme, request_id=refusal.request_id)
        assert await recent_refusals.list_recent(octx, cast.acme, request_id=recorded.decision_id) == [
            recorded
        ]
        assert await recent_refusals.list_recent(octx, cast.globex, request_id=recorded.decision_id) == []
        assert await recent_refusals.list_recent(octx, cast.acme, request_id="req_other") == []
        assert await recent_refusals.list_recent(octx, cast.acme, action="audit:read") == []
    assert (refusal.person_name, refusal.user_id, refusal.action, refusal.count) == (
        "Max",
        cast.max.user_id,
        "member:invite",
        3,
    )
    assert (refusal.reason, refusal.plan, refusal.action_text) == (
        "missing_permission",
        "Business",
        "invite people",
    )
    answer = await explain_access(cast, refusal.user_id, refusal.action, refusal.at)
    assert get_reason(answer) == refusal.reason
    assert (recorded.person_name, recorded.action, recorded.reason, recorded.plan, recorded.count) == (
        "Max",
        "member:invite",
        "missing_permission",
        "Business",
        1,
    )


async def test_decision_of_a_tenant_is_shown_to_operators_with_its_layers(cast: Cast) -> None:
    with pytest.raises(Refused) as caught:
        async with cast.max.ctx() as ctx:
            await invitations.invite(ctx, "zoe@acme.test", "viewer")
    decision_id = caught.value.decision_id
    async with cast.sam.octx() as octx:
        view = await explanations.view_access(octx, cast.acme, "", "", decision_id=decision_id)
        other = await explanations.view_access(octx, cast.globex, "", "", decision_id=decision_id)
    assert view.decision is not None
    assert view.decision.layers is not None
    assert [layer.layer for layer in view.decision.layers if layer.decides] == ["permission"]
    assert (other.decision, type(other.problem)) == (None, NotFound)


async def test_recent_refusals_are_refused_for_an_unknown_action_or_request(cast: Cast) -> None:
    async with cast.olga.octx() as octx:
        for action, request in (("home:burn", ""), ("", "x" * 500), ("", "req_\0")):
            with pytest.raises(Invalid):
                await recent_refusals.list_recent(octx, cast.acme, action=action, request_id=request)
        with pytest.raises(NotFound):
            await recent_refusals.list_recent(octx, "ten_nobody")


# ── what the tests need ──────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(autouse=True)
async def no_pending_counts() -> AsyncIterator[None]:
    yield
    await flush_counts()


async def flush_counts() -> None:
    await decision_counts.flush()


async def set_verified_at(person: Person, at: datetime | None) -> None:
    async with db.transaction() as session:
        user = await session.get(User, person.user_id)
        assert user is not None
        user.email_verified_at = at
        session.add(user)


async def get_membership(ctx: Ctx, person: Person) -> Membership:
    result = await ctx.session.exec(
        select(Membership).where(Membership.tenant_id == ctx.tenant_id, Membership.user_id == person.user_id)
    )
    return result.one()


async def save_custom_role(cast: Cast, permissions: list[Permission], key: str = "") -> str:
    async with cast.olga.octx() as octx, entry.enter_as_operator(octx, cast.acme, REASON) as ctx:
        existing = (
            await ctx.session.exec(
                select(RoleRow).where(RoleRow.tenant_id == ctx.tenant_id, RoleRow.key == key)
            )
        ).first()
        row = existing or RoleRow(tenant_id=cast.acme, key="rol_readers", name="Readers", builtin=False)
        row.permissions = [permission.value for permission in permissions]
        ctx.session.add(row)
        return row.key
