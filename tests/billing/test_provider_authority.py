"""A live subscription decides; after its end, operators do; an older state never does."""

import asyncio
from dataclasses import replace
from datetime import datetime, timedelta

import psycopg
import pytest
from sqlmodel import select

from shared.billing import customers, provider_registry
from shared.billing.models import PLATFORM, BillingDrift
from shared.billing.provider_values import CanceledAddon, CustomerState, Subscription
from shared.billing.sync import apply_state, customer_sync
from shared.billing.sync.apply_state import SyncCause, SyncResult
from shared.core.db import now
from shared.core.errors import Conflict
from shared.entitlements import assignments, subscription_grants
from shared.entitlements.models import TenantAddon
from tests.billing.test_apply_state import build_subscription
from tests.conftest import Cast
from tests.support import factories
from tests.support.billing import scripted_provider
from tests.support.database import admin_url

EXTRA = "prc_test_extra_seats"


@pytest.fixture
async def stripe(schema: str) -> scripted_provider.FakeProvider:
    provider = scripted_provider.FakeProvider()
    provider_registry.register(PLATFORM, provider)
    await scripted_provider.add_price(scripted_provider.PRO_FLAT, "pro")
    await scripted_provider.add_price(EXTRA, "extra_seats", "seat")
    return provider


async def sync_subscriptions(
    cast: Cast,
    stripe: scripted_provider.FakeProvider,
    *subscriptions: Subscription,
    cause: SyncCause = "webhook",
) -> SyncResult:
    customer = await customers.ensure(cast.acme)
    stripe.state[customer] = CustomerState(customer, subscriptions=subscriptions)
    return await customer_sync.sync_customer(PLATFORM, customer, cast.acme, cause=cause)


async def get_plan_and_status(cast: Cast) -> tuple[str, str]:
    async with cast.ann.ctx() as ctx:
        return ctx.rights.plan, ctx.rights.billing_status


async def assign_by_hand(cast: Cast) -> None:
    """A plan and a status for payment by bank transfer."""
    async with cast.ann.ctx() as ctx:
        await assignments.assign_plan(ctx, await factories.get_offer(ctx, "business"), "Pays by invoice")
        await assignments.set_billing_status(ctx, "active", "Pays by invoice")


def build_ended_subscription() -> Subscription:
    return replace(build_subscription("canceled"), ended_at=now() - timedelta(minutes=1))


async def test_plan_given_by_an_operator_after_the_end_stays(
    cast: Cast, stripe: scripted_provider.FakeProvider
) -> None:
    await sync_subscriptions(cast, stripe, build_subscription())
    gone = build_ended_subscription()
    await sync_subscriptions(cast, stripe, gone)
    assert (await get_plan_and_status(cast))[1] == "none"
    await assign_by_hand(cast)
    for cause in ("webhook", "reconcile"):
        await sync_subscriptions(
            cast,
            stripe,
            gone,
            replace(build_subscription("incomplete"), id="sub_2", created_at=now()),
            cause=cause,
        )
        assert await get_plan_and_status(cast) == ("business", "active")


async def test_status_scheduled_by_an_operator_after_the_end_stays(
    cast: Cast, stripe: scripted_provider.FakeProvider
) -> None:
    await sync_subscriptions(cast, stripe, build_subscription())
    gone, later = build_ended_subscription(), now() + timedelta(days=3)
    await sync_subscriptions(cast, stripe, gone)
    async with cast.ann.ctx() as ctx:
        await assignments.set_billing_status(ctx, "active", "From next month on", starts_at=later)
    await sync_subscriptions(cast, stripe, gone, cause="reconcile")
    async with cast.ann.ctx() as ctx:
        history, catalogue = await assignments.get_history(ctx)
    assert history.snapshot_at(catalogue, now()).billing_status == "none"
    assert history.snapshot_at(catalogue, later).billing_status == "active"


async def test_subscription_that_ended_unseen_ends_what_was_given_before(
    cast: Cast, stripe: scripted_provider.FakeProvider
) -> None:
    """The result is the same as if the subscription had been seen alive, whichever webhooks came."""
    async with cast.ann.ctx() as ctx:
        await assignments.set_billing_status(ctx, "active", "Before")
    await sync_subscriptions(
        cast, stripe, replace(build_subscription("canceled"), ended_at=now() + timedelta(seconds=1))
    )
    assert (await get_plan_and_status(cast))[1] == "none"


async def test_machine_with_a_fast_clock_does_not_win(
    cast: Cast, stripe: scripted_provider.FakeProvider, schema: str
) -> None:
    await sync_subscriptions(cast, stripe, build_subscription())
    with psycopg.connect(admin_url(schema), autocommit=True) as connection:
        connection.execute("set session_replication_role = replica")  # as if it had been written so
        for table in ("tenant_billing", "tenant_plan"):
            moved = connection.execute(
                f"update {table} set starts_at = now() + interval '5 seconds',"
                " created_at = now() + interval '5 seconds' where tenant_id = %s and source <> ''",
                [cast.acme],
            )
            assert moved.rowcount == 1
    await scripted_provider.add_price("prc_test_more", "business")
    line = replace(build_subscription().lines[0], price_id="prc_test_more")
    await sync_subscriptions(
        cast, stripe, replace(build_subscription("past_due"), lines=(line,), failed_since=now())
    )
    assert await get_plan_and_status(cast) == ("business", "grace")


async def test_scheduled_change_due_while_waiting_is_kept(cast: Cast) -> None:
    due = now() - timedelta(milliseconds=5)
    async with cast.ann.ctx() as ctx:
        stages = [
            subscription_grants.AccessStage("active", "Paid"),
            subscription_grants.AccessStage("none", "It ended", due),
        ]
        await subscription_grants.apply_subscription(ctx, stages)
    assert (await get_plan_and_status(cast))[1] == "none"


async def test_unknown_status_grants_no_plan_to_a_free_tenant(
    cast: Cast, stripe: scripted_provider.FakeProvider
) -> None:
    await cast.ann.gets("free")
    await sync_subscriptions(cast, stripe, build_subscription("frozen"))
    assert (await get_plan_and_status(cast))[0] == "free"


async def test_unknown_status_leaves_the_access(cast: Cast, stripe: scripted_provider.FakeProvider) -> None:
    overdue = replace(build_subscription("past_due"), failed_since=now() - timedelta(days=8))
    for before, access in (
        (build_subscription(), "active"),
        (overdue, "read_only"),
        (build_ended_subscription(), "none"),
    ):
        await sync_subscriptions(cast, stripe, before)
        await sync_subscriptions(cast, stripe, build_subscription("frozen"))
        assert (await get_plan_and_status(cast))[1] == access


async def test_unknown_status_does_not_restore_what_ended_by_the_clock(
    cast: Cast, stripe: scripted_provider.FakeProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    await sync_subscriptions(
        cast, stripe, replace(build_subscription(), cancel_at=now() + timedelta(seconds=1))
    )
    await _sleep_past(now() + timedelta(seconds=1))
    await sync_subscriptions(cast, stripe, build_subscription("frozen"))
    assert (await get_plan_and_status(cast))[1] == "none"


async def test_paid_addon_cannot_be_ended_by_hand_and_is_restored(
    cast: Cast, stripe: scripted_provider.FakeProvider
) -> None:
    plan = build_subscription()
    both = replace(plan, lines=(*plan.lines, replace(plan.lines[0], id="si_2", price_id=EXTRA, quantity=2)))
    await sync_subscriptions(cast, stripe, both)
    async with cast.ann.ctx() as ctx:
        (row,) = (await ctx.session.exec(select(TenantAddon))).all()
        with pytest.raises(Conflict):
            await assignments.end_assignment(ctx, row.id, "Too many")
        assignments.close_row(row, "Somebody with SQL")
        ctx.session.add(row)
    await sync_subscriptions(cast, stripe, both, cause="reconcile")
    async with cast.ann.ctx() as ctx:
        has, _ = await assignments.get_snapshot(ctx)
        assert [row.quantity for row, _ in has.addons] == [2]
        drifts = (await ctx.session.exec(select(BillingDrift))).all()
    assert [difference["what"] for row in drifts for difference in row.differences] == [
        apply_state.LOCAL_DRIFT.what
    ]


async def test_partly_cancelled_addon_keeps_the_remaining_quantity(
    cast: Cast, stripe: scripted_provider.FakeProvider
) -> None:
    until = now().replace(microsecond=0) + timedelta(days=4)
    plan = build_subscription()
    lines = (*plan.lines, replace(plan.lines[0], id="si_2", price_id=EXTRA, quantity=2))
    for _ in range(2):
        await sync_subscriptions(
            cast,
            stripe,
            replace(plan, lines=lines, kept=(CanceledAddon(EXTRA, 5, until),)),
            cause="reconcile",
        )
    async with cast.ann.ctx() as ctx:
        history, catalogue = await assignments.get_history(ctx)
    assert sum(row.quantity for row, _ in history.snapshot_at(catalogue, now()).addons) == 5
    assert sum(row.quantity for row, _ in history.snapshot_at(catalogue, until).addons) == 2


async def test_trial_ends_by_the_clock_without_a_webhook(
    cast: Cast, stripe: scripted_provider.FakeProvider
) -> None:
    await sync_subscriptions(
        cast, stripe, build_subscription("trialing", trial_ends_at=now() + timedelta(days=1))
    )
    async with cast.ann.ctx() as ctx:
        during = ctx.rights.features
    ends = now() + timedelta(seconds=1)
    await sync_subscriptions(
        cast, stripe, replace(build_subscription("trialing"), pays=False, trial_ends_at=ends)
    )
    await _sleep_past(ends)
    async with cast.ann.ctx() as ctx:
        after = ctx.rights.features
    await cast.gil.gets("free")
    async with cast.gil.ctx() as ctx:
        assert after == ctx.rights.features & during
    assert after < during


async def _sleep_past(at: datetime) -> None:
    await asyncio.sleep(max(0.0, (at - now()).total_seconds()) + 0.01)
