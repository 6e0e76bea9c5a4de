"""One customer at the provider per tenant, also for concurrent requests and while the provider is down."""

import asyncio

import pytest
from sqlalchemy.exc import IntegrityError

from shared.billing import customers, provider_registry
from shared.billing.models import PLATFORM, BillingCustomer
from shared.billing.provider import ProviderDown
from shared.core import db
from shared.tenancy import provisioning
from tests.conftest import Cast, Person
from tests.support import factories, workers
from tests.support.billing import scripted_provider
from tests.support.stand_in_mail import run_mailbox


@pytest.fixture
async def stripe() -> scripted_provider.FakeProvider:
    provider = scripted_provider.FakeProvider()
    provider_registry.register(PLATFORM, provider)
    return provider


async def test_concurrent_requests_create_one_customer(
    cast: Cast, stripe: scripted_provider.FakeProvider
) -> None:
    customer_ids = await asyncio.gather(*(customers.ensure(cast.acme) for _ in range(20)))
    assert len(set(customer_ids)) == 1
    assert len(stripe.customers_by_key) == 1


async def test_customer_cannot_belong_to_two_tenants(
    cast: Cast, stripe: scripted_provider.FakeProvider
) -> None:
    customer = await customers.ensure(cast.acme)
    with pytest.raises(IntegrityError):
        async with db.transaction(tenant_id=cast.globex) as session:
            session.add(BillingCustomer(tenant_id=cast.globex, id=customer))


async def test_tenant_cannot_have_two_customers_in_an_account(
    cast: Cast, stripe: scripted_provider.FakeProvider
) -> None:
    await customers.ensure(cast.acme)
    with pytest.raises(IntegrityError):
        async with db.transaction(tenant_id=cast.acme) as session:
            session.add(BillingCustomer(tenant_id=cast.acme, id="cus_another"))


async def test_provisioning_creates_the_customer_without_waiting_for_the_provider(
    schema: str, stripe: scripted_provider.FakeProvider
) -> None:
    workers.clear_queue(schema)
    zoe = await factories.create_account("Zoe")
    tenant = await factories.create_tenant(zoe, "Harbour")
    stripe.failure = ProviderDown("no answer")
    async with run_mailbox():
        for _ in range(2 * len(provisioning.STEPS)):
            await workers.run_due_jobs()
        async with Person(zoe, tenant.slug).ctx() as ctx:
            steps = {step.key: step.state for step in await provisioning.list_steps(ctx)}
            assert set(steps.values()) == {"done"}
            assert await customers.find_id(ctx) == ""
        stripe.failure = None
        workers.make_jobs_due(schema)
        await workers.run_until_done(schema)
    async with Person(zoe, tenant.slug).ctx() as ctx:
        assert await customers.find_id(ctx) == stripe.customers_by_key[f"customer-{tenant.id}"]
