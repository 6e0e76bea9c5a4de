"""The notice about plan and bill on every page: the most severe problem with a next step."""

from datetime import timedelta

from shared.access import actions, refusal_messages
from shared.backoffice import tenant_access
from shared.backoffice.reasons import state_reason
from shared.core.db import now
from shared.entitlements import assignments, rights_cache
from shared.tenancy import invitations, plan_notice
from tests.conftest import Cast, Person
from tests.support import factories


async def get_notice(person: Person) -> plan_notice.PlanNotice | None:
    async with person.ctx() as ctx:
        return await plan_notice.get_notice(ctx)


async def get_notice_text(person: Person) -> str:
    notice = await get_notice(person)
    return f"{notice.tone}: {notice.text} {notice.detail} {notice.next_step}" if notice else ""


async def test_notice_is_absent_when_nothing_is_wrong(cast: Cast) -> None:
    assert await get_notice(cast.ann) is None


async def test_notice_in_the_grace_period_names_the_end_and_a_next_step(cast: Cast) -> None:
    ends = now() + timedelta(days=6)
    async with cast.ann.ctx() as ctx:
        await assignments.set_billing_status(ctx, "grace", "Overdue")
        await assignments.set_billing_status(ctx, "read_only", "Still overdue", starts_at=ends)
    notice = await get_notice(cast.ann)
    assert notice is not None
    assert (notice.tone, notice.end_date, notice.next_step) == (
        "warn",
        ends.isoformat(),
        "Pay the open invoice.",
    )
    notice = await get_notice(cast.max)
    assert notice is not None
    assert notice.next_step == "Ask an owner or billing contact to pay the open invoice."
    rights_cache.invalidate(cast.acme)  # nothing kept: read again, and the same
    async with cast.ann.ctx() as ctx:
        rights_cache.invalidate(cast.acme)
        assert (await rights_cache.get_outlook(ctx)).billing_until == ends


async def test_notice_shows_the_most_severe_problem(cast: Cast) -> None:
    async with cast.gil.ctx() as ctx:
        await assignments.assign_plan(ctx, await factories.get_offer(ctx, "pro"), "Trying", trial_days=9)
    assert await get_notice_text(cast.gil) == (
        "accent: 9 days left in your Pro trial. After that you’ll be on Free."
        " Choose a larger plan in Billing."
    )
    for status, word in (
        ("grace", "overdue"),
        ("read_only", "your organisation is read-only"),
        ("none", "Your subscription has ended"),
    ):
        async with cast.gil.ctx() as ctx:
            await assignments.set_billing_status(ctx, status, "Test")
        assert word in await get_notice_text(cast.gil)


async def test_notice_after_a_trial_names_the_remaining_plan(cast: Cast) -> None:
    async with cast.gil.ctx() as ctx:
        row = await assignments.assign_plan(
            ctx, await factories.get_offer(ctx, "pro"), "Trying", trial_days=1
        )
        row.trial_ends_at = now() - timedelta(seconds=1)
    rights_cache.invalidate(cast.globex)
    assert (await get_notice_text(cast.gil)).startswith(
        "warn: Your Pro trial has ended. You’ve moved to Free"
    )


async def test_notice_warns_above_a_soft_limit_and_button_closes_at_a_hard_one(cast: Cast) -> None:
    soon = now() + timedelta(days=3)
    async with cast.olga.octx() as octx:
        await tenant_access.override_limit(
            octx,
            cast.acme,
            "members",
            2,
            state_reason(octx, "Fewer, ticket 4471", tenant_id=cast.acme),
            ends_at=soon,
            hard=False,
        )
    assert (await get_notice_text(cast.ann)).startswith("warn: 3 seats are in use; Business includes 2.")
    async with cast.ann.ctx() as ctx:
        assert refusal_messages.refusal_text(ctx, actions.MEMBER_INVITE, used=3) == ""
        await invitations.invite(ctx, "zoe@acme.test", "viewer")
    async with cast.olga.octx() as octx:
        await tenant_access.override_limit(
            octx,
            cast.acme,
            "members",
            4,
            state_reason(octx, "Fewer, ticket 4471", tenant_id=cast.acme),
            ends_at=soon,
        )
    assert await get_notice(cast.ann) is None
    async with cast.ann.ctx() as ctx:
        assert refusal_messages.refusal_text(ctx, actions.MEMBER_INVITE, used=4).startswith(
            "All 4 seats are in use."
        )


async def test_read_only_tenant_is_refused_every_writing_action_except_cleanup(
    cast: Cast,
) -> None:
    async with cast.ann.ctx() as ctx:
        await assignments.set_billing_status(ctx, "read_only", "Test")
    async with cast.ann.ctx() as ctx:
        refused = refusal_messages.refusal_texts(ctx)
    writing = {
        action.name for action in actions.ACTIONS.values() if action.writes and not action.allowed_when_unpaid
    }
    assert set(refused) == writing
    assert all("overdue" in words for words in refused.values())
