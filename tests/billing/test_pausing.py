"""Pausing and resuming on request: at the provider, by the service, on the page, by mail."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from admin_app.pages.tenant_billing.rows import subscription_row
from shared.billing import dunning
from shared.billing.provider import ProviderRefused
from shared.billing.subscriptions import cancellation, pausing, subscriptions
from shared.billing.subscriptions.changes import ChangeRequest
from shared.core import config
from shared.core.errors import Conflict, Refused
from shared.entitlements import subscription_grants
from tenant_app.pages.billing.dialogs import pause_dialog, resume_dialog
from tests.billing.test_provider_contract import A_WHILE, DAY, MONTH, Shop, shop, stand_in, world
from tests.billing.test_scheduled_changes import list_events, schedule_change
from tests.billing.test_selling import PRO, get_overview, seller, start_checkout, subscribe_person
from tests.conftest import Cast, Person
from tests.support.billing import shared_provider
from tests.support.billing.memory_provider import MemoryProvider
from tests.support.billing.provider_scenarios import CALLS, FLAT, SEAT, SEAT_YEAR
from tests.ui.test_billing_page import open_billing_page, send_event

FIXTURES = (seller, shop, stand_in, world)


@pytest.fixture
def offered(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("BULKHEAD_CUSTOMERS_CAN_PAUSE", "1")
    config.settings.cache_clear()
    yield
    monkeypatch.undo()
    config.settings.cache_clear()


async def pause_subscription(person: Person) -> bool:
    async with person.ctx() as ctx:
        target = await pausing.plan_pause(ctx)
    await pausing.quote_pause(target)
    async with person.ctx() as ctx:
        target = await pausing.prepare_pause(ctx, target)
    return await pausing.submit_pause(target)


async def list_totals(shop: Shop) -> list[int]:
    invoices = (await shop.provider.fetch_customer(shop.customer)).invoices
    return [invoice.total for invoice in sorted(invoices, key=lambda invoice: invoice.created_at)]


async def test_paused_subscription_is_charged_only_when_it_is_resumed(shop: Shop) -> None:
    """The unused two thirds are credited, and usage is charged, as they were shown."""
    subscription = await shop.subscribe(await shop.line(FLAT), await shop.line(CALLS, None))
    shop.world.advance(10 * DAY)
    await shop.provider.report_usage(shop.customer, "api_calls", 130, shop.world.now, "use_1")
    shop.world.advance(timedelta(minutes=1))
    credit = await shop.provider.preview_pause(shop.customer, subscription.id)
    pause_total = sum(line.amount for line in credit.lines)
    assert {line.amount > 0 for line in credit.lines} == {True, False}
    for _ in range(2):
        await shop.provider.pause_subscription(subscription.id, "pause_1")
    paused = await shop.only()
    assert (paused.status, paused.pause_cause, paused.paused_at) == ("paused", "request", shop.world.now)
    state = await shop.provider.fetch_customer(shop.customer)
    assert (state.upcoming.invoices, state.upcoming.unknown_ids) == ((), ())
    shop.world.advance(3 * MONTH)
    assert await list_totals(shop) == [FLAT.amount]
    shown = await shop.provider.preview_resume(shop.customer, subscription.id)
    assert shown.due == FLAT.amount + pause_total
    await shop.provider.resume_subscription(subscription.id, "resume_1")
    resumed = await shop.only()
    assert (resumed.status, resumed.pause_cause, resumed.paused_at) == ("active", "", None)
    assert {line.starts_at for line in resumed.lines} == {shop.world.now}
    assert await list_totals(shop) == [FLAT.amount, shown.due]
    shop.world.advance(31 * DAY + A_WHILE)
    assert (await list_totals(shop))[2:] == [FLAT.amount]


async def test_credit_of_a_pause_may_pay_the_whole_resumption(shop: Shop) -> None:
    subscription = await shop.subscribe(await shop.line(SEAT_YEAR, 2))
    await shop.provider.pause_subscription(subscription.id, "pause_1")
    assert (await shop.provider.preview_resume(shop.customer, subscription.id)).due == 0
    await shop.provider.resume_subscription(subscription.id, "resume_1")
    assert (await shop.only()).status == "active"
    assert sorted(await list_totals(shop)) == [0, 2 * SEAT_YEAR.amount]


async def test_pause_is_refused_by_the_provider_where_it_does_not_run(shop: Shop) -> None:
    subscription = await shop.subscribe(await shop.line(SEAT, 2), trial=14)
    with pytest.raises(ProviderRefused):
        await shop.provider.pause_subscription(subscription.id, "pause_1")
    with pytest.raises(ProviderRefused):
        await shop.provider.preview_resume(shop.customer, subscription.id)
    await shop.provider.cancel_subscription(subscription.id, at_period_end=False, key="cancel_1")
    for subscription_id in (subscription.id, "sub_none"):
        with pytest.raises(ProviderRefused):
            await shop.provider.pause_subscription(subscription_id, "pause_2")


@pytest.mark.usefixtures("tidy")
async def test_pause_is_not_offered_by_default(cast: Cast, seller: MemoryProvider) -> None:
    await subscribe_person(seller, cast.gil)
    page = await open_billing_page(cast.gil)
    assert not page.is_pause_offered
    with pytest.raises(Conflict, match="can't be paused here"):
        await pause_subscription(cast.gil)


@pytest.mark.usefixtures("tidy", "offered")
async def test_paused_tenant_is_read_only_until_it_is_resumed(cast: Cast, seller: MemoryProvider) -> None:
    deal = await subscribe_person(seller, cast.gil, PRO, seats=3)
    page = await open_billing_page(cast.gil)
    assert (page.is_pause_offered, page.pause_obstacle) == (True, "")
    await send_event(page, "open_pause_dialog")
    assert (page.dialog, page.pause_total_label) == ("pause", "Credited when you resume")
    toast = str(await send_event(page, "pause_subscription", {}))
    assert "Nothing is charged until you resume it." in toast
    assert (page.dialog, page.paused, page.is_pause_offered) == ("", True, False)
    assert page.pause_text == "The subscription was paused on request."
    async with cast.gil.ctx() as ctx:
        assert await subscription_grants.get_granted_status(ctx) == "read_only"
        (row,) = [each for each in await subscriptions.list_records(ctx) if each.status == "paused"]
    assert subscription_row(row).paused_at
    assert "billing.pause_asked" in [action for action, _, _ in await list_events(cast.gil)]
    await send_event(page, "open_resume_dialog")
    due = page.pause_total
    assert (page.dialog, page.pause_total_label, due[:1]) == ("resume", "Due today", "$")
    toast = str(await send_event(page, "confirm_resume", {}))
    assert "A new period begins today." in toast
    assert (page.dialog, page.paused) == ("", False)
    assert page.invoice_rows[0].amount == due
    async with cast.gil.ctx() as ctx:
        assert await subscription_grants.get_granted_status(ctx) == "active"
    assert seller.deals[deal].state == "running"


@pytest.mark.usefixtures("tidy", "offered")
async def test_pause_is_refused_with_the_next_step(cast: Cast, seller: MemoryProvider) -> None:
    with pytest.raises(Conflict, match="don't have a subscription"):
        await pause_subscription(cast.gil)
    seller.pay(await start_checkout(cast.gil, PRO))
    await shared_provider.return_from_provider(cast.gil)
    with pytest.raises(Conflict, match="Only a paid subscription"):
        await pause_subscription(cast.gil)
    async with cast.adam.ctx() as ctx:
        with pytest.raises(Refused):
            await pausing.plan_pause(ctx)


@pytest.mark.usefixtures("tidy", "offered")
async def test_pause_waits_for_changes_and_cancellations(cast: Cast, seller: MemoryProvider) -> None:
    await subscribe_person(seller, cast.gil, PRO, seats=5)
    async with cast.gil.ctx() as ctx:
        stale = await pausing.plan_pause(ctx)
    await schedule_change(cast.gil, ChangeRequest(seats=3))
    for attempt in (pause_subscription(cast.gil), prepare_again(cast.gil, stale)):
        with pytest.raises(Conflict) as caught:
            await attempt
        assert caught.value.next_step == "Keep the current plan first."
    assert (await get_overview(cast.gil)).pause_obstacle is not None
    async with cast.gil.ctx() as ctx:
        ending = await cancellation.prepare_cancel(ctx)
    await cancellation.submit(ending)
    with pytest.raises(Conflict, match="cancelled"):
        await pause_subscription(cast.gil)


async def prepare_again(person: Person, target: pausing.PauseTarget) -> None:
    async with person.ctx() as ctx:
        await pausing.prepare_pause(ctx, target)


@pytest.mark.usefixtures("tidy", "offered")
async def test_pause_and_resumption_are_announced_once_each(cast: Cast, seller: MemoryProvider) -> None:
    deal = await subscribe_person(seller, cast.gil)

    async def list_sent() -> list[str]:
        async with cast.gil.ctx() as ctx:
            for _ in range(2):
                await dunning.send_due_notices(ctx)
            notices: Any = await dunning.repository.list_dunning_notices(ctx)
        return sorted(kind for kind, about in notices if about.startswith(deal))

    before = await list_sent()
    for count in (1, 2):
        assert await pause_subscription(cast.gil)
        paused_kinds = ["subscription_paused"] * count + ["subscription_resumed"] * (count - 1)
        assert [kind for kind in await list_sent() if kind not in before] == paused_kinds
        async with cast.gil.ctx() as ctx:
            resumed = await cancellation.prepare_resume(ctx)
        assert await cancellation.submit(resumed)
        assert (await list_sent()).count("subscription_resumed") == count
        seller.advance(timedelta(minutes=2))
        await shared_provider.return_from_provider(cast.gil)


def test_dialogs_of_a_pause_compile() -> None:
    assert pause_dialog()
    assert resume_dialog()
