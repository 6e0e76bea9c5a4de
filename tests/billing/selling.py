"""Plans that a test sells: one of its own, so that nobody else's price list changes."""

from collections.abc import Mapping
from typing import Any

from shared.billing import prices
from shared.billing import prices_repository as repository
from shared.billing.models import Price, ProviderAccount
from shared.core import db
from shared.core.db import now
from shared.entitlements.models import PlanVersion
from tests.conftest import Cast
from tests.entitlements.test_drafts import published


async def sold(cast: Cast, *parts: Mapping[str, Any], for_tenant: str | None = None) -> PlanVersion:
    """A published version with these prices, a month at 29.00 where none are given."""
    version = await published(cast.olga, for_tenant=for_tenant)
    for one in parts or ({"amount": 2_900},):
        await price(cast, version.id, **one)
    return version


async def price(cast: Cast, version_id: str, period: str = "month", kind: str = "flat", **more: Any) -> Price:
    async with cast.olga.octx() as octx:
        return await prices.set_price(octx, version_id, period, kind, **({"reason": "As agreed"} | more))


async def account(cast: Cast, name: str = "Second shop") -> str:
    """Another account at the provider, as nobody uses it yet."""
    async with db.transaction("operator") as session:
        row = ProviderAccount(name=name)
        session.add(row)
    return row.id


async def pushed(account_id: str, *version_ids: str) -> None:
    """As if the worker had pushed them."""
    async with db.transaction("operator") as session:
        for one in await repository.list_prices_of(session, version_ids):
            await repository.put_pushed(session, account_id, one.id, f"there_{one.id}", now())
