"""A provider that says what it is told to say, for tests of what follows from it."""

import asyncio
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from shared.billing.models import Price, ProviderAccount
from shared.billing.provider_values import NO_REASON, Cancellation, CustomerState
from shared.core import db
from shared.core.db import now
from shared.core.ids import new_id
from shared.entitlements import rights_cache

PRO_FLAT = "prc_test_pro_flat"


@dataclass
class FakeProvider:
    state: dict[str, CustomerState] = field(default_factory=dict)
    failure: Exception | None = None
    next_id: str = ""
    fetch_count: int = 0
    customers_by_key: dict[str, str] = field(
        default_factory=dict
    )  # customers, by the key they were asked for with
    foreign_ids: set[str] = field(default_factory=set)  # customers of another product
    customers_by_object: dict[str, str] = field(default_factory=dict)
    owner_count: int = 0  # how often it was asked whose customer one is
    has_fetched: asyncio.Event = field(default_factory=asyncio.Event)
    canceled_ids: list[str] = field(default_factory=list)
    refunds: list[int] = field(default_factory=list)  # amounts
    gate: asyncio.Event | None = None  # what was seen is handed out when it opens

    async def get_account_id(self) -> str:
        return "acct_test"

    async def create_customer(self, tenant_id: str, name: str, email: str, key: str) -> str:
        if self.failure is not None:
            raise self.failure
        return self.customers_by_key.setdefault(key, self.next_id or f"cus_{new_id('x')[-10:]}")

    async def get_tenant_id(self, customer_id: str) -> str:
        self.owner_count += 1
        if self.failure is not None:
            raise self.failure
        return "" if customer_id in self.foreign_ids else "ten_that_comes_later"

    async def find_customer_id(self, object_id: str) -> str:
        if self.failure is not None:
            raise self.failure
        return self.customers_by_object.get(object_id, "")

    async def fetch_customer(self, customer_id: str) -> CustomerState:
        self.fetch_count += 1
        if self.failure is not None:
            raise self.failure
        seen = self.state.get(customer_id, CustomerState(customer_id))
        self.has_fetched.set()
        if self.gate is not None:
            await self.gate.wait()
        return seen

    async def cancel_subscription(
        self, subscription_id: str, *, at_period_end: bool, reason: Cancellation = NO_REASON, key: str
    ) -> None:
        assert not at_period_end
        self.canceled_ids.append(subscription_id)
        self.state = {
            customer_id: replace(
                state,
                subscriptions=tuple(
                    replace(subscription, status="canceled")
                    if subscription.id == subscription_id
                    else subscription
                    for subscription in state.subscriptions
                ),
            )
            for customer_id, state in self.state.items()
        }

    async def refund_invoice(self, invoice_id: str, amount: int, key: str) -> str:
        self.refunds.append(amount)
        return f"txn_{key}"


async def add_price(price_id: str, plan: str, kind: str = "flat") -> None:
    """One that stands for this plan's newest version."""
    async with db.transaction("operator") as session:
        offer = (await rights_cache.get_catalog(session)).find_offer(plan, now())
        assert offer is not None
        if await session.get(Price, price_id) is None:
            session.add(
                Price(
                    id=price_id,
                    plan_version_id=offer.id,
                    period="month",
                    kind=kind,
                    currency="xts",
                    amount=100,
                    effective_at=datetime(2020, 1, 1, tzinfo=UTC),
                    created_by="test",
                    reason="For a test",
                )
            )


async def add_account(account_id: str) -> None:
    """Another one through which we sell."""
    async with db.transaction("operator") as session:
        session.add(ProviderAccount(id=account_id, name="Another one"))


async def get_tenant_id(person: Any) -> str:
    async with person.ctx() as ctx:
        return ctx.tenant_id
