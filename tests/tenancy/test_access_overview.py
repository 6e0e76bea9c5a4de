"""The access overview of a tenant: equal to the decisions, with scheduled changes."""

from datetime import timedelta

import pytest

from shared.access import actions
from shared.access.decision import decide
from shared.backoffice import tenant_access
from shared.backoffice.reasons import state_reason
from shared.core.db import now
from shared.core.errors import Refused
from shared.entitlements import assignments, explain
from shared.tenancy import access_overview, invitations, roles
from tests.conftest import Cast, Person
from tests.support import factories


async def get_overview(person: Person) -> access_overview.AccessOverview:
    async with person.ctx() as ctx:
        return await access_overview.get_access_overview(ctx)


async def test_overview_shows_the_rights_that_decide(cast: Cast) -> None:
    soon = now() + timedelta(days=3)
    async with cast.olga.octx() as octx:
        await tenant_access.override_feature(
            octx,
            cast.acme,
            "exports.csv",
            False,
            state_reason(octx, "A pause, ticket 4471", tenant_id=cast.acme),
            ends_at=soon,
        )
        await tenant_access.override_limit(
            octx, cast.acme, "members", 7, state_reason(octx, "A favour", tenant_id=cast.acme), ends_at=soon
        )
    overview = await get_overview(cast.ann)
    async with cast.ann.ctx() as ctx:
        assert {name for name, chain in overview.features.items() if chain.included} == ctx.rights.features
        assert {name: chain.limit for name, chain in overview.limits.items()} == dict(ctx.rights.limits)
        assert not decide(ctx, actions.MEMBER_EXPORT).allowed
    assert "A pause, ticket 4471" in explain.describe_feature_chain(overview.features["exports.csv"])
    assert overview.plan == "Business version 1"


async def test_overview_counts_usage_as_the_limit_does(cast: Cast) -> None:
    async with cast.ann.ctx() as ctx:
        await invitations.invite(ctx, "zoe@acme.test", "viewer")
        await roles.create(ctx, "One", "", set())
    assert (await get_overview(cast.ann)).usage == {
        "api_calls": 0,
        "api_keys": 0,
        "members": 4,
        "roles": 1,
        "usage_events": 0,
    }


async def test_scheduled_ends_are_listed_in_order(cast: Cast) -> None:
    first, second = now() + timedelta(days=3), now() + timedelta(days=5)
    async with cast.olga.octx() as octx:
        await tenant_access.override_limit(
            octx, cast.acme, "members", 7, state_reason(octx, "A favour", tenant_id=cast.acme), ends_at=second
        )
        await tenant_access.override_feature(
            octx, cast.acme, "sso", True, state_reason(octx, "Trying it", tenant_id=cast.acme), ends_at=first
        )
    changes = (await get_overview(cast.ann)).scheduled_changes
    assert [(change.at, change.title, change.before, change.after) for change in changes] == [
        (first, "Single sign-on", "Included", "Not included"),
        (second, "Members", "7 seats", "100 seats"),
    ]


async def test_end_of_trial_and_later_status_are_listed_with_what_they_take(cast: Cast) -> None:
    async with cast.gil.ctx() as ctx:
        await assignments.assign_plan(ctx, await factories.get_offer(ctx, "pro"), "Trying", trial_days=4)
        await assignments.set_billing_status(ctx, "grace", "Overdue")
        await assignments.set_billing_status(
            ctx, "read_only", "Still overdue", starts_at=now() + timedelta(days=2)
        )
    overview = await get_overview(cast.gil)
    change_texts = {
        (scheduled_change.title, scheduled_change.before, scheduled_change.after)
        for scheduled_change in overview.scheduled_changes
    }
    assert ("Billing", "Payment overdue", "Read-only") in change_texts
    assert ("Trial", "Running", "Ended") in change_texts
    assert ("CSV export", "Included", "Not included") in change_texts
    assert overview.billing_until == next(
        scheduled_change.at
        for scheduled_change in overview.scheduled_changes
        if scheduled_change.title == "Billing"
    )
    assert not overview.trial_ended


async def test_scheduled_changes_are_empty_when_nothing_ends(cast: Cast) -> None:
    assert (await get_overview(cast.ann)).scheduled_changes == []


async def test_overview_is_refused_for_members_and_shows_only_the_own_tenant(cast: Cast) -> None:
    with pytest.raises(Refused, match="missing_permission"):
        await get_overview(cast.max)
    await cast.gil.gets("starter")
    assert (await get_overview(cast.gil)).plan == "Starter version 1"
