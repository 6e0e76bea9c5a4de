"""A tenant's billing for operators: details, provider links, reconciliation, invoices of all tenants."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from typing import get_args

import pytest

from admin_app import labels
from admin_app.pages.overview.state import OverviewState
from admin_app.pages.tenant_billing.rows import subscription_row
from shared.audit import audit_log
from shared.audit.audit_filter import AuditFilter
from shared.backoffice import tasks, tenant_billing, tenant_directory
from shared.backoffice.reasons import state_reason
from shared.billing import customers, provider_registry
from shared.billing.models import PLATFORM
from shared.billing.provider_values import Cancellation, CustomerState
from shared.billing.sync import customer_sync
from shared.billing.sync.apply_state import SyncCause
from shared.core.db import now
from shared.core.errors import Conflict, Invalid, NotFound, Refused
from shared.core.ids import new_id
from shared.tenancy import entry
from tests.backoffice.test_adjustments import build_paid_invoice
from tests.billing.test_apply_state import build_subscription
from tests.conftest import Cast, own_database
from tests.support.billing import scripted_provider

REASON = "Ticket 4471, are they paid"


@pytest.fixture
async def stripe() -> scripted_provider.FakeProvider:
    provider = scripted_provider.FakeProvider()
    provider_registry.register(PLATFORM, provider)
    await scripted_provider.add_price(scripted_provider.PRO_FLAT, "pro")
    return provider


@pytest.fixture
async def separate_database(schema: str) -> AsyncIterator[None]:
    """The lists contain nothing of other tests."""
    async with own_database(schema, "billingdesk"):
        yield


async def subscribe_tenant(tenant: str, stripe: scripted_provider.FakeProvider, *numbers: str) -> str:
    customer = await customers.ensure(tenant)
    stripe.state[customer] = CustomerState(
        customer,
        method="Visa ending in 4242",
        currency="usd",
        subscriptions=(replace(build_subscription(), id=f"sub_{customer[4:]}"),),
        invoices=tuple(build_paid_invoice(number) for number in numbers),
    )
    await customer_sync.sync_customer(PLATFORM, customer, tenant, cause="return")
    return customer


async def test_operators_see_why_a_customer_cancelled_and_no_event_or_log_quotes_it(
    cast: Cast, stripe: scripted_provider.FakeProvider, caplog: pytest.LogCaptureFixture
) -> None:
    """As given in the provider's portal: no member of ours has asked for it."""
    customer = await subscribe_tenant(cast.acme, stripe)
    said = Cancellation(feedback="low_quality", comment="Ask Ann Example", canceled_at=now())
    (subscription,) = stripe.state[customer].subscriptions
    canceled = replace(subscription, cancel_at=now() + timedelta(days=9), cancellation=said)
    stripe.state[customer] = replace(stripe.state[customer], subscriptions=(canceled,))
    await customer_sync.sync_customer(PLATFORM, customer, cast.acme, cause="reconcile")
    async with cast.olga.octx() as octx:
        billing = await tenant_billing.get_billing_details(
            octx, cast.acme, state_reason(octx, REASON, tenant_id=cast.acme)
        )
        overview = await tenant_directory.get_overview(octx)
    (row,) = [row for row in billing.subscriptions if row.id == subscription.id]
    assert subscription_row(row).cancellation == "It isn’t good enough · “Ask Ann Example”"
    assert overview.cancellation_counts["low_quality"] >= 1
    page = cast.olga.opens(OverviewState)
    await page.load()
    assert "It isn’t good enough" in [why for why, _ in page.cancellations]
    recorded = [billing.events[0].next, *(drift.differences for drift in billing.drift)]
    assert "Ann Example" not in f"{recorded} {caplog.text} {row.state}"
    # Taken back at the provider.
    stripe.state[customer] = replace(stripe.state[customer], subscriptions=(subscription,))
    await customer_sync.sync_customer(PLATFORM, customer, cast.acme, cause="reconcile")
    async with cast.olga.octx() as octx:
        billing = await tenant_billing.get_billing_details(
            octx, cast.acme, state_reason(octx, REASON, tenant_id=cast.acme)
        )
    assert [subscription_row(row).cancellation for row in billing.subscriptions] == [""]


async def test_billing_details_show_customer_access_and_invoices(
    cast: Cast, stripe: scripted_provider.FakeProvider
) -> None:
    customer = await subscribe_tenant(cast.acme, stripe, f"in_{new_id('x')[-8:]}")
    async with cast.sam.octx() as octx:
        details = await tenant_billing.get_billing_details(
            octx, cast.acme, state_reason(octx, REASON, tenant_id=cast.acme)
        )
    assert [row.id for row in details.customers] == [customer]
    assert customer in details.synced_at
    assert details.snapshot is not None
    assert (details.snapshot.method, details.schedule["status"], details.schedule["word"]) == (
        "Visa ending in 4242",
        "active",
        "active",
    )
    assert [(subscription.status, subscription.customer_id) for subscription in details.subscriptions] == [
        ("active", customer)
    ]
    assert [invoice.total for invoice in details.invoices] == [20_000]
    (event,) = details.events
    assert (event.cause, event.recalculated, event.next["status"]) == ("return", True, "active")
    async with cast.olga.octx() as octx, entry.enter_as_operator(octx, cast.acme, "Looking") as ctx:
        looks = (await audit_log.list_events(ctx, AuditFilter(action="operator.looked"))).rows
    assert (REASON, "Sam") in [(look.reason, look.actor_name) for look in looks]


async def test_billing_details_link_to_the_providers_page(
    cast: Cast, stripe: scripted_provider.FakeProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    customer = await subscribe_tenant(cast.acme, stripe)
    async with cast.olga.octx() as octx:
        details = await tenant_billing.get_billing_details(
            octx, cast.acme, state_reason(octx, REASON, tenant_id=cast.acme)
        )
    assert details.provider_urls == {
        customer: tenant_billing.sandbox_controls_url()
    }  # of the stand-in, while it stands for the provider
    monkeypatch.setattr(tenant_billing, "sandbox_controls_url", lambda: "")
    async with cast.olga.octx() as octx:
        details = await tenant_billing.get_billing_details(
            octx, cast.acme, state_reason(octx, REASON, tenant_id=cast.acme)
        )
    assert details.provider_urls == {customer: f"https://dashboard.stripe.com/test/customers/{customer}"}


async def test_billing_details_are_refused_without_a_reason_or_tenant(cast: Cast) -> None:
    for reason in ("", " ", "x" * 301):
        with pytest.raises(Invalid):
            async with cast.olga.octx() as octx:
                await tenant_billing.get_billing_details(
                    octx, cast.acme, state_reason(octx, reason, tenant_id=cast.acme)
                )
        with pytest.raises(Invalid):
            async with cast.olga.octx() as octx:
                await tenant_billing.list_invoices(octx, state_reason(octx, reason))
    with pytest.raises(NotFound):
        async with cast.olga.octx() as octx:
            await tenant_billing.get_billing_details(
                octx, "ten_nobody", state_reason(octx, REASON, tenant_id="ten_nobody")
            )


async def test_reconciliation_finds_and_repairs_a_missed_change(
    cast: Cast, stripe: scripted_provider.FakeProvider
) -> None:
    customer = await subscribe_tenant(cast.acme, stripe)
    was = stripe.state[customer]
    stripe.state[customer] = replace(was, subscriptions=(replace(was.subscriptions[0], status="unpaid"),))
    async with cast.olga.octx() as octx:
        run_id = await tenant_billing.request_reconcile(
            octx, cast.acme, state_reason(octx, REASON, tenant_id=cast.acme)
        )
    async with entry.enter_job(cast.acme, tenant_billing.RECONCILE_TASK, "req_test") as ctx:
        await tasks.TASKS[tenant_billing.RECONCILE_TASK](ctx, customer_id=customer, run_id=run_id)
    async with cast.olga.octx() as octx:
        details = await tenant_billing.get_billing_details(
            octx, cast.acme, state_reason(octx, REASON, tenant_id=cast.acme)
        )
        runs = await tenant_billing.list_reconcile_runs(octx, 100)
        listed = await tenant_billing.list_drift(octx, limit=100)
    (drift,) = details.drift
    assert (drift.repaired, drift.run_id) == (True, run_id)
    assert {"what": f"sub_{customer[4:]}.status", "ours": "active", "theirs": "unpaid"} in drift.differences
    assert details.schedule["status"] == "read_only"
    run = next(row for row in runs if row.id == run_id)
    assert (run.checked, run.drifted, run.failed, run.by_name) == (1, 1, 0, "Olga")
    assert run.finished_at is not None
    assert (drift.id, "Acme") in [(row.drift.id, row.tenant_name) for row in listed.rows]
    async with cast.olga.octx() as octx, entry.enter_as_operator(octx, cast.acme, "Looking") as ctx:
        asked = (await audit_log.list_events(ctx, AuditFilter(action="billing.reconcile_asked"))).rows
    assert [(event.reason, event.object_id) for event in asked] == [(REASON, customer)]


async def test_reconciliation_is_refused_for_support_and_without_a_customer(cast: Cast) -> None:
    with pytest.raises(Refused):
        async with cast.sam.octx() as octx:
            await tenant_billing.request_reconcile(
                octx, cast.acme, state_reason(octx, REASON, tenant_id=cast.acme)
            )
    with pytest.raises(Conflict, match="isn’t in Stripe"):
        async with cast.olga.octx() as octx:
            await tenant_billing.request_reconcile(
                octx, cast.acme, state_reason(octx, REASON, tenant_id=cast.acme)
            )


async def test_invoices_of_all_tenants_are_listed_with_tenant_names(
    separate_database: None, cast: Cast, stripe: scripted_provider.FakeProvider
) -> None:
    await subscribe_tenant(cast.acme, stripe, "in_aaa1", "in_aaa2", "in_aaa3")
    await subscribe_tenant(cast.globex, stripe, "in_bbb1")
    async with entry.enter_platform("Olga") as octx:
        page = await tenant_billing.list_invoices(octx, state_reason(octx, REASON), limit=3)
        next_page = await tenant_billing.list_invoices(
            octx, state_reason(octx, REASON), limit=3, after=page.next_cursor
        )
        assert next_page.next_cursor == ""
        listed = {(row.invoice.id, row.tenant_name) for row in (*page.rows, *next_page.rows)}
        assert listed == {
            ("in_aaa1", "Acme"),
            ("in_aaa2", "Acme"),
            ("in_aaa3", "Acme"),
            ("in_bbb1", "Globex"),
        }
        for query in ("globex", "in_bbb1", "a-bbb1", cast.globex):
            rows = (await tenant_billing.list_invoices(octx, state_reason(octx, REASON), query=query)).rows
            assert [row.invoice.id for row in rows] == ["in_bbb1"], query
        assert (await tenant_billing.list_invoices(octx, state_reason(octx, REASON), "open")).rows == []
        for wrong in ({"status": "lost"}, {"query": "x" * 201}, {"after": "yesterday"}):
            with pytest.raises(Invalid):
                await tenant_billing.list_invoices(octx, state_reason(octx, REASON), **wrong)


def test_every_cause_of_a_sync_has_a_label() -> None:
    assert set(labels.CAUSE_LABELS) == set(get_args(SyncCause))
