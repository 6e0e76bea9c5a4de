"""Taxes of a change that was never paid are turned off by a job, an hour after they were turned on."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta

import pytest

from shared.billing import customers, provider_registry
from shared.billing.models import PLATFORM
from shared.billing.provider_values import CustomerState, Subscription
from shared.billing.sync import customer_sync
from shared.core.db import now
from tests.conftest import Cast
from tests.support import workers
from tests.support.billing import scripted_provider


@dataclass
class TaxingProvider(scripted_provider.FakeProvider):
    undone: list[tuple[str, datetime]] = field(default_factory=list)

    async def undo_unpaid_tax(self, subscription_id: str, before: datetime, key: str) -> None:
        self.undone.append((subscription_id, before))


@pytest.mark.parametrize(("age", "is_undone"), [(timedelta(hours=1), True), (timedelta(), False)])
async def test_unpaid_tax_is_undone_an_hour_after_it_was_turned_on(
    cast: Cast, schema: str, age: timedelta, *, is_undone: bool
) -> None:
    provider = TaxingProvider()
    provider_registry.register(PLATFORM, provider)
    customer_id = await customers.ensure(cast.acme)
    workers.clear_queue(schema)
    turned_on_at = (now() - age).replace(microsecond=0)
    subscription = Subscription("sub_1", "active", now(), is_taxed=True, unpaid_tax_at=turned_on_at)
    provider.state[customer_id] = CustomerState(customer_id, subscriptions=(subscription,))
    await customer_sync.sync_customer(PLATFORM, customer_id, cast.acme, cause="webhook")
    await workers.run_due_jobs()
    assert provider.undone == ([("sub_1", turned_on_at)] if is_undone else [])


async def test_unpaid_tax_that_many_syncs_see_is_undone_by_one_job(cast: Cast, schema: str) -> None:
    provider = TaxingProvider()
    provider_registry.register(PLATFORM, provider)
    customer_id = await customers.ensure(cast.acme)
    workers.clear_queue(schema)
    turned_on_at = (now() - timedelta(hours=2)).replace(microsecond=0)
    subscription = Subscription("sub_1", "active", now(), is_taxed=True, unpaid_tax_at=turned_on_at)
    provider.state[customer_id] = CustomerState(customer_id, subscriptions=(subscription,))
    for _ in range(3):
        await customer_sync.sync_customer(PLATFORM, customer_id, cast.acme, cause="webhook")
    await workers.run_due_jobs()
    assert len(provider.undone) == 1
