"""From an invoice's total to its lines, the usage with its events, the prices, and who changed them."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from admin_app.pages.tenant.state import TenantPageState
from admin_app.pages.tenant_billing.state import TenantBillingState
from shared.backoffice import invoice_evidence, tenant_access
from shared.backoffice.invoice_evidence import InvoiceEvidence
from shared.backoffice.reasons import state_reason
from shared.billing.models import PLATFORM, BillingCustomer, BillingInvoice
from shared.billing.usage_sink import BILLING_SINK
from shared.core.db import now
from shared.core.errors import NotFound, Refused
from shared.core.ids import new_id
from shared.metering import sinks
from tests.conftest import Cast, Operating
from tests.metering.test_rollups import HOUR, OLD_HOUR, record, roll_up

REASON = "Ticket 4471, why is it 119"


async def bill(cast: Cast, invoice_id: str) -> None:
    """An invoice of a base price and usage that two events and a late one have made."""
    for key, quantity in (("one", 4_000), ("two", 1_000)):
        await record(cast.ann, key, OLD_HOUR, quantity=quantity)
    for _ in range(2):
        await roll_up(cast.ann)
    await record(cast.ann, "late", OLD_HOUR, quantity=2_000)
    for _ in range(2):
        await roll_up(cast.ann)
    span = {
        "starts_at": (OLD_HOUR - HOUR).isoformat(),
        "ends_at": (OLD_HOUR + timedelta(days=1)).isoformat(),
        "proration": False,
    }
    lines = [
        {"said": "Pro, base", "amount": 9_300, "quantity": 1, **span},
        {"said": "Usage events", "amount": 700, "quantity": 7, **span},
    ]
    async with cast.ann.ctx() as ctx:
        ctx.session.add(BillingCustomer(tenant_id=cast.acme, id=f"cus_{invoice_id}"))
        await ctx.session.flush()
        invoice = BillingInvoice(
            tenant_id=cast.acme,
            id=invoice_id,
            account_id=PLATFORM,
            customer_id=f"cus_{invoice_id}",
            number="A-1",
            status="paid",
            currency="eur",
            total=11_900,
            due=0,
            paid=11_900,
            subtotal=10_000,
            tax=1_900,
            created_at=now(),
            lines=lines,
            ticket=1,
        )
        ctx.session.add(invoice)


async def explain(operating: Operating, tenant_id: str, invoice_id: str) -> InvoiceEvidence:
    async with operating.octx() as octx:
        reason = state_reason(octx, REASON, tenant_id=tenant_id)
        return await invoice_evidence.get_evidence(octx, tenant_id, invoice_id, reason)


async def test_total_leads_to_lines_usage_events_prices_and_people(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sinks, "SINKS", [BILLING_SINK])
    invoice_id = new_id("in")
    async with cast.olga.octx() as octx:
        reason = state_reason(octx, "Ticket 4471, a longer trial", tenant_id=cast.acme)
        await tenant_access.set_trait(octx, cast.acme, "region", "eu", reason)
        await tenant_access.override_feature(
            octx, cast.acme, "custom_roles", True, reason, ends_at=now() + timedelta(days=1)
        )
    await bill(cast, invoice_id)
    evidence = await explain(cast.olga, cast.acme, invoice_id)
    invoice = evidence.invoice
    assert invoice.total == evidence.lines_total + invoice.tax - invoice.discount
    assert evidence.lines_total == invoice.subtotal
    (usage_line,) = [line for line in evidence.lines if line.text == "Usage events"]
    assert sum(each.usage.quantity for each in evidence.usage) == 7  # units of 1,000 events
    windows = [each.window for each in evidence.usage]
    assert {window.event_count for window in windows if window} == {3}
    assert {window.quantity for window in windows if window} == {Decimal(7_000)}
    late = [change for each in evidence.usage for change in each.changes]
    assert (Decimal(5_000), Decimal(7_000)) in {
        (change.quantity_before, change.quantity_after) for change in late
    }
    assert usage_line.quantity == 7
    assert all(price.created_by and price.reason for price in evidence.prices)
    changed = [event for event in evidence.changes if event.action == "override.set"]
    assert [(event.actor_name, event.reason) for event in changed] == [
        ("Olga", "Ticket 4471, a longer trial")
    ]


async def test_page_explains_the_invoice_for_the_reason_of_the_visit(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sinks, "SINKS", [BILLING_SINK])
    invoice_id = new_id("in")
    await bill(cast, invoice_id)
    page: Any = cast.olga.opens(TenantBillingState, path=f"/tenants/{cast.acme}?tab=billing")
    frame: Any = await page.get_state(TenantPageState)
    await TenantPageState.event_handlers["load"].fn(frame)
    await TenantPageState.event_handlers["start_visit"].fn(frame, {"reason": REASON})
    handlers = TenantBillingState.event_handlers
    await handlers["load"].fn(page)
    await handlers["explain_invoice"].fn(page, invoice_id)
    assert page.invoice_title == "A-1"
    assert "€119.00" in page.invoice_total
    assert [row.amount for row in page.invoice_lines] == ["€93.00", "€7.00"]
    assert any("3 events" in row.note and "became 7000" in row.note for row in page.invoice_usage)
    await handlers["close_evidence"].fn(page)
    assert page.invoice_id == ""


async def test_invoice_of_another_tenant_is_not_found(cast: Cast) -> None:
    invoice_id = new_id("in")
    await bill(cast, invoice_id)
    with pytest.raises(NotFound):
        await explain(cast.olga, cast.globex, invoice_id)


async def test_evidence_needs_the_right_to_read_bills(cast: Cast) -> None:
    async with cast.olga.octx() as octx:
        nobody = replace(octx, permissions=frozenset())
        reason = state_reason(nobody, REASON, tenant_id=cast.acme)
        with pytest.raises(Refused):
            await invoice_evidence.get_evidence(nobody, cast.acme, "in_x", reason)
