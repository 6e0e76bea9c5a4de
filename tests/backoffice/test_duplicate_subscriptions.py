"""Customers who pay twice: on the operators' home, and ended with a refund."""

from dataclasses import replace
from datetime import timedelta

import pytest

from shared.audit import audit_log
from shared.audit.audit_filter import AuditFilter
from shared.backoffice import adjustments, duplicate_subscriptions, tasks, tenant_billing, tenant_directory
from shared.backoffice.reasons import state_reason
from shared.billing import customers, provider_registry
from shared.billing.models import PLATFORM
from shared.billing.provider_values import CustomerState
from shared.billing.sync import customer_sync
from shared.core.db import now
from shared.core.errors import Conflict, NotFound, Refused
from shared.core.ids import new_id
from shared.tenancy import entry
from tests.backoffice.test_adjustments import build_paid_invoice
from tests.billing.test_apply_state import build_subscription
from tests.conftest import Cast
from tests.support import workers
from tests.support.billing import scripted_provider

REASON = "Ticket 4480, paid twice"


@pytest.fixture
async def stripe() -> scripted_provider.FakeProvider:
    provider = scripted_provider.FakeProvider()
    provider_registry.register(PLATFORM, provider)
    await scripted_provider.add_price(scripted_provider.PRO_FLAT, "pro")
    return provider


async def subscribe_twice(tenant_id: str, stripe: scripted_provider.FakeProvider) -> tuple[str, str, str]:
    """The customer, and the subscriptions, of which the younger is paid with one invoice of the current period."""
    customer = await customers.ensure(tenant_id)
    older = replace(build_subscription(), id=f"sub_{customer[4:]}")
    younger = replace(older, id=f"{older.id}_2", created_at=older.created_at + timedelta(minutes=1))
    invoice = replace(
        build_paid_invoice(f"in_{new_id('x')[-8:]}"), subscription_id=younger.id, ends_at=now() + timedelta(9)
    )
    past = replace(invoice, id=f"{invoice.id}_0", ends_at=now() - timedelta(9))
    stripe.state[customer] = CustomerState(
        customer, currency="usd", subscriptions=(older, younger), invoices=(invoice, past)
    )
    await customer_sync.sync_customer(PLATFORM, customer, tenant_id, cause="return")
    return customer, older.id, younger.id


async def list_paying_twice(cast: Cast) -> list[tuple[str, int]]:
    async with cast.olga.octx() as octx:
        overview = await tenant_directory.get_overview(octx)
    return [(row.tenant_id, row.extra) for row in overview.paying_twice]


async def request_end(cast: Cast, subscription_id: str) -> str:
    async with cast.olga.octx() as octx:
        reason = state_reason(octx, REASON, tenant_id=cast.acme)
        return await duplicate_subscriptions.request_end(octx, cast.acme, subscription_id, reason)


async def test_younger_subscription_is_ended_and_refunded(
    cast: Cast, stripe: scripted_provider.FakeProvider
) -> None:
    customer, older, younger = await subscribe_twice(cast.acme, stripe)
    assert (cast.acme, 1) in await list_paying_twice(cast)
    assert await request_end(cast, younger) == "$200.00"
    async with entry.enter_job(cast.acme, duplicate_subscriptions.TASK, "req_test") as job:
        for _ in range(2):  # jobs may run twice
            await tasks.TASKS[duplicate_subscriptions.TASK](job, subscription_id=younger)
    assert stripe.canceled_ids == [younger, younger]
    assert [subscription.status for subscription in stripe.state[customer].subscriptions] == [
        "active",
        "canceled",
    ]
    assert cast.acme not in dict(await list_paying_twice(cast))
    async with cast.olga.octx() as octx:
        reason = state_reason(octx, REASON, tenant_id=cast.acme)
        details = await tenant_billing.get_billing_details(octx, cast.acme, reason)
        assert details.duplicate_ids == []
        async with entry.enter_as_operator(octx, cast.acme, "Looking") as ctx:
            (refund,) = await adjustments.list_adjustments(ctx, 9)
            events = await audit_log.list_events(ctx, AuditFilter(action="billing.duplicate_ended"))
    assert (refund.kind, refund.amount, refund.reason_code) == ("refund", 20_000, "duplicate_charge")
    assert [(event.object_id, event.reason) for event in events.rows] == [(younger, REASON)]
    with pytest.raises(Conflict, match="only subscription"):
        await request_end(cast, older)


async def list_refunds(cast: Cast) -> list[tuple[str, str]]:
    """State and error of each adjustment."""
    async with cast.olga.octx() as octx, entry.enter_as_operator(octx, cast.acme, "Looking") as ctx:
        return [(refund.state, refund.error) for refund in await adjustments.list_adjustments(ctx, 9)]


async def test_second_subscription_cannot_be_ended_while_the_first_end_is_queued(
    cast: Cast, stripe: scripted_provider.FakeProvider
) -> None:
    _, older, younger = await subscribe_twice(cast.acme, stripe)
    await request_end(cast, older)
    for subscription_id in (younger, older):
        with pytest.raises(Conflict, match="already being ended"):
            await request_end(cast, subscription_id)
    assert await list_refunds(cast) == []


async def test_subscription_is_neither_ended_nor_refunded_when_no_other_is_left(
    cast: Cast, stripe: scripted_provider.FakeProvider
) -> None:
    _, older, younger = await subscribe_twice(cast.acme, stripe)
    await request_end(cast, younger)
    await stripe.cancel_subscription(older, at_period_end=False, key="by_somebody_else")
    async with cast.olga.octx() as octx, entry.enter_as_operator(octx, cast.acme, "Looking") as ctx:
        (refund,) = await adjustments.list_adjustments(ctx, 9)
    await duplicate_subscriptions.execute_end(cast.acme, younger, "req_test", refund_ids=[refund.id])
    assert stripe.canceled_ids == [older]
    assert await list_refunds(cast) == [("failed", duplicate_subscriptions.KEPT_REASON)]
    async with cast.olga.octx() as octx, entry.enter_as_operator(octx, cast.acme, "Looking") as ctx:
        events = await audit_log.list_events(ctx, AuditFilter(action="billing.duplicate_kept"))
    assert [event.object_id for event in events.rows] == [younger]


async def test_refund_is_submitted_after_the_end(
    schema: str, cast: Cast, stripe: scripted_provider.FakeProvider
) -> None:
    workers.clear_queue(schema)
    _, _, younger = await subscribe_twice(cast.acme, stripe)
    await request_end(cast, younger)
    jobs = [task for task, _ in workers.list_jobs(schema)]
    assert (jobs.count(duplicate_subscriptions.TASK), jobs.count(adjustments.TASK)) == (1, 0)
    await workers.run_until_done(schema)
    assert stripe.canceled_ids == [younger]
    assert stripe.refunds == [20_000]
    assert await list_refunds(cast) == [("done", "")]


async def test_subscriptions_to_other_products_are_not_offered_to_be_ended(
    cast: Cast, stripe: scripted_provider.FakeProvider
) -> None:
    customer, older, _ = await subscribe_twice(cast.acme, stripe)
    state = stripe.state[customer]
    stripe.state[customer] = replace(
        state,
        subscriptions=tuple(
            replace(subscription, lines=tuple(replace(line, price_id="") for line in subscription.lines))
            for subscription in state.subscriptions
        ),
    )
    await customer_sync.sync_customer(PLATFORM, customer, cast.acme, cause="operator")
    assert cast.acme not in dict(await list_paying_twice(cast))
    async with cast.olga.octx() as octx:
        reason = state_reason(octx, REASON, tenant_id=cast.acme)
        details = await tenant_billing.get_billing_details(octx, cast.acme, reason)
    assert details.duplicate_ids == []
    with pytest.raises(NotFound, match="isn’t to a plan"):
        await request_end(cast, older)


async def test_ending_is_refused_for_support_and_unknown_subscriptions(
    cast: Cast, stripe: scripted_provider.FakeProvider
) -> None:
    _, _, younger = await subscribe_twice(cast.acme, stripe)
    with pytest.raises(NotFound):
        await request_end(cast, "sub_nobody")
    with pytest.raises(Refused):
        async with cast.sam.octx() as octx:
            await duplicate_subscriptions.request_end(
                octx, cast.acme, younger, state_reason(octx, REASON, tenant_id=cast.acme)
            )
    assert stripe.canceled_ids == []
