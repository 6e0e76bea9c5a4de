"""Metered usage: recorded once, and reported to the provider once."""

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from admin_app.pages.overview.state import OverviewState
from shared.billing import usage
from shared.billing.models import PLATFORM, BillingCustomer, BillingUsage
from shared.billing.pricing import prices_repository
from shared.billing.provider_values import CustomerState, Subscription, SubscriptionItem
from shared.billing.sync import provider_records
from shared.core import db
from shared.core.db import now
from shared.core.errors import Invalid
from shared.core.ids import new_id
from shared.entitlements.models import SUBSCRIPTION_SOURCE, TenantPlan
from shared.tenancy import entry
from tests.conftest import Cast, Person
from tests.support.billing.priced_provider import RecordingProvider, install_recording_provider


@pytest.fixture
async def provider(cast: Cast) -> AsyncIterator[RecordingProvider]:
    async with install_recording_provider() as provider:
        yield provider


@pytest.fixture
async def customer(cast: Cast) -> str:
    async with db.transaction(tenant_id=cast.acme) as session:
        row = BillingCustomer(tenant_id=cast.acme, id=new_id("cus"), account_id=PLATFORM)
        session.add(row)
    return row.id


async def record_usage(person: Person, identifier: str, quantity: int = 3, meter: str = "api_calls") -> bool:
    async with person.ctx() as ctx:
        return await usage.record(ctx, meter, quantity, now(), identifier)


def list_reported_usage(provider: RecordingProvider, customer: str) -> list[tuple[str, int]]:
    """Usage of this customer only; other tests leave theirs behind."""
    return sorted(
        (meter, quantity) for whose, meter, quantity in provider.usage.values() if whose == customer
    )


async def list_usage_rows(cast: Cast) -> list[Any]:
    async with db.transaction(tenant_id=cast.acme) as session:
        columns = sa.select(BillingUsage.id, BillingUsage.quantity, BillingUsage.reported_at)  # type: ignore[call-overload]
        return list((await (await session.connection()).execute(columns.order_by("id"))).all())


async def list_problems(cast: Cast) -> list[str]:
    async with db.transaction(tenant_id=cast.acme) as session:
        statement = sa.select(BillingUsage.problem).order_by("id")  # type: ignore[call-overload]
        return list((await (await session.connection()).execute(statement)).scalars())


async def test_usage_is_recorded_once_per_identifier_meter_and_tenant(cast: Cast) -> None:
    outcomes = await asyncio.gather(*(record_usage(cast.ann, "hour-1") for _ in range(4)))
    assert sorted(outcomes) == [False, False, False, True]
    assert await record_usage(cast.ann, "hour-1", meter="usage_events")
    assert await record_usage(cast.gil, "hour-1")
    assert [row.quantity for row in await list_usage_rows(cast)] == [3, 3]


@pytest.mark.parametrize(
    "wrong",
    [{"meter": "steps"}, {"quantity": 0}, {"quantity": -1}, {"identifier": ""}, {"identifier": "x" * 101}],
)
async def test_invalid_usage_is_refused(cast: Cast, wrong: dict[str, Any]) -> None:
    with pytest.raises(Invalid, match="usage can’t be billed"):
        await record_usage(cast.ann, **{"identifier": "hour-1", **wrong})


async def test_recorded_usage_is_reported_once(
    cast: Cast, provider: RecordingProvider, customer: str
) -> None:
    await record_usage(cast.ann, "hour-1", 3)
    await record_usage(cast.ann, "hour-2", 4)
    await record_usage(cast.gil, "hour-1", 9)  # has no customer at the provider yet
    await usage.report()
    assert list_reported_usage(provider, customer) == [("api_calls", 3), ("api_calls", 4)]
    assert all(row.reported_at is not None for row in await list_usage_rows(cast))
    calls = provider.call_count
    assert (await usage.report(), provider.call_count) == (0, calls)


async def test_lost_answer_does_not_report_usage_twice(
    cast: Cast, provider: RecordingProvider, customer: str
) -> None:
    await record_usage(cast.ann, "hour-1", 3)
    provider.loses_answers = True
    await usage.report()
    assert [row.reported_at for row in await list_usage_rows(cast)] == [None]
    provider.loses_answers = False
    await usage.report()
    assert [row.reported_at is None for row in await list_usage_rows(cast)] == [False]
    assert list_reported_usage(provider, customer) == [("api_calls", 3)]


async def test_refused_usage_does_not_block_the_rest(
    cast: Cast, provider: RecordingProvider, customer: str
) -> None:
    await record_usage(cast.ann, "hour-1", 3)
    await record_usage(cast.ann, "hour-1", 5, meter="usage_events")
    provider.refused_ids.add("api_calls")
    await usage.report()
    assert list_reported_usage(provider, customer) == [("usage_events", 5)]
    assert await list_problems(cast) == ["refused", ""]
    provider.refused_ids.clear()
    await usage.report()
    assert list_reported_usage(provider, customer) == [("api_calls", 3), ("usage_events", 5)]
    assert await list_problems(cast) == ["", ""]


async def test_usage_older_than_the_identifier_lifetime_is_left_to_an_operator(
    cast: Cast, provider: RecordingProvider, customer: str
) -> None:
    await record_usage(cast.ann, "hour-1", 3)
    provider.loses_answers = True
    await usage.report()
    async with db.transaction(tenant_id=cast.acme) as session:
        tried = now() - usage.IDENTIFIER_LIFETIME - timedelta(minutes=1)
        await (await session.connection()).execute(sa.update(BillingUsage).values(tried_at=tried))
    provider.loses_answers = False
    await usage.report()
    assert [row.reported_at for row in await list_usage_rows(cast)] == [None]
    assert await list_problems(cast) == ["doubtful"]


async def test_usage_after_the_last_invoice_waits_for_another_subscription(
    cast: Cast, provider: RecordingProvider, customer: str
) -> None:
    async with cast.ann.ctx() as ctx:
        assert await usage.record(ctx, "api_calls", 3, now() - timedelta(days=1, minutes=10), "late")
    await add_subscription(cast, customer, "sub_ended", ended_at=now() - timedelta(days=1))
    await usage.report()
    assert list_reported_usage(provider, customer) == []
    assert await list_problems(cast) == ["ended"]
    page = cast.olga.opens(OverviewState)
    await page.load()
    lines = [line for line in page.unbilled_usage if f"/tenants/{cast.acme}" in line[1]]
    assert [text for _, _, text in lines] == [
        "1 record from before the last invoice. A new subscription would bill it; otherwise send an invoice."
    ]
    await add_subscription(cast, customer, "sub_live")
    await usage.report()
    assert list_reported_usage(provider, customer) == [("api_calls", 3)]
    assert await list_problems(cast) == [""]


async def test_usage_of_a_plan_that_a_change_replaced_is_shown_as_not_billed(
    cast: Cast, provider: RecordingProvider, customer: str
) -> None:
    """The running subscription has no item for the meter any more."""
    changed_at = now() - timedelta(hours=1)
    async with db.transaction() as session:
        prices = await prices_repository.list_prices(session)
    metered = next(price for price, _, _ in prices if price.meter == "api_calls")
    async with entry.enter_billing_sync(cast.acme, "tests") as ctx:
        ctx.session.add(
            TenantPlan(
                tenant_id=cast.acme,
                plan_version_id=metered.plan_version_id,
                starts_at=now() - timedelta(days=30),
                closed_at=changed_at,
                source=SUBSCRIPTION_SOURCE,
                by_name="Stripe",
                reason="subscription",
            )
        )
        assert await usage.record(ctx, "api_calls", 3, changed_at - timedelta(minutes=1), "before")
        assert await usage.record(ctx, "api_calls", 4, changed_at + timedelta(minutes=1), "after")
    await usage.report()
    assert await list_problems(cast) == ["ended", ""]
    assert list_reported_usage(provider, customer) == [("api_calls", 4)]


async def add_subscription(
    cast: Cast, customer: str, subscription_id: str, ended_at: datetime | None = None
) -> None:
    """As a sync stores it, with a metered price of the demo's price list."""
    async with db.transaction() as session:
        meters = await prices_repository.get_meters_by_price_id(session)
    price_id = next(price_id for price_id, meter in meters.items() if meter == "api_calls")
    starts_at = now() - timedelta(hours=20)
    item = SubscriptionItem("si_1", price_id, "price_1", 0, starts_at, starts_at + timedelta(days=30))
    subscription = Subscription(
        subscription_id,
        "canceled" if ended_at else "active",
        now() - timedelta(days=30 if ended_at else 0),
        (item,),
        ended_at=ended_at,
    )
    async with entry.enter_billing_sync(cast.acme, "tests") as ctx:
        state = CustomerState(customer, subscriptions=(subscription,))
        await provider_records.write_records(ctx, PLATFORM, customer, state, ticket=1)


async def test_recorded_usage_cannot_be_changed(cast: Cast) -> None:
    await record_usage(cast.ann, "hour-1")
    for change in ("update billing_usage set quantity = 1", "delete from billing_usage"):
        with pytest.raises(sa.exc.DBAPIError, match="permission denied"):
            async with db.transaction(tenant_id=cast.acme) as session:
                await (await session.connection()).exec_driver_sql(change)


async def test_failing_customer_does_not_block_usage_of_others(
    cast: Cast, provider: RecordingProvider, customer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with db.transaction(tenant_id=cast.globex) as session:
        session.add(BillingCustomer(tenant_id=cast.globex, id=new_id("cus"), account_id=PLATFORM))
    await record_usage(cast.ann, "hour-1", 3)
    asked: list[str] = []

    async def record_and_raise(account_id: str, customer_id: str, tenant_id: str) -> int:
        asked.append(tenant_id)
        raise ZeroDivisionError

    monkeypatch.setattr(usage, "_report_customer", record_and_raise)
    assert await usage.report() == 0
    assert {cast.acme, cast.globex} <= set(asked)
