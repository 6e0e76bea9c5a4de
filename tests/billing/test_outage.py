"""A provider that does not answer keeps nobody from working: no transaction waits for it."""

import asyncio

import pytest
from sqlalchemy import text

from shared.billing import customers, inbox, providers
from shared.billing.models import PLATFORM
from shared.billing.provider import CustomerState, ProviderDown
from shared.core import db
from shared.tenancy import tenants
from tests.billing import events, seller
from tests.billing.test_apply import subscribed
from tests.conftest import Cast

IN_TRANSACTIONS = text(
    "select count(*) from pg_stat_activity where datname = current_database() and xact_start is not null"
    " and pid <> pg_backend_pid() and backend_type = 'client backend'"
)


@pytest.fixture
async def stripe(schema: str) -> seller.Seller:
    one = seller.Seller()
    providers.use(PLATFORM, one)
    await seller.price(seller.PRO_FLAT, "pro")
    return one


async def test_while_a_look_hangs_its_tenant_works_on(cast: Cast, stripe: seller.Seller) -> None:
    customer = await customers.ensure(cast.acme)
    stripe.state[customer] = CustomerState(customer, subscriptions=(subscribed(),))
    stripe.gate = asyncio.Event()
    await events.store(customer)
    working = asyncio.create_task(inbox.work_off())
    await stripe.looked.wait()
    try:
        async with asyncio.timeout(5):
            async with cast.ann.ctx() as ctx:
                await tenants.rename(ctx, "Acme by another name")
            async with db.transaction("owner") as session:
                assert (await (await session.connection()).execute(IN_TRANSACTIONS)).scalar_one() == 0
    finally:
        stripe.gate.set()
        await working
    assert await events.statuses(customer) == {"done": 1}


async def test_what_waited_while_nobody_answered_is_done_after(cast: Cast, stripe: seller.Seller) -> None:
    paths = [await customers.ensure(tenant) for tenant in (cast.acme, cast.globex)]
    for customer in paths:
        stripe.state[customer] = CustomerState(customer, subscriptions=(subscribed(),))
    stripe.fail = ProviderDown("no answer")
    working = asyncio.create_task(inbox.run())
    try:
        for _ in range(5):
            for customer in paths:
                await events.store(customer)
            await asyncio.sleep(0.05)
            async with cast.ann.ctx() as ctx:
                assert ctx.rights.plan == "business", "on what we know"
        stripe.fail = None
        for customer in paths:
            await events.settled(customer, 20)
            assert await events.statuses(customer) == {"done": 5}
    finally:
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)
    async with cast.ann.ctx() as ctx:
        assert ctx.rights.plan == "pro"
