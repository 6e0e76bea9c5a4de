"""A provider that does not answer: tenants keep working, because no transaction waits for it."""

import asyncio

import pytest
from sqlalchemy import text

from shared.billing import customers, provider_registry
from shared.billing.inbound_webhooks import processing
from shared.billing.models import PLATFORM
from shared.billing.provider import ProviderDown
from shared.billing.provider_values import CustomerState
from shared.core import db
from shared.tenancy import tenants
from tests.billing.test_apply_state import build_subscription
from tests.conftest import Cast
from tests.support.billing import events, scripted_provider

IN_TRANSACTIONS = text(
    "select count(*) from pg_stat_activity where datname = current_database() and xact_start is not null"
    " and pid <> pg_backend_pid() and backend_type = 'client backend'"
)


@pytest.fixture
async def stripe(schema: str) -> scripted_provider.FakeProvider:
    provider = scripted_provider.FakeProvider()
    provider_registry.register(PLATFORM, provider)
    await scripted_provider.add_price(scripted_provider.PRO_FLAT, "pro")
    return provider


async def test_tenant_keeps_working_while_a_fetch_hangs(
    cast: Cast, stripe: scripted_provider.FakeProvider
) -> None:
    customer = await customers.ensure(cast.acme)
    stripe.state[customer] = CustomerState(customer, subscriptions=(build_subscription(),))
    stripe.gate = asyncio.Event()
    await events.store_webhooks(customer)
    working = asyncio.create_task(processing.drain())
    await stripe.has_fetched.wait()
    try:
        async with asyncio.timeout(5):
            async with cast.ann.ctx() as ctx:
                await tenants.rename(ctx, "Acme by another name", version=None)
            async with db.transaction("owner") as session:
                assert (await (await session.connection()).execute(IN_TRANSACTIONS)).scalar_one() == 0
    finally:
        stripe.gate.set()
        await working
    assert await events.count_by_status(customer) == {"done": 1}


async def test_webhooks_received_during_an_outage_are_processed_after_it(
    cast: Cast, stripe: scripted_provider.FakeProvider
) -> None:
    paths = [await customers.ensure(tenant) for tenant in (cast.acme, cast.globex)]
    for customer in paths:
        stripe.state[customer] = CustomerState(customer, subscriptions=(build_subscription(),))
    stripe.failure = ProviderDown("no answer")
    working = asyncio.create_task(processing.run())
    try:
        for _ in range(5):
            for customer in paths:
                await events.store_webhooks(customer)
            await asyncio.sleep(0.05)
            async with cast.ann.ctx() as ctx:
                assert ctx.rights.plan == "business", "on what we know"
        stripe.failure = None
        for customer in paths:
            await events.wait_until_processed(customer, 20)
            assert await events.count_by_status(customer) == {"done": 5}
    finally:
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)
    async with cast.ann.ctx() as ctx:
        assert ctx.rights.plan == "pro"
