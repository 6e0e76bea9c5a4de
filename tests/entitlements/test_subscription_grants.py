"""Grants of a subscription: written where they differ, scheduled ahead, protected while it lives."""

from datetime import timedelta

import pytest

from shared.core.context import Ctx
from shared.core.db import now
from shared.core.errors import Conflict
from shared.entitlements import assignments, rights_cache, subscription_grants
from shared.entitlements.subscription_grants import AccessStage, BoughtAddon
from tests.conftest import Cast
from tests.support import factories

PAID = [AccessStage("active", "Paid")]


async def find_version_id(ctx: Ctx, key: str) -> str:
    return (await factories.get_offer(ctx, key)).id


async def test_subscription_sets_plan_seats_and_status_once(cast: Cast) -> None:
    async with cast.ann.ctx() as ctx:
        pro = await find_version_id(ctx, "pro")
        assert await subscription_grants.apply_subscription(ctx, PAID, version_id=pro, seats=7)
    async with cast.ann.ctx() as ctx:
        assert (ctx.rights.plan, ctx.rights.limits["members"].amount) == ("pro", 7)
        assert not await subscription_grants.apply_subscription(ctx, PAID, version_id=pro, seats=7)
        assert await subscription_grants.apply_subscription(ctx, PAID, version_id=pro, seats=8)


async def test_seats_above_the_plan_are_not_granted(cast: Cast) -> None:
    async with cast.ann.ctx() as ctx:
        await subscription_grants.apply_subscription(
            ctx, PAID, version_id=await find_version_id(ctx, "pro"), seats=90
        )
    async with cast.ann.ctx() as ctx:
        assert ctx.rights.limits["members"].amount == 25


async def test_scheduled_stages_start_by_the_clock_and_are_removed_when_paid(cast: Cast) -> None:
    later = now() + timedelta(days=7)
    async with cast.ann.ctx() as ctx:
        pro = await find_version_id(ctx, "pro")
        owed = [AccessStage("grace", "A payment is overdue"), AccessStage("read_only", "7 days", later)]
        assert await subscription_grants.apply_subscription(ctx, owed, version_id=pro)
    async with cast.ann.ctx() as ctx:
        assert ctx.rights.billing_status == "grace"
        history, catalogue = await assignments.get_history(ctx)
        assert history.snapshot_at(catalogue, later).billing_status == "read_only"
        assert not await subscription_grants.apply_subscription(ctx, owed, version_id=pro)
        assert await subscription_grants.apply_subscription(ctx, PAID, version_id=pro)
        history, catalogue = await assignments.get_history(ctx)
        assert history.snapshot_at(catalogue, later).billing_status == "active"


async def test_addon_is_granted_at_once_and_kept_until_its_end(cast: Cast) -> None:
    ends = now() + timedelta(days=3)
    async with cast.ann.ctx() as ctx:
        pro, seats = await find_version_id(ctx, "pro"), await find_version_id(ctx, "extra_seats")
        await subscription_grants.apply_subscription(
            ctx, PAID, version_id=pro, addons=[BoughtAddon(seats, 2)]
        )
    async with cast.ann.ctx() as ctx:
        assert ctx.rights.limits["members"].amount == 25 + 20
        await subscription_grants.apply_subscription(
            ctx, PAID, version_id=pro, addons=[BoughtAddon(seats, 2, ends)]
        )
    async with cast.ann.ctx() as ctx:
        assert ctx.rights.limits["members"].amount == 25 + 20
        history, catalogue = await assignments.get_history(ctx)
        assert [row.ends_at for row, _ in history.snapshot_at(catalogue, now()).addons] == [ends]
        assert history.snapshot_at(catalogue, ends).addons == []
        assert await subscription_grants.apply_subscription(ctx, PAID, version_id=pro)
        assert (await assignments.get_snapshot(ctx))[0].addons == []


async def test_addon_given_by_an_operator_is_kept(cast: Cast) -> None:
    async with cast.ann.ctx() as ctx:
        offer = await factories.get_offer(ctx, "support")
        await assignments.add_addon(ctx, offer, 1, "A present")
        await subscription_grants.apply_subscription(ctx, PAID, version_id=await find_version_id(ctx, "pro"))
        assert [has.key for _, has in (await assignments.get_snapshot(ctx))[0].addons] == ["support"]


async def test_plan_of_a_live_subscription_cannot_be_assigned(cast: Cast) -> None:
    async with cast.ann.ctx() as ctx:
        await subscription_grants.apply_subscription(ctx, PAID, version_id=await find_version_id(ctx, "pro"))
        offer = (await rights_cache.get_catalog(ctx.session)).find_offer("starter", now())
        assert offer is not None
        with pytest.raises(Conflict, match="follow its subscription"):
            await assignments.assign_plan(ctx, offer, "By hand")
        with pytest.raises(Conflict, match="follow its subscription"):
            await assignments.set_billing_status(ctx, "active", "By hand")
        await subscription_grants.apply_subscription(ctx, [AccessStage("none", "Ended")])
        await assignments.assign_plan(ctx, offer, "By hand, now that it has ended")
        await assignments.set_billing_status(ctx, "active", "By hand, now that it has ended")
    async with cast.ann.ctx() as ctx:
        assert (ctx.rights.plan, ctx.rights.billing_status) == ("starter", "active")


async def test_unknown_plan_version_leaves_the_plan(cast: Cast) -> None:
    async with cast.ann.ctx() as ctx:
        before = ctx.rights.plan
        await subscription_grants.apply_subscription(ctx, PAID, version_id="plv_unknown")
    async with cast.ann.ctx() as ctx:
        assert ctx.rights.plan == before
