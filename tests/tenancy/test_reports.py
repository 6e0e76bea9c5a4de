"""Activity reports: sums of one tenant by week."""

from datetime import timedelta
from typing import Any

import pytest

from shared.access import decision_counts
from shared.access.refusal_codes import ALLOWED_REASONS
from shared.core import db
from shared.core.db import now
from shared.core.errors import Refused
from shared.core.ids import new_id
from shared.entitlements.models import MembershipChange
from shared.tenancy import invitations, members, reports, roles
from tests.conftest import Cast, Person


async def get_report(person: Person) -> reports.ActivityReport:
    async with person.ctx() as ctx:
        return await reports.get_report(ctx)


async def store_membership_changes(cast: Cast, *changes: tuple[str, int, str]) -> None:
    """Rows as the trigger would have written them: (person, days ago, state)."""
    async with db.transaction(tenant_id=cast.acme) as session:
        for person, days, state in changes:
            session.add(
                MembershipChange(
                    tenant_id=cast.acme,
                    id=new_id("mbc"),
                    user_id=f"usr_{person}",
                    role="member",
                    state=state,
                    at=now() - timedelta(days=days),
                )
            )


async def test_report_counts_seats_at_the_end_of_each_week(cast: Cast) -> None:
    await store_membership_changes(cast, ("zoe", 40, "active"), ("zoe", 20, "removed"), ("kim", 33, "active"))
    async with cast.ann.ctx() as ctx:
        invited = await invitations.invite(ctx, "yan@acme.test", "viewer")
        await invitations.invite(ctx, "xin@acme.test", "viewer")
        await invitations.revoke(ctx, invited.id)
    report = await get_report(cast.ann)
    weeks = report.weeks
    assert len(weeks) == reports.WEEK_COUNT
    assert [week.starts_at.weekday() for week in weeks] == [0] * reports.WEEK_COUNT
    assert (weeks[-1].active_members, weeks[-1].open_invitations, weeks[-1].seats) == (
        4,
        1,
        5,
    )  # kim, ann, adam, max
    assert sum(week.joined for week in weeks) == 5
    assert sum(week.left for week in weeks) == 1
    assert weeks[-1].invited == 4  # adam and max came by invitation
    assert weeks[0].seats == 0
    before = [week for week in weeks if week.starts_at < now() - timedelta(days=34)]
    assert max(week.active_members for week in before) >= 1
    after_zoe_left = [week for week in weeks[:-1] if week.starts_at > now() - timedelta(days=20)]
    assert {week.active_members for week in after_zoe_left} <= {1}


async def test_report_counts_a_reactivation_as_joining_and_no_role_change(cast: Cast) -> None:
    async with cast.ann.ctx() as ctx:
        (max_,) = (await members.list_members(ctx, query="max")).rows
        await members.set_role(ctx, max_.id, "viewer", version=None)
        await members.deactivate(ctx, max_.id)
        await members.reactivate(ctx, max_.id)
    this_week = (await get_report(cast.ann)).weeks[-1]
    assert (this_week.joined, this_week.left, this_week.active_members) == (4, 1, 3)


async def test_report_counts_changes_by_person_and_refusals_by_reason(cast: Cast) -> None:
    async with cast.adam.ctx() as ctx:
        await roles.create(ctx, "One", "", set())
        await roles.create(ctx, "Two", "", set())
    for _ in range(3):
        with pytest.raises(Refused):
            async with cast.max.ctx() as ctx:
                await invitations.invite(ctx, "zoe@acme.test", "viewer")
    with pytest.raises(Refused):
        async with cast.adam.ctx() as ctx:
            await invitations.invite(ctx, "zoe@acme.test", "owner")
    await decision_counts.flush()
    report = await get_report(cast.ann)
    adam = next(top_actor for top_actor in report.top_actors if top_actor.id == cast.adam.user_id)
    assert (adam.name, adam.actor_type, adam.changes, adam.action_count) == (
        "Adam",
        "user",
        3,
        2,
    )  # he joined, too
    assert [top_actor.changes for top_actor in report.top_actors] == sorted(
        (top_actor.changes for top_actor in report.top_actors), reverse=True
    )
    refused: Any = {
        (refusal.action, refusal.reason): (refusal.count, refusal.people) for refusal in report.refusals
    }
    assert refused[("member:invite", "missing_permission")] == (3, 1)
    assert not {refusal.reason for refusal in report.refusals} & {
        *ALLOWED_REASONS,
        decision_counts.ERROR_REASON,
    }


async def test_report_counts_nothing_of_another_tenant(cast: Cast) -> None:
    with pytest.raises(Refused):
        async with cast.max.ctx() as ctx:
            await invitations.invite(ctx, "zoe@acme.test", "viewer")
    await decision_counts.flush()
    report = await get_report(cast.gil)
    assert report.weeks[-1].seats == 1
    assert {top_actor.id for top_actor in report.top_actors} <= {cast.gil.user_id}
    assert report.refusals == []


async def test_report_is_refused_without_permission_or_plan(cast: Cast) -> None:
    with pytest.raises(Refused, match="missing_permission"):
        await get_report(cast.max)
    await cast.ann.gets("starter")
    with pytest.raises(Refused, match="not_in_plan") as caught:
        await get_report(cast.ann)
    assert caught.value.plan_names == ("Business", "Enterprise")
