"""Changes at the end of a period, and changes that wait for their payment: shown, and taken back."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from admin_app.pages.tenant_billing.rows import subscription_row
from admin_app.pages.tenant_billing.view import billing_panel
from shared.audit import audit_log
from shared.billing.provider import ProviderDown
from shared.billing.subscriptions import cancellation, changes, scheduled_changes, subscriptions
from shared.billing.subscriptions.changes import ChangeRequest
from shared.core.errors import Conflict, Refused
from shared.tenancy import seats as seat_counts
from tenant_app.pages.billing.view import billing_page
from tests.billing.test_selling import (
    BUSINESS,
    PRO,
    SEATS,
    confirm_change,
    get_overview,
    get_seat_limit,
    quote_change,
    seller,
    subscribe_person,
)
from tests.conftest import Cast, Person
from tests.support.billing import shared_provider
from tests.support.billing.memory_provider import MemoryProvider
from tests.ui.test_billing_page import open_billing_page, send_event

FIXTURES = (seller,)
PERIOD = timedelta(days=32)

pytestmark = pytest.mark.usefixtures("tidy")


async def keep_current_plan(person: Person) -> bool:
    async with person.ctx() as ctx:
        request = await scheduled_changes.prepare_keep(ctx)
    return await scheduled_changes.submit_keep(request)


async def schedule_change(person: Person, request: ChangeRequest) -> None:
    quote = await quote_change(person, request.with_timing("default"))
    assert quote.change.at_period_end
    assert await confirm_change(person, quote)


async def list_events(person: Person) -> list[tuple[str, Any, Any]]:
    async with person.ctx() as ctx:
        page = await audit_log.list_events(ctx, limit=5)
    return [(event.action, event.before, event.after) for event in page.rows]


async def test_cheaper_plan_starts_with_the_next_period_and_costs_nothing_now(
    cast: Cast, seller: MemoryProvider
) -> None:
    deal = await subscribe_person(seller, cast.gil, BUSINESS, seats=5)
    before = len(seller.transactions)
    quote = await quote_change(cast.gil, ChangeRequest(PRO, "month", 3, timing="default"))
    ends = seller.deals[deal].ends
    assert (quote.change.at_period_end, quote.preview.due, quote.preview.lines) == (True, 0, ())
    assert quote.change.starts_at == ends
    assert await confirm_change(cast.gil, quote)
    shown = await get_overview(cast.gil)
    plan, subscription = shown.scheduled_plan, shown.subscription
    assert plan is not None
    assert subscription is not None
    assert (plan.at, plan.offer and plan.offer.key, plan.seats) == (ends, "pro", 3)
    assert (subscription.offer and subscription.offer.key, subscription.seats) == ("business", 5)
    assert await get_seat_limit(cast.gil) == 5
    assert plan.amount == quote.change.new_amount
    assert shown.next_invoice is not None
    assert shown.next_invoice.total == quote.change.new_amount, "the next invoice has the new price"
    assert len(seller.transactions) == before
    action, _, after = (await list_events(cast.gil))[0]
    assert (action, after["from"], after["seats"]) == ("billing.change_asked", ends.isoformat(), 3)
    seller.advance(PERIOD)
    await shared_provider.return_from_provider(cast.gil)
    shown = await get_overview(cast.gil)
    assert (shown.scheduled_plan, await get_seat_limit(cast.gil)) == (None, 3)
    assert seller.get_newest_bill(deal).sum == quote.change.new_amount


@pytest.mark.parametrize(
    ("start", "request_", "waits"),
    [
        ((PRO, "month", 5), ChangeRequest(seats=3), True),
        ((PRO, "year", 3), ChangeRequest(PRO, "month", 3), True),
        ((BUSINESS, "year", 3), ChangeRequest(PRO, "month", 3), True),
        ((PRO, "year", 3), ChangeRequest(BUSINESS, "month", 3), False),
        ((PRO, "month", 3), ChangeRequest(seats=5), False),
        ((PRO, "month", 3), ChangeRequest(PRO, "year", 3), False),
        ((BUSINESS, "month", 3), ChangeRequest(addon_id=SEATS, addon_quantity=1), False),
    ],
    ids=["fewer seats", "month", "smaller plan by month", "larger plan", "more seats", "year", "add-on"],
)
async def test_change_waits_for_the_end_of_the_period_where_it_costs_less(
    cast: Cast, seller: MemoryProvider, start: tuple[str, str, int], request_: ChangeRequest, waits: bool
) -> None:
    version_id, period, seats = start
    await subscribe_person(seller, cast.gil, version_id, period, seats=seats)
    default = (await quote_change(cast.gil, request_.with_timing("default"))).change
    assert (default.can_wait, default.at_period_end) == (waits, waits)
    assert not (await quote_change(cast.gil, request_.with_timing("now"))).change.at_period_end


async def test_scheduled_change_is_taken_back_and_can_be_chosen_again(
    cast: Cast, seller: MemoryProvider
) -> None:
    deal = await subscribe_person(seller, cast.gil, PRO, seats=5)
    async with cast.gil.ctx() as ctx:
        with pytest.raises(Conflict, match="No change is scheduled"):
            await scheduled_changes.prepare_keep(ctx)
    for _ in range(2):
        await schedule_change(cast.gil, ChangeRequest(seats=3))
        assert await keep_current_plan(cast.gil)
        assert (await get_overview(cast.gil)).scheduled_plan is None
    action, before, _ = (await list_events(cast.gil))[0]
    assert (action, list(before)) == ("billing.change_dropped", ["from"])
    seller.advance(PERIOD)
    assert [position.count for position in seller.deals[deal].positions if position.count] == [5]


async def test_every_other_change_is_refused_while_one_is_scheduled(
    cast: Cast, seller: MemoryProvider
) -> None:
    await subscribe_person(seller, cast.gil, PRO, seats=5)
    stale = await quote_change(cast.gil, ChangeRequest(seats=6))
    await schedule_change(cast.gil, ChangeRequest(seats=3))
    for timing in ("now", "default"):
        with pytest.raises(Conflict, match="scheduled already") as caught:
            await quote_change(cast.gil, ChangeRequest(seats=2, timing=timing))
        assert caught.value.next_step.startswith("Keep the current plan first")
    with pytest.raises(Conflict, match="scheduled already"):
        await confirm_change(cast.gil, stale)
    assert (await get_overview(cast.gil)).obstacle is not None


async def test_cancellation_while_a_change_is_scheduled_drops_it(cast: Cast, seller: MemoryProvider) -> None:
    await subscribe_person(seller, cast.gil, PRO, seats=5)
    await schedule_change(cast.gil, ChangeRequest(seats=3))
    async with cast.gil.ctx() as ctx:
        ending = await cancellation.prepare_cancel(ctx)
    assert await cancellation.submit(ending)
    assert (await get_overview(cast.gil)).scheduled_plan is None
    async with cast.gil.ctx() as ctx:
        resumed = await cancellation.prepare_resume(ctx)
    assert await cancellation.submit(resumed)
    shown = await get_overview(cast.gil)
    assert shown.next_invoice is not None
    assert (shown.scheduled_plan, shown.next_invoice.total) == (None, 5 * 2000)


async def test_people_above_the_scheduled_seats_are_counted_and_stay(
    cast: Cast, seller: MemoryProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They joined after the change was scheduled."""
    await subscribe_person(seller, cast.gil, PRO, seats=5)
    await schedule_change(cast.gil, ChangeRequest(seats=3))

    async def count(*_: Any) -> int:
        return 5

    monkeypatch.setattr(seat_counts, "count", count)
    plan = (await get_overview(cast.gil)).scheduled_plan
    assert plan is not None
    assert plan.excess_seats == 2
    page = await open_billing_page(cast.gil)
    assert "2 members or invitations won’t have a seat: they stay" in page.scheduled_texts.note


async def test_change_is_not_taken_back_after_it_took_effect(cast: Cast, seller: MemoryProvider) -> None:
    """Our records are older than the provider's."""
    await subscribe_person(seller, cast.gil, PRO, seats=5)
    await schedule_change(cast.gil, ChangeRequest(seats=3))
    async with cast.gil.ctx() as ctx:
        request = await scheduled_changes.prepare_keep(ctx)
    seller.advance(PERIOD)
    with pytest.raises(Conflict, match="took effect or was dropped"):
        await scheduled_changes.submit_keep(request)
    subscription = (await get_overview(cast.gil)).subscription
    assert subscription is not None
    assert subscription.seats == 3


async def test_unanswered_schedule_is_completed_by_the_same_click(cast: Cast, seller: MemoryProvider) -> None:
    await subscribe_person(seller, cast.gil, PRO, seats=5)
    quote = await quote_change(cast.gil, ChangeRequest(seats=3, timing="default"))
    seller.fail_next(ProviderDown("no answer"), verb="schedule")
    with pytest.raises(Conflict, match="isn’t responding"):
        await confirm_change(cast.gil, quote)
    assert await confirm_change(cast.gil, quote)
    assert (await get_overview(cast.gil)).scheduled_plan is not None


async def test_schedule_has_one_key_for_each_quote(
    cast: Cast, seller: MemoryProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same change, scheduled, dropped and scheduled again from another quote, is another request."""
    await subscribe_person(seller, cast.gil, PRO, seats=5)
    quote = await quote_change(cast.gil, ChangeRequest(seats=3, timing="default"))
    keys: list[str] = []

    async def record_key(subscription_id: str, lines: Any, key: str) -> None:
        keys.append(key)

    monkeypatch.setattr(seller, "schedule_change", record_key)
    for quoted_at in (quote.quoted_at, quote.quoted_at, quote.quoted_at + timedelta(seconds=1)):
        await changes.submit(replace(quote, quoted_at=quoted_at))
    assert keys[0] == keys[1] != keys[2]


async def test_smaller_plan_does_not_wait_beside_a_change_that_waits_for_its_payment(
    cast: Cast, seller: MemoryProvider
) -> None:
    await subscribe_person(seller, cast.gil, PRO, "year", seats=3)
    async with cast.gil.ctx() as ctx:
        held = (await subscriptions.list_plan_subscriptions(ctx))[0]
    seller.set_card(held.customer_id, pays=False)
    with pytest.raises(Conflict, match="Your plan is unchanged"):
        await confirm_change(cast.gil, await quote_change(cast.gil, ChangeRequest(seats=5)))
    quote = await quote_change(cast.gil, ChangeRequest(seats=2, timing="default"))
    assert (quote.change.can_wait, quote.change.at_period_end) == (False, False)


async def test_pending_change_is_taken_back(cast: Cast, seller: MemoryProvider) -> None:
    await subscribe_person(seller, cast.gil, PRO, "year", seats=3)
    async with cast.gil.ctx() as ctx:
        held = (await subscriptions.list_plan_subscriptions(ctx))[0]
    seller.set_card(held.customer_id, pays=False)
    with pytest.raises(Conflict, match="Your plan is unchanged"):
        await confirm_change(cast.gil, await quote_change(cast.gil, ChangeRequest(seats=5)))
    page = await open_billing_page(cast.gil)
    assert page.pending_until
    toast = str(await send_event(page, "keep_current_plan"))
    assert "You keep your current plan." in toast
    assert "Nothing is charged for the change." in toast
    assert (page.pending_until, page.open_amount, page.seats_bought) == ("", "", 3)
    seller.set_card(held.customer_id, pays=True)
    await shared_provider.return_from_provider(cast.gil)
    assert await get_seat_limit(cast.gil) == 3
    action, before, _ = (await list_events(cast.gil))[0]
    assert (action, list(before)) == ("billing.change_dropped", ["invoice"])


async def test_pending_change_is_not_taken_back_after_it_was_paid(cast: Cast, seller: MemoryProvider) -> None:
    await subscribe_person(seller, cast.gil, PRO, "year", seats=3)
    async with cast.gil.ctx() as ctx:
        held = (await subscriptions.list_plan_subscriptions(ctx))[0]
    seller.set_card(held.customer_id, pays=False)
    with pytest.raises(Conflict):
        await confirm_change(cast.gil, await quote_change(cast.gil, ChangeRequest(seats=5)))
    async with cast.gil.ctx() as ctx:
        request = await scheduled_changes.prepare_keep(ctx)
    seller.set_card(held.customer_id, pays=True)
    with pytest.raises(Conflict, match="took effect"):
        await scheduled_changes.submit_keep(request)
    assert await get_seat_limit(cast.gil) == 5


async def test_page_shows_a_scheduled_change_and_takes_it_back(cast: Cast, seller: MemoryProvider) -> None:
    await subscribe_person(seller, cast.gil, BUSINESS, seats=3)
    page = await open_billing_page(cast.gil)
    await send_event(page, "choose_plan", PRO)
    assert (page.can_wait, page.waits, page.total) == (True, True, "")
    assert page.next_price_from
    quoted_price = page.next_price
    await send_event(page, "choose_timing", "now")
    assert (page.can_wait, page.waits, page.total_label) == (True, False, "Credited on the next invoice")
    await send_event(page, "choose_timing", "default")
    refused = str(await send_event(page, "confirm_change", {"seats": "3", "timing": "now"}))
    assert "Nothing has been charged" in refused
    assert not page.waits
    await send_event(page, "choose_timing", "default")
    toast = str(await send_event(page, "confirm_change", {"seats": "3", "timing": "default"}))
    assert "Change scheduled." in toast
    texts = page.scheduled_texts
    assert (bool(page.scheduled_at), texts.target, texts.kept) == (True, "Pro", "Business")
    assert (texts.note, page.plan) == ("Then $60.00 a month, plus usage.", "Business")
    assert texts.note == f"Then {quoted_price}."
    assert page.next_amount == "$60.00"
    assert "Keep the current plan first" in page.change_obstacle
    async with cast.gil.ctx() as ctx:
        (row,) = [each for each in await subscriptions.list_records(ctx) if each.status == "active"]
    operator_row = subscription_row(row)
    assert operator_row.scheduled_at == page.scheduled_at
    assert operator_row.scheduled_lines.startswith("3 × ")
    toast = str(await send_event(page, "keep_current_plan"))
    assert "It renews as before." in toast
    assert (page.scheduled_at, page.change_obstacle) == ("", "")


async def test_fewer_seats_by_the_page_wait_for_the_end_of_the_period(
    cast: Cast, seller: MemoryProvider
) -> None:
    await subscribe_person(seller, cast.gil, PRO, seats=5)
    page = await open_billing_page(cast.gil)
    await send_event(page, "open_seats_dialog")
    await send_event(page, "preview_seats", 7)
    assert (page.can_wait, page.waits) == (False, False)
    await send_event(page, "preview_seats", 4)
    assert (page.can_wait, page.waits) == (True, True)
    await send_event(page, "confirm_change", {"seats": "4", "timing": "default"})
    assert (page.scheduled_texts.target, page.scheduled_texts.kept) == ("4 seats", "5 seats")


def test_pages_with_scheduled_changes_compile() -> None:
    rendered = str(billing_page())
    assert rendered.count('"data-testid":"keep-plan"') == 1
    assert rendered.count('"data-testid":"keep-plan-unpaid"') == 1
    assert billing_panel()


async def test_keeping_the_plan_is_refused_without_permission(cast: Cast, seller: MemoryProvider) -> None:
    async with cast.adam.ctx() as ctx:
        with pytest.raises(Refused):
            await scheduled_changes.prepare_keep(ctx)
