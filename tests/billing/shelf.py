"""A provider that has prices, subscriptions and usage and nothing else, all of it in sight."""

import dataclasses
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, cast

from shared.billing import prices_repository as repository
from shared.billing import providers
from shared.billing.models import PLATFORM, ProviderAccount
from shared.billing.provider import (
    CustomerState,
    Kept,
    OrderLine,
    PriceTag,
    PriceThere,
    ProviderDown,
    ProviderRefused,
    Subscription,
)
from shared.core import db
from shared.core.db import now


class Shelf:
    def __init__(self) -> None:
        self.prices: dict[str, PriceThere] = {}  # by our id
        self.subscriptions: dict[str, Subscription] = {}
        self.usage: dict[str, tuple[str, str, int]] = {}  # by identifier: customer, meter, quantity
        self.changes: list[tuple[str, tuple[OrderLine, ...], str]] = []
        self.calls = 0
        self.down = False
        self.refuses: set[str] = set()  # our ids of prices, or meters
        self.loses_answers = False  # takes what comes, and then nobody hears of it

    def _answer(self, about: str = "") -> None:
        self.calls += 1
        if self.down:
            raise ProviderDown("nobody answers")
        if about in self.refuses:
            raise ProviderRefused("That is not possible.", "no")

    async def push_price(self, tag: PriceTag) -> str:
        """What is there and right stays; else another one takes its place."""
        self._answer(tag.id)
        there = self.prices.get(tag.id)
        if there is None or there.tag != tag or not there.active:
            there = self.prices[tag.id] = PriceThere(f"price_{self.calls}", tag)
        return there.external_id

    async def read_price(self, tag: PriceTag) -> PriceThere:
        self._answer(tag.id)
        return self.prices.get(tag.id, PriceThere("", None))

    async def fetch(self, customer_id: str) -> CustomerState:
        self._answer()
        return CustomerState(customer_id, subscriptions=tuple(self.subscriptions.values()))

    async def change(
        self,
        subscription_id: str,
        lines: Sequence[OrderLine],
        *,
        as_of: datetime | None,
        prorate: bool,
        kept: Sequence[Kept] = (),
        key: str,
    ) -> None:
        self._answer()
        assert (as_of, prorate) == (None, False)
        self.changes.append((subscription_id, tuple(lines), key))
        one = self.subscriptions[subscription_id]
        bought = zip(one.lines, lines, strict=True)
        self.subscriptions[subscription_id] = dataclasses.replace(
            one,
            kept=tuple(kept),
            lines=tuple(
                dataclasses.replace(
                    line,
                    price_id=new.price_id,
                    external_price_id=new.external_price_id,
                    quantity=new.quantity or 0,
                )
                for line, new in bought
            ),
        )

    async def report_usage(
        self, customer_id: str, meter: str, quantity: int, at: datetime, identifier: str
    ) -> None:
        self._answer(meter)
        self.usage.setdefault(identifier, (customer_id, meter, quantity))
        if self.loses_answers:
            raise ProviderDown("the answer was lost")

    def repaint(self, price_id: str, *, active: bool = True, **tag: Any) -> None:
        """Somebody works in the provider's dashboard."""
        there = self.prices[price_id]
        assert there.tag is not None
        changed = dataclasses.replace(there.tag, **tag)
        self.prices[price_id] = PriceThere(there.external_id, changed, active)


@asynccontextmanager
async def put_up() -> AsyncIterator[Shelf]:
    """As the provider behind the platform's account, until the test ends; those that other tests added are asked nothing."""
    shelf, known = Shelf(), dict(providers._known)
    providers.use(PLATFORM, cast("Any", shelf))
    async with db.transaction("operator") as session:
        for account in await repository.list_accounts(session):
            if account != PLATFORM:
                row = await session.get(ProviderAccount, account)
                assert row is not None
                row.paused_at = now()
                session.add(row)
    try:
        yield shelf
    finally:
        providers._known.clear()
        providers._known.update(known)
        async with db.transaction("operator") as session:  # the next one begins anew
            for row in await repository.list_there(session):
                row.external_id, row.drift, row.pushed_at = "", {}, None
                session.add(row)
