"""Two concurrent fetches on real Postgres, stopped at their critical points; each also without its guard."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from sqlmodel import select

from shared.billing import customers, provider_registry
from shared.billing.inbound_webhooks import inbound_webhook_repository, processing
from shared.billing.models import PLATFORM, BillingCustomer, BillingSubscription
from shared.billing.provider_values import CustomerState
from shared.billing.sync import customer_sync, provider_records
from shared.core import db
from shared.core.db import now
from shared.core.ids import new_id
from shared.tenancy import tenants
from tests.billing.test_apply_state import build_subscription
from tests.billing.test_processing import claim_webhooks
from tests.conftest import Cast
from tests.support.billing import events, scripted_provider

PATIENCE = 0.5  # of who waits at a barrier to which nobody else may come


@pytest.fixture
async def stripe(schema: str) -> scripted_provider.FakeProvider:
    provider = scripted_provider.FakeProvider()
    provider_registry.register(PLATFORM, provider)
    await scripted_provider.add_price(scripted_provider.PRO_FLAT, "pro")
    return provider


async def get_billing_status(cast: Cast) -> str:
    async with cast.ann.ctx() as ctx:
        return ctx.rights.billing_status


async def _apply_old_fetch_late(cast: Cast, stripe: scripted_provider.FakeProvider) -> str:
    """Worker 1 fetches `active` and stops; the subscription is cancelled; worker 2 writes; worker 1 continues."""
    customer = await customers.ensure(cast.acme)
    stripe.state[customer] = CustomerState(customer, subscriptions=(build_subscription(),))
    await events.store_webhooks(customer)
    first = next(job for job in await claim_webhooks() if job.customer_id == customer)
    stripe.gate = gate = asyncio.Event()
    old = asyncio.create_task(processing.process(first))
    await stripe.has_fetched.wait()
    stripe.gate = None
    stripe.state[customer] = CustomerState(
        customer, subscriptions=(replace(build_subscription("canceled"), ended_at=now()),)
    )
    await events.store_webhooks(customer)
    second = next(job for job in await claim_webhooks() if job.customer_id == customer)
    await processing.process(second)
    assert await get_billing_status(cast) == "none"
    gate.set()
    await old
    assert await events.count_by_status(customer) == {"done": 2}
    return await get_billing_status(cast)


async def test_late_result_of_an_old_fetch_is_discarded(
    cast: Cast, stripe: scripted_provider.FakeProvider
) -> None:
    assert await _apply_old_fetch_late(cast, stripe) == "none"


async def test_late_result_of_an_old_fetch_restores_access_without_the_guard(
    cast: Cast, stripe: scripted_provider.FakeProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def accept_every_ticket(*_: Any) -> bool:
        return True

    monkeypatch.setattr(inbound_webhook_repository, "lock_customer_if_newest", accept_every_ticket)
    assert await _apply_old_fetch_late(cast, stripe) == "active"


async def test_late_result_of_an_old_fetch_restores_access_with_a_ticket_taken_late(
    cast: Cast, stripe: scripted_provider.FakeProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    was = inbound_webhook_repository.lock_customer_if_newest

    async def take_late_ticket(session: Any, account_id: str, customer_id: str, _: int) -> bool:
        return await was(
            session, account_id, customer_id, await inbound_webhook_repository.take_ticket(session)
        )

    monkeypatch.setattr(inbound_webhook_repository, "lock_customer_if_newest", take_late_ticket)
    assert await _apply_old_fetch_late(cast, stripe) == "active"


async def do_nothing(_: Any) -> None: ...


async def _end_two_customers_at_once(
    cast: Cast, stripe: scripted_provider.FakeProvider, monkeypatch: pytest.MonkeyPatch, *, locked: bool
) -> str:
    """Both states are written before either access is computed: each must see the other."""
    other = new_id("pac")
    await scripted_provider.add_account(other)
    provider_registry.register(other, stripe)
    first, second = await customers.ensure(cast.acme), f"cus_{new_id('x')[-8:]}"
    async with cast.ann.ctx() as ctx:
        ctx.session.add(BillingCustomer(tenant_id=cast.acme, id=second, account_id=other))
    paths = [(PLATFORM, first, "sub_1"), (other, second, "sub_2")]

    def set_both_states(word: str) -> None:
        for _, customer, name in paths:
            sold = replace(build_subscription(word), id=name, ended_at=None if word == "active" else now())
            stripe.state[customer] = CustomerState(customer, subscriptions=(sold,))

    async def sync_customer(account: str, customer: str, _: str) -> None:
        await customer_sync.sync_customer(account, customer, cast.acme, cause="webhook")

    set_both_states("active")
    for path in paths:
        await sync_customer(*path)
    assert await get_billing_status(cast) == "active"
    met, was = asyncio.Barrier(2), provider_records.write_records

    async def write_and_wait(ctx: Any, *arguments: Any) -> Any:
        differences = await was(ctx, *arguments)
        await ctx.session.flush()
        try:
            await asyncio.wait_for(met.wait(), PATIENCE)
        except (TimeoutError, asyncio.BrokenBarrierError):
            pass
        return differences

    monkeypatch.setattr(provider_records, "write_records", write_and_wait)
    if not locked:
        monkeypatch.setattr(tenants, "lock", do_nothing)
    set_both_states("canceled")
    await asyncio.gather(*(sync_customer(*path) for path in paths))
    async with db.transaction(tenant_id=cast.acme) as session:
        words = [row.status for row in (await session.exec(select(BillingSubscription))).all()]
    assert words == ["canceled", "canceled"]
    return await get_billing_status(cast)


async def test_access_ends_when_two_customers_of_a_tenant_end_at_once(
    cast: Cast, stripe: scripted_provider.FakeProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert await _end_two_customers_at_once(cast, stripe, monkeypatch, locked=True) == "none"


async def test_access_remains_for_two_customers_ending_at_once_without_the_lock(
    cast: Cast, stripe: scripted_provider.FakeProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert await _end_two_customers_at_once(cast, stripe, monkeypatch, locked=False) == "active"


async def test_webhook_stays_pending_when_its_transaction_fails(
    cast: Cast, stripe: scripted_provider.FakeProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The mark, the records and the grants are one transaction, which fails at its very end."""
    customer = await customers.ensure(cast.acme)
    stripe.state[customer] = CustomerState(customer, subscriptions=(build_subscription(),))
    await events.store_webhooks(customer)
    before = await get_billing_status(cast)
    was = provider_records.write_records

    async def write_and_fail(*arguments: Any) -> Any:
        await was(*arguments)
        raise RuntimeError("the disk is full")

    monkeypatch.setattr(provider_records, "write_records", write_and_fail)
    await processing.drain()
    assert await events.count_by_status(customer) == {"pending": 1}
    async with db.transaction(tenant_id=cast.acme) as session:
        assert not (await session.exec(select(BillingSubscription))).all()
    monkeypatch.setattr(provider_records, "write_records", was)
    await events.make_webhooks_due(customer)
    await processing.drain()
    assert await events.count_by_status(customer) == {"done": 1}
    async with cast.ann.ctx() as ctx:
        assert (before, ctx.rights.plan) == ("active", "pro")
