"""What happens at a provider without us: people pay on its pages, cards fail, time passes. For each provider the same."""

import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Protocol

from shared.billing.provider import Provider
from shared.billing.provider_values import PriceTag
from shared.billing.stripe_adapter.gateway import StripeGateway
from shared.dev.stripe_sandbox import (
    api,
    checkout,
    customers,
    disputes,
    fraud_warnings,
    idempotency,
    portal,
    refunds,
    timeline,
)
from shared.dev.stripe_sandbox.objects import fetch_object
from shared.dev.stripe_sandbox.store import Account, Sandbox
from tests.support.billing.memory_provider import MemoryProvider
from tests.support.billing.stub_server import serve_app

PAYING_CARD, LATER_FAILING_CARD = "4242424242424242", "4000000000000341"
START = datetime(2025, 4, 10, 12, tzinfo=UTC)  # far from our own clock, on which nothing may depend
_accounts = itertools.count(1)


class ProviderWorld(Protocol):
    @property
    def provider(self) -> Provider: ...

    @property
    def now(self) -> datetime: ...

    def advance(self, duration: timedelta) -> None: ...

    def pay(self, url: str, *, card: bool | None = True) -> None:
        """On the page of a checkout. `card`: whether it goes on paying; None: without one."""
        ...

    def set_card(self, customer_id: str, *, pays: bool) -> None:
        """On the page of the portal."""
        ...

    def delete_customer(self, customer_id: str) -> None: ...

    def fail_refund(self) -> None:
        """The bank sends back the newest one."""
        ...

    def dispute_payment(self, customer_id: str) -> None:
        """The newest one."""
        ...

    def end_dispute(self, *, won: bool) -> None: ...

    def warn_of_fraud(self, customer_id: str) -> None:
        """The newest payment is suspected."""
        ...

    def stop_selling(self, external_price_id: str) -> None: ...


class MemoryWorld:
    def __init__(self) -> None:
        self.provider = MemoryProvider(START)

    @property
    def now(self) -> datetime:
        return self.provider.clock

    def advance(self, duration: timedelta) -> None:
        self.provider.advance(duration)

    def pay(self, url: str, *, card: bool | None = True) -> None:
        self.provider.pay(url, card=card)

    def set_card(self, customer_id: str, *, pays: bool) -> None:
        self.provider.set_card(customer_id, pays=pays)

    def delete_customer(self, customer_id: str) -> None:
        self.provider.delete_customer(customer_id)

    def fail_refund(self) -> None:
        self.provider.fail_refund()

    def dispute_payment(self, customer_id: str) -> None:
        self.provider.dispute_payment(customer_id)

    def end_dispute(self, *, won: bool) -> None:
        self.provider.end_dispute(won=won)

    def warn_of_fraud(self, customer_id: str) -> None:
        self.provider.warn_of_fraud(customer_id)

    def stop_selling(self, external_price_id: str) -> None:
        self.provider.offers[external_price_id].sold = False


class StripeWorld:
    """The stand-in, over real HTTP, with a new account."""

    def __init__(self, sandbox: Sandbox, base: str) -> None:
        key = f"sk_test_world_{next(_accounts)}"
        self.provider = StripeGateway(
            key, base, get_time=lambda: datetime.fromtimestamp(sandbox.clock(), UTC)
        )
        self.account: Account = sandbox.get_account(key)

    @property
    def now(self) -> datetime:
        return datetime.fromtimestamp(self.account.now(), UTC)

    def advance(self, duration: timedelta) -> None:
        timeline.advance_account(self.account, int(duration.total_seconds()))
        if duration >= timedelta(days=1):  # the clock by which keys are forgotten stands still here
            self.account.objects.pop(idempotency.KIND, None)

    def pay(self, url: str, *, card: bool | None = True) -> None:
        session = url.rpartition("/")[2]
        if card is None:
            assert checkout.complete_without_card(self.account, session).paid
            return
        # What fails later is not taken where something is due now.
        due = checkout.compute_amount_due(self.account, session)
        assert checkout.pay_with_card(
            self.account, session, PAYING_CARD if card or due else LATER_FAILING_CARD
        ).paid
        if not card and due:
            customer = fetch_object(self.account, "checkout.session", session)["customer"]
            portal.replace_card(self.account, customer, LATER_FAILING_CARD)

    def set_card(self, customer_id: str, *, pays: bool) -> None:
        portal.replace_card(self.account, customer_id, PAYING_CARD if pays else LATER_FAILING_CARD)

    def delete_customer(self, customer_id: str) -> None:
        customers.remove_customer(self.account, fetch_object(self.account, "customer", customer_id))

    def fail_refund(self) -> None:
        refunds.settle_refund(self.account, self.account.list_objects("refund")[0], "failed")

    def dispute_payment(self, customer_id: str) -> None:
        charges = self.account.list_for_customer("charge", customer_id)
        disputes.open_dispute(self.account, next(charge for charge in charges if charge["paid"]))

    def warn_of_fraud(self, customer_id: str) -> None:
        charges = self.account.list_for_customer("charge", customer_id)
        fraud_warnings.warn_of_fraud(self.account, next(charge for charge in charges if charge["paid"]))

    def end_dispute(self, *, won: bool) -> None:
        dispute = self.account.list_objects("dispute")[0]
        disputes.end_dispute(self.account, dispute, "won" if won else "lost")

    def stop_selling(self, external_price_id: str) -> None:
        fetch_object(self.account, "price", external_price_id)["active"] = False


@asynccontextmanager
async def run_stripe() -> AsyncIterator[tuple[Sandbox, str]]:
    """A stand-in for Stripe whose clock stands at START until it is moved."""
    sandbox = Sandbox(clock=START.timestamp, base_url="http://pages.test")
    async with serve_app(api.build_app(sandbox)) as base:
        yield sandbox, base


FLAT = PriceTag("prc_flat", "plv_flat", "Starter", "month", "flat", "usd", 2900)
SEAT = PriceTag("prc_seat", "plv_pro", "Pro", "month", "seat", "usd", 2000)
SEAT_YEAR = PriceTag("prc_seat_year", "plv_pro", "Pro", "year", "seat", "usd", 20000)
SUPPORT = PriceTag("prc_support", "plv_support", "Support", "month", "flat", "usd", 14900)
CALLS = PriceTag(
    "prc_calls",
    "plv_pro",
    "Pro",
    "month",
    "metered",
    "usd",
    0,
    tiers=((100, 0, 0), (None, 2, 50)),
    tiers_mode="graduated",
    meter="api_calls",
)
