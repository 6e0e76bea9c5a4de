"""A provider that says what it is told to say, for tests of what follows from it."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from shared.billing.models import Price
from shared.billing.provider import CustomerState
from shared.core import db
from shared.core.db import now
from shared.core.ids import new_id
from shared.entitlements import current

PRO_FLAT = "prc_test_pro_flat"


@dataclass
class Seller:
    state: dict[str, CustomerState] = field(default_factory=dict)
    fail: Exception | None = None
    next_id: str = ""
    looks: int = 0
    made: dict[str, str] = field(default_factory=dict)  # customers, by the key they were asked for with

    async def whoami(self) -> str:
        return "acct_test"

    async def create_customer(self, tenant_id: str, name: str, email: str, key: str) -> str:
        if self.fail is not None:
            raise self.fail
        return self.made.setdefault(key, self.next_id or f"cus_{new_id('x')[-10:]}")

    async def fetch(self, customer_id: str) -> CustomerState:
        self.looks += 1
        if self.fail is not None:
            raise self.fail
        return self.state.get(customer_id, CustomerState(customer_id))


async def price(price_id: str, plan: str, kind: str = "flat") -> None:
    """One that stands for this plan's newest version."""
    async with db.transaction("operator") as session:
        offer = (await current.catalogue(session)).by_key(plan, now())
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


async def tenant_of(person: Any) -> str:
    async with person.ctx() as ctx:
        return ctx.tenant_id
