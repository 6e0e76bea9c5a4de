"""Reconciliation finds changes without a webhook, repairs them and records them as drift."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlmodel import select

from shared.backoffice import tenant_billing
from shared.backoffice.reasons import state_reason
from shared.billing import customers, provider_registry
from shared.billing.models import PLATFORM, BillingDrift, ReconcileRun
from shared.billing.provider import ProviderDown
from shared.billing.provider_values import CustomerState
from shared.billing.sync import reconcile
from shared.core import db
from shared.core.db import now
from shared.core.errors import Invalid, Refused
from tests.billing.test_apply_state import build_subscription
from tests.conftest import Cast, Person, own_database
from tests.support import factories
from tests.support.billing import scripted_provider


@pytest.fixture
async def stripe() -> scripted_provider.FakeProvider:
    provider = scripted_provider.FakeProvider()
    provider_registry.register(PLATFORM, provider)
    return provider


@pytest.fixture
async def acme(schema: str, stripe: scripted_provider.FakeProvider) -> AsyncIterator[Person]:
    """The only tenant of its database, because a run fetches every customer."""
    async with own_database(schema, "reconcile"):
        ann = await factories.create_account("Ann")
        yield Person(ann, (await factories.create_tenant(ann, "Acme")).slug)


async def _drifts(tenant_id: str) -> list[BillingDrift]:
    async with db.transaction(tenant_id=tenant_id) as session:
        return list((await session.exec(select(BillingDrift).order_by(BillingDrift.id))).all())


async def _run(cause: str = "operator") -> ReconcileRun:
    row = ReconcileRun(cause=cause, by_name="Olga", reason="A test")
    async with db.transaction() as session:
        session.add(row)
    await reconcile.execute_run(row.id)
    async with db.transaction() as session:
        run = await session.get(ReconcileRun, row.id)
    assert run is not None
    return run


async def test_reconciliation_repairs_and_records_a_lost_webhook(
    acme: Person, stripe: scripted_provider.FakeProvider
) -> None:
    await scripted_provider.add_price(scripted_provider.PRO_FLAT, "pro")
    customer = await customers.ensure(await scripted_provider.get_tenant_id(acme))
    stripe.state[customer] = CustomerState(customer, subscriptions=(build_subscription(),))
    assert (await _run()).drifted >= 1
    async with acme.ctx() as ctx:
        assert ctx.rights.plan == "pro"
    assert [
        difference["what"]
        for difference in (await _drifts(await scripted_provider.get_tenant_id(acme)))[0].differences
    ] == ["sub_1"]
    ended = replace(build_subscription("canceled"), ended_at=now())
    stripe.state[customer] = CustomerState(customer, subscriptions=(ended,))
    await _run()
    async with acme.ctx() as ctx:
        assert ctx.rights.billing_status == "none"
    values_by_difference = {
        difference["what"]: (difference["ours"], difference["theirs"])
        for difference in (await _drifts(await scripted_provider.get_tenant_id(acme)))[1].differences
    }
    assert values_by_difference["sub_1.status"] == ("active", "canceled")


async def test_reconciliation_writes_nothing_without_a_difference(
    acme: Person, stripe: scripted_provider.FakeProvider
) -> None:
    await scripted_provider.add_price(scripted_provider.PRO_FLAT, "pro")
    customer = await customers.ensure(await scripted_provider.get_tenant_id(acme))
    stripe.state[customer] = CustomerState(customer, subscriptions=(build_subscription(),))
    await _run()
    async with acme.ctx() as ctx:
        before = ctx.rights
    await _run()
    async with acme.ctx() as ctx:
        assert ctx.rights is before
    assert len(await _drifts(await scripted_provider.get_tenant_id(acme))) == 1


async def test_reconciliation_ends_access_of_a_deleted_customer(
    acme: Person, stripe: scripted_provider.FakeProvider
) -> None:
    await scripted_provider.add_price(scripted_provider.PRO_FLAT, "pro")
    customer = await customers.ensure(await scripted_provider.get_tenant_id(acme))
    stripe.state[customer] = CustomerState(customer, subscriptions=(build_subscription(),))
    await _run()
    stripe.state[customer] = CustomerState(customer, deleted=True)
    await _run()
    async with acme.ctx() as ctx:
        assert ctx.rights.billing_status == "none"


async def test_reconciliation_counts_failures_and_continues(
    acme: Person, stripe: scripted_provider.FakeProvider
) -> None:
    await customers.ensure(await scripted_provider.get_tenant_id(acme))
    stripe.failure = ProviderDown("no answer")
    run = await asyncio.wait_for(_run(), 20)
    assert run.finished_at is not None
    assert (run.failed, run.drifted) == (run.checked, 0)
    assert run.failed > 0


async def test_hourly_reconciliation_begins_once(acme: Person) -> None:
    begun = await asyncio.gather(*(reconcile._begin_hourly_run() for _ in range(8)))
    assert len([run for run in begun if run]) == 1


async def test_scheduled_reconciliation_takes_customers_not_seen_for_a_day(
    acme: Person, stripe: scripted_provider.FakeProvider
) -> None:
    customer = await customers.ensure(await scripted_provider.get_tenant_id(acme))
    stripe.state[customer] = CustomerState(customer)
    await _run()
    looks = stripe.fetch_count
    await _run("schedule")
    assert stripe.fetch_count == looks, "everybody was seen just now"
    row = ReconcileRun(cause="schedule", by_name="Bulkhead", started_at=now() + timedelta(days=2))
    async with db.transaction() as session:
        session.add(row)
    stripe.failure = ProviderDown("only counted")
    await reconcile.execute_run(row.id)
    assert stripe.fetch_count > looks


async def test_reconciliation_request_is_refused_without_permission_or_reason(cast: Cast) -> None:
    async with cast.olga.octx() as octx:
        assert await tenant_billing.request_run(octx, state_reason(octx, "A customer says that they paid"))
    with pytest.raises(Refused):
        async with cast.sam.octx() as octx:
            await tenant_billing.request_run(octx, state_reason(octx, "Curious, ticket 4471"))
    with pytest.raises(Invalid):
        async with cast.olga.octx() as octx:
            await tenant_billing.request_run(octx, state_reason(octx, " "))
