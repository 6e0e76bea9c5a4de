"""A provider that has prices, subscriptions and usage and nothing else, all of it in sight."""

import dataclasses
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, cast

from shared.billing import provider_registry
from shared.billing.models import PLATFORM, ProviderAccount
from shared.billing.pricing import prices_repository as repository
from shared.billing.provider import ProviderDown, ProviderRefused
from shared.billing.provider_values import (
    CanceledAddon,
    CustomerState,
    OrderLine,
    PriceTag,
    RemotePrice,
    Subscription,
)
from shared.core import db
from shared.core.db import now


class RecordingProvider:
    def __init__(self) -> None:
        self.prices: dict[str, RemotePrice] = {}  # by our id
        self.subscriptions: dict[str, Subscription] = {}
        self.usage: dict[str, tuple[str, str, int]] = {}  # by identifier: customer, meter, quantity
        self.changes: list[tuple[str, tuple[OrderLine, ...], str]] = []
        self.call_count = 0
        self.is_down = False
        self.refused_ids: set[str] = set()  # our ids of prices, or meters
        self.loses_answers = False  # takes what comes, and then nobody hears of it

    def _record_call(self, subject_id: str = "") -> None:
        self.call_count += 1
        if self.is_down:
            raise ProviderDown("nobody answers")
        if subject_id in self.refused_ids:
            raise ProviderRefused("That is not possible.", "no")

    async def push_price(self, tag: PriceTag) -> str:
        """What is there and right stays; else another one takes its place."""
        self._record_call(tag.id)
        price = self.prices.get(tag.id)
        if price is None or price.tag != tag or not price.active:
            price = self.prices[tag.id] = RemotePrice(f"price_{self.call_count}", tag)
        return price.external_id

    async def read_price(self, tag: PriceTag) -> RemotePrice:
        self._record_call(tag.id)
        return self.prices.get(tag.id, RemotePrice("", None))

    async def fetch_customer(self, customer_id: str) -> CustomerState:
        self._record_call()
        return CustomerState(customer_id, subscriptions=tuple(self.subscriptions.values()))

    async def change_subscription(
        self,
        subscription_id: str,
        lines: Sequence[OrderLine],
        *,
        as_of: datetime | None,
        prorate: bool,
        bill_now: bool = False,
        canceled_addons: Sequence[CanceledAddon] = (),
        key: str,
    ) -> None:
        self._record_call()
        assert (as_of, prorate, bill_now) == (None, False, False)
        self.changes.append((subscription_id, tuple(lines), key))
        subscription = self.subscriptions[subscription_id]
        line_pairs = zip(subscription.lines, lines, strict=True)
        self.subscriptions[subscription_id] = dataclasses.replace(
            subscription,
            kept=tuple(canceled_addons),
            lines=tuple(
                dataclasses.replace(
                    line,
                    price_id=new.price_id,
                    external_price_id=new.external_price_id,
                    quantity=new.quantity or 0,
                )
                for line, new in line_pairs
            ),
        )

    async def report_usage(
        self, customer_id: str, meter: str, quantity: int, at: datetime, identifier: str
    ) -> None:
        self._record_call(meter)
        self.usage.setdefault(identifier, (customer_id, meter, quantity))
        if self.loses_answers:
            raise ProviderDown("the answer was lost")

    def edit_price(self, price_id: str, *, active: bool = True, **tag: Any) -> None:
        """Somebody works in the provider's dashboard."""
        price = self.prices[price_id]
        assert price.tag is not None
        changed_tag = dataclasses.replace(price.tag, **tag)
        self.prices[price_id] = RemotePrice(price.external_id, changed_tag, active)


@asynccontextmanager
async def install_recording_provider() -> AsyncIterator[RecordingProvider]:
    """As the provider behind the platform's account, until the test ends; those that other tests added are asked nothing."""
    provider, previous_providers = RecordingProvider(), dict(provider_registry._providers)
    provider_registry.register(PLATFORM, cast("Any", provider))
    async with db.transaction("operator") as session:
        for account in await repository.list_active_account_ids(session):
            if account != PLATFORM:
                row = await session.get(ProviderAccount, account)
                assert row is not None
                row.paused_at = now()
                session.add(row)
    try:
        yield provider
    finally:
        provider_registry._providers.clear()
        provider_registry._providers.update(previous_providers)
        async with db.transaction("operator") as session:  # the next one begins anew
            for row in await repository.list_provider_prices(session):
                row.external_id, row.drift, row.pushed_at = "", {}, None
                session.add(row)
