"""The demo cast's subscriptions, in the Stripe stand-in and then here: as if the last three months had happened.

They are made through the gateway and the stand-in's own verbs, in the stand-in's past, whose clock then catches up.
What follows for our tables comes by a look at each customer, as a webhook would bring it. Whoever has a subscription
already is left alone.
"""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from urllib.parse import urlsplit

import uvicorn

from shared.billing import customers, price_sync, prices, providers, sync
from shared.billing.models import PLATFORM
from shared.billing.provider import CheckoutOrder
from shared.billing.stripe_gateway import StripeGateway
from shared.core import db
from shared.core.config import DEMO_STRIPE_KEY, DEMO_STRIPE_SECRET, settings
from shared.core.db import now
from shared.dev.stripe_sandbox import api, checkout, portal, timeline, webhook_endpoints
from shared.dev.stripe_sandbox.routes import Call
from shared.dev.stripe_sandbox.store import Account, Sandbox
from shared.entitlements import current, holdings
from shared.entitlements.models import SUBSCRIPTION
from shared.tenancy import entry

FILE = "stripe.sqlite"  # of the stand-in, in the data directory
PAYS, FAILS_LATER = "4242424242424242", "4000000000000341"
LOOK = "Demo cast"


@dataclass(frozen=True, slots=True)
class Story:
    """Subscribed so many days ago; `loses_card`: how many days ago the card was replaced by one that fails."""

    tenant: str
    plan: str
    days: float
    seats: int = 1
    loses_card: float = 0


STORIES = (
    Story("Acme", "business", 95, seats=12),
    Story("Globex", "starter", 40),
    Story("Initech", "starter", 33, loses_card=10),
)


async def seed(tenants: dict[str, str]) -> None:
    """`tenants`: id by name. While a stand-in is running, its memory is the truth: then nothing is done here."""
    if settings().stripe_key != DEMO_STRIPE_KEY or await _answers():
        return
    async with _stripe() as account:
        _endpoint(account)
        stories = [
            one for one in STORIES if one.tenant in tenants and not await _has_one(tenants[one.tenant])
        ]
        if stories:
            await price_sync.push()
            await _live_through(account, stories, tenants)
        for story in stories:
            await _look(tenants[story.tenant])


async def _live_through(account: Account, stories: list[Story], tenants: dict[str, str]) -> None:
    """From the oldest day to now. The account's clock never runs backwards for what is in it already."""
    events = [(one.days, "subscribes", one) for one in stories]
    events += [(one.loses_card, "loses its card", one) for one in stories if one.loses_card]
    events.sort(key=lambda event: -event[0])
    account.settings["offset"] -= round(timedelta(days=events[0][0]).total_seconds())
    account.put(account.settings)
    ago = events[0][0]
    for days, what, story in events:
        timeline.advance(account, round(timedelta(days=ago - days).total_seconds()))
        ago = days
        if what == "subscribes":
            await _subscribe(account, story, tenants[story.tenant])
        else:
            portal.replace_card(account, await _customer(tenants[story.tenant]), FAILS_LATER)
    timeline.advance(account, round(timedelta(days=ago).total_seconds()))


async def _subscribe(account: Account, story: Story, tenant_id: str) -> None:
    customer_id = await customers.ensure(tenant_id)
    async with db.transaction() as session:
        offer = (await current.catalogue(session)).by_key(story.plan, now())
        assert offer is not None
        lines = await prices.order_lines(session, PLATFORM, offer.id, "month", seats=story.seats)
    order = CheckoutOrder(
        customer_id=customer_id,
        lines=lines,
        trial_days=0,
        return_url=settings().tenant_url,
        leave_url=settings().tenant_url,
        key=f"demo-{tenant_id}",
        about={"tenant_id": tenant_id},
    )
    url = await (await providers.get(PLATFORM)).checkout(order)
    done = checkout.pay(account, url.rpartition("/")[2], PAYS)
    assert done.paid, done.message


async def _look(tenant_id: str) -> None:
    await sync.look(PLATFORM, await _customer(tenant_id), tenant_id, cause="return")


async def _customer(tenant_id: str) -> str:
    async with entry.enter_books(tenant_id, LOOK) as ctx:
        return await customers.find(ctx)


async def _has_one(tenant_id: str) -> bool:
    async with entry.enter_books(tenant_id, LOOK) as ctx:
        known, _ = await holdings.facts(ctx)
        return known.billing is not None and known.billing.source == SUBSCRIPTION


def _endpoint(account: Account) -> None:
    """Where the stand-in sends its events: to the tenant app, signed with the secret that development knows."""
    url = f"{settings().tenant_url}/webhooks/stripe"
    if any(one["url"] == url for one in account.all("webhook_endpoint")):
        return
    sent = {"url": url, "enabled_events": ["*"]}
    made = webhook_endpoints.create(Call(account, "/v1/webhook_endpoints", {}, sent))
    endpoint = account.objects["webhook_endpoint"][made["id"]]
    endpoint["_secret"] = DEMO_STRIPE_SECRET
    account.put(endpoint)


async def _answers() -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", urlsplit(settings().sandbox_url).port or 80)
    except OSError:
        return False
    writer.close()
    return True


@asynccontextmanager
async def _stripe() -> AsyncIterator[Account]:
    """The stand-in on a port of its own, for as long as this takes. Nothing is delivered meanwhile."""
    settings().root.mkdir(parents=True, exist_ok=True)
    sandbox = Sandbox(settings().root / FILE, f"{settings().sandbox_url}/stripe")
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(api.app(sandbox), log_level="warning", lifespan="off"))
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        gateway = StripeGateway(DEMO_STRIPE_KEY, f"http://127.0.0.1:{listener.getsockname()[1]}")
        providers.use(PLATFORM, gateway)
        try:
            yield sandbox.account(DEMO_STRIPE_KEY)
        finally:
            await gateway.close()
            server.should_exit = True
            await serving
            sandbox.close()
