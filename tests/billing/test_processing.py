"""Processing of webhooks: fairness, dead workers, failing webhooks, customers that become known late."""

import asyncio
import time
from collections.abc import Iterator
from datetime import timedelta

import psycopg
import pytest
from sqlalchemy import text
from sqlalchemy.exc import OperationalError
from sqlmodel import select

from shared.billing import customers, provider_registry
from shared.billing.inbound_webhooks import inbound_webhook_repository, ingest, processing
from shared.billing.inbound_webhooks.inbound_webhook_repository import WebhookClaim
from shared.billing.inbound_webhooks.signature import (
    EventData,
    EventObject,
    RelatedObject,
    ThinEvent,
    WebhookEvent,
    verify_event,
)
from shared.billing.models import PLATFORM, BillingEvent
from shared.billing.pricing import comparison
from shared.billing.provider import KeyRefused, ProviderDown, ProviderRefused
from shared.billing.provider_values import CustomerState
from shared.core import db
from shared.core.config import DEMO_STRIPE_SECRET
from shared.core.db import now
from shared.core.ids import new_id
from tests.billing.test_apply_state import build_subscription
from tests.conftest import Cast
from tests.support import workers
from tests.support.billing import events, scripted_provider, webhooks


@pytest.fixture
async def stripe(schema: str) -> scripted_provider.FakeProvider:
    """The inbox is emptied for each test."""
    provider = scripted_provider.FakeProvider()
    provider_registry.register(PLATFORM, provider)
    async with db.transaction("owner") as session:
        await (await session.connection()).execute(text("truncate inbound_webhook"))
    await scripted_provider.add_price(scripted_provider.PRO_FLAT, "pro")
    return provider


@pytest.fixture
def other_account() -> Iterator[str]:
    account = new_id("pac")
    yield account
    provider_registry._providers.pop(account, None)


async def create_subscribed_customer(cast: Cast, stripe: scripted_provider.FakeProvider) -> str:
    customer = await customers.ensure(cast.acme)
    stripe.state[customer] = CustomerState(customer, subscriptions=(build_subscription(),))
    return customer


async def claim_webhooks(most: int = 8, lease: float = 60) -> list[WebhookClaim]:
    async with db.transaction() as session:
        return await inbound_webhook_repository.claim_webhooks(
            session, new_id("clm"), most, timedelta(seconds=lease)
        )


async def list_webhook_rows(customer: str) -> list[tuple[str, int, str]]:
    async with db.transaction() as session:
        inbox_rows = await (await session.connection()).execute(
            text("select status, attempts, error from inbound_webhook where customer_id = :customer"),
            {"customer": customer},
        )
        return [(row[0], row[1], row[2]) for row in inbox_rows.all()]


async def list_recorded_webhooks(cast: Cast) -> list[str]:
    """The webhooks named by the tenant's billing events, with duplicates."""
    async with db.transaction(tenant_id=cast.acme) as session:
        return sorted(
            event_id for row in (await session.exec(select(BillingEvent))).all() for event_id in row.event_ids
        )


# ── taking turns ─────────────────────────────────────────────────────────────────────────────────────────────────


async def test_many_webhooks_of_one_account_do_not_block_another(
    stripe: scripted_provider.FakeProvider, other_account: str
) -> None:
    await scripted_provider.add_account(other_account)
    for number in range(20):
        await events.store_webhooks(f"cus_flood{number}", 2)
    await events.store_webhooks("cus_quiet", account=other_account)
    assert "cus_quiet" in {job.customer_id for job in await claim_webhooks(most=2)}


async def test_slow_account_yields_its_place_to_others(
    stripe: scripted_provider.FakeProvider, other_account: str
) -> None:
    await scripted_provider.add_account(other_account)
    for number in range(8):
        await events.store_webhooks(f"cus_slow{number}", account=other_account)
    assert len(await claim_webhooks(most=4)) == 4, "four of its looks hang"
    for number in range(4):
        await events.store_webhooks(f"cus_quick{number}")
    assert {job.account_id for job in await claim_webhooks(most=4)} == {PLATFORM}


async def test_worker_fetches_a_customer_once_at_a_time(
    cast: Cast, stripe: scripted_provider.FakeProvider
) -> None:
    """Otherwise one busy customer takes every place, for fetches that the next one makes useless."""
    customer = await create_subscribed_customer(cast, stripe)
    stripe.gate = asyncio.Event()
    working = asyncio.create_task(processing.run(max_concurrency=3))
    try:
        for _ in range(6):
            await events.store_webhooks(customer)
            await asyncio.wait_for(stripe.has_fetched.wait(), 10)
            await asyncio.sleep(0.05)
        assert stripe.fetch_count == 1
        stripe.gate.set()
        await events.wait_until_processed(customer)
    finally:
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)
    assert stripe.fetch_count == 2
    assert len(await list_recorded_webhooks(cast)) == 6


async def test_webhook_is_claimed_by_one_of_many_workers(
    cast: Cast, stripe: scripted_provider.FakeProvider
) -> None:
    customer = await create_subscribed_customer(cast, stripe)
    ids = await events.store_webhooks(customer, 5)
    jobs = [
        job
        for claimed_jobs in await asyncio.gather(*(claim_webhooks() for _ in range(15)))
        for job in claimed_jobs
    ]
    assert sorted(event_id for work in jobs for event_id in work.event_ids) == sorted(ids)


async def test_price_webhook_starts_a_comparison(schema: str, stripe: scripted_provider.FakeProvider) -> None:
    workers.clear_queue(schema)
    for kind in ("price.updated", "product.updated", "price.created"):
        body = webhooks.build_body_about({"object": kind.partition(".")[0]}, type=kind)
        event = verify_event(body, webhooks.build_signature(body), [DEMO_STRIPE_SECRET], time.time())
        await ingest.store_webhook(PLATFORM, event, body)
    assert await events.count_by_status("") == {"pending": 2, "ignored": 1}
    await processing.drain()
    assert await events.count_by_status("") == {"done": 2, "ignored": 1}
    assert workers.list_jobs(schema) == [(comparison.COMPARE_TASK, "todo")]


# ── workers that die ─────────────────────────────────────────────────────────────────────────────────────────────


async def test_webhook_claimed_by_a_dead_worker_is_claimed_again(
    cast: Cast, stripe: scripted_provider.FakeProvider
) -> None:
    customer = await create_subscribed_customer(cast, stripe)
    await events.store_webhooks(customer)
    await claim_webhooks(lease=0)
    await processing.drain()
    assert [row[0] for row in await list_webhook_rows(customer)] == ["done"]


async def test_late_worker_leaves_the_sync_to_the_worker_that_has_the_webhooks(
    cast: Cast, stripe: scripted_provider.FakeProvider
) -> None:
    """Otherwise the change is recorded without the webhooks that announced it."""
    customer = await create_subscribed_customer(cast, stripe)
    ids = await events.store_webhooks(customer, 2)
    (late,) = await claim_webhooks(lease=0)
    (prompt,) = await claim_webhooks()
    gate = stripe.gate = asyncio.Event()
    processing_prompt = asyncio.create_task(processing.process(prompt))
    await stripe.has_fetched.wait()  # so the late worker takes the newer ticket
    stripe.gate = None
    await processing.process(late)
    gate.set()
    await processing_prompt
    assert await list_recorded_webhooks(cast) == sorted(ids)


async def test_webhook_that_kills_its_workers_is_set_aside(
    cast: Cast, stripe: scripted_provider.FakeProvider
) -> None:
    """No worker lives to count these attempts, so the next claim counts them."""
    customer = await create_subscribed_customer(cast, stripe)
    await events.store_webhooks(customer)
    for _ in range(processing.MAX_WORKER_DEATHS):
        await claim_webhooks(lease=0)
    await processing.drain()
    ((status, _, error),) = await list_webhook_rows(customer)
    assert (status, stripe.fetch_count) == ("dead", 0)
    assert "workers died" in error


# ── poison ───────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_failing_webhook_is_dead_after_its_attempts_and_processed_once_when_replayed(
    cast: Cast, stripe: scripted_provider.FakeProvider
) -> None:
    customer = await create_subscribed_customer(cast, stripe)
    (event_id,) = await events.store_webhooks(customer)
    stripe.failure = ValueError("what nobody foresaw")
    for number in range(processing.MAX_ATTEMPTS):
        assert [row[:2] for row in await list_webhook_rows(customer)] == [("pending", number)]
        await processing.drain()
        await events.make_webhooks_due(customer)
    ((status, attempts, error),) = await list_webhook_rows(customer)
    assert (status, attempts) == ("dead", processing.MAX_ATTEMPTS)
    assert "ValueError, see" in error
    await processing.drain()
    assert stripe.fetch_count == processing.MAX_ATTEMPTS, "nobody tries again"
    stripe.failure = None
    async with db.transaction("operator") as session:
        assert await inbound_webhook_repository.replay_webhook(session, PLATFORM, event_id)
    await processing.drain()
    await processing.drain()
    assert [row[0] for row in await list_webhook_rows(customer)] == ["done"]
    assert await list_recorded_webhooks(cast) == [event_id]


async def test_failing_customer_does_not_block_another(
    cast: Cast, stripe: scripted_provider.FakeProvider
) -> None:
    await events.store_webhooks(
        await customers.ensure(cast.globex)
    )  # of which the provider says nothing: a KeyError of ours
    customer = await create_subscribed_customer(cast, stripe)
    await events.store_webhooks(customer)
    await processing.drain()
    assert [row[0] for row in await list_webhook_rows(customer)] == ["done"]


async def test_silent_provider_is_asked_at_growing_intervals_and_nothing_dies(
    cast: Cast, stripe: scripted_provider.FakeProvider
) -> None:
    customer = await create_subscribed_customer(cast, stripe)
    await events.store_webhooks(customer)
    stripe.failure = ProviderDown("no answer")
    for _ in range(processing.MAX_WORKER_DEATHS + 2):
        await processing.drain()
        await events.make_webhooks_due(customer)
    assert [row[:2] for row in await list_webhook_rows(customer)] == [("pending", 0)]
    async with db.transaction("owner") as session:
        connection = await session.connection()
        await connection.execute(text("alter table inbound_webhook disable trigger keep_received"))
        await connection.execute(
            text("update inbound_webhook set received_at = received_at - interval '20 seconds'")
        )
        await connection.execute(text("alter table inbound_webhook enable trigger keep_received"))
    await processing.drain()
    async with db.transaction() as session:
        delays = await (await session.connection()).execute(
            text("select extract(epoch from due_at - clock_timestamp()) from inbound_webhook")
        )
        assert 15 < float(delays.scalar_one()) <= 30


async def test_database_outage_does_not_count_as_an_attempt(
    cast: Cast, stripe: scripted_provider.FakeProvider
) -> None:
    customer = await create_subscribed_customer(cast, stripe)
    await events.store_webhooks(customer)
    stripe.failure = OperationalError(
        "select 1", {}, psycopg.OperationalError("the server closed the connection")
    )
    for _ in range(processing.MAX_ATTEMPTS + 1):
        await processing.drain()
        await events.make_webhooks_due(customer)
    assert [row[:2] for row in await list_webhook_rows(customer)] == [("pending", 0)]


async def test_refused_key_pauses_the_account_and_keeps_its_webhooks(
    cast: Cast, stripe: scripted_provider.FakeProvider
) -> None:
    customer = await create_subscribed_customer(cast, stripe)
    await events.store_webhooks(customer)
    stripe.failure = KeyRefused("revoked")
    try:
        await processing.drain()
        await events.make_webhooks_due(customer)
        assert await claim_webhooks() == []
    finally:
        async with db.transaction("operator") as session:
            await (await session.connection()).execute(text("update provider_account set paused_at = null"))
    stripe.failure = None
    await processing.drain()
    assert [row[0] for row in await list_webhook_rows(customer)] == ["done"]


# ── a customer that nobody knows yet ─────────────────────────────────────────────────────────────────────────────


async def test_customer_known_during_processing_does_not_park_its_webhooks(
    cast: Cast, stripe: scripted_provider.FakeProvider
) -> None:
    """It becomes known between the look-up and the parking; nothing would wake the webhooks later."""
    stripe.next_id = f"cus_{new_id('x')[-8:]}"
    stripe.state[stripe.next_id] = CustomerState(stripe.next_id, subscriptions=(build_subscription(),))
    await events.store_webhooks(stripe.next_id)
    (work,) = await claim_webhooks()
    await customers.ensure(cast.acme)
    await processing._release_claim(
        work, processing.MAX_PARKED_DELAY, "No organisation has this customer", is_parked=True
    )
    await processing.drain()
    assert [row[0] for row in await list_webhook_rows(stripe.next_id)] == ["done"]


async def test_customer_of_another_product_is_ignored_and_asked_about_once(
    stripe: scripted_provider.FakeProvider,
) -> None:
    customer = f"cus_{new_id('x')[-8:]}"
    stripe.foreign_ids.add(customer)
    for _ in range(3):
        await events.store_webhooks(customer, 2)
        await processing.drain()
    assert await events.count_by_status(customer) == {"ignored": 6}
    assert stripe.owner_count == 1


async def test_owner_of_an_unknown_customer_is_asked_again_after_an_outage(
    stripe: scripted_provider.FakeProvider,
) -> None:
    customer = f"cus_{new_id('x')[-8:]}"
    stripe.foreign_ids.add(customer)
    await events.store_webhooks(customer)
    for failure, status in (
        (ProviderDown("no answer"), "pending"),
        (ProviderRefused("No such customer", "resource_missing"), "parked"),
        (None, "ignored"),
    ):
        stripe.failure = failure
        await processing.drain()
        assert await events.count_by_status(customer) == {status: 1}
        await events.make_webhooks_due(customer)


async def store_thin_event(object_id: str, kind: str = "v1.customer.subscription.updated") -> str:
    event = ThinEvent(new_id("evt"), "v2.core.event", kind, now(), False, RelatedObject(object_id, "any"))
    await ingest.store_webhook(PLATFORM, event, b"{}")
    return event.id


async def get_webhook_status(event_id: str) -> str:
    async with db.transaction() as session:
        statement = text("select status from inbound_webhook where event_id = :id")
        result = await (await session.connection()).execute(statement, {"id": event_id})
        return str(result.scalar_one())


async def test_thin_event_syncs_the_customer_of_its_object(
    cast: Cast, stripe: scripted_provider.FakeProvider
) -> None:
    customer = await create_subscribed_customer(cast, stripe)
    stripe.customers_by_object["sub_thin"] = customer
    event_id, other_id = await store_thin_event("sub_thin"), await store_thin_event("in_nobody")
    ping_id = await store_thin_event("ed_1", "v2.core.event_destination.ping")
    assert len(await claim_webhooks(lease=0)) == 2
    await processing.drain()
    statuses = [await get_webhook_status(id_) for id_ in (event_id, other_id, ping_id)]
    assert statuses == ["done", "ignored", "ignored"]
    assert stripe.fetch_count == 1
    assert event_id in await list_recorded_webhooks(cast)


@pytest.mark.parametrize("kind", ["charge.dispute.created", "radar.early_fraud_warning.created"])
async def test_dispute_and_fraud_warning_sync_the_customer_of_their_charge(
    cast: Cast, stripe: scripted_provider.FakeProvider, kind: str
) -> None:
    customer = await customers.ensure(cast.acme)
    stripe.customers_by_object["ch_disputed"] = customer
    data = EventData(EventObject("dispute", "du_1", None, "ch_disputed"))
    event = WebhookEvent(new_id("evt"), "event", kind, 1_760_000_000, False, data)
    assert await ingest.store_webhook(PLATFORM, event, b"{}")
    fetch_count = stripe.fetch_count
    await processing.drain()
    assert stripe.fetch_count == fetch_count + 1


async def test_thin_event_of_an_unknown_customer_is_parked_or_ignored(
    stripe: scripted_provider.FakeProvider,
) -> None:
    stripe.customers_by_object |= {"sub_ours": "cus_of_tomorrow", "sub_theirs": "cus_of_a_shop"}
    stripe.foreign_ids.add("cus_of_a_shop")
    ours, theirs = await store_thin_event("sub_ours"), await store_thin_event("sub_theirs")
    await processing.drain()
    assert [await get_webhook_status(id_) for id_ in (ours, theirs)] == ["parked", "ignored"]


@pytest.mark.parametrize("tries", [processing.MAX_ATTEMPTS + 1, processing.MAX_PARKED_ATTEMPTS])
async def test_customer_known_late_has_all_attempts_left(
    cast: Cast, stripe: scripted_provider.FakeProvider, tries: int
) -> None:
    stripe.next_id = f"cus_{new_id('x')[-8:]}"
    stripe.state[stripe.next_id] = CustomerState(stripe.next_id, subscriptions=(build_subscription(),))
    await events.store_webhooks(stripe.next_id)
    for _ in range(tries):
        await processing.drain()
        await events.make_webhooks_due(stripe.next_id, parked_only=True)
    await customers.ensure(cast.acme)
    stripe.failure = ValueError("once")
    await processing.drain()
    assert [row[:2] for row in await list_webhook_rows(stripe.next_id)] == [("pending", 1)]
