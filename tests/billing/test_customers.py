"""One customer at the provider for a tenant, whoever asks and however often; and nobody waits for it."""

import asyncio

import pytest
from sqlalchemy.exc import IntegrityError

from shared.billing import customers, providers
from shared.billing.models import PLATFORM, BillingCustomer
from shared.billing.provider import ProviderDown
from shared.core import db
from shared.tenancy import provisioning
from tests import factories, workers
from tests.billing import seller
from tests.conftest import Cast, Person
from tests.stand_in_mail import mailbox


@pytest.fixture
async def stripe() -> seller.Seller:
    one = seller.Seller()
    providers.use(PLATFORM, one)
    return one


async def test_twenty_at_once_make_one(cast: Cast, stripe: seller.Seller) -> None:
    found = await asyncio.gather(*(customers.ensure(cast.acme) for _ in range(20)))
    assert len(set(found)) == 1
    assert len(stripe.made) == 1


async def test_a_customer_is_one_tenants_only(cast: Cast, stripe: seller.Seller) -> None:
    customer = await customers.ensure(cast.acme)
    with pytest.raises(IntegrityError):
        async with db.transaction(tenant_id=cast.globex) as session:
            session.add(BillingCustomer(tenant_id=cast.globex, id=customer))


async def test_a_tenant_has_one_customer_in_an_account(cast: Cast, stripe: seller.Seller) -> None:
    await customers.ensure(cast.acme)
    with pytest.raises(IntegrityError):
        async with db.transaction(tenant_id=cast.acme) as session:
            session.add(BillingCustomer(tenant_id=cast.acme, id="cus_another"))


async def test_setting_up_a_tenant_makes_it_and_does_not_wait_for_it(
    schema: str, stripe: seller.Seller
) -> None:
    workers.clear_queue(schema)
    zoe = await factories.account("Zoe")
    tenant = await factories.tenant(zoe, "Harbour")
    stripe.fail = ProviderDown("no answer")
    async with mailbox():
        for _ in range(2 * len(provisioning.STEPS)):
            await workers.turn()
        async with Person(zoe, tenant.slug).ctx() as ctx:
            steps = {step.key: step.state for step in await provisioning.list_steps(ctx)}
            assert set(steps.values()) == {"done"}
            assert await customers.find(ctx) == ""
        stripe.fail = None
        workers.due(schema)
        await workers.finish(schema)
    async with Person(zoe, tenant.slug).ctx() as ctx:
        assert await customers.find(ctx) == stripe.made[f"customer-{tenant.id}"]
