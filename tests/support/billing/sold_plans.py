"""Plans that a test sells: one of its own, so that nobody else's price list changes."""

from collections.abc import Mapping
from typing import Any

from shared.backoffice import price_admin
from shared.backoffice.price_admin import PriceRequest
from shared.backoffice.reasons import state_reason
from shared.billing.models import Price, ProviderAccount
from shared.billing.pricing import prices_repository as repository
from shared.core import db
from shared.core.db import now
from shared.entitlements.models import PlanVersion
from tests.backoffice.test_catalog_drafts import publish_new_plan
from tests.conftest import Cast


async def publish_with_prices(
    cast: Cast, *parts: Mapping[str, Any], for_tenant: str | None = None
) -> PlanVersion:
    """A published version with these prices, a month at 29.00 where none are given."""
    version = await publish_new_plan(cast.olga, for_tenant=for_tenant)
    for price_params in parts or ({"amount": 2_900},):
        await set_price(cast, version.id, **price_params)
    return version


async def set_price(
    cast: Cast, version_id: str, period: str = "month", kind: str = "flat", **more: Any
) -> Price:
    async with cast.olga.octx() as octx:
        reason = state_reason(octx, more.pop("reason", "As agreed"))
        request = PriceRequest(version_id=version_id, period=period, kind=kind, **more)
        return await price_admin.set_price(octx, request, reason)


async def add_account(cast: Cast, name: str = "Second shop") -> str:
    """Another account at the provider, as nobody uses it yet."""
    async with db.transaction("operator") as session:
        row = ProviderAccount(name=name)
        session.add(row)
    return row.id


async def mark_pushed(account_id: str, *version_ids: str) -> None:
    """As if the worker had pushed them."""
    async with db.transaction("operator") as session:
        for price_row in await repository.list_version_prices(session, version_ids):
            await repository.save_pushed_price(
                session, account_id, price_row.id, f"there_{price_row.id}", now()
            )
