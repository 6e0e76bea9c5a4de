"""A provider that sells our price list, one for all tests of a process: ids of its customers are never used twice."""

from shared.billing import price_sync, providers, returns
from shared.billing import prices_repository as repository
from shared.billing.models import PLATFORM
from shared.core import db
from shared.core.db import now
from tests.billing.memory_provider import MemoryProvider
from tests.conftest import Person

_market: list[MemoryProvider] = []


async def open_() -> MemoryProvider:
    """Put in Stripe's place, with every price pushed to it. `close` afterwards."""
    if not _market:
        _market.append(MemoryProvider(now().replace(microsecond=0)))
    market = _market[0]
    market.clock = max(market.clock, now().replace(microsecond=0))
    market._failures.clear()
    providers.use(PLATFORM, market)
    async with db.transaction() as session:
        listed = await repository.list_prices(session)
        for price, version, plan in listed:
            external = await market.push_price(price_sync.tag(price, version, plan))
            await repository.put_pushed(session, PLATFORM, price.id, external, now())
    return market


def close() -> None:
    providers._known.pop(PLATFORM, None)


async def comes_back(person: Person) -> bool:
    """From a page of the provider: what the page of the app does then."""
    async with person.ctx() as ctx:
        back = await returns.prepare(ctx)
    return await returns.go(back)
