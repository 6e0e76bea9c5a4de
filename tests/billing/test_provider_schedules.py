"""The contract of changes at the end of a period: the Stripe stand-in over HTTP and a provider in memory."""

from datetime import timedelta

import pytest

from shared.billing.provider import ProviderRefused
from shared.billing.provider_values import ScheduledChange
from tests.billing.test_provider_contract import A_WHILE, DAY, MONTH, Shop, shop, stand_in, world
from tests.support.billing.provider_scenarios import CALLS, FLAT, SEAT, SEAT_YEAR, SUPPORT

FIXTURES = (shop, stand_in, world)
YEAR = timedelta(days=365)


async def read_amounts(shop: Shop) -> tuple[list[int], list[int]]:
    """Totals of the previewed invoices, and of those that were made, the oldest first."""
    state = await shop.provider.fetch_customer(shop.customer)
    assert state.upcoming.unknown_ids == ()
    invoices = sorted(state.invoices, key=lambda invoice: invoice.created_at)
    return [invoice.total for invoice in state.upcoming.invoices], [invoice.total for invoice in invoices]


async def list_lines(shop: Shop) -> list[tuple[str, int]]:
    return sorted((line.price_id, line.quantity) for line in (await shop.only()).lines)


async def test_scheduled_change_is_told_and_billed_from_the_next_period_on(shop: Shop) -> None:
    seats, flat = await shop.line(SEAT, 3), await shop.line(FLAT)
    subscription = await shop.subscribe(seats)
    shop.world.advance(10 * DAY)
    for _ in range(2):
        await shop.provider.schedule_change(subscription.id, [flat], "change_1")
    planned = await shop.only()
    (line,) = planned.lines
    assert planned.scheduled_change == ScheduledChange(line.ends_at or shop.world.now, (flat,))
    assert (planned.status, await list_lines(shop)) == ("active", [(SEAT.id, 3)])
    assert await read_amounts(shop) == ([FLAT.amount], [3 * SEAT.amount])
    shop.world.advance(20 * DAY + A_WHILE)
    changed = await shop.only()
    assert (changed.scheduled_change, await list_lines(shop)) == (None, [(FLAT.id, 1)])
    assert await read_amounts(shop) == ([FLAT.amount], [3 * SEAT.amount, FLAT.amount])
    shop.world.advance(MONTH + DAY)
    assert await read_amounts(shop) == ([FLAT.amount], [3 * SEAT.amount, FLAT.amount, FLAT.amount])


async def test_scheduled_change_is_taken_back(shop: Shop) -> None:
    seats, flat = await shop.line(SEAT, 3), await shop.line(FLAT)
    subscription = await shop.subscribe(seats)
    await shop.provider.drop_scheduled_change(subscription.id, "drop_0")  # which changes nothing
    await shop.provider.schedule_change(subscription.id, [flat], "change_1")
    for key in ("drop_1", "drop_1", "drop_2"):
        await shop.provider.drop_scheduled_change(subscription.id, key)
    assert (await shop.only()).scheduled_change is None
    await shop.provider.schedule_change(subscription.id, [flat], "change_2")
    assert (await shop.only()).scheduled_change is not None
    await shop.provider.drop_scheduled_change(subscription.id, "drop_3")
    assert await read_amounts(shop) == ([3 * SEAT.amount], [3 * SEAT.amount])
    shop.world.advance(MONTH + A_WHILE)
    assert await list_lines(shop) == [(SEAT.id, 3)]
    assert await read_amounts(shop) == ([3 * SEAT.amount], [3 * SEAT.amount] * 2)


async def test_later_scheduled_change_replaces_the_earlier_one(shop: Shop) -> None:
    subscription = await shop.subscribe(await shop.line(SEAT, 3), await shop.line(SUPPORT))
    for quantity in (2, 1):
        lines = [await shop.line(SEAT, quantity), await shop.line(SUPPORT)]
        await shop.provider.schedule_change(subscription.id, lines, f"change_{quantity}")
    assert (await read_amounts(shop))[0] == [SEAT.amount + SUPPORT.amount]
    shop.world.advance(MONTH + A_WHILE)
    assert await list_lines(shop) == [(SEAT.id, 1), (SUPPORT.id, 1)]


@pytest.mark.parametrize("at_period_end", [True, False])
async def test_cancellation_drops_a_scheduled_change(shop: Shop, at_period_end: bool) -> None:
    subscription = await shop.subscribe(await shop.line(SEAT, 3))
    await shop.provider.schedule_change(subscription.id, [await shop.line(FLAT)], "change_1")
    for _ in range(2):
        await shop.provider.cancel_subscription(subscription.id, at_period_end=at_period_end, key="cancel_1")
    assert (await shop.only()).scheduled_change is None
    if at_period_end:
        await shop.provider.resume_subscription(subscription.id, "resume_1")
        assert (await read_amounts(shop))[0] == [3 * SEAT.amount]
        await shop.provider.cancel_subscription(subscription.id, at_period_end=True, key="cancel_2")
    shop.world.advance(MONTH + A_WHILE)
    assert ((await shop.only()).status, await read_amounts(shop)) == ("canceled", ([], [3 * SEAT.amount]))


async def test_change_now_drops_a_scheduled_change(shop: Shop) -> None:
    subscription = await shop.subscribe(await shop.line(SEAT, 3))
    await shop.provider.schedule_change(subscription.id, [await shop.line(SEAT, 1)], "change_1")
    more = [await shop.line(SEAT, 5)]
    await shop.provider.change_subscription(subscription.id, more, as_of=None, prorate=False, key="change_2")
    changed = await shop.only()
    assert (changed.scheduled_change, await list_lines(shop)) == (None, [(SEAT.id, 5)])
    assert (await read_amounts(shop))[0] == [5 * SEAT.amount]


async def test_change_on_the_day_after_a_scheduled_one_is_billed_as_shown(shop: Shop) -> None:
    subscription = await shop.subscribe(await shop.line(SEAT, 3))
    await shop.provider.schedule_change(subscription.id, [await shop.line(SEAT, 1)], "change_1")
    shop.world.advance(MONTH + A_WHILE)
    more = [await shop.line(SEAT, 5)]
    preview = await shop.provider.preview_change(shop.customer, subscription.id, more)
    await shop.provider.change_subscription(
        subscription.id, more, as_of=preview.as_of, prorate=True, key="change_2"
    )
    changed = await shop.only()
    assert (changed.scheduled_change, await list_lines(shop)) == (None, [(SEAT.id, 5)])
    assert (await read_amounts(shop))[0] == [preview.due]


async def test_scheduled_change_from_a_year_to_a_month_starts_after_the_year(shop: Shop) -> None:
    subscription = await shop.subscribe(await shop.line(SEAT_YEAR, 2))
    month = await shop.line(SEAT, 2)
    await shop.provider.schedule_change(subscription.id, [month], "change_1")
    planned = (await shop.only()).scheduled_change
    assert planned is not None
    assert planned.at == shop.world.now + YEAR
    assert await read_amounts(shop) == ([2 * SEAT.amount], [2 * SEAT_YEAR.amount])
    shop.world.advance(YEAR + A_WHILE)
    (line,) = (await shop.only()).lines
    assert (line.price_id, line.starts_at, line.ends_at) == (SEAT.id, planned.at, planned.at + MONTH)
    shop.world.advance(MONTH)
    assert (await read_amounts(shop))[1] == [2 * SEAT_YEAR.amount, 2 * SEAT.amount, 2 * SEAT.amount]


async def test_usage_before_a_scheduled_change_is_billed_at_its_own_price(shop: Shop) -> None:
    subscription = await shop.subscribe(await shop.line(FLAT), await shop.line(CALLS, None))
    await shop.provider.schedule_change(subscription.id, [await shop.line(SEAT)], "change_1")
    await shop.provider.report_usage(shop.customer, "api_calls", 130, shop.world.now, "use_1")
    used_amount = 30 * 2 + 50
    assert (await read_amounts(shop))[0] == [SEAT.amount + used_amount]
    shop.world.advance(MONTH + A_WHILE)
    assert await list_lines(shop) == [(SEAT.id, 1)]
    assert (await read_amounts(shop))[1] == [FLAT.amount, SEAT.amount + used_amount]


async def test_scheduled_price_that_is_archived_meanwhile_is_billed_as_told(shop: Shop) -> None:
    subscription, flat = await shop.subscribe(await shop.line(SEAT, 3)), await shop.line(FLAT)
    await shop.provider.schedule_change(subscription.id, [flat], "change_1")
    shop.world.stop_selling(flat.external_price_id)
    shop.world.advance(MONTH + A_WHILE)
    assert await list_lines(shop) == [(FLAT.id, 1)]
    with pytest.raises(ProviderRefused) as raised:
        await shop.provider.schedule_change((await shop.only()).id, [flat, await shop.line(SUPPORT)], "c_2")
    assert raised.value.kind == "price"


async def test_scheduled_change_happens_although_a_payment_is_overdue(shop: Shop) -> None:
    subscription = await shop.subscribe(await shop.line(SEAT, 3), card=False)
    shop.world.advance(10 * DAY)
    await shop.provider.schedule_change(subscription.id, [await shop.line(FLAT)], "change_1")
    shop.world.advance(20 * DAY + A_WHILE)
    overdue = await shop.only()
    assert (overdue.status, await list_lines(shop)) == ("past_due", [(FLAT.id, 1)])
    assert (await read_amounts(shop))[1] == [3 * SEAT.amount, FLAT.amount]


async def test_pending_change_is_dropped_with_its_voided_invoice(shop: Shop) -> None:
    """https://docs.stripe.com/billing/subscriptions/pending-updates"""
    subscription = await shop.subscribe(await shop.line(SEAT_YEAR), card=False)
    shop.world.advance(10 * DAY)
    more = [await shop.line(SEAT_YEAR, 3)]
    preview = await shop.provider.preview_change(shop.customer, subscription.id, more, bill_now=True)
    pending = await shop.provider.change_subscription(
        subscription.id, more, as_of=preview.as_of, prorate=True, bill_now=True, key="change_1"
    )
    assert pending is not None
    for key in ("void_1", "void_1", "void_2"):
        await shop.provider.void_invoice(pending.invoice_id, key)
    kept = await shop.only()
    assert (kept.pending_change, kept.status, await list_lines(shop)) == (None, "active", [(SEAT_YEAR.id, 1)])
    assert (await read_amounts(shop))[0] == [SEAT_YEAR.amount]
    shop.world.set_card(shop.customer, pays=True)
    assert await list_lines(shop) == [(SEAT_YEAR.id, 1)]


async def test_scheduled_change_of_an_unknown_or_ended_subscription_is_refused(shop: Shop) -> None:
    subscription, flat = await shop.subscribe(await shop.line(SEAT)), await shop.line(FLAT)
    await shop.provider.cancel_subscription(subscription.id, at_period_end=False, key="cancel_1")
    for subscription_id in (subscription.id, "sub_none"):
        with pytest.raises(ProviderRefused):
            await shop.provider.schedule_change(subscription_id, [flat], "change_1")
