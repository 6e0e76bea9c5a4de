"""The same histories on real tables, and the access of the tenant at every later time."""

import asyncio
import random
from collections.abc import Sequence
from datetime import timedelta

import pytest
from sqlmodel import select

from shared.billing import customers, provider_registry, repository
from shared.billing.inbound_webhooks import inbound_webhook_repository, processing
from shared.billing.models import PLATFORM, BillingCustomer, BillingEvent
from shared.billing.pricing import prices
from shared.billing.provider_values import CustomerState
from shared.billing.sync import customer_sync
from shared.core import db
from shared.core.context import Ctx
from shared.core.db import now
from shared.core.ids import new_id
from tests.billing.test_processing import claim_webhooks
from tests.conftest import Person
from tests.support import factories
from tests.support.billing import access_reference, events, histories, scripted_provider
from tests.support.billing.granted_access import TEST_GRACE, get_access_status
from tests.support.sizes import size


class SlowProvider(histories.RandomProvider):
    """Answers slowly, so that fetches overtake each other."""

    async def fetch_customer(self, customer_id: str) -> CustomerState:
        seen = CustomerState(customer_id, subscriptions=tuple(self.list_all(customer_id).values()))
        await asyncio.sleep(self.rng.choice((0, 0, 0.002, 0.01)))
        return seen

    async def create_customer(self, tenant_id: str, name: str, email: str, key: str) -> str:
        return f"cus_{new_id('x')[-12:]}"


async def _play(tenant_id: str, provider: SlowProvider, accounts: Sequence[str], *, loses: bool) -> list[str]:
    """Returns the ids of the webhooks that came."""
    dice, came, waiting = provider.rng, list[str](), set[asyncio.Task[None]]()
    names = {"cus_1": "", "cus_2": ""}
    names["cus_1"] = await customers.ensure(tenant_id, accounts[0])
    names["cus_2"] = await customers.ensure(tenant_id, accounts[1])
    account_of = dict(zip(names.values(), accounts, strict=True))

    def change_any_customer() -> str:
        event = provider.change_any()
        real = names[event.customer]
        provider.state[real] = provider.state[event.customer]
        return real

    late = list[str]()
    for _ in range(dice.randint(3, 7)):
        customer = change_any_customer()
        fate = dice.choice(("comes", "comes", "twice", "late", "lost" if loses else "late"))
        if fate == "late":
            late.append(customer)
        elif fate != "lost":
            came += await events.store_webhooks(customer, 1 + (fate == "twice"), account=account_of[customer])
        for work in await claim_webhooks(lease=60):
            if dice.random() < 0.25:
                await _dies(work)
            else:
                waiting.add(asyncio.create_task(processing.process(work)))
        await asyncio.sleep(0.001)
    for customer in late:
        came += await events.store_webhooks(customer, account=account_of[customer])
    await asyncio.gather(*waiting)
    await processing.drain()
    if loses:
        for customer, account in account_of.items():
            await customer_sync.sync_customer(account, customer, tenant_id, cause="reconcile")
    provider.state = {real: provider.state.get(name, {}) for name, real in names.items()}
    return came


async def _dies(work: inbound_webhook_repository.WebhookClaim) -> None:
    """Its worker dies, and its lease has expired."""
    async with db.transaction() as session:
        await inbound_webhook_repository.release_webhooks(
            session, work, timedelta(), "", max_attempts=99, counts_as_attempt=False
        )


@pytest.fixture
async def priced_plans(schema: str) -> None:
    for price, plan, kind in (
        (access_reference.BASIC, "starter", "flat"),
        (access_reference.PLUS, "pro", "flat"),
        (access_reference.SEATED, "business", "seat"),
        (access_reference.EXTRA, "extra_seats", "flat"),
    ):
        await scripted_provider.add_price(price, plan, kind)


@pytest.fixture
async def other_account(schema: str) -> str:
    account = new_id("pac")
    await scripted_provider.add_account(account)
    return account


@pytest.mark.usefixtures("priced_plans")
@pytest.mark.parametrize("loses", [False, True])
async def test_access_after_random_histories_equals_the_table(other_account: str, loses: bool) -> None:
    ann = await factories.create_account("Ann")
    for seed in range(size("billing.histories_on_postgres") // 2):
        tenant = await factories.create_tenant(ann, f"Acme {seed}")
        provider = SlowProvider(random.Random(seed), now().replace(microsecond=0))
        for account in (PLATFORM, other_account):
            provider_registry.register(account, provider)  # type: ignore[arg-type]
        came = await _play(tenant.id, provider, (PLATFORM, other_account), loses=loses)
        subscriptions = [
            subscription
            for customer_subscriptions in provider.state.values()
            for subscription in customer_subscriptions.values()
        ]
        async with Person(ann, tenant.slug).ctx() as ctx:
            event_ids = [
                event_id
                for row in (await ctx.session.exec(select(BillingEvent))).all()
                for event_id in row.event_ids
            ]
            assert len(event_ids) == len(set(event_ids)), f"seed {seed}: told twice"
            assert set(event_ids) <= set(came)
            held = (await ctx.session.exec(select(BillingCustomer))).all()
            assert {row.id for row in held} == set(provider.state)
            priced_now = await prices.get_catalog_prices(ctx.session)
            assert await _standing(ctx) == histories.compute_outcome(provider.state, now(), priced_now), (
                f"seed {seed}"
            )
            for at in access_reference.list_change_times(subscriptions, now() + TEST_GRACE):
                has, should = (
                    await get_access_status(ctx, at),
                    access_reference.expected_access(subscriptions, at),
                )
                assert has == should, f"seed {seed} at {at}: {has}, should be {should}: {subscriptions}"
        for customer in provider.state:
            assert (await events.count_by_status(customer)).keys() <= {"done"}


async def _standing(ctx: Ctx) -> dict[str, object] | None:
    row = await repository.get_billing_snapshot(ctx)
    return (row.schedule or None) if row else None


@pytest.mark.usefixtures("priced_plans")
async def test_access_in_random_worlds_equals_the_table_at_every_change() -> None:
    """These worlds schedule more changes than the histories do: real rows, and times in the future."""
    ann = await factories.create_account("Ann")
    provider = scripted_provider.FakeProvider()
    provider_registry.register(PLATFORM, provider)
    for seed in range(size("billing.histories_on_postgres")):
        tenant = await factories.create_tenant(ann, f"Acme {seed}")
        customer = await customers.ensure(tenant.id)
        drawn = access_reference.draw_subscriptions(random.Random(seed), now().replace(microsecond=0))
        provider.state[customer] = CustomerState(customer, subscriptions=tuple(drawn))
        await customer_sync.sync_customer(PLATFORM, customer, tenant.id, cause="webhook")
        async with Person(ann, tenant.slug).ctx() as ctx:
            for at in access_reference.list_change_times(drawn, now() + TEST_GRACE):
                has, should = await get_access_status(ctx, at), access_reference.expected_access(drawn, at)
                assert has == should, f"seed {seed} at {at}: {has}, should be {should}: {drawn}"
