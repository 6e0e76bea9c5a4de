"""Pausing and resuming on request: at the provider, by the service, on the page, by mail."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from admin_app.pages.tenant_billing.rows import subscription_row
from shared.billing import dunning
from shared.billing.provider import ProviderRefused
from shared.billing.provider_values import ChangePreview, InvoiceLine
from shared.billing.subscriptions import cancellation, changes, pausing, subscriptions
from shared.billing.subscriptions.changes import ChangeRequest
from shared.core import config
from shared.core.errors import Conflict, Invalid, Refused
from shared.entitlements import subscription_grants
from shared.tenancy import plan_notice
from tenant_app.pages.billing.dialogs import pause_dialog, resume_dialog
from tenant_app.pages.billing.quote_rows import pause_rows
from tests.billing.test_provider_contract import A_WHILE, DAY, MONTH, Shop, shop, stand_in, world
from tests.billing.test_scheduled_changes import list_events, schedule_change
from tests.billing.test_selling import PRO, get_overview, seller, start_checkout, subscribe_person
from tests.conftest import Cast, Person
from tests.support.billing import shared_provider
from tests.support.billing.memory_provider import MemoryProvider
from tests.support.billing.provider_scenarios import CALLS, FLAT, SEAT, SEAT_YEAR
from tests.ui.test_billing_page import open_billing_page, send_event

FIXTURES = (seller, shop, stand_in, world)
MOMENT = datetime(2026, 11, 24, 12, tzinfo=UTC)


@pytest.fixture
def offered(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("BULKHEAD_CUSTOMERS_CAN_PAUSE", "1")
    config.settings.cache_clear()
    yield
    monkeypatch.undo()
    config.settings.cache_clear()


async def pause_subscription(person: Person) -> bool:
    async with person.ctx() as ctx:
        target = await pausing.plan_pause(ctx, "pause")
    return await confirm_quote(person, await pausing.quote_pause(target))


async def resume_subscription(person: Person) -> bool:
    async with person.ctx() as ctx:
        target = await pausing.plan_pause(ctx, "resume")
    return await confirm_quote(person, await pausing.quote_pause(target))


async def confirm_quote(person: Person, quote: pausing.PauseQuote) -> bool:
    async with person.ctx() as ctx:
        quote = await pausing.prepare_pause(ctx, quote)
    return await pausing.submit_pause(quote)


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


async def test_unpaid_resumption_stays_paused_until_its_invoice_is_paid(shop: Shop) -> None:
    subscription = await shop.subscribe(await shop.line(FLAT))
    shop.world.advance(20 * DAY)
    await shop.provider.pause_subscription(subscription.id, "pause_1")
    shop.world.set_card(shop.customer, pays=False)
    shop.world.advance(A_WHILE)
    await shop.provider.resume_subscription(subscription.id, "resume_1")
    paused = await shop.only()
    assert (paused.status, paused.pause_cause) == ("paused", "request")
    (invoice,) = [
        invoice
        for invoice in (await shop.provider.fetch_customer(shop.customer)).invoices
        if invoice.status == "open"
    ]
    assert invoice.subscription_id == subscription.id
    assert paused.paused_at is not None
    assert invoice.created_at >= paused.paused_at
    with pytest.raises(ProviderRefused):
        await shop.provider.resume_subscription(subscription.id, "resume_2")
    shop.world.set_card(shop.customer, pays=True)
    assert (await shop.only()).status == "active"


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
    with pytest.raises(Conflict, match="can’t be paused here"):
        await pause_subscription(cast.gil)


@pytest.mark.usefixtures("tidy", "offered")
async def test_paused_tenant_is_read_only_until_it_is_resumed(cast: Cast, seller: MemoryProvider) -> None:
    deal = await subscribe_person(seller, cast.gil, PRO, seats=3)
    page = await open_billing_page(cast.gil)
    assert (page.is_pause_offered, page.pause_obstacle) == (True, "")
    await send_event(page, "open_pause_dialog", "pause")
    assert (page.dialog, page.pause_total_label) == ("pause", "Credited when you resume")
    toast = str(await send_event(page, "confirm_pause", {}))
    assert "Nothing is charged until you resume it." in toast
    assert (page.dialog, page.paused, page.is_pause_offered) == ("", True, False)
    assert page.pause_text == "The subscription was paused on request."
    async with cast.gil.ctx() as ctx:
        assert await subscription_grants.get_granted_status(ctx) == "read_only"
        (row,) = [each for each in await subscriptions.list_records(ctx) if each.status == "paused"]
    assert subscription_row(row).paused_at
    assert "billing.pause_asked" in [action for action, _, _ in await list_events(cast.gil)]
    await send_event(page, "open_pause_dialog", "resume")
    due = page.pause_total
    assert (page.dialog, page.pause_total_label, due[:1]) == ("resume", "Due today", "$")
    toast = str(await send_event(page, "confirm_pause", {}))
    assert "A new period begins today." in toast
    assert (page.dialog, page.paused) == ("", False)
    assert page.invoice_rows[0].amount == due
    async with cast.gil.ctx() as ctx:
        assert await subscription_grants.get_granted_status(ctx) == "active"
    assert seller.deals[deal].state == "running"


@pytest.mark.usefixtures("tidy", "offered")
async def test_pause_is_refused_with_the_next_step(cast: Cast, seller: MemoryProvider) -> None:
    with pytest.raises(Conflict, match="don’t have a subscription"):
        await pause_subscription(cast.gil)
    seller.pay(await start_checkout(cast.gil, PRO))
    await shared_provider.return_from_provider(cast.gil)
    with pytest.raises(Conflict, match="Only a paid subscription"):
        await pause_subscription(cast.gil)
    async with cast.adam.ctx() as ctx:
        with pytest.raises(Refused):
            await pausing.plan_pause(ctx, "pause")


@pytest.mark.usefixtures("tidy", "offered")
async def test_pause_waits_for_changes_and_cancellations(cast: Cast, seller: MemoryProvider) -> None:
    await subscribe_person(seller, cast.gil, PRO, seats=5)
    async with cast.gil.ctx() as ctx:
        target = await pausing.plan_pause(ctx, "pause")
    stale = await pausing.quote_pause(target)
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


@pytest.mark.usefixtures("tidy", "offered")
async def test_resumption_is_confirmed_only_as_it_was_shown(
    cast: Cast, seller: MemoryProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    deal = await subscribe_person(seller, cast.gil, PRO, seats=3)
    page, other = await open_billing_page(cast.gil), await open_billing_page(cast.gil)
    assert await pause_subscription(cast.gil)
    with pytest.raises(Invalid, match="nothing to confirm"):
        await send_event(page, "confirm_pause", {})
    await send_event(page, "open_pause_dialog", "resume")
    await send_event(page, "close_dialog", False)
    page.dialog = "resume"  # as a forged event does
    with pytest.raises(Invalid, match="nothing to confirm"):
        await send_event(page, "confirm_pause", {})
    await send_event(page, "open_pause_dialog", "resume")
    monkeypatch.setattr(changes, "QUOTE_LIFETIME", timedelta(0))
    with pytest.raises(Conflict, match="out of date") as caught:
        await send_event(page, "confirm_pause", {})
    assert caught.value.next_step == "Open it again to see what is due."
    monkeypatch.setattr(changes, "QUOTE_LIFETIME", timedelta(minutes=15))
    assert seller.deals[deal].state == "frozen"
    await send_event(other, "open_pause_dialog", "resume")
    await send_event(other, "confirm_pause", {})
    async with cast.gil.ctx() as ctx:
        ending = await cancellation.prepare_cancel(ctx)
    await cancellation.submit(ending)
    with pytest.raises(Conflict, match="isn’t paused"):
        await send_event(page, "confirm_pause", {})
    assert seller.deals[deal].stops is not None


@pytest.mark.usefixtures("tidy", "offered")
async def test_resumption_is_refused_after_the_paused_subscription_has_changed(
    cast: Cast, seller: MemoryProvider
) -> None:
    deal = await subscribe_person(seller, cast.gil, PRO, seats=3)
    assert await pause_subscription(cast.gil)
    async with cast.gil.ctx() as ctx:
        target = await pausing.plan_pause(ctx, "resume")
    quote = await pausing.quote_pause(target)
    seller.deals[deal].positions[0].count = 9
    await shared_provider.return_from_provider(cast.gil)
    async with cast.gil.ctx() as ctx:
        with pytest.raises(Conflict, match="has changed since you opened it"):
            await pausing.prepare_pause(ctx, quote)


@pytest.mark.usefixtures("tidy", "offered")
async def test_banner_of_a_cancellation_does_not_resume_a_paused_subscription(
    cast: Cast, seller: MemoryProvider
) -> None:
    """It shows no sum, and the page is older than the pause."""
    deal = await subscribe_person(seller, cast.gil)
    page = await open_billing_page(cast.gil)
    assert await pause_subscription(cast.gil)
    before = len(seller.transactions)
    with pytest.raises(Conflict, match="is paused") as caught:
        await send_event(page, "resume_subscription")
    assert caught.value.next_step.startswith("Reload the page")
    assert (seller.deals[deal].state, len(seller.transactions)) == ("frozen", before)


@pytest.mark.usefixtures("tidy", "offered")
async def test_declined_resumption_stays_paused_and_says_what_to_pay(
    cast: Cast, seller: MemoryProvider
) -> None:
    deal = await subscribe_person(seller, cast.gil, PRO, seats=3)
    seller.advance(timedelta(days=10))
    assert await pause_subscription(cast.gil)
    seller.set_card(seller.deals[deal].buyer, pays=False)
    page = await open_billing_page(cast.gil)
    await send_event(page, "open_pause_dialog", "resume")
    toast = str(await send_event(page, "confirm_pause", {}))
    assert "The payment failed." in toast
    assert "Pay the open invoice to resume." in toast
    assert (page.dialog, page.paused, page.open_amount[:1]) == ("", True, "$")
    with pytest.raises(Conflict, match="last payment to resume it failed"):
        await send_event(page, "open_pause_dialog", "resume")
    seller.set_card(seller.deals[deal].buyer, pays=True)
    await shared_provider.return_from_provider(cast.gil)
    await send_event(page, "load")
    assert (page.paused, page.open_amount) == (False, "")


@pytest.mark.usefixtures("tidy", "offered")
async def test_pause_is_not_called_an_overdue_payment_and_ends_the_news_of_the_checkout(
    cast: Cast, seller: MemoryProvider
) -> None:
    await subscribe_person(seller, cast.gil)
    page = await open_billing_page(cast.gil)
    page.activating = "done"
    await send_event(page, "load")
    assert page.activating == "done"
    assert await pause_subscription(cast.gil)
    await send_event(page, "load")
    assert (page.paused, page.activating) == (True, "")
    async with cast.gil.ctx() as ctx:
        notice = await plan_notice.get_notice(ctx)
    assert notice is not None
    assert "or the subscription is paused" in notice.text
    assert "resume the subscription" in notice.next_step


@pytest.mark.usefixtures("tidy", "offered")
async def test_resumption_is_refused_when_it_costs_another_sum_than_shown(
    cast: Cast, seller: MemoryProvider
) -> None:
    """Credit has come since, and no webhook about it."""
    deal = await subscribe_person(seller, cast.gil, PRO, seats=3)
    seller.advance(timedelta(days=10))
    assert await pause_subscription(cast.gil)
    async with cast.gil.ctx() as ctx:
        target = await pausing.plan_pause(ctx, "resume")
    quote = await pausing.quote_pause(target)
    await seller.add_credit(seller.deals[deal].buyer, 500, "usd", "", "credit_1")
    before = len(seller.transactions)
    with pytest.raises(Conflict, match="What is due has changed") as caught:
        await confirm_quote(cast.gil, quote)
    assert caught.value.reason == changes.QUOTE_OUTDATED
    assert (seller.deals[deal].state, len(seller.transactions)) == ("frozen", before)
    assert await resume_subscription(cast.gil)


@pytest.mark.usefixtures("tidy", "offered")
async def test_pause_is_confirmed_only_as_it_was_shown(
    cast: Cast, seller: MemoryProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    await subscribe_person(seller, cast.gil)
    page = await open_billing_page(cast.gil)
    await send_event(page, "open_pause_dialog", "pause")
    monkeypatch.setattr(changes, "QUOTE_LIFETIME", timedelta(0))
    with pytest.raises(Conflict, match="out of date"):
        await send_event(page, "confirm_pause", {})
    monkeypatch.setattr(changes, "QUOTE_LIFETIME", timedelta(minutes=15))
    await send_event(page, "close_dialog", False)
    page.dialog = "pause"  # as a forged event does
    with pytest.raises(Invalid, match="nothing to confirm"):
        await send_event(page, "confirm_pause", {})
    assert not page.paused


@pytest.mark.usefixtures("tidy", "offered")
async def test_cancellation_of_a_paused_subscription_ends_it_now(cast: Cast, seller: MemoryProvider) -> None:
    deal = await subscribe_person(seller, cast.gil, PRO, seats=3)
    assert await pause_subscription(cast.gil)
    page = await open_billing_page(cast.gil)
    assert "Usage until then" not in page.cancel_text
    toast = str(await send_event(page, "cancel_subscription", {}))
    assert "Subscription ended." in toast
    assert "The credit of the pause, if any, is added to your balance." in toast
    assert "until the end of the period" not in toast
    assert "voided" not in toast
    assert (page.subscribed, page.paused, seller.deals[deal].state) == (False, False, "over")


@pytest.mark.parametrize(
    ("is_due_now", "total", "label", "tax_note"),
    [
        (False, "−$17.80", "Credited when you resume", ""),
        (True, "$0.00", "Due today", ""),
    ],
)
def test_price_of_a_pause_contains_discount_and_tax(
    is_due_now: bool, total: str, label: str, tax_note: str
) -> None:
    line = InvoiceLine("Unused time", -2000, 1, MOMENT, MOMENT, proration=True)
    preview = ChangePreview("usd", 0, (line,), MOMENT, discount=-500, tax=-280)
    row = pause_rows(preview, is_due_now=is_due_now)
    assert [(line.text, line.amount) for line in row.lines] == [
        ("Unused time", "−$20.00"),
        ("Discount", "$5.00"),
        ("Tax", "−$2.80"),
    ]
    assert (row.total, row.label, row.tax_note) == (total, label, tax_note)


def test_price_of_a_pause_says_which_tax_it_includes() -> None:
    line = InvoiceLine("Usage", 1190, 1, MOMENT, MOMENT, proration=False)
    preview = ChangePreview("eur", 1190, (line,), MOMENT, included_tax=190)
    row = pause_rows(preview, is_due_now=False)
    assert (row.total, row.label, row.tax_note) == (
        *("€11.90", "Charged when you resume"),
        "Includes €1.90 tax",
    )


async def prepare_again(person: Person, quote: pausing.PauseQuote) -> None:
    async with person.ctx() as ctx:
        await pausing.prepare_pause(ctx, quote)


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
        assert await resume_subscription(cast.gil)
        assert (await list_sent()).count("subscription_resumed") == count
        seller.advance(timedelta(minutes=2))
        await shared_provider.return_from_provider(cast.gil)


def test_dialogs_of_a_pause_compile() -> None:
    assert pause_dialog()
    assert resume_dialog()
