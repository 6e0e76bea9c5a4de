"""The billing tab of the admin app: start a subscription paid by transfer, mark its invoice as paid, extend a trial."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from admin_app.pages.tenant_billing.state import TenantBillingState
from admin_app.visit_state import TenantVisitState
from shared.backoffice import tasks
from shared.backoffice.reasons import state_reason
from shared.core.errors import Conflict, Invalid, Refused
from shared.jobs.worker import ExternalJob
from tests.billing.test_trials import subscribe
from tests.conftest import Cast, Operating
from tests.support.billing import shared_provider
from tests.support.billing.memory_provider import MemoryProvider

REASON = "Pilot customer, contract 4471"


@pytest.fixture
async def seller(tidy: None) -> AsyncIterator[MemoryProvider]:
    yield await shared_provider.install_provider()
    shared_provider.remove_provider()


async def send_event(page: Any, name: str, *payload: Any) -> Any:
    return await type(page).event_handlers[name].fn(page, *payload)


async def open_billing_tab(cast: Cast, operator: Operating) -> Any:
    page: Any = operator.opens(TenantBillingState, path=f"/tenants/{cast.globex}")
    async with page._ctx() as octx:
        reason = state_reason(octx, REASON, tenant_id=cast.globex)
    (await page.get_state(TenantVisitState))._open_visit(reason)
    await send_event(page, "load")
    return page


async def run_newest_order(cast: Cast, page: Any) -> None:
    await tasks.execute_order(ExternalJob(cast.globex, ""), order_id=page.orders[0].id)
    await send_event(page, "load")


async def test_transfer_is_started_and_its_invoice_marked_as_paid(cast: Cast, seller: MemoryProvider) -> None:
    page = await open_billing_tab(cast, cast.olga)
    offer = next(key for key, name in page.offer_choices if name.startswith("Pro, each month"))
    await send_event(page, "open_dialog", "transfer", "")
    form = {"offer": offer, "seats": "3", "days": "30", "reason": REASON, "confirm": page.name}
    with pytest.raises(Invalid):
        await send_event(page, "start_transfer", {**form, "offer": "plv_none:month:usd"})
    await send_event(page, "start_transfer", form)
    assert (page.orders[0].state, page.orders[0].is_open) == ("Waiting for Stripe", True)
    await run_newest_order(cast, page)
    (subscription,), (invoice,) = page.subscriptions, page.invoices
    assert (subscription.transfer_days, page.offer_choices) == ("30 days", [])
    assert invoice.can_mark_paid
    await send_event(page, "open_dialog", "mark_paid", invoice.id)
    await send_event(page, "mark_paid", {"reference": "2027-03-04 ACME", "reason": REASON})
    await run_newest_order(cast, page)
    assert (page.invoices[0].status, page.invoices[0].can_mark_paid) == ("Paid", False)
    with pytest.raises(Invalid):  # an outdated tab
        await send_event(page, "open_dialog", "mark_paid", invoice.id)


async def test_trial_is_extended_once_by_a_double_click(cast: Cast, seller: MemoryProvider) -> None:
    await subscribe(seller, cast.gil)
    page = await open_billing_tab(cast, cast.olga)
    assert page.subscriptions[0].trial_ends_at
    await send_event(page, "open_dialog", "extend", "")
    form = {"days": "10", "message": "As agreed.", "reason": REASON}
    await send_event(page, "extend_trial", form)
    with pytest.raises(Conflict):
        await send_event(page, "extend_trial", form)
    assert len(page.orders) == 1


@pytest.mark.parametrize("days", ["0", "91", "many"])
async def test_extension_of_a_wrong_length_is_refused(cast: Cast, seller: MemoryProvider, days: str) -> None:
    page = await open_billing_tab(cast, cast.olga)
    with pytest.raises(Invalid):
        await send_event(page, "extend_trial", {"days": days, "message": "", "reason": REASON})


async def test_support_starts_nothing(cast: Cast, seller: MemoryProvider) -> None:
    page = await open_billing_tab(cast, cast.sam)
    with pytest.raises(Refused):
        await send_event(page, "mark_paid", {"reference": "4471", "reason": REASON})
