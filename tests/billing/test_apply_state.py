"""Applying a customer's state: a webhook triggers a fetch, and its consequences are written once."""

from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import text
from sqlmodel import col, select

from shared.billing import customers, provider_registry, repository
from shared.billing.inbound_webhooks import processing
from shared.billing.models import PLATFORM, BillingCustomer, BillingEvent, BillingInvoice, BillingSnapshot
from shared.billing.provider import ProviderDown
from shared.billing.provider_values import (
    CustomerState,
    Dispute,
    FraudWarning,
    Invoice,
    Refund,
    Subscription,
    SubscriptionItem,
)
from shared.billing.sync import customer_sync
from shared.core import db, live_events
from shared.core.db import now
from shared.core.errors import NotFound
from shared.core.ids import new_id
from tests.conftest import Cast
from tests.support.billing import events, scripted_provider

START = now().replace(microsecond=0) - timedelta(days=3)


@pytest.fixture
async def stripe() -> scripted_provider.FakeProvider:
    provider = scripted_provider.FakeProvider()
    provider_registry.register(PLATFORM, provider)
    return provider


def build_subscription(status: str = "active", **changed: object) -> Subscription:
    line = SubscriptionItem(
        "si_1", scripted_provider.PRO_FLAT, "price_x", 1, START, START + timedelta(days=30)
    )
    base = Subscription("sub_1", status, START, lines=(line,), pays=True, currency="usd")
    return replace(base, **changed)  # type: ignore[arg-type]


async def test_webhook_grants_the_bought_plan(cast: Cast, stripe: scripted_provider.FakeProvider) -> None:
    await scripted_provider.add_price(scripted_provider.PRO_FLAT, "pro")
    customer = await customers.ensure(await scripted_provider.get_tenant_id(cast.ann))
    stripe.state[customer] = CustomerState(
        customer, method="Visa ending in 4242", subscriptions=(build_subscription(),)
    )
    await events.store_webhooks(customer, 3)
    assert await processing.drain() == 1
    async with cast.ann.ctx() as ctx:
        assert (ctx.rights.plan, ctx.rights.billing_status) == ("pro", "active")
    assert await events.count_by_status(customer) == {"done": 3}


async def test_cancelled_subscription_ends_access(cast: Cast, stripe: scripted_provider.FakeProvider) -> None:
    await scripted_provider.add_price(scripted_provider.PRO_FLAT, "pro")
    customer = await customers.ensure(await scripted_provider.get_tenant_id(cast.ann))
    for status, access in (
        ("active", "active"),
        ("past_due", "grace"),
        ("active", "active"),
        ("canceled", "none"),
    ):
        stripe.state[customer] = CustomerState(
            customer, subscriptions=(build_subscription(status, failed_since=START),)
        )
        await events.store_webhooks(customer, 1)
        await processing.drain()
        async with cast.ann.ctx() as ctx:
            assert ctx.rights.billing_status == access


def build_refund(status: str = "pending", **changed: object) -> Refund:
    refund = Refund(
        id="re_1",
        invoice_id="in_1",
        credit_note_id="cn_1",
        key="",
        amount=500,
        currency="usd",
        status=status,
        failure_reason="",
        created_at=START,
    )
    return replace(refund, **changed)  # type: ignore[arg-type]


def build_dispute(status: str = "needs_response", **changed: object) -> Dispute:
    dispute = Dispute(
        id="dp_1",
        invoice_id="in_1",
        amount=2900,
        currency="usd",
        reason="fraudulent",
        status=status,
        is_refundable=False,
        respond_by=START + timedelta(days=9),
        created_at=START,
    )
    return replace(dispute, **changed)  # type: ignore[arg-type]


async def test_refunds_and_disputes_follow_the_provider(
    cast: Cast, stripe: scripted_provider.FakeProvider
) -> None:
    customer = await customers.ensure(cast.acme)
    for refund_status, dispute_status in (("pending", "needs_response"), ("failed", "won")):
        stripe.state[customer] = CustomerState(
            customer, refunds=(build_refund(refund_status),), disputes=(build_dispute(dispute_status),)
        )
        result = await customer_sync.sync_customer(PLATFORM, customer, cast.acme, cause="webhook")
        assert {difference.theirs for difference in result.differences} == {refund_status, dispute_status}
        async with cast.ann.ctx() as ctx:
            (refund,) = await repository.list_customer_refunds(ctx, customer)
            (dispute,) = await repository.list_customer_disputes(ctx, customer)
        assert (refund.status, dispute.status) == (refund_status, dispute_status)
    stripe.state[customer] = CustomerState(customer)  # the provider lists only the newest
    assert not (await customer_sync.sync_customer(PLATFORM, customer, cast.acme, cause="webhook")).differences


async def test_alerts_of_disputes_and_refunds_are_those_of_all_customers(
    cast: Cast, stripe: scripted_provider.FakeProvider
) -> None:
    customer = await customers.ensure(cast.acme)
    async with cast.ann.ctx() as ctx:
        ctx.session.add(BillingCustomer(tenant_id=cast.acme, id="cus_former", generation=-1))
    stripe.state[customer] = CustomerState(customer, disputes=(build_dispute(),))
    stripe.state["cus_former"] = CustomerState(
        "cus_former", deleted=True, refunds=(build_refund("failed", invoice_id="in_0"),)
    )
    await customer_sync.sync_customer(PLATFORM, customer, cast.acme, cause="webhook")
    for synced_customer in ("cus_former", customer):
        await customer_sync.sync_customer(PLATFORM, synced_customer, cast.acme, cause="webhook")
        alert = await get_alert(cast)
        assert f"(dp_1), answer it in Stripe by {START + timedelta(days=9):%-d %B %Y}" in alert
        assert "re_1 of $5.00 failed" in alert


async def test_fraud_warning_is_alerted_until_nothing_can_be_done(
    cast: Cast, stripe: scripted_provider.FakeProvider
) -> None:
    customer = await customers.ensure(cast.acme)
    warning = FraudWarning(
        id="issfr_1", invoice_id="in_1", amount=2900, currency="usd",
        fraud_type="misc", is_actionable=True, created_at=START,
    )  # fmt: skip
    for is_actionable in (True, False):
        fetched = replace(warning, is_actionable=is_actionable)
        stripe.state[customer] = CustomerState(customer, fraud_warnings=(fetched,))
        result = await customer_sync.sync_customer(PLATFORM, customer, cast.acme, cause="webhook")
        assert [difference.theirs for difference in result.differences] == [is_actionable]
        is_alerted = "$29.00 (issfr_1), refund it before it becomes a dispute" in await get_alert(cast)
        assert is_alerted == is_actionable
    stripe.state[customer] = CustomerState(customer)  # the key can't read them any more
    assert not (await customer_sync.sync_customer(PLATFORM, customer, cast.acme, cause="webhook")).differences


async def test_failed_refund_is_alerted_until_its_whole_sum_was_refunded_again(
    cast: Cast, stripe: scripted_provider.FakeProvider
) -> None:
    customer = await customers.ensure(cast.acme)
    failed = build_refund("failed")
    later = {"status": "succeeded", "credit_note_id": "", "created_at": START + timedelta(days=1)}
    stripe.state[customer] = CustomerState(
        customer,
        refunds=(
            replace(failed, id="re_repeated", invoice_id="in_1"),
            build_refund(id="re_11", invoice_id="in_1", **later),
            replace(failed, id="re_half", invoice_id="in_2"),
            build_refund(id="re_21", invoice_id="in_2", **later | {"amount": 200}),
            replace(failed, id="re_first", invoice_id="in_3"),
            replace(failed, id="re_second", invoice_id="in_3"),
            build_refund(id="re_31", invoice_id="in_3", **later),
            replace(failed, id="re_beside", invoice_id="in_4"),
            build_refund(id="re_41", invoice_id="in_4", **later | {"credit_note_id": "cn_2"}),
            replace(failed, id="re_unknown", invoice_id=""),
            build_refund(id="re_51", invoice_id="", **later),
        ),
    )
    await customer_sync.sync_customer(PLATFORM, customer, cast.acme, cause="webhook")
    assert (await get_alert(cast)).split("; ") == [
        "The refund re_beside of $5.00 failed",
        "The refund re_half of $5.00 failed, $3.00 of it was not refunded again",
        "The refund re_second of $5.00 failed",
        "The refund re_unknown of $5.00 failed",
    ]


async def get_alert(cast: Cast) -> str:
    async with cast.ann.ctx() as ctx:
        snapshot = await repository.get_billing_snapshot(ctx)
    assert snapshot is not None
    return snapshot.alert


async def test_billing_event_names_the_status_before_and_after(
    cast: Cast, stripe: scripted_provider.FakeProvider
) -> None:
    await scripted_provider.add_price(scripted_provider.PRO_FLAT, "pro")
    customer = await customers.ensure(cast.acme)
    for status in ("active", "past_due", "canceled"):
        subscription = build_subscription(status, failed_since=START)
        stripe.state[customer] = CustomerState(customer, subscriptions=(subscription,))
        await customer_sync.sync_customer(PLATFORM, customer, cast.acme, cause="webhook")
    async with db.transaction(tenant_id=cast.acme) as session:
        rows = (await session.exec(select(BillingEvent).order_by(col(BillingEvent.ticket)))).all()
    statuses = [(event.previous["status"], event.next["status"]) for event in rows]
    assert statuses == [("", "active"), ("active", "grace"), ("grace", "none")]


async def test_credit_and_new_card_are_recorded_and_announced_to_open_pages(
    cast: Cast, stripe: scripted_provider.FakeProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    tenant_id = await scripted_provider.get_tenant_id(cast.ann)
    customer = await customers.ensure(tenant_id)
    stripe.state[customer] = CustomerState(customer, method="Visa ending in 0341", currency="usd")
    await events.store_webhooks(customer)
    await processing.drain()
    paged = list[tuple[str, str]]()

    async def record_page(_: object, whose: str, topic: str) -> None:
        paged.append((whose, topic))

    monkeypatch.setattr(live_events, "refresh_pages", record_page)
    stripe.state[customer] = CustomerState(
        customer, method="Visa ending in 4242", balance=-2_500, currency="usd"
    )
    await events.store_webhooks(customer)
    await processing.drain()
    assert {(tenant_id, "billing"), ("*", "billing")} <= set(paged)
    async with cast.ann.ctx() as ctx:
        result = await ctx.session.exec(select(BillingEvent).order_by(col(BillingEvent.ticket).desc()))
        event = result.first()
    assert event is not None
    assert (event.previous["balance"], event.next["balance"]) == ("", "−$25.00")
    assert (event.previous["method"], event.next["method"]) == ("Visa ending in 0341", "Visa ending in 4242")


async def test_webhook_is_processed_after_the_provider_was_down(
    cast: Cast, stripe: scripted_provider.FakeProvider
) -> None:
    await scripted_provider.add_price(scripted_provider.PRO_FLAT, "pro")
    customer = await customers.ensure(await scripted_provider.get_tenant_id(cast.ann))
    stripe.state[customer] = CustomerState(customer, subscriptions=(build_subscription(),))
    await events.store_webhooks(customer, 2)
    stripe.failure = ProviderDown("no answer")
    await processing.drain()
    assert await events.count_by_status(customer) == {"pending": 2}
    stripe.failure = None
    await events.make_webhooks_due(customer)
    await processing.drain()
    assert await events.count_by_status(customer) == {"done": 2}


async def test_webhook_of_an_unknown_customer_waits_until_it_is_known(
    cast: Cast, stripe: scripted_provider.FakeProvider
) -> None:
    await scripted_provider.add_price(scripted_provider.PRO_FLAT, "pro")
    tenant_id = await scripted_provider.get_tenant_id(cast.ann)
    stripe.next_id = f"cus_{new_id('x')[-8:]}"
    stripe.state[stripe.next_id] = CustomerState(stripe.next_id, subscriptions=(build_subscription(),))
    await events.store_webhooks(stripe.next_id, 1)
    await processing.drain()
    assert await events.count_by_status(stripe.next_id) == {"parked": 1}
    await customers.ensure(tenant_id)
    await processing.drain()
    async with cast.ann.ctx() as ctx:
        assert ctx.rights.plan == "pro"


async def test_large_amounts_are_stored(cast: Cast, stripe: scripted_provider.FakeProvider) -> None:
    """A thousand dollars exceed 2,147,483,647 of the smallest unit in some currencies."""
    customer = await customers.ensure(await scripted_provider.get_tenant_id(cast.ann))
    bill = Invoice(
        *("in_much", "A-1", "open", "idr", 9_000_000_000, 9_000_000_000, 0, 1, None, START, None, None),
        *("", "", "sub_1"),
    )
    stripe.state[customer] = CustomerState(customer, balance=-3_000_000_000, currency="idr", invoices=(bill,))
    await customer_sync.sync_customer(PLATFORM, customer, cast.acme, cause="return")
    async with db.transaction(tenant_id=cast.acme) as session:
        assert (await session.exec(select(BillingInvoice))).one().due == 9_000_000_000
        assert (await session.exec(select(BillingSnapshot))).one().balance == -3_000_000_000


async def test_customer_of_another_tenant_is_not_written(
    cast: Cast, stripe: scripted_provider.FakeProvider
) -> None:
    """The attempt does not count as a sync of that customer either."""
    globex_customer = await customers.ensure(cast.globex)
    await customers.ensure(cast.acme)
    stripe.state[globex_customer] = CustomerState(
        globex_customer, method="Visa ending in 4242", balance=-500, currency="usd"
    )
    before = await _ticket(globex_customer)
    with pytest.raises(NotFound):
        await customer_sync.sync_customer(PLATFORM, globex_customer, cast.acme, cause="return")
    assert await _ticket(globex_customer) == before
    async with db.transaction(tenant_id=cast.acme) as session:
        assert (await session.exec(select(BillingSnapshot))).all() == []
    await customer_sync.sync_customer(PLATFORM, globex_customer, cast.globex, cause="return")
    async with db.transaction(tenant_id=cast.globex) as session:
        assert (await session.exec(select(BillingSnapshot))).one().method == "Visa ending in 4242"


async def _ticket(customer: str) -> int | None:
    async with db.transaction() as session:
        rows = await (await session.connection()).execute(
            text("select ticket from customer_sync where customer_id = :customer"), {"customer": customer}
        )
        return rows.scalar_one_or_none()
