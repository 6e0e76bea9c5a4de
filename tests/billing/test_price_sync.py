"""Prices at the provider: pushed once, compared, and repaired by operators."""

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from shared.audit import audit_log
from shared.backoffice import price_admin
from shared.billing.models import PLATFORM, ProviderPrice
from shared.billing.pricing import comparison, price_sync
from shared.billing.pricing import prices_repository as repository
from shared.core import db
from shared.core.db import now
from shared.core.errors import Refused
from tests.conftest import Cast
from tests.support import workers
from tests.support.billing import sold_plans
from tests.support.billing.priced_provider import RecordingProvider, install_recording_provider


@pytest.fixture
async def provider(cast: Cast) -> AsyncIterator[RecordingProvider]:
    async with install_recording_provider() as provider:
        yield provider


async def load_provider_price(price_id: str) -> ProviderPrice | None:
    async with db.transaction() as session:
        return await session.get(ProviderPrice, (PLATFORM, price_id))


async def load_drift(price_id: str) -> dict[str, Any]:
    row = await load_provider_price(price_id)
    assert row is not None
    assert row.checked_at is not None
    return row.drift


async def test_current_and_future_prices_are_pushed_once(cast: Cast, provider: RecordingProvider) -> None:
    version = await sold_plans.publish_with_prices(cast)
    coming = await sold_plans.set_price(
        cast, version.id, amount=3_900, effective_at=now() + timedelta(days=3)
    )
    past, now_ = (
        await sold_plans.set_price(cast, version.id, amount=2_950),
        await sold_plans.set_price(cast, version.id, amount=3_000),
    )
    first = await price_sync.push_prices()
    assert first.failures == ()
    assert {coming.id, now_.id, "prc_pro_metered_year"} <= provider.prices.keys()
    assert past.id not in provider.prices  # nobody can buy it any more
    row = await load_provider_price(coming.id)
    assert row is not None
    assert (row.external_id, row.pushed_at is not None) == (provider.prices[coming.id].external_id, True)
    tag = provider.prices["prc_pro_metered_month"].tag
    assert tag is not None
    assert (tag.product_id, tag.product_name, tag.period, tag.kind, tag.meter) == (
        *("plv_pro_1", "Pro", "month", "metered", "api_calls"),
    )
    assert (tag.tiers, tag.tiers_mode) == (((100, 0, 0), (None, 10, 0)), "graduated")
    calls, again = provider.call_count, await price_sync.push_prices()
    assert (again.count, provider.call_count) == (0, calls)


async def test_push_is_retried_later_when_the_account_does_not_answer(
    cast: Cast, provider: RecordingProvider
) -> None:
    provider.is_down = True
    silent = await price_sync.push_prices()
    assert (provider.call_count, silent.failures) == (1, ("Stripe isn’t responding.",))
    provider.is_down = False
    provider.refused_ids.add("prc_starter_flat_month")
    some = await price_sync.push_prices()
    assert some.failures == ("Starter, Base, monthly: That is not possible.",)
    assert "prc_support_flat_year" in provider.prices  # one that is refused holds up no other
    provider.refused_ids.clear()
    assert (await price_sync.push_prices()).count == 1


@pytest.mark.parametrize(
    ("painted", "shown"),
    [
        ({"amount": 1_900}, {"Amount": ["$29.00", "$19.00"]}),
        ({"active": False}, {"Sold": ["yes", "archived"]}),
        ({"currency": "eur"}, {"Amount": ["$29.00", "€29.00"]}),
        ({"period": "year"}, {"Period": ["month", "year"]}),
        ({"kind": "seat"}, {"Kind": ["flat", "seat"]}),
        ({"product_id": "plv_pro_1"}, {"Product": ["plv_starter_1", "plv_pro_1"]}),
        ({"product_name": "Beginner"}, {"Name": ["Starter", "Beginner"]}),
        ({"meter": "steps"}, {"Meter": ["none", "steps"]}),
        (
            {"tiers": ((10, 0, 0), (None, 5, 100)), "tiers_mode": "volume"},
            {"Amount": ["$29.00", "volume: to 10 $0.00, rest $0.05 and $1.00"]},
        ),
    ],
)
async def test_change_at_the_provider_is_shown_as_drift(
    cast: Cast, provider: RecordingProvider, painted: dict[str, Any], shown: dict[str, list[str]]
) -> None:
    await price_sync.push_prices()
    assert (await price_sync.compare_prices()).drifted_count == 0
    assert await load_drift("prc_starter_flat_month") == {}
    provider.edit_price("prc_starter_flat_month", **painted)
    assert (await price_sync.compare_prices()).drifted_count == 1
    assert await load_drift("prc_starter_flat_month") == shown
    provider.edit_price("prc_starter_flat_month", **{name: _was[name] for name in painted})
    assert (await price_sync.compare_prices()).drifted_count == 0
    assert await load_drift("prc_starter_flat_month") == {}


_was: dict[str, Any] = {
    **{"amount": 2_900, "active": True, "currency": "usd", "period": "month", "kind": "flat", "meter": ""},
    **{"product_id": "plv_starter_1", "product_name": "Starter", "tiers": (), "tiers_mode": ""},
}


async def test_missing_or_replaced_price_is_shown_as_drift(cast: Cast, provider: RecordingProvider) -> None:
    await price_sync.push_prices()
    monthly_price, other = provider.prices["prc_starter_flat_month"], provider.prices["prc_starter_flat_year"]
    del provider.prices["prc_starter_flat_month"]
    await price_sync.compare_prices()
    assert await load_drift("prc_starter_flat_month") == {"Price": [monthly_price.external_id, "gone"]}
    provider.prices["prc_starter_flat_month"] = other
    await price_sync.compare_prices()
    assert (await load_drift("prc_starter_flat_month"))["Price"] == [
        monthly_price.external_id,
        other.external_id,
    ]


async def test_comparison_joins_the_requests_that_wait(
    cast: Cast, provider: RecordingProvider, schema: str
) -> None:
    """One that runs, or is retried, serves them all."""
    workers.clear_queue(schema)
    await price_sync.push_prices()
    for _ in range(3):
        async with db.transaction() as session:
            await comparison.request_comparison(session)
    before = provider.call_count
    await workers.run_due_jobs()
    assert workers.list_jobs(schema) == []
    assert provider.call_count - before == len(provider.prices)
    provider.is_down = True
    for _ in range(2):
        async with db.transaction() as session:
            await comparison.request_comparison(session)
    before = provider.call_count
    await workers.run_due_jobs()
    assert workers.list_jobs(schema) == [(comparison.COMPARE_TASK, "todo")], "the outage is waited for"
    assert provider.call_count - before == 1


async def test_comparison_ends_where_the_provider_refuses_a_price(
    cast: Cast, provider: RecordingProvider, schema: str
) -> None:
    """Trying again gets the same refusal; the other prices are compared."""
    workers.clear_queue(schema)
    await price_sync.push_prices()
    provider.refused_ids.add("prc_starter_flat_month")
    async with db.transaction() as session:
        await comparison.request_comparison(session)
    await workers.run_due_jobs()
    assert workers.list_jobs(schema) == []
    assert await load_drift("prc_starter_flat_year") == {}


async def test_drift_is_repaired_only_by_an_operator(cast: Cast, provider: RecordingProvider) -> None:
    await price_sync.push_prices()
    provider.edit_price("prc_starter_flat_month", amount=1_900)
    await price_sync.compare_prices()
    assert (await price_sync.push_prices()).count == 0
    assert await load_drift("prc_starter_flat_month") != {}
    assert (await price_sync.push_prices("operator", repair=True)).failures == ()
    assert await load_drift("prc_starter_flat_month") == {}
    row, there_now = (
        await load_provider_price("prc_starter_flat_month"),
        provider.prices["prc_starter_flat_month"],
    )
    assert row is not None
    assert row.external_id == there_now.external_id
    assert there_now.tag is not None
    assert there_now.tag.amount == 2_900
    assert (await price_sync.compare_prices()).drifted_count == 0


async def test_price_for_one_tenant_is_pushed_by_operators(cast: Cast, provider: RecordingProvider) -> None:
    version = await sold_plans.publish_with_prices(cast, for_tenant=cast.acme)
    await price_sync.push_prices()
    async with db.transaction("operator") as session:
        (price,) = await repository.list_version_prices(session, [version.id])
    assert price.id not in provider.prices  # the worker does not see it
    async with cast.olga.octx() as octx:
        await price_admin.request_push(octx)
    await price_sync.push_prices("operator")
    assert price.id in provider.prices
    async with cast.olga.octx() as octx:
        (event,) = await audit_log.list_operator_events(octx, limit=1)
        assert event.action == "prices.pushed"
        assert [
            provider_price.external_id
            for provider_price in (await price_admin.list_price_history(octx)).provider_prices[price.id]
        ] == [provider.prices[price.id].external_id]


async def test_push_and_comparison_are_refused_without_permission(cast: Cast) -> None:
    async with cast.sam.octx() as octx:
        for ask in (price_admin.request_push, price_admin.request_compare):
            with pytest.raises(Refused, match="change plans"):
                await ask(octx)


async def test_failed_sync_run_does_not_end_the_next() -> None:
    async def raise_error() -> None:
        raise ValueError("a bug")

    assert not await price_sync._run_job("push", raise_error)
    assert await price_sync._run_job("push", _do_nothing)


async def _do_nothing() -> None:
    pass
