"""Webhooks for operators: list, content, replay and status of the inbox."""

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import text

from shared.audit import audit_log
from shared.audit.audit_filter import AuditFilter
from shared.backoffice import webhook_inbox
from shared.backoffice.reasons import state_reason
from shared.backoffice.webhook_inbox_repository import WebhookFilter
from shared.billing import customers, provider_registry
from shared.billing.inbound_webhooks import processing, signature_failures
from shared.billing.models import PLATFORM, InboundWebhook
from shared.billing.provider import KeyRefused, ProviderDown
from shared.billing.provider_values import CustomerState
from shared.core import db
from shared.core.db import now
from shared.core.errors import Conflict, Invalid, NotFound, Refused
from shared.core.ids import new_id
from shared.tenancy import entry
from tests.billing.test_apply_state import build_subscription
from tests.conftest import Cast, own_database
from tests.support.billing import events, scripted_provider

REASON = "Ticket 4471, paid and still read-only"


@pytest.fixture
async def stripe() -> AsyncIterator[scripted_provider.FakeProvider]:
    provider = scripted_provider.FakeProvider()
    provider_registry.register(PLATFORM, provider)
    await scripted_provider.add_price(scripted_provider.PRO_FLAT, "pro")
    yield provider
    async with db.transaction() as session:  # the next test's provider does not know these customers
        connection = await session.connection()
        await connection.execute(text("update inbound_webhook set status = 'ignored' where status <> 'done'"))


@pytest.fixture
async def separate_database(schema: str) -> AsyncIterator[None]:
    """Counts include nothing of other tests."""
    async with own_database(schema, "webhooks"):
        yield


async def create_customer(cast: Cast, stripe: scripted_provider.FakeProvider) -> str:
    customer = await customers.ensure(cast.acme)
    stripe.state[customer] = CustomerState(customer, subscriptions=(build_subscription(),))
    return customer


async def update_webhooks(customer: str, **values: Any) -> None:
    async with db.transaction() as session:
        connection = await session.connection()
        assignments = ", ".join(f"{name} = :{name}" for name in values)
        await connection.execute(
            text(f"update inbound_webhook set {assignments} where customer_id = :customer"),
            values | {"customer": customer},
        )


async def store_webhook(
    payload: bytes, customer: str = "", kind: str = "ping", status: str = "pending", **values: Any
) -> str:
    row = InboundWebhook(
        account_id=PLATFORM, event_id=new_id("evt"), type=kind, livemode=False, created_at=now(),
        customer_id=customer, payload=payload, status=status, **values,
    )  # fmt: skip
    async with db.transaction() as session:
        connection = await session.connection()
        await connection.execute(InboundWebhook.__table__.insert().values(row.model_dump()))  # type: ignore[attr-defined]
    return row.event_id


async def list_webhooks(cast: Cast, **criteria: str) -> list[Any]:
    async with cast.olga.octx() as octx:
        return list((await webhook_inbox.list_webhooks(octx, WebhookFilter(**criteria))).rows)


async def list_operator_events(cast: Cast, action: str) -> list[Any]:
    async with cast.olga.octx() as octx:
        return [line for line in await audit_log.list_operator_events(octx) if line.action == action]


# ── looking ──────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_webhook_row_shows_tenant_status_and_attempts(
    cast: Cast, stripe: scripted_provider.FakeProvider
) -> None:
    customer = await create_customer(cast, stripe)
    (event,) = await events.store_webhooks(customer)
    (row,) = await list_webhooks(cast, customer_id=customer)
    assert (row.event_id, row.status, row.tenant_id, row.tenant_name) == (event, "pending", cast.acme, "Acme")
    await processing.drain()
    (row,) = await list_webhooks(cast, customer_id=customer)
    assert (row.status, row.attempts, row.error) == ("done", 1, "")
    assert row.done_at >= row.received_at


async def test_webhooks_are_filtered_and_listed_by_page(
    cast: Cast, stripe: scripted_provider.FakeProvider
) -> None:
    customer = await create_customer(cast, stripe)
    ids = set(await events.store_webhooks(customer, 5))
    async with cast.olga.octx() as octx:
        seen: list[str] = []
        after = ""
        while True:
            page = await webhook_inbox.list_webhooks(
                octx, WebhookFilter(customer_id=customer), after=after, limit=2
            )
            seen += [row.event_id for row in page.rows]
            after = page.next_cursor
            if not after:
                break
    assert (set(seen), len(seen)) == (ids, 5)
    assert len(await list_webhooks(cast, customer_id=customer, type="customer.")) == 5
    assert await list_webhooks(cast, customer_id=customer, type="invoice.") == []
    assert await list_webhooks(cast, customer_id=customer, status="dead") == []
    assert len(await list_webhooks(cast, event_id=seen[0])) == 1
    for wrong in (
        WebhookFilter(status="lost"),
        WebhookFilter(type="x" * 300),
        WebhookFilter(customer_id="\0"),
    ):
        with pytest.raises(Invalid):
            async with cast.olga.octx() as octx:
                await webhook_inbox.list_webhooks(octx, wrong)
    with pytest.raises(Invalid):
        async with cast.olga.octx() as octx:
            await webhook_inbox.list_webhooks(octx, after="yesterday")


async def test_webhook_content_shows_redacted_payload_and_effects(
    cast: Cast, stripe: scripted_provider.FakeProvider
) -> None:
    customer = await create_customer(cast, stripe)
    event = await store_webhook(
        b'{"id": "x", "client_secret": "pi_1_secret_2", "n": [{"secret": "y"}]}', customer
    )
    await processing.drain()
    async with cast.olga.octx() as octx:
        inside = await webhook_inbox.read_content(octx, PLATFORM, event, state_reason(octx, REASON))
    assert '"id": "x"' in inside.payload
    assert "pi_1_secret_2" not in inside.payload
    assert '"secret": "y"' not in inside.payload
    (effect,) = inside.effects
    assert (effect.cause, effect.event_ids, effect.recalculated) == ("webhook", [event], True)
    assert (effect.previous["status"], effect.next["status"]) == ("", "active")
    async with cast.olga.octx() as octx, entry.enter_as_operator(octx, cast.acme, "Looking") as ctx:
        looks = (await audit_log.list_events(ctx, AuditFilter(action="operator.looked"))).rows
    assert REASON in [look.reason for look in looks]


async def test_reading_a_webhook_without_a_customer_is_recorded(cast: Cast) -> None:
    event = await store_webhook(b"\xff no json")
    async with cast.olga.octx() as octx:
        inside = await webhook_inbox.read_content(
            octx, PLATFORM, event, state_reason(octx, f"{REASON} {event}")
        )
    assert "no json" in inside.payload
    assert inside.effects == ()
    assert f"{REASON} {event}" in [
        line.reason for line in await list_operator_events(cast, "tenants.read_across")
    ]


async def test_webhook_content_is_refused_without_a_reason(
    cast: Cast, stripe: scripted_provider.FakeProvider
) -> None:
    mine, nobodys = (
        await store_webhook(b"{}", await create_customer(cast, stripe)),
        await store_webhook(b"{}"),
    )
    for event in (mine, nobodys):
        with pytest.raises(Invalid):
            async with cast.olga.octx() as octx:
                await webhook_inbox.read_content(octx, PLATFORM, event, state_reason(octx, "  "))
    with pytest.raises(NotFound):
        async with cast.olga.octx() as octx:
            await webhook_inbox.read_content(octx, PLATFORM, "evt_none", state_reason(octx, REASON))


# ── once more ────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_dead_webhook_is_replayed_and_processed_once(
    cast: Cast, stripe: scripted_provider.FakeProvider
) -> None:
    customer = await create_customer(cast, stripe)
    (event,) = await events.store_webhooks(customer)
    stripe.failure = ValueError("poison")
    for _ in range(processing.MAX_ATTEMPTS):
        await events.make_webhooks_due(customer)
        await processing.drain()
    (row,) = await list_webhooks(cast, customer_id=customer)
    assert (row.status, row.attempts) == ("dead", processing.MAX_ATTEMPTS)
    assert "ValueError" in row.error
    stripe.failure, looked = None, stripe.fetch_count
    async with cast.olga.octx() as octx:
        await webhook_inbox.replay(octx, PLATFORM, event, state_reason(octx, REASON))
    with pytest.raises(Conflict):
        async with cast.olga.octx() as octx:
            await webhook_inbox.replay(octx, PLATFORM, event, state_reason(octx, REASON))
    await processing.drain()
    await processing.drain()
    (row,) = await list_webhooks(cast, customer_id=customer)
    assert (row.status, row.error, stripe.fetch_count - looked) == ("done", "", 1)
    line = next(row for row in await list_operator_events(cast, "webhook.replayed") if row.object_id == event)
    assert (line.reason, line.details["was"]) == (REASON, "dead")


@pytest.mark.parametrize("reason", ["", "  "])
async def test_replay_is_refused_without_a_reason(
    cast: Cast, stripe: scripted_provider.FakeProvider, reason: str
) -> None:
    customer = await create_customer(cast, stripe)
    (event,) = await events.store_webhooks(customer)
    await update_webhooks(customer, status="dead")
    for call in (
        lambda octx: webhook_inbox.replay(octx, PLATFORM, event, state_reason(octx, reason)),
        lambda octx: webhook_inbox.replay_dead(octx, state_reason(octx, reason)),
    ):
        with pytest.raises(Invalid):
            async with cast.olga.octx() as octx:
                await call(octx)
    assert await events.count_by_status(customer) == {"dead": 1}


async def test_replay_is_refused_for_support(cast: Cast, stripe: scripted_provider.FakeProvider) -> None:
    customer = await create_customer(cast, stripe)
    (event,) = await events.store_webhooks(customer)
    await update_webhooks(customer, status="dead")
    async with cast.sam.octx() as octx:
        assert (await webhook_inbox.get_webhook(octx, PLATFORM, event)).status == "dead"
    for call in (
        lambda octx: webhook_inbox.replay(octx, PLATFORM, event, state_reason(octx, REASON)),
        lambda octx: webhook_inbox.replay_dead(octx, state_reason(octx, REASON)),
    ):
        with pytest.raises(Refused):
            async with cast.sam.octx() as octx:
                await call(octx)
    assert await events.count_by_status(customer) == {"dead": 1}


async def test_replay_is_refused_for_a_webhook_without_a_customer(cast: Cast) -> None:
    event = await store_webhook(b"{}", status="ignored")
    with pytest.raises(Conflict, match="has no customer"):
        async with cast.olga.octx() as octx:
            await webhook_inbox.replay(octx, PLATFORM, event, state_reason(octx, REASON))


async def test_ignored_webhook_about_an_object_is_replayed(cast: Cast) -> None:
    """Its customer wasn't found, perhaps because an older version didn't know such objects."""
    event = await store_webhook(b"{}", status="ignored", kind="v1.refund.updated", object_id="re_1")
    async with cast.olga.octx() as octx:
        assert (await webhook_inbox.get_webhook(octx, PLATFORM, event)).can_be_replayed
        await webhook_inbox.replay(octx, PLATFORM, event, state_reason(octx, REASON))
    async with cast.olga.octx() as octx:
        assert (await webhook_inbox.get_webhook(octx, PLATFORM, event)).status == "pending"


async def test_dead_webhooks_are_replayed_all_or_by_type(
    separate_database: None, cast: Cast, stripe: scripted_provider.FakeProvider
) -> None:
    customer = await create_customer(cast, stripe)
    await events.store_webhooks(customer, 2)
    other = await store_webhook(b"{}", customer, "invoice.paid")
    await update_webhooks(customer, status="dead", attempts=8, error="ValueError")
    async with entry.enter_platform("Olga") as octx:
        assert await webhook_inbox.replay_dead(octx, state_reason(octx, REASON), type="invoice.paid") == 1
    async with entry.enter_platform("Olga") as octx:
        left = await webhook_inbox.list_webhooks(octx, WebhookFilter(status="pending"))
        assert [row.event_id for row in left.rows] == [other]
        assert await webhook_inbox.replay_dead(octx, state_reason(octx, REASON)) == 2
    with pytest.raises(Conflict):
        async with entry.enter_platform("Olga") as octx:
            await webhook_inbox.replay_dead(octx, state_reason(octx, REASON))
    await processing.drain()
    assert await events.count_by_status(customer) == {"done": 3}


# ── how the inbox stands ─────────────────────────────────────────────────────────────────────────────────────────


async def test_inbox_status_counts_backlog_failures_and_processing_time(
    separate_database: None, cast: Cast, stripe: scripted_provider.FakeProvider
) -> None:
    async with entry.enter_platform("Olga") as octx:
        still = await webhook_inbox.get_inbox_status(octx)
    assert (still.backlog, still.oldest_s, still.p95_s, still.failing_types) == (0, 0.0, None, [])
    customer = await create_customer(cast, stripe)
    await events.store_webhooks(customer, 3)
    await processing.drain()
    async with db.transaction() as session:
        connection = await session.connection()
        await connection.execute(
            text("update inbound_webhook set done_at = received_at + interval '4 seconds'")
        )
    (dead,) = await events.store_webhooks(customer)
    await update_webhooks(customer, status="done")
    async with db.transaction() as session:
        connection = await session.connection()
        await connection.execute(
            text(
                "update inbound_webhook set status = 'dead', done_at = null, error = 'x' where event_id = :id"
            ),
            {"id": dead},
        )
    stripe.failure = ProviderDown("no answer")
    await events.store_webhooks(customer, 2)
    await processing.drain()
    async with entry.enter_platform("Olga") as octx:
        health, troubles = (
            await webhook_inbox.get_inbox_status(octx),
            await webhook_inbox.list_account_problems(octx),
        )
    assert (health.counts["dead"], health.counts["done"], health.backlog) == (1, 3, 2)
    assert health.oldest_s > 0
    assert health.p95_s == pytest.approx(4, abs=0.01)
    assert health.failing_types == [("customer.subscription.updated", 1, 2)]
    (account,) = health.accounts
    assert (account.id, account.waiting, account.dead, account.paused_at) == (PLATFORM, 2, 1, None)
    assert account.unreachable_since is not None
    assert [(trouble.account_name, trouble.kind) for trouble in troubles] == [("Bulkhead", "silent")]
    stripe.failure = None
    await events.make_webhooks_due(customer)
    await processing.drain()
    async with entry.enter_platform("Olga") as octx:
        assert await webhook_inbox.list_account_problems(octx) == []


async def test_wrong_signatures_are_listed_until_a_webhook_arrives(
    separate_database: None, cast: Cast, stripe: scripted_provider.FakeProvider
) -> None:
    signature_failures._pending.clear()
    signature_failures._written_at.clear()
    for _ in range(3):
        await signature_failures.record(PLATFORM)
    async with entry.enter_platform("Olga") as octx:
        (trouble,) = await webhook_inbox.list_account_problems(octx)
        (account,) = (await webhook_inbox.get_inbox_status(octx)).accounts
    assert (trouble.kind, trouble.detail) == ("signatures", "")
    assert account.signature_failures == 1, "later ones are written together"
    assert account.signature_failed_at is not None
    signature_failures._written_at.clear()
    await signature_failures.record(PLATFORM)
    await store_webhook(b"{}", status="ignored")
    async with entry.enter_platform("Olga") as octx:
        assert await webhook_inbox.list_account_problems(octx) == []
        (account,) = (await webhook_inbox.get_inbox_status(octx)).accounts
    assert account.signature_failures == 4


@pytest.mark.parametrize(
    ("arrived_before", "is_listed"),
    [(timedelta(minutes=50), False), (timedelta(minutes=70), True)],
    ids=("within the hour", "longer ago"),
)
async def test_wrong_signature_is_listed_where_no_webhook_arrived_lately(
    separate_database: None,
    cast: Cast,
    stripe: scripted_provider.FakeProvider,
    arrived_before: timedelta,
    is_listed: bool,
) -> None:
    """Otherwise a stranger could tell operators that a secret is wrong which works."""
    signature_failures._written_at.clear()
    await store_webhook(b"{}", status="ignored", received_at=now() - arrived_before)
    await signature_failures.record(PLATFORM)
    async with entry.enter_platform("Olga") as octx:
        troubles = await webhook_inbox.list_account_problems(octx)
    assert [trouble.kind for trouble in troubles] == ["signatures"] * is_listed


async def test_refused_api_key_is_listed_as_an_account_problem(
    separate_database: None, cast: Cast, stripe: scripted_provider.FakeProvider
) -> None:
    customer = await create_customer(cast, stripe)
    stripe.failure = KeyRefused("no")
    await events.store_webhooks(customer)
    await processing.drain()
    async with entry.enter_platform("Olga") as octx:
        (trouble,) = await webhook_inbox.list_account_problems(octx)
    assert (trouble.kind, trouble.detail) == ("paused", processing.KEY_REFUSED_ERROR)
    assert now() - trouble.since < timedelta(minutes=1)
