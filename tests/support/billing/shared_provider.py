"""A provider that sells our price list, one for all tests of a process: ids of its customers are never used twice."""

from shared.billing import provider_registry
from shared.billing.models import PLATFORM
from shared.billing.pricing import price_sync
from shared.billing.pricing import prices_repository as repository
from shared.billing.subscriptions import checkout_return
from shared.core import db
from shared.core.db import now
from tests.conftest import Person
from tests.support.billing.memory_provider import MemoryProvider

_providers: list[MemoryProvider] = []


async def install_provider() -> MemoryProvider:
    """Put in Stripe's place, with every price pushed to it. `close` afterwards."""
    if not _providers:
        _providers.append(MemoryProvider(now().replace(microsecond=0)))
    provider = _providers[0]
    provider.clock = max(provider.clock, now().replace(microsecond=0))
    provider._failures.clear()
    provider_registry.register(PLATFORM, provider)
    async with db.transaction() as session:
        listed = await repository.list_prices(session)
        for price, version, plan in listed:
            external = await provider.push_price(price_sync.to_price_tag(price, version, plan))
            await repository.save_pushed_price(session, PLATFORM, price.id, external, now())
    return provider


def remove_provider() -> None:
    provider_registry._providers.pop(PLATFORM, None)


async def return_from_provider(person: Person) -> bool:
    """From a page of the provider: what the page of the app does then."""
    async with person.ctx() as ctx:
        back = await checkout_return.prepare(ctx)
    return await checkout_return.submit(back)
