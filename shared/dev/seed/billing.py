"""The demo cast's subscriptions, in the Stripe stand-in and then here: as if the last three months had happened.

They are made through the gateway and the stand-in's own verbs, in the stand-in's past, whose clock then catches up.
Our tables are filled by a sync of each customer, as after a webhook. Tenants that already have a subscription are left
alone.
"""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from urllib.parse import urlsplit

import uvicorn

from shared.billing import customers, provider_registry
from shared.billing.models import PLATFORM
from shared.billing.pricing import price_sync, prices
from shared.billing.provider_values import CheckoutOrder
from shared.billing.stripe_adapter.gateway import StripeGateway
from shared.billing.sync import customer_sync
from shared.core import db
from shared.core.config import DEMO_STRIPE_KEY, DEMO_STRIPE_SECRET, settings
from shared.core.db import now
from shared.dev.stripe_sandbox import api, checkout, portal, timeline, webhook_endpoints
from shared.dev.stripe_sandbox.routes import ApiCall
from shared.dev.stripe_sandbox.store import Account, Sandbox
from shared.entitlements import assignments, rights_cache
from shared.entitlements.models import SUBSCRIPTION_SOURCE
from shared.tenancy import entry

DATABASE_FILE = "stripe.sqlite"  # of the stand-in, in the data directory
PAYING_CARD, LATER_FAILING_CARD = "4242424242424242", "4000000000000341"
SYNC_REASON = "Demo cast"


@dataclass(frozen=True, slots=True)
class DemoSubscription:
    """`days_ago`: start of the subscription.

    `card_fails_days_ago`: when the card was replaced by a failing one; 0 for never.
    """

    tenant: str
    plan: str
    days_ago: float
    seats: int = 1
    card_fails_days_ago: float = 0


DEMO_SUBSCRIPTIONS = (
    DemoSubscription("Acme", "business", 95, seats=12),
    DemoSubscription("Globex", "starter", 40),
    DemoSubscription("Initech", "starter", 33, card_fails_days_ago=10),
)


async def seed(tenants: dict[str, str]) -> None:
    """`tenants`: id by name. While a stand-in is running, its memory is the truth: then nothing is done here."""
    if settings().stripe_key != DEMO_STRIPE_KEY or await _is_stand_in_running():
        return
    async with _run_stand_in() as account:
        _ensure_webhook_endpoint(account)
        demo_subscriptions = [
            demo_subscription
            for demo_subscription in DEMO_SUBSCRIPTIONS
            if demo_subscription.tenant in tenants
            and not await _has_subscription(tenants[demo_subscription.tenant])
        ]
        if demo_subscriptions:
            await price_sync.push_prices()
            await _replay_events(account, demo_subscriptions, tenants)
        for demo_subscription in demo_subscriptions:
            await _sync_customer(tenants[demo_subscription.tenant])


async def _replay_events(
    account: Account, demo_subscriptions: list[DemoSubscription], tenants: dict[str, str]
) -> None:
    """From the oldest day to now. The account's clock never runs backwards for what is in it already."""
    events = [
        (demo_subscription.days_ago, "subscribes", demo_subscription)
        for demo_subscription in demo_subscriptions
    ]
    events += [
        (demo_subscription.card_fails_days_ago, "loses its card", demo_subscription)
        for demo_subscription in demo_subscriptions
        if demo_subscription.card_fails_days_ago
    ]
    events.sort(key=lambda event: -event[0])
    account.settings["offset"] -= round(timedelta(days=events[0][0]).total_seconds())
    account.put(account.settings)
    previous_days_ago = events[0][0]
    for days_ago, event_kind, demo_subscription in events:
        timeline.advance_account(account, round(timedelta(days=previous_days_ago - days_ago).total_seconds()))
        previous_days_ago = days_ago
        if event_kind == "subscribes":
            await _subscribe(account, demo_subscription, tenants[demo_subscription.tenant])
        else:
            portal.replace_card(
                account, await _get_customer_id(tenants[demo_subscription.tenant]), LATER_FAILING_CARD
            )
    timeline.advance_account(account, round(timedelta(days=previous_days_ago).total_seconds()))


async def _subscribe(account: Account, demo_subscription: DemoSubscription, tenant_id: str) -> None:
    customer_id = await customers.ensure(tenant_id)
    async with db.transaction() as session:
        offer = (await rights_cache.get_catalog(session)).find_offer(demo_subscription.plan, now())
        assert offer is not None
        lines = await prices.build_order_lines(
            session, PLATFORM, offer.id, "month", seats=demo_subscription.seats
        )
    order = CheckoutOrder(
        customer_id=customer_id,
        lines=lines,
        trial_days=0,
        return_url=settings().tenant_url,
        cancel_url=settings().tenant_url,
        key=f"demo-{tenant_id}",
        metadata={"tenant_id": tenant_id},
    )
    page = await (await provider_registry.get(PLATFORM)).create_checkout(order)
    result = checkout.pay_with_card(account, page.id, PAYING_CARD)
    assert result.paid, result.message


async def _sync_customer(tenant_id: str) -> None:
    await customer_sync.sync_customer(PLATFORM, await _get_customer_id(tenant_id), tenant_id, cause="return")


async def _get_customer_id(tenant_id: str) -> str:
    async with entry.enter_billing_sync(tenant_id, SYNC_REASON) as ctx:
        return await customers.find_id(ctx)


async def _has_subscription(tenant_id: str) -> bool:
    async with entry.enter_billing_sync(tenant_id, SYNC_REASON) as ctx:
        snapshot, _ = await assignments.get_snapshot(ctx)
        return snapshot.billing is not None and snapshot.billing.source == SUBSCRIPTION_SOURCE


def _ensure_webhook_endpoint(account: Account) -> None:
    """Where the stand-in sends its events: to the tenant app, signed with the secret that development knows."""
    url = f"{settings().tenant_url}/webhooks/stripe"
    if any(existing_endpoint["url"] == url for existing_endpoint in account.list_objects("webhook_endpoint")):
        return
    params = {"url": url, "enabled_events": ["*"]}
    created_endpoint = webhook_endpoints.create_webhook_endpoint(
        ApiCall(account, "/v1/webhook_endpoints", {}, params)
    )
    endpoint = account.objects["webhook_endpoint"][created_endpoint["id"]]
    endpoint["_secret"] = DEMO_STRIPE_SECRET
    account.put(endpoint)


async def _is_stand_in_running() -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", urlsplit(settings().sandbox_url).port or 80)
    except OSError:
        return False
    writer.close()
    return True


@asynccontextmanager
async def _run_stand_in() -> AsyncIterator[Account]:
    """The stand-in on a port of its own, for as long as this takes. Nothing is delivered meanwhile."""
    settings().absolute_data_dir.mkdir(parents=True, exist_ok=True)
    sandbox = Sandbox(settings().absolute_data_dir / DATABASE_FILE, f"{settings().sandbox_url}/stripe")
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(api.build_app(sandbox), log_level="warning", lifespan="off"))
        server_task = asyncio.create_task(server.serve(sockets=[listener]))
        gateway = StripeGateway(DEMO_STRIPE_KEY, f"http://127.0.0.1:{listener.getsockname()[1]}")
        provider_registry.register(PLATFORM, gateway)
        try:
            yield sandbox.get_account(DEMO_STRIPE_KEY)
        finally:
            await gateway.close()
            server.should_exit = True
            await server_task
            sandbox.close()
