"""A new price reaches running subscriptions at their next renewal and not before."""

import dataclasses
from collections.abc import AsyncIterator, Mapping
from datetime import datetime, timedelta
from typing import Any

import pytest

from shared.audit import audit_log
from shared.billing.models import PLATFORM, BillingCustomer, BillingSubscription, Price
from shared.billing.pricing import price_sync, prices, repricing
from shared.billing.provider_values import CanceledAddon, Subscription, SubscriptionItem
from shared.core import db
from shared.core.db import now
from shared.core.ids import new_id
from tests.conftest import Cast
from tests.support.billing import sold_plans
from tests.support.billing.priced_provider import RecordingProvider, install_recording_provider

DAY = timedelta(days=1)
SEAT = {"kind": "seat", "amount": 2_000}
CALLS = {"kind": "metered", "meter": "api_calls", "amount": 10}


@pytest.fixture
async def provider(cast: Cast) -> AsyncIterator[RecordingProvider]:
    async with install_recording_provider() as provider:
        yield provider


async def subscribe_acme(
    cast: Cast, provider: RecordingProvider, version_id: str, since: datetime, *, status: str = "active"
) -> Subscription:
    """Acme with every monthly part and 5 seats, in a period of 30 days from `since`."""
    await price_sync.push_prices("operator")
    async with db.transaction(tenant_id=cast.acme) as session:
        parts = (await prices.get_plan_prices(session, now()))[version_id, "month"]
        lines = tuple(
            SubscriptionItem(
                f"si_{price.kind}",
                price.id,
                provider.prices[price.id].external_id,
                {"flat": 1, "seat": 5, "metered": 0}[price.kind],
                since,
                since + 30 * DAY,
            )
            for price in parts.all_prices
        )
        subscription = Subscription(new_id("sub"), status, since, lines)
        customer = new_id("cus")
        session.add(BillingCustomer(tenant_id=cast.acme, id=customer, account_id=PLATFORM))
        await session.flush()
        session.add(
            BillingSubscription(
                tenant_id=cast.acme,
                id=subscription.id,
                account_id=PLATFORM,
                customer_id=customer,
                status=status,
                state={"lines": [{"price_id": line.price_id} for line in lines]},
                created_at=since,
                ticket=1,
            )
        )
    provider.subscriptions[subscription.id] = subscription
    return subscription


def map_prices_by_kind(provider: RecordingProvider, subscription: Subscription) -> dict[str, str]:
    """The price of each kind at the provider."""
    return {
        line.id.removeprefix("si_"): line.price_id for line in provider.subscriptions[subscription.id].lines
    }


def renew_subscription(provider: RecordingProvider, subscription: Subscription) -> None:
    """Begin the next period of 30 days."""
    remote_subscription = provider.subscriptions[subscription.id]
    lines = tuple(
        dataclasses.replace(line, starts_at=line.ends_at, ends_at=line.ends_at + 30 * DAY)
        for line in remote_subscription.lines
        if line.ends_at is not None
    )
    provider.subscriptions[subscription.id] = dataclasses.replace(remote_subscription, lines=lines)


async def raise_price(cast: Cast, version_id: str, part: Mapping[str, Any], at: datetime) -> Price:
    more = {**part, "amount": part["amount"] + 100}
    price = await sold_plans.set_price(cast, version_id, effective_at=at, **more)
    await price_sync.push_prices("operator")
    return price


async def test_advance_price_is_exchanged_once_it_is_in_force(
    cast: Cast, provider: RecordingProvider
) -> None:
    version, begun = await sold_plans.publish_with_prices(cast, SEAT), now()
    subscription = await subscribe_acme(cast, provider, version.id, begun)
    old = map_prices_by_kind(provider, subscription)
    new = await raise_price(cast, version.id, SEAT, begun + 10 * DAY)
    assert await repricing.reprice_subscriptions(begun + 9 * DAY) == 0
    assert map_prices_by_kind(provider, subscription) == old
    assert await repricing.reprice_subscriptions(begun + 10 * DAY) == 1
    assert map_prices_by_kind(provider, subscription) == {"seat": new.id}
    assert provider.subscriptions[subscription.id].lines[0].quantity == 5
    assert await repricing.reprice_subscriptions(begun + 10 * DAY) == 0  # nothing is left to do
    async with cast.ann.ctx() as ctx:
        event = (await audit_log.list_events(ctx, limit=1)).rows[0]
    assert (event.action, event.object_id) == ("subscription.repriced", subscription.id)
    assert (event.before, event.after) == (
        {"Per seat, monthly": "$20.00 per seat"},
        {"Per seat, monthly": "$21.00 per seat"},
    )


async def test_renewal_between_two_runs_uses_the_price_of_its_time(
    cast: Cast, provider: RecordingProvider
) -> None:
    """The price changes a minute before the renewal, and the next run is an hour later."""
    version, begun = await sold_plans.publish_with_prices(cast, SEAT), now()
    subscription = await subscribe_acme(cast, provider, version.id, begun)
    new = await raise_price(cast, version.id, SEAT, begun + 30 * DAY - timedelta(minutes=1))
    assert await repricing.reprice_subscriptions(begun + 30 * DAY - timedelta(minutes=30)) == 1
    assert map_prices_by_kind(provider, subscription) == {"seat": new.id}


async def test_renewal_before_the_change_keeps_its_price(cast: Cast, provider: RecordingProvider) -> None:
    version, begun = await sold_plans.publish_with_prices(cast, SEAT), now()
    subscription = await subscribe_acme(cast, provider, version.id, begun)
    old = map_prices_by_kind(provider, subscription)
    await raise_price(cast, version.id, SEAT, begun + 30 * DAY + timedelta(minutes=1))
    assert await repricing.reprice_subscriptions(begun + 30 * DAY - timedelta(minutes=30)) == 0
    assert map_prices_by_kind(provider, subscription) == old


async def test_metered_price_is_exchanged_in_the_first_period_under_the_new_price(
    cast: Cast, provider: RecordingProvider
) -> None:
    version, begun = await sold_plans.publish_with_prices(cast, SEAT, CALLS), now()
    subscription = await subscribe_acme(cast, provider, version.id, begun)
    old = map_prices_by_kind(provider, subscription)
    new = await raise_price(cast, version.id, CALLS, begun + 10 * DAY)
    assert await repricing.reprice_subscriptions(begun + 20 * DAY) == 0  # this period began under the old one
    renew_subscription(provider, subscription)
    assert await repricing.reprice_subscriptions(begun + 30 * DAY + timedelta(hours=1)) == 1
    assert map_prices_by_kind(provider, subscription) == {**old, "metered": new.id}
    ((_, lines, _),) = provider.changes
    assert [line.quantity for line in lines] == [5, None]


async def test_repricing_keeps_the_other_items_of_a_subscription(
    cast: Cast, provider: RecordingProvider
) -> None:
    version, begun = await sold_plans.publish_with_prices(cast, SEAT), now()
    subscription = await subscribe_acme(cast, provider, version.id, begun)
    foreign = SubscriptionItem("si_foreign", "", "price_foreign", 3, begun, begun + 30 * DAY)
    kept = (CanceledAddon("prc_support_flat_month", 1, begun + 30 * DAY),)
    provider.subscriptions[subscription.id] = dataclasses.replace(
        subscription, lines=(*subscription.lines, foreign), kept=kept
    )
    await raise_price(cast, version.id, SEAT, begun + DAY)
    assert await repricing.reprice_subscriptions(begun + DAY) == 1
    remote_subscription = provider.subscriptions[subscription.id]
    assert remote_subscription.lines[1] == foreign
    assert remote_subscription.kept == kept


async def test_repricing_leaves_ended_subscriptions_alone(cast: Cast, provider: RecordingProvider) -> None:
    version, begun = await sold_plans.publish_with_prices(cast, SEAT), now()
    subscription = await subscribe_acme(cast, provider, version.id, begun, status="canceled")
    await sold_plans.set_price(cast, version.id, effective_at=begun + DAY, **{**SEAT, "amount": 2_500})
    assert await repricing.reprice_subscriptions(begun + DAY) == 0  # it has ended
    provider.subscriptions[subscription.id] = dataclasses.replace(subscription, status="active")
    assert await repricing.reprice_subscriptions(begun + DAY) == 0  # the new price is not at the provider
    provider.is_down = True
    assert await repricing.reprice_subscriptions(begun + DAY) == 0
    provider.is_down = False
    await price_sync.push_prices("operator")
    assert await repricing.reprice_subscriptions(begun + DAY) == 1


async def test_two_workers_request_the_same_exchange(cast: Cast, provider: RecordingProvider) -> None:
    version, begun = await sold_plans.publish_with_prices(cast, SEAT), now()
    subscription = await subscribe_acme(cast, provider, version.id, begun)
    await raise_price(cast, version.id, SEAT, begun + DAY)
    await repricing.reprice_subscriptions(begun + DAY)
    provider.subscriptions[subscription.id] = subscription  # the other one has looked before
    await repricing.reprice_subscriptions(begun + DAY)
    first, second = provider.changes
    assert first == second  # with one key, which the provider takes for one


async def test_price_for_one_tenant_reaches_its_subscription(cast: Cast, provider: RecordingProvider) -> None:
    version, begun = await sold_plans.publish_with_prices(cast, SEAT, for_tenant=cast.acme), now()
    subscription = await subscribe_acme(cast, provider, version.id, begun)
    new = await raise_price(cast, version.id, SEAT, begun + DAY)
    assert await repricing.reprice_subscriptions(begun + DAY) == 1
    assert map_prices_by_kind(provider, subscription) == {"seat": new.id}


async def test_failing_customer_does_not_block_repricing_of_others(
    cast: Cast, provider: RecordingProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    for tenant in (cast.acme, cast.globex):
        async with db.transaction(tenant_id=tenant) as session:
            session.add(BillingCustomer(tenant_id=tenant, id=new_id("cus"), account_id=PLATFORM))
    asked: list[str] = []

    async def record_and_raise(session: Any, customer_id: str) -> set[str]:
        asked.append(session.info["tenant_id"])
        raise ZeroDivisionError

    monkeypatch.setattr(repricing.repository, "list_subscribed_price_ids", record_and_raise)
    assert await repricing.reprice_subscriptions() == 0
    assert {cast.acme, cast.globex} <= set(asked)
