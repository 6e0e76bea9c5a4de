"""Subscriptions paid by transfer, invoices marked as paid and longer trials: asked for once, submitted once."""

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from shared.audit import audit_log
from shared.backoffice import billing_orders, tasks, tenant_billing
from shared.backoffice.billing_orders import TransferTerms
from shared.backoffice.reasons import state_reason
from shared.billing import customers
from shared.billing.models import PLATFORM, BillingOrder, BillingOrderKind
from shared.billing.provider import ProviderDown
from shared.billing.sync import reconcile
from shared.core.errors import Conflict, Invalid, NotFound, Refused
from shared.jobs.worker import ExternalJob
from shared.tenancy import entry, notifications
from tests.billing.test_selling import PRO
from tests.billing.test_trials import subscribe
from tests.conftest import Cast, Operating
from tests.support import factories
from tests.support.billing import shared_provider
from tests.support.billing.memory_provider import MemoryProvider

REASON = "Pilot customer, contract 4471"
TERMS = TransferTerms(version_id=PRO, period="month", seats=3, currency="", days_until_due=30)


@pytest.fixture
async def seller(tidy: None) -> AsyncIterator[MemoryProvider]:
    yield await shared_provider.install_provider()
    shared_provider.remove_provider()


async def ask(operator: Operating, tenant_id: str, call: Any, *values: Any, **named: Any) -> Any:
    async with operator.octx() as octx:
        reason = state_reason(octx, REASON, tenant_id=tenant_id)
        return await call(octx, tenant_id, *values, reason, **named)


async def run_order(tenant_id: str, order_id: str) -> None:
    await tasks.execute_order(ExternalJob(tenant_id, ""), order_id=order_id)


async def start_transfer(cast: Cast) -> str:
    """Id of Globex’s subscription."""
    order_id = await ask(cast.olga, cast.globex, billing_orders.request_transfer_subscription, TERMS)
    await run_order(cast.globex, order_id)
    return (await read_orders(cast))[0].external_id


async def read_details(cast: Cast) -> tenant_billing.BillingDetails:
    details = await ask(cast.olga, cast.globex, tenant_billing.get_billing_details)
    assert isinstance(details, tenant_billing.BillingDetails)
    return details


async def read_orders(cast: Cast) -> list[BillingOrder]:
    return list((await read_details(cast)).orders)


def list_deals(seller: MemoryProvider, before: set[str]) -> set[str]:
    """Those of this test: all tests of a process share the provider."""
    return set(seller.deals) - before


async def sync(cast: Cast) -> None:
    await shared_provider.return_from_provider(cast.gil)


async def get_status(cast: Cast) -> tuple[str, str]:
    """Of the subscription, and of the access that follows from it."""
    details = await read_details(cast)
    return details.subscriptions[-1].status, str(details.schedule.get("status"))


async def list_reasons(cast: Cast, action: str) -> list[tuple[str, Any]]:
    async with cast.olga.octx() as octx, entry.enter_as_operator(octx, cast.globex, "Looking") as ctx:
        events = await audit_log.list_events(ctx, audit_log.AuditFilter(action=action))
    return [(event.reason, event.after) for event in events.rows]


async def test_transfer_subscription_gives_access_and_charges_nobody(
    cast: Cast, seller: MemoryProvider
) -> None:
    subscription_id = await start_transfer(cast)
    details = await read_details(cast)
    assert await get_status(cast) == ("active", "active")
    assert (details.subscriptions[-1].id, details.subscriptions[-1].state["days_until_due"]) == (
        subscription_id,
        30,
    )
    assert [(invoice.status, invoice.attempts) for invoice in details.invoices] == [("open", 0)]
    ((reason, after),) = await list_reasons(cast, "billing.transfer_asked")
    assert (reason, after["days_until_due"], after["seats"]) == (REASON, 30, 3)
    assert details.transfer_offers == []


async def test_transfer_order_is_submitted_once_where_its_job_runs_twice(
    cast: Cast, seller: MemoryProvider
) -> None:
    before = set(seller.deals)
    order_id = await ask(cast.olga, cast.globex, billing_orders.request_transfer_subscription, TERMS)
    seller.fail_next(ProviderDown("no answer"), verb="fetch")
    with pytest.raises(ProviderDown):
        await run_order(cast.globex, order_id)
    await run_order(cast.globex, order_id)
    await run_order(cast.globex, order_id)
    assert len(list_deals(seller, before)) == 1
    assert [order.state for order in await read_orders(cast)] == ["done"]


async def test_second_transfer_subscription_is_refused(cast: Cast, seller: MemoryProvider) -> None:
    request = billing_orders.request_transfer_subscription
    await ask(cast.olga, cast.globex, request, TERMS)
    with pytest.raises(Conflict, match="already submitted"):
        await ask(cast.olga, cast.globex, request, TERMS)
    await run_order(cast.globex, (await read_orders(cast))[0].id)
    with pytest.raises(Conflict, match="has a subscription"):
        await ask(cast.olga, cast.globex, request, TERMS)


async def test_order_fails_where_a_member_has_subscribed_meanwhile(
    cast: Cast, seller: MemoryProvider
) -> None:
    before = set(seller.deals)
    order_id = await ask(cast.olga, cast.globex, billing_orders.request_transfer_subscription, TERMS)
    await subscribe(seller, cast.gil)
    await run_order(cast.globex, order_id)
    (order,) = await read_orders(cast)
    assert (order.state, order.external_id, len(list_deals(seller, before))) == ("failed", "", 1)
    assert await list_reasons(cast, "billing.order_failed") != []


async def test_overdue_transfer_ends_access_until_it_is_marked_as_paid(
    cast: Cast, seller: MemoryProvider
) -> None:
    bill = seller.get_newest_bill(await start_transfer(cast))
    bill.at -= timedelta(days=40)  # ten days after it fell due
    await sync(cast)
    assert await get_status(cast) == ("past_due", "read_only")
    bill_operator = Operating(await factories.create_operator("Bill", "billing"))
    order_id = await ask(
        bill_operator, cast.globex, billing_orders.request_mark_paid, bill.id, "2027-03-04 ACME"
    )
    await run_order(cast.globex, order_id)
    assert await get_status(cast) == ("active", "active")
    ((reason, after),) = await list_reasons(cast, "billing.paid_by_transfer")
    assert (reason, after["reference"]) == (REASON, "2027-03-04 ACME")


async def test_reconciliation_leaves_a_transfer_as_it_is(cast: Cast, seller: MemoryProvider) -> None:
    bill = seller.get_newest_bill(await start_transfer(cast))
    order_id = await ask(cast.olga, cast.globex, billing_orders.request_mark_paid, bill.id, "4471")
    await run_order(cast.globex, order_id)
    before = await read_details(cast)
    async with cast.olga.octx() as octx, entry.enter_as_operator(octx, cast.globex, "Looking") as ctx:
        customer_id = await customers.find_id(ctx)
    result = await reconcile.reconcile_customer(PLATFORM, customer_id, cast.globex, "run_test")
    after = await read_details(cast)
    assert (list(result.differences), after.drift) == ([], [])
    assert (after.schedule, after.invoices[0].paid) == (before.schedule, before.invoices[0].paid)
    assert bill.by_transfer


async def test_invoice_that_is_charged_is_not_marked_as_paid(cast: Cast, seller: MemoryProvider) -> None:
    deal = await subscribe(seller, cast.gil)
    seller.deals[deal].ends = seller.deals[deal].trial_until = seller.clock
    seller.advance(timedelta(seconds=1))
    await sync(cast)
    bill = seller.get_newest_bill(deal)
    with pytest.raises(Conflict, match="charged automatically"):
        await ask(cast.olga, cast.globex, billing_orders.request_mark_paid, bill.id, "4471")


async def test_large_invoice_is_marked_as_paid_by_an_owner_only(
    cast: Cast, seller: MemoryProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(billing_orders, "LARGE_AMOUNT", 1)
    bill = seller.get_newest_bill(await start_transfer(cast))
    bill_operator = Operating(await factories.create_operator("Bill", "billing"))
    with pytest.raises(Refused):
        await ask(bill_operator, cast.globex, billing_orders.request_mark_paid, bill.id, "4471")
    await ask(cast.olga, cast.globex, billing_orders.request_mark_paid, bill.id, "4471")


async def test_invoice_of_another_tenant_is_not_found(cast: Cast, seller: MemoryProvider) -> None:
    bill = seller.get_newest_bill(await start_transfer(cast))
    with pytest.raises(NotFound):
        await ask(cast.olga, cast.acme, billing_orders.request_mark_paid, bill.id, "4471")


async def test_trial_ends_later_and_owners_are_told(cast: Cast, seller: MemoryProvider) -> None:
    deal = seller.deals[await subscribe(seller, cast.gil)]
    assert deal.trial_until is not None
    until = deal.trial_until + timedelta(days=10)
    order_id = await ask(
        cast.olga,
        cast.globex,
        billing_orders.request_trial_extension,
        10,
        message="As agreed on the phone.",
    )
    with pytest.raises(Conflict, match="already submitted"):  # a double click
        await ask(cast.olga, cast.globex, billing_orders.request_trial_extension, 10)
    await run_order(cast.globex, order_id)
    await run_order(cast.globex, order_id)
    assert deal.trial_until == until
    assert (await read_details(cast)).subscriptions[-1].state["trial_ends_at"] == until.isoformat()
    assert [reason for reason, _ in await list_reasons(cast, "billing.trial_extended")] == [REASON]
    async with cast.gil.ctx() as ctx:
        notices = [
            each for each in await notifications.list_my_notifications(ctx) if "trial now ends" in each.title
        ]
    assert [notification.body for notification in notices] == ["As agreed on the phone."]


async def test_trial_is_not_extended_beyond_its_maximum_or_after_its_end(
    cast: Cast, seller: MemoryProvider
) -> None:
    deal = seller.deals[await subscribe(seller, cast.gil)]
    with pytest.raises(Invalid, match="at most 90 days"):
        await ask(cast.olga, cast.globex, billing_orders.request_trial_extension, 77)
    with pytest.raises(Invalid):
        await ask(cast.olga, cast.globex, billing_orders.request_trial_extension, 0)
    deal.ends = deal.trial_until = seller.clock
    seller.advance(timedelta(seconds=1))
    await sync(cast)
    with pytest.raises(Conflict, match="has ended"):
        await ask(cast.olga, cast.globex, billing_orders.request_trial_extension, 5)


async def test_trial_that_ended_before_the_job_is_left_as_it_is(cast: Cast, seller: MemoryProvider) -> None:
    deal = seller.deals[await subscribe(seller, cast.gil)]
    order_id = await ask(cast.olga, cast.globex, billing_orders.request_trial_extension, 5)
    deal.ends = deal.trial_until = seller.clock
    seller.advance(timedelta(seconds=1))
    await run_order(cast.globex, order_id)
    (order,) = await read_orders(cast)
    assert (order.kind, order.state) == (BillingOrderKind.TRIAL_EXTENSION, "failed")
    assert deal.state == "running"


async def test_support_cannot_order_and_an_open_order_is_retried(cast: Cast, seller: MemoryProvider) -> None:
    await subscribe(seller, cast.gil)
    with pytest.raises(Refused):
        await ask(cast.sam, cast.globex, billing_orders.request_trial_extension, 5)
    order_id = await ask(cast.olga, cast.globex, billing_orders.request_trial_extension, 5)
    await ask(cast.olga, cast.globex, billing_orders.retry_order, order_id)
    await run_order(cast.globex, order_id)
    with pytest.raises(Conflict, match="already done"):
        await ask(cast.olga, cast.globex, billing_orders.retry_order, order_id)
