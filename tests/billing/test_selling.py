"""Checkout, changes, add-ons and cancellation: prepared under the tenant's lock, submitted outside of it."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from typing import Any, get_args

import pytest
from sqlmodel import col, select

from shared.audit import audit_log
from shared.backoffice import webhook_inbox
from shared.billing import customers, tasks
from shared.billing.models import PLATFORM, BillingEvent, BillingSnapshot
from shared.billing.pricing import comparison, price_sync
from shared.billing.provider import ProviderDown, ProviderRefused, RefusalKind
from shared.billing.provider_values import BillingDetails, Checkout, CheckoutOrder, TaxId
from shared.billing.subscriptions import (
    billing_details,
    cancellation,
    changes,
    checkout,
    invoices,
    overview,
    portal,
    subscriptions,
)
from shared.billing.subscriptions.changes import ChangeRequest
from shared.billing.sync import customer_sync
from shared.core import rate_limits, rows
from shared.core.db import now
from shared.core.errors import Conflict, Invalid, NotFound, Refused
from shared.core.rate_limits import RateLimit
from shared.entitlements import assignments
from shared.jobs.worker import ExternalJob
from tests.conftest import Cast, Person
from tests.support import workers
from tests.support.billing import shared_provider
from tests.support.billing.memory_provider import MemoryProvider

STARTER, PRO, BUSINESS, SEATS = "plv_starter_1", "plv_pro_1", "plv_business_1", "plv_extra_seats_1"


@pytest.fixture
async def seller() -> AsyncIterator[MemoryProvider]:
    yield await shared_provider.install_provider()
    shared_provider.remove_provider()


async def start_checkout(person: Person, version_id: str, period: str = "month", *, seats: int = 3) -> str:
    async with person.ctx() as ctx:
        order = await checkout.prepare(ctx, version_id, period, seats=seats)
    return await checkout.submit(order)


async def subscribe_person(
    seller: MemoryProvider, person: Person, version_id: str = PRO, period: str = "month", *, seats: int = 3
) -> str:
    """A paid subscription after its trial."""
    deal = seller.pay(await start_checkout(person, version_id, period, seats=seats))
    if seller.deals[deal].state == "trial":
        seller.deals[deal].ends = seller.clock
        seller.deals[deal].trial_until = seller.clock
        seller.advance(timedelta(seconds=1))
    assert await shared_provider.return_from_provider(person)
    return deal


async def get_overview(person: Person) -> overview.BillingOverview:
    async with person.ctx() as ctx:
        return await overview.get_overview(ctx)


async def quote_change(person: Person, wish: ChangeRequest) -> changes.Quote:
    async with person.ctx() as ctx:
        change = await changes.plan_change(ctx, wish)
    return await changes.quote_change(change)


async def confirm_change(person: Person, shown: changes.Quote) -> bool:
    async with person.ctx() as ctx:
        await changes.prepare(ctx, shown)
    return await changes.submit(shown)


async def get_seat_limit(person: Person) -> int | None:
    async with person.ctx() as ctx:
        return ctx.rights.limits["members"].amount


async def test_plan_is_granted_after_payment_and_not_before(cast: Cast, seller: MemoryProvider) -> None:
    await cast.gil.gets("free")
    url = await start_checkout(cast.gil, PRO, seats=4)
    await shared_provider.return_from_provider(cast.gil)
    async with cast.gil.ctx() as ctx:
        assert ctx.rights.plan == "free"
    seller.pay(url)
    await shared_provider.return_from_provider(cast.gil)
    async with cast.gil.ctx() as ctx:
        assert (ctx.rights.plan, ctx.rights.limits["members"].amount) == ("pro", 4)
    held = (await get_overview(cast.gil)).subscription
    assert held is not None
    assert (held.seats, held.period, held.snapshot.status) == (4, "month", "trialing")


async def test_change_of_the_period_during_a_trial_is_not_due_today(
    cast: Cast, seller: MemoryProvider
) -> None:
    """The trial goes on, and the new period begins at its end. https://docs.stripe.com/billing/subscriptions/trials"""
    deal = seller.pay(await start_checkout(cast.gil, PRO))
    await shared_provider.return_from_provider(cast.gil)
    quote = await quote_change(cast.gil, ChangeRequest(PRO, "year", 3))
    assert not quote.is_due_today
    before = len(seller.transactions)
    assert await confirm_change(cast.gil, quote)
    assert (len(seller.transactions), seller.deals[deal].state) == (before, "trial")


async def test_order_sent_twice_is_one_checkout(cast: Cast, seller: MemoryProvider) -> None:
    before = len(seller.carts)
    assert await start_checkout(cast.gil, PRO) == await start_checkout(cast.gil, PRO)
    assert len(seller.carts) == before + 1
    assert await start_checkout(cast.gil, PRO, seats=5) != await start_checkout(cast.gil, PRO)


async def test_other_order_closes_the_page_of_the_earlier_one(cast: Cast, seller: MemoryProvider) -> None:
    first = await start_checkout(cast.gil, PRO)
    for second in (await start_checkout(cast.gil, STARTER), await start_checkout(cast.gil, PRO)):
        with pytest.raises(AssertionError, match="closed"):
            seller.pay(first)
        first = second
    seller.pay(first)


async def test_two_tabs_with_two_plans_lead_to_one_subscription(cast: Cast, seller: MemoryProvider) -> None:
    """The second tab is ordered before our records know of the payment in the first one."""
    url = await start_checkout(cast.gil, STARTER)
    async with cast.gil.ctx() as ctx:
        second_order = await checkout.prepare(ctx, PRO, "month", seats=3)
    seller.pay(url)
    before = len(seller.carts)
    with pytest.raises(Conflict, match="already have a subscription") as caught:
        await checkout.submit(second_order)
    assert "Reload the page" in caught.value.next_step
    assert len(seller.carts) == before
    held = (await get_overview(cast.gil)).subscription
    assert held is not None  # the refusal has brought our records up to date


async def test_page_paid_while_it_is_being_closed_refuses_the_next_order(
    cast: Cast, seller: MemoryProvider
) -> None:
    url = await start_checkout(cast.gil, STARTER)
    async with cast.gil.ctx() as ctx:
        second_order = await checkout.prepare(ctx, PRO, "month", seats=3)
    seller.pay(url)
    seller.paid_while_closing.add(url)
    before = len(seller.carts)
    with pytest.raises(Conflict, match="already have a subscription"):
        await checkout.submit(second_order)
    assert len(seller.carts) == before


async def test_two_pages_paid_while_they_are_being_closed_refuse_the_next_order(
    cast: Cast, seller: MemoryProvider
) -> None:
    own_url = await start_checkout(cast.gil, PRO)
    other_url = await start_checkout(cast.gil, STARTER)
    seller.closed_carts.pop(own_url)
    seller.paid_while_closing |= {own_url, other_url}
    with pytest.raises(Conflict, match="already have a subscription") as caught:
        await start_checkout(cast.gil, PRO)
    assert "Nothing was changed" not in caught.value.next_step


async def list_open_pages(seller: MemoryProvider, person: Person) -> list[str]:
    customer_id = await get_customer_id(person)
    return [
        url
        for url, order in seller.carts.items()
        if order.customer_id == customer_id and url not in seller.closed_carts
    ]


async def test_two_tabs_that_order_at_the_same_time_leave_one_page_open(
    cast: Cast, seller: MemoryProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second tab opens its page and closes that of the first one, which does the same afterwards."""
    create = seller.create_checkout

    async def create_beside_another(order: CheckoutOrder) -> Checkout:
        monkeypatch.undo()
        page = await create(order)
        await start_checkout(cast.gil, STARTER)
        return page

    monkeypatch.setattr(seller, "create_checkout", create_beside_another)
    url = await start_checkout(cast.gil, PRO)
    assert await list_open_pages(seller, cast.gil) == [url]
    seller.pay(url)


async def test_order_is_refused_when_another_one_closes_each_of_its_pages(
    cast: Cast, seller: MemoryProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    create = seller.create_checkout

    async def create_closed(order: CheckoutOrder) -> Checkout:
        page = await create(order)
        seller.closed_carts[page.url] = "closed"
        return page

    monkeypatch.setattr(seller, "create_checkout", create_closed)
    before = len(seller.carts)
    with pytest.raises(Conflict, match="at the same time"):
        await start_checkout(cast.gil, PRO)
    assert len(seller.carts) == before + checkout.MAX_PAGES


async def test_page_that_expires_soon_is_replaced(cast: Cast, seller: MemoryProvider) -> None:
    url = await start_checkout(cast.gil, PRO)
    seller.advance(timedelta(minutes=49))
    assert await start_checkout(cast.gil, PRO) == url
    seller.advance(timedelta(minutes=2))
    new_url = await start_checkout(cast.gil, PRO)
    assert await list_open_pages(seller, cast.gil) == [new_url]


async def test_page_is_closed_again_when_another_was_paid_meanwhile(
    cast: Cast, seller: MemoryProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = await start_checkout(cast.gil, STARTER)
    create = seller.create_checkout

    async def create_while_paid(order: CheckoutOrder) -> Checkout:
        seller.closed_carts.pop(url)
        seller.pay(url)
        return await create(order)

    monkeypatch.setattr(seller, "create_checkout", create_while_paid)
    with pytest.raises(Conflict, match="already have a subscription"):
        await start_checkout(cast.gil, PRO)
    with pytest.raises(AssertionError, match="closed"):
        seller.pay(list(seller.carts)[-1])


async def subscribe_twice(seller: MemoryProvider, person: Person) -> tuple[str, str]:
    """As two subscriptions that were made elsewhere: in the provider's dashboard, or by an older version."""
    first = await subscribe_person(seller, person, STARTER)
    other = seller.deals[first]
    second = replace(other, id=f"{first}_2", positions=list(other.positions), pending=[])
    seller.deals[second.id] = second
    await shared_provider.return_from_provider(person)
    return first, second.id


async def test_cancellation_ends_every_subscription(cast: Cast, seller: MemoryProvider) -> None:
    deals = await subscribe_twice(seller, cast.gil)
    async with cast.gil.ctx() as ctx:
        ending = await cancellation.prepare_cancel(ctx, "unused")
    assert await cancellation.submit(ending)
    assert all(seller.deals[deal].stops == seller.deals[deal].ends for deal in deals)
    async with cast.gil.ctx() as ctx:
        with pytest.raises(Conflict, match="already cancelled"):
            await cancellation.prepare_cancel(ctx, "unused")
        resumed = await cancellation.prepare_resume(ctx)
    assert await cancellation.submit(resumed)
    assert len([deal for deal in deals if seller.deals[deal].stops is None]) == 1, "or both are charged again"


async def test_cancellation_that_fails_at_the_second_subscription_says_what_was_cancelled(
    cast: Cast, seller: MemoryProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    deals = await subscribe_twice(seller, cast.gil)
    async with cast.gil.ctx() as ctx:
        ending = await cancellation.prepare_cancel(ctx, "unused")
    second = list(ending.keys)[1]
    cancel = seller.cancel_subscription

    async def fail_at_second(subscription_id: str, **params: Any) -> None:
        if subscription_id == second:
            raise ProviderRefused("Not this one.")
        await cancel(subscription_id, **params)

    monkeypatch.setattr(seller, "cancel_subscription", fail_at_second)
    with pytest.raises(Conflict, match="Only 1 of your 2 subscriptions") as caught:
        await cancellation.submit(ending)
    assert "Nothing was changed" not in caught.value.next_step
    monkeypatch.undo()
    async with cast.gil.ctx() as ctx:
        again = await cancellation.prepare_cancel(ctx, "unused")
    assert list(again.keys) == [second], "our records know that the first one is cancelled"
    assert await cancellation.submit(again)
    assert all(seller.deals[deal].stops for deal in deals)


async def prepare_void_of_first(
    seller: MemoryProvider, person: Person, **line_changes: Any
) -> tuple[cancellation.CancellationRequest, str, str]:
    """As if the last invoice of the first of two subscriptions weren't paid. `line_changes`: of its lines."""
    first, second = await subscribe_twice(seller, person)
    bill = seller.get_newest_bill(first)
    bill.state, bill.rows = "owed", [replace(line, **line_changes) for line in bill.rows]
    await shared_provider.return_from_provider(person)
    async with person.ctx() as ctx:
        return await cancellation.prepare_cancel(ctx, "unused", void_ids=[bill.id]), first, second


async def test_only_the_subscription_that_is_not_paid_ends_now(cast: Cast, seller: MemoryProvider) -> None:
    ending, first, second = await prepare_void_of_first(seller, cast.gil)
    assert await cancellation.submit(ending)
    assert seller.deals[first].state == "over"
    assert (seller.deals[second].state, seller.deals[second].stops) == ("running", seller.deals[second].ends)


@pytest.mark.parametrize("line_changes", [{"proration": True}, {"starts_at": now() + timedelta(days=9_999)}])
async def test_paid_period_does_not_end_for_an_unpaid_change(
    cast: Cast, seller: MemoryProvider, line_changes: dict[str, Any]
) -> None:
    with pytest.raises(Conflict, match="No unpaid invoice can be voided"):
        await prepare_void_of_first(seller, cast.gil, **line_changes)


async def test_change_of_one_of_two_subscriptions_is_refused(cast: Cast, seller: MemoryProvider) -> None:
    await subscribe_twice(seller, cast.gil)
    shown = await get_overview(cast.gil)
    assert len(shown.other_subscriptions) == 1
    with pytest.raises(Conflict, match="have 2 subscriptions") as caught:
        await quote_change(cast.gil, ChangeRequest(version_id=PRO, seats=3))
    assert "Contact support" in caught.value.next_step
    with pytest.raises(Conflict, match="already have a subscription"):
        await start_checkout(cast.gil, PRO)


async def test_order_is_refused_beside_a_live_subscription(cast: Cast, seller: MemoryProvider) -> None:
    await subscribe_person(seller, cast.gil)
    with pytest.raises(Conflict, match="already have a subscription") as caught:
        await start_checkout(cast.gil, STARTER)
    assert "Change its plan" in caught.value.next_step


async def test_trial_is_given_once(cast: Cast, seller: MemoryProvider) -> None:
    deal = await subscribe_person(seller, cast.gil)
    await seller.cancel_subscription(deal, at_period_end=False, key="x")
    await shared_provider.return_from_provider(cast.gil)
    assert (await get_overview(cast.gil)).ended_at is not None
    assert seller.carts[await start_checkout(cast.gil, PRO)].trial_days == 0


@pytest.mark.parametrize(
    ("version", "period", "seats", "refusal"),
    [
        ("plv_nobody", "month", 1, NotFound),
        (SEATS, "month", 1, NotFound),  # an add-on is no plan
        ("plv_enterprise_1", "month", 1, Conflict),
        (PRO, "week", 1, Conflict),
        (PRO, "month", 0, Invalid),
        (PRO, "month", 26, Invalid),
        (PRO, "month", 2, Conflict),  # three people are there
    ],
)
async def test_invalid_order_is_refused(
    cast: Cast, seller: MemoryProvider, version: str, period: str, seats: int, refusal: type[Exception]
) -> None:
    with pytest.raises(refusal):
        await start_checkout(cast.ann, version, period, seats=seats)
    assert "checkout" not in seller.calls[-1:]


async def test_confirmed_change_costs_what_was_shown(cast: Cast, seller: MemoryProvider) -> None:
    deal = await subscribe_person(seller, cast.gil)
    shown = await quote_change(cast.gil, ChangeRequest(version_id=BUSINESS, seats=3))
    assert shown.change.new_amount == 19_900 + 3 * 1_500
    assert sum(line.amount for line in shown.preview.lines if line.proration) > 0
    assert await confirm_change(cast.gil, shown)
    pending = sum(line.amount for line in seller.deals[deal].pending)
    assert pending == sum(line.amount for line in shown.preview.lines if line.proration)
    async with cast.gil.ctx() as ctx:
        assert ctx.rights.plan == "business"


async def test_yearly_upgrade_is_charged_today_and_yearly_credit_later(
    cast: Cast, seller: MemoryProvider
) -> None:
    deal = await subscribe_person(seller, cast.gil, PRO, "year", seats=3)
    paid = len(seller.transactions)
    shown = await quote_change(cast.gil, ChangeRequest(version_id=BUSINESS, seats=10))
    assert shown.bill_now
    assert shown.is_due_today
    assert await confirm_change(cast.gil, shown)
    (bill,) = list(seller.transactions.values())[paid:]
    assert (bill.sum, bill.state) == (shown.preview.due, "settled")
    assert bill.sum > 100_000
    assert seller.deals[deal].pending == []
    fewer = await quote_change(cast.gil, ChangeRequest(seats=5))
    assert not fewer.bill_now
    assert await confirm_change(cast.gil, fewer)
    assert sum(line.amount for line in seller.deals[deal].pending) < 0


async def test_upgrade_is_granted_after_its_payment(cast: Cast, seller: MemoryProvider) -> None:
    deal = await subscribe_person(seller, cast.gil, PRO, "year", seats=3)
    buyer = seller.deals[deal].buyer
    seller.set_card(buyer, pays=False)
    shown = await quote_change(cast.gil, ChangeRequest(version_id=BUSINESS, seats=25))
    with pytest.raises(Conflict, match="Your plan is unchanged") as caught:
        await confirm_change(cast.gil, shown)
    assert caught.value.reason == changes.PAYMENT_OPEN
    assert "Complete the payment" in caught.value.next_step
    async with cast.gil.ctx() as ctx:
        assert (ctx.rights.plan, ctx.rights.limits["members"].amount) == ("pro", 3)
    held = await get_overview(cast.gil)
    assert held.pending_change is not None
    assert held.pending_invoice is not None
    assert (held.pending_invoice.due, held.unpaid_invoice) == (shown.preview.due, None)
    seller.set_card(buyer, pays=True)
    await shared_provider.return_from_provider(cast.gil)
    async with cast.gil.ctx() as ctx:
        assert (ctx.rights.plan, ctx.rights.limits["members"].amount) == ("business", 25)
    assert (await get_overview(cast.gil)).pending_change is None


async def test_monthly_upgrade_joins_the_next_invoice(cast: Cast, seller: MemoryProvider) -> None:
    await subscribe_person(seller, cast.gil)
    paid = len(seller.transactions)
    shown = await quote_change(cast.gil, ChangeRequest(seats=9))
    assert not shown.is_due_today
    assert await confirm_change(cast.gil, shown)
    assert len(seller.transactions) == paid, "or there are 26 invoices in 7 weeks"


async def test_confirmation_sent_twice_changes_nothing_more(cast: Cast, seller: MemoryProvider) -> None:
    deal = await subscribe_person(seller, cast.gil)
    shown = await quote_change(cast.gil, ChangeRequest(seats=5))
    assert await confirm_change(cast.gil, shown)
    pending = list(seller.deals[deal].pending)
    with pytest.raises(Conflict):
        await confirm_change(cast.gil, shown)
    await changes.submit(shown)  # as after an answer that never came
    assert seller.deals[deal].pending == pending


async def test_outdated_quote_is_refused(
    cast: Cast, seller: MemoryProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    await subscribe_person(seller, cast.gil)
    first = await quote_change(cast.gil, ChangeRequest(seats=5))
    assert await confirm_change(cast.gil, await quote_change(cast.gil, ChangeRequest(seats=4)))
    with pytest.raises(Conflict) as caught:
        await confirm_change(cast.gil, first)
    assert caught.value.reason == changes.QUOTE_OUTDATED
    again = await quote_change(cast.gil, ChangeRequest(seats=5))
    monkeypatch.setattr(changes, "QUOTE_LIFETIME", timedelta(0))
    with pytest.raises(Conflict) as late:
        await confirm_change(cast.gil, again)
    assert late.value.reason == changes.QUOTE_OUTDATED


async def test_seats_cannot_fall_below_those_in_use(cast: Cast, seller: MemoryProvider) -> None:
    await subscribe_person(seller, cast.ann, seats=5)
    with pytest.raises(Conflict, match="using 3 seats") as caught:
        await quote_change(cast.ann, ChangeRequest(seats=2))
    assert caught.value.next_step == "Remove 1 member or invitation, or choose more seats."
    assert await confirm_change(cast.ann, await quote_change(cast.ann, ChangeRequest(seats=3)))
    assert await get_seat_limit(cast.ann) == 3


async def test_addon_is_granted_at_once_and_kept_until_its_paid_end(
    cast: Cast, seller: MemoryProvider
) -> None:
    deal = await subscribe_person(seller, cast.gil, STARTER)
    assert await confirm_change(
        cast.gil, await quote_change(cast.gil, ChangeRequest(addon_id=SEATS, addon_quantity=1))
    )
    assert await get_seat_limit(cast.gil) == 20
    shown = await quote_change(cast.gil, ChangeRequest(addon_id=SEATS, addon_quantity=0))
    assert (shown.change.prorate, shown.preview.lines) == (False, ())
    before = list(seller.deals[deal].pending)
    assert await confirm_change(cast.gil, shown)
    assert seller.deals[deal].pending == before
    assert await get_seat_limit(cast.gil) == 20  # it falls at the period's end
    (kept,) = seller.deals[deal].notes
    assert kept.until == seller.deals[deal].ends
    async with cast.gil.ctx() as ctx:
        snapshot, _ = await assignments.get_snapshot(ctx)
        assert [row.ends_at for row, _ in snapshot.addons] == [kept.until]

    back = await quote_change(cast.gil, ChangeRequest(addon_id=SEATS, addon_quantity=1))
    assert back.change.prorate is False
    assert await confirm_change(cast.gil, back)
    assert seller.deals[deal].pending == before  # paid for already
    assert seller.deals[deal].notes == ()


async def test_cancellation_at_period_end_can_be_taken_back(cast: Cast, seller: MemoryProvider) -> None:
    deal = await subscribe_person(seller, cast.gil)
    for _ in range(2):  # another time is another act
        async with cast.gil.ctx() as ctx:
            ending = await cancellation.prepare_cancel(ctx, "unused", "We were too few")
        assert await cancellation.submit(ending)
        assert seller.deals[deal].stops == seller.deals[deal].ends
        async with cast.gil.ctx() as ctx:
            assert ctx.rights.plan == "pro"
            with pytest.raises(Conflict):
                await cancellation.prepare_cancel(ctx, "unused")
        with pytest.raises(Conflict, match="cancelled"):
            await quote_change(cast.gil, ChangeRequest(seats=9))
        async with cast.gil.ctx() as ctx:
            resumed = await cancellation.prepare_resume(ctx)
        assert await cancellation.submit(resumed)
        assert seller.deals[deal].stops is None


async def test_change_is_refused_when_the_provider_is_down(cast: Cast, seller: MemoryProvider) -> None:
    deal = await subscribe_person(seller, cast.gil)
    shown = await quote_change(cast.gil, ChangeRequest(seats=6))
    seller.fail_next(ProviderDown("no answer"), verb="change")
    with pytest.raises(Conflict, match="isn’t responding") as caught:
        await confirm_change(cast.gil, shown)
    assert "Try again" in caught.value.next_step
    assert (await get_overview(cast.gil)).subscription.seats == 3  # type: ignore[union-attr]
    assert await confirm_change(cast.gil, shown)  # the same once more
    assert seller.deals[deal].positions[0].count == 6


@pytest.mark.parametrize("kind", sorted(get_args(RefusalKind)))
async def test_only_card_refusals_are_shown_in_the_words_of_the_provider(
    cast: Cast, seller: MemoryProvider, kind: RefusalKind
) -> None:
    await subscribe_person(seller, cast.gil)
    shown = await quote_change(cast.gil, ChangeRequest(seats=6))
    raw_sentence = "No such price: 'price_1RaW'; the request log has more."
    seller.fail_next(ProviderRefused(raw_sentence, "resource_missing", kind=kind), verb="change")
    with pytest.raises(Conflict) as caught:
        await confirm_change(cast.gil, shown)
    assert (caught.value.detail == raw_sentence) == (kind == "card")
    assert "payment method" not in caught.value.next_step or kind == "card"
    assert caught.value.next_step


async def test_archived_price_is_compared_at_once_and_alerts_operators(
    cast: Cast, seller: MemoryProvider, schema: str
) -> None:
    workers.clear_queue(schema)
    offer_id = next(id_ for id_, offer in seller.offers.items() if offer.tag.id == "prc_starter_flat_month")
    seller.offers[offer_id].sold = False
    with pytest.raises(Conflict, match="can’t be bought right now") as caught:
        await start_checkout(cast.gil, STARTER)
    assert "alerted" in caught.value.next_step
    assert workers.list_jobs(schema) == [(comparison.COMPARE_TASK, "todo")]
    await tasks.compare_prices(ExternalJob("", "req_1"))
    seller.offers[offer_id].sold = True
    async with cast.olga.octx() as octx:
        problems = await webhook_inbox.list_account_problems(octx)
    assert ("prices", "1") in [(problem.kind, problem.detail) for problem in problems]
    await price_sync.compare_prices()
    async with cast.olga.octx() as octx:
        problems = await webhook_inbox.list_account_problems(octx)
    assert "prices" not in [problem.kind for problem in problems]


async def test_change_confirmed_without_an_answer_is_applied_by_the_next_sync(
    cast: Cast, seller: MemoryProvider
) -> None:
    await subscribe_person(seller, cast.gil)
    shown = await quote_change(cast.gil, ChangeRequest(seats=6))
    seller.fail_next(ProviderDown("no answer"), verb="fetch")
    assert await confirm_change(cast.gil, shown) is False
    assert await shared_provider.return_from_provider(cast.gil)
    assert (await get_overview(cast.gil)).subscription.seats == 6  # type: ignore[union-attr]


async def test_invoices_are_listed_for_the_own_tenant_by_page(cast: Cast, seller: MemoryProvider) -> None:
    deal = await subscribe_person(seller, cast.gil)
    for _ in range(3):
        seller.advance(timedelta(days=31))
    await shared_provider.return_from_provider(cast.gil)
    async with cast.gil.ctx() as ctx:
        first = await invoices.list_invoices(ctx, limit=2)
        next_page = await invoices.list_invoices(ctx, after=first.next_cursor, limit=50)
        invoice_ids = [invoice.id for invoice in (*first.rows, *next_page.rows)]
        assert (
            len(invoice_ids) == len(set(invoice_ids)) == len(seller._build_invoices(seller.deals[deal].buyer))
        )
        assert (await invoices.get_invoice(ctx, invoice_ids[0])).id == invoice_ids[0]
        with pytest.raises(Invalid):
            await invoices.list_invoices(ctx, after="nonsense")
    async with cast.ann.ctx() as ctx:
        assert (await invoices.list_invoices(ctx)).rows == []
        for strange in (invoice_ids[0], "in_nobody"):
            with pytest.raises(NotFound, match="invoice doesn’t exist"):
                await invoices.get_invoice(ctx, strange)


@pytest.mark.parametrize("person_name", ["adam", "max"])
async def test_billing_actions_are_refused_without_permission_before_any_read(
    cast: Cast, seller: MemoryProvider, person_name: str
) -> None:
    person: Person = getattr(cast, person_name)
    seller.calls.clear()

    async def list_calls(ctx: Any) -> list[Any]:
        return [
            checkout.prepare(ctx, PRO, "month"),
            changes.plan_change(ctx, ChangeRequest(seats=1)),
            cancellation.prepare_cancel(ctx, "unused"),
            cancellation.prepare_resume(ctx),
            portal.prepare(ctx),
            billing_details.prepare_view(ctx),
            billing_details.prepare_change(ctx, BillingDetails(name="A", email="a@a.test"), BillingDetails()),
            overview.get_overview(ctx),
            invoices.list_invoices(ctx),
        ]

    async with person.ctx() as ctx:
        for verb in await list_calls(ctx):
            with pytest.raises(Refused):
                await verb
    assert seller.calls == []


async def get_customer_id(person: Person) -> str:
    async with person.ctx() as ctx:
        return await customers.find_id(ctx)


async def list_event_causes(person: Person) -> list[str]:
    """Causes of the syncs that changed something, the oldest first."""
    async with person.ctx() as ctx:
        statement = select(BillingEvent.cause).where(BillingEvent.tenant_id == ctx.tenant_id)
        return list(await rows.all(ctx, statement.order_by(col(BillingEvent.ticket))))


async def get_snapshot(person: Person) -> BillingSnapshot:
    async with person.ctx() as ctx:
        snapshot = await subscriptions.get_snapshot(ctx)
    assert snapshot is not None
    return snapshot


async def test_deleted_customer_buys_again_as_a_new_one(cast: Cast, seller: MemoryProvider) -> None:
    await subscribe_person(seller, cast.gil)
    old_id = await get_customer_id(cast.gil)
    seller.delete_customer(old_id)
    await shared_provider.return_from_provider(cast.gil)
    assert old_id in (await get_snapshot(cast.gil)).alert
    seller.pay(await start_checkout(cast.gil, STARTER))
    await shared_provider.return_from_provider(cast.gil)
    new_id = await get_customer_id(cast.gil)
    assert new_id != old_id
    async with cast.gil.ctx() as ctx:
        assert ctx.rights.plan == "starter"
        invoice_page = await invoices.list_invoices(ctx)
    assert {invoice.customer_id for invoice in invoice_page.rows} == {old_id, new_id}
    seller.buyers[old_id].card = None
    before = await get_snapshot(cast.gil)
    await customer_sync.sync_customer(PLATFORM, old_id, cast.globex, cause="webhook")
    after = await get_snapshot(cast.gil)
    assert (before.alert, before.method) == (after.alert, after.method) == ("", "Card on file")


async def test_deletion_that_nobody_noticed_is_found_by_the_next_call(
    cast: Cast, seller: MemoryProvider
) -> None:
    await subscribe_person(seller, cast.gil)
    old_id = await get_customer_id(cast.gil)
    seller.delete_customer(old_id)
    async with cast.gil.ctx() as ctx:
        visit = await portal.prepare(ctx)
    url = await portal.submit(visit)
    assert (await list_event_causes(cast.gil))[-1] == "member", "nobody returned from checkout"
    assert url.endswith(await get_customer_id(cast.gil))
    assert not url.endswith(old_id)
    seller.fail_next(ProviderRefused("Not this one.", kind="customer"), verb="checkout")
    with pytest.raises(Conflict, match="was deleted"):
        await start_checkout(cast.gil, STARTER)
    assert url.endswith(await get_customer_id(cast.gil)), "a customer that exists is not replaced"


async def open_details(person: Person) -> BillingDetails:
    async with person.ctx() as ctx:
        view = await billing_details.prepare_view(ctx)
    return await billing_details.fetch(view)


async def save_details(
    person: Person, details: BillingDetails, opened: BillingDetails | None = None
) -> BillingDetails:
    """Returns what is at the provider then. `opened`: by default the details as they are now."""
    if opened is None:
        opened = await open_details(person)
    async with person.ctx() as ctx:
        change = await billing_details.prepare_change(ctx, details, opened)
    await billing_details.submit(change)
    return await open_details(person)


def list_tax_ids(details: BillingDetails) -> list[str]:
    return [f"{tax_id.type} {tax_id.value}" for tax_id in details.tax_ids]


TYPED = BillingDetails(name=" Globex  AG ", email="Bills@Globex.test", country="ch", city="Bern")
WITH_VAT = replace(TYPED, tax_ids=(TaxId("eu_vat", "de 123456789"),))


async def test_billing_details_are_saved_at_the_provider(cast: Cast, seller: MemoryProvider) -> None:
    saved = await save_details(cast.gil, TYPED)
    assert saved == BillingDetails(name="Globex AG", email="bills@globex.test", country="CH", city="Bern")
    seller.buyers[await get_customer_id(cast.gil)].details = replace(saved, city="Basel")
    assert (await open_details(cast.gil)).city == "Basel"
    assert list_tax_ids(await save_details(cast.gil, WITH_VAT)) == ["eu_vat DE123456789"]
    async with cast.gil.ctx() as ctx:
        (event, *_) = (await audit_log.list_events(ctx, limit=1)).rows
        assert event.action == "billing.details_changed"


async def test_opening_billing_details_creates_no_customer(cast: Cast, seller: MemoryProvider) -> None:
    seller.calls.clear()
    opened = await open_details(cast.gil)
    async with cast.gil.ctx() as ctx:
        assert opened == BillingDetails(name=ctx.tenant_name, email=cast.gil.email)
        (event, *_) = (await audit_log.list_events(ctx, limit=1)).rows
    assert (seller.calls, await get_customer_id(cast.gil)) == ([], "")
    assert event.action != "billing.customer_created"
    assert (await save_details(cast.gil, WITH_VAT, opened)).name == "Globex AG"


async def test_opening_billing_details_of_a_deleted_customer_shows_defaults(
    cast: Cast, seller: MemoryProvider
) -> None:
    defaults = await open_details(cast.gil)
    await save_details(cast.gil, WITH_VAT, defaults)
    seller.delete_customer(await get_customer_id(cast.gil))
    assert await open_details(cast.gil) == defaults
    assert list_tax_ids(await save_details(cast.gil, WITH_VAT, defaults)) == ["eu_vat DE123456789"]


async def test_opening_billing_details_leaves_the_limit_of_cancelling_alone(
    cast: Cast, seller: MemoryProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits: list[RateLimit] = []

    async def record_limit(limit: RateLimit, *_: str) -> None:
        limits.append(limit)

    monkeypatch.setattr(rate_limits, "enforce_rate_limit", record_limit)
    await open_details(cast.gil)
    assert limits
    assert RateLimit.BILLING_TENANT not in limits


async def test_refused_tax_id_is_saved_by_a_retry_of_the_same_form(
    cast: Cast, seller: MemoryProvider
) -> None:
    opened = await save_details(cast.gil, WITH_VAT)
    malformed = replace(WITH_VAT, city="Basel", tax_ids=(TaxId("eu_vat", "1234"),))
    with pytest.raises(Conflict, match="tax ID isn’t valid"):
        await save_details(cast.gil, malformed, opened)
    corrected = replace(malformed, tax_ids=(TaxId("eu_vat", "DE1234"),))
    for _ in range(2):  # also where the answer was lost
        saved = await save_details(cast.gil, corrected, opened)
        assert list_tax_ids(saved) == ["eu_vat DE1234"]


async def test_tax_ids_that_piled_up_are_reduced_to_the_saved_one(cast: Cast, seller: MemoryProvider) -> None:
    opened = await save_details(cast.gil, WITH_VAT)
    newer, same = TaxId("us_ein", "12-3456789", "number_2"), TaxId("eu_vat", "DE123456789", "number_3")
    piled_up = replace(opened, tax_ids=(newer, same, *opened.tax_ids))
    seller.buyers[await get_customer_id(cast.gil)].details = piled_up
    assert list_tax_ids(await save_details(cast.gil, WITH_VAT)) == ["eu_vat DE123456789"]


async def test_tax_id_of_another_type_is_left_alone(cast: Cast, seller: MemoryProvider) -> None:
    opened = await save_details(cast.gil, WITH_VAT)
    business_number = TaxId("au_abn", "51824753556", "number_2")
    seller.buyers[await get_customer_id(cast.gil)].details = replace(
        opened, tax_ids=(business_number, *opened.tax_ids)
    )
    assert list_tax_ids(await save_details(cast.gil, TYPED)) == ["au_abn 51824753556"]


async def test_tax_id_that_was_added_meanwhile_is_not_removed(cast: Cast, seller: MemoryProvider) -> None:
    opened = await save_details(cast.gil, WITH_VAT)
    newer = TaxId("us_ein", "12-3456789", "number_2")
    changed = replace(opened, tax_ids=(newer, *opened.tax_ids))
    seller.buyers[await get_customer_id(cast.gil)].details = changed
    with pytest.raises(Conflict, match="changed meanwhile"):
        await save_details(cast.gil, WITH_VAT, opened)
    assert await open_details(cast.gil) == changed


async def test_details_that_were_changed_meanwhile_are_not_overwritten(
    cast: Cast, seller: MemoryProvider
) -> None:
    opened = await save_details(cast.gil, TYPED)
    seller.buyers[await get_customer_id(cast.gil)].details = replace(opened, city="Basel")
    with pytest.raises(Conflict, match="changed meanwhile"):
        await save_details(cast.gil, replace(TYPED, city="Chur"), opened)


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"name": " "}, "name"),
        ({"email": "nobody"}, "email"),
        ({"country": "Germany"}, "country"),
        ({"country": "XX"}, "country"),
        ({"country": "ZZ"}, "country"),
        ({"country": "EU"}, "country"),
        ({"tax_ids": (TaxId("", "DE1"),)}, "tax_id"),
        ({"tax_ids": (TaxId("eu_vat", " "),)}, "tax_id"),
        ({"tax_ids": (TaxId("moon", "1"),)}, "tax_id"),
        ({"line1": "x" * 201}, "line1"),
    ],
)
async def test_invalid_billing_details_name_their_field(
    cast: Cast, seller: MemoryProvider, changed: dict[str, Any], field: str
) -> None:
    details = replace(BillingDetails(name="Globex", email="bills@globex.test"), **changed)
    with pytest.raises(Invalid) as caught:
        await save_details(cast.gil, details)
    assert list(caught.value.fields) == [field]


async def test_portal_returns_to_the_billing_page(cast: Cast, seller: MemoryProvider) -> None:
    async with cast.gil.ctx() as ctx:
        visit = await portal.prepare(ctx)
    assert visit.return_url.endswith(f"/t/{cast.globex}/billing?back=portal")
    url = await portal.submit(visit)
    async with cast.gil.ctx() as ctx:
        assert url.endswith(await customers.find_id(ctx))
