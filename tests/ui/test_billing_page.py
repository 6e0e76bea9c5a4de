"""The billing page with double clicks, outdated tabs, lesser roles and forged arguments."""

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from shared.audit import audit_log
from shared.billing.provider import ProviderDown
from shared.billing.subscriptions import cancellation, changes
from shared.core import money
from shared.core.db import now
from shared.core.errors import Conflict, Invalid, NotFound, Refused
from shared.ui.field_errors import FieldErrors
from tenant_app.pages.billing import remaining_rows
from tenant_app.pages.billing.state import BillingState
from tests.conftest import Cast, Person, opens
from tests.support.billing import shared_provider
from tests.support.billing.memory_provider import MemoryProvider

PRO, BUSINESS, SEATS = "plv_pro_1", "plv_business_1", "plv_extra_seats_1"

pytestmark = pytest.mark.usefixtures("tidy")


@pytest.fixture
async def seller() -> AsyncIterator[MemoryProvider]:
    yield await shared_provider.install_provider()
    shared_provider.remove_provider()


async def send_event(page: Any, name: str, *payload: Any) -> Any:
    return await type(page).event_handlers[name].fn(page, *payload)


async def open_billing_page(person: Person, query: str = "") -> Any:
    page = opens(BillingState, person.cookie, f"/t/{person.slug}/billing{query}")
    await send_event(page, "load")
    return page


async def open_subscribed_page(seller: MemoryProvider, person: Person, *, seats: int = 3) -> Any:
    page = await open_billing_page(person)
    await send_event(page, "choose_plan", PRO)
    assert page.dialog == "order"
    await send_event(page, "start_checkout", {"seats": str(seats)})
    deal = seller.pay(list(seller.carts)[-1])
    seller.deals[deal].ends = seller.deals[deal].trial_until = seller.clock
    seller.advance(timedelta(seconds=1))
    await shared_provider.return_from_provider(person)
    await send_event(page, "load")
    assert page.subscribed
    return page


async def test_plans_show_price_and_contents(cast: Cast, seller: MemoryProvider) -> None:
    await cast.gil.gets("free")
    page = await open_billing_page(cast.gil)
    shown = {plan.name: plan for plan in page.plans}
    assert list(shown) == ["Starter", "Pro", "Business", "Enterprise"]
    assert (shown["Starter"].price_text, shown["Starter"].price_unit) == ("$29", "a month")
    assert shown["Starter"].is_suggested
    assert shown["Starter"].action_label == "Try Starter for 14 days"
    assert "Everything in Starter" in shown["Pro"].points
    assert shown["Business"].price_note == "and $15 for each seat; $0.05 per 1,000 events above 5,000,000"
    assert (shown["Enterprise"].price_text, shown["Enterprise"].action_label) == ("Custom pricing", "")
    assert page.saving == "2 months free"
    await send_event(page, "choose_period", "year")
    assert {plan.name: plan.price_text for plan in page.plans}["Starter"] == "$290"
    assert [addon.refusal for addon in page.addons] == [
        "Add-ons belong to a subscription. Choose a plan first."
    ] * 2


async def test_double_click_starts_one_checkout(cast: Cast, seller: MemoryProvider) -> None:
    page = await open_billing_page(cast.gil)
    before = len(seller.carts)
    await send_event(page, "choose_plan", PRO)
    sent = [str(await send_event(page, "start_checkout", {"seats": "2"})) for _ in range(2)]
    (url,) = list(seller.carts)[before:]
    assert all("window.location.assign" in event and url in event for event in sent)


async def test_return_from_checkout_shows_the_activation(cast: Cast, seller: MemoryProvider) -> None:
    page = await open_billing_page(cast.gil)
    await send_event(page, "choose_plan", PRO)
    await send_event(page, "start_checkout", {"seats": "2"})
    url = list(seller.carts)[-1]
    back = await open_billing_page(cast.gil, "?session=cs_forged")
    assert back.activating == "waiting"
    await send_event(back, "check_payment")
    assert (back.activating, back.plan) == ("waiting", "Business")  # an address proves nothing
    seller.pay(url)
    await send_event(back, "check_payment")
    assert (back.activating, back.plan, back.seats_bought) == ("done", "Pro", 2)
    assert (back.next_label, back.method) == ("After the trial", "Card on file")


async def test_plan_change_is_previewed_confirmed_and_not_repeated(
    cast: Cast, seller: MemoryProvider
) -> None:
    page = await open_subscribed_page(seller, cast.gil)
    await send_event(page, "choose_plan", BUSINESS)
    assert (page.dialog, page.seats, page.total_label) == ("change", "3", "Added to the next invoice")
    assert page.total.startswith("$")
    assert page.next_price == "$244.00 a month, plus usage"
    await send_event(page, "preview_seats", 4.0)
    assert page.next_price == "$259.00 a month, plus usage"
    await send_event(page, "confirm_change", {"seats": "4"})
    assert (page.dialog, page.plan, page.seats_bought) == ("", "Business", 4)
    page.asks_seats = False
    with pytest.raises(Invalid, match="nothing to confirm"):
        await send_event(page, "confirm_change", {})


async def test_second_change_shows_only_its_own_amount(cast: Cast, seller: MemoryProvider) -> None:
    page = await open_subscribed_page(seller, cast.gil)
    for seats in (5, 6):
        seller.advance(timedelta(days=3))
        await send_event(page, "open_seats_dialog")
        await send_event(page, "preview_seats", seats)
        assert len(page.lines) == 2, "what is taken back and what is added"
        await send_event(page, "confirm_change", {"seats": str(seats)})
        assert page.dialog == ""


async def test_removed_addon_is_not_announced_as_available(cast: Cast, seller: MemoryProvider) -> None:
    page = await open_subscribed_page(seller, cast.gil)
    await send_event(page, "preview_add_addon", SEATS)
    assert "New features are available" in str(await send_event(page, "confirm_change", {}))
    await send_event(page, "preview_remove_addon", SEATS)
    assert "No charge now" in str(await send_event(page, "confirm_change", {}))


async def test_outdated_preview_is_shown_again_instead_of_confirmed(
    cast: Cast, seller: MemoryProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    page, other = await open_subscribed_page(seller, cast.gil), await open_billing_page(cast.gil)
    await send_event(page, "preview_add_addon", SEATS)
    await send_event(other, "open_seats_dialog")
    await send_event(other, "preview_seats", 6)
    await send_event(other, "confirm_change", {"seats": "6"})
    assert "has changed." in str(await send_event(page, "confirm_change", {}))
    assert (page.dialog, page.next_price) == ("change", "$210.00 a month, plus usage")
    monkeypatch.setattr(changes, "QUOTE_LIFETIME", timedelta(0))
    assert "out of date" in str(await send_event(page, "confirm_change", {}))
    monkeypatch.undo()
    await send_event(page, "confirm_change", {})
    assert [addon.count for addon in page.addons] == [1, 0]


async def test_number_other_than_the_previewed_one_is_not_confirmed(
    cast: Cast, seller: MemoryProvider
) -> None:
    page = await open_subscribed_page(seller, cast.gil)
    await send_event(page, "open_seats_dialog")
    assert "Nothing has been charged" in str(await send_event(page, "confirm_change", {"seats": "9"}))
    assert (page.dialog, page.seats_bought, page.seats) == ("change", 3, "9")
    await send_event(page, "confirm_change", {"seats": "9"})
    assert page.seats_bought == 9


async def test_invalid_number_of_seats_is_explained_in_the_dialog(cast: Cast, seller: MemoryProvider) -> None:
    page = await open_subscribed_page(seller, cast.ann)
    await send_event(page, "open_seats_dialog")
    for wrong in (0.0, -1.0, 2.5, float("nan"), 1e12, "many", None):
        await send_event(page, "preview_seats", wrong)
        assert "whole number" in page.problem
    await send_event(page, "preview_seats", 2)
    assert (
        page.problem
        == "You’re using 3 seats, but Pro would have only 2. Remove 1 member or invitation, or choose more seats."
    )
    await send_event(page, "preview_seats", 1)
    assert (
        page.problem
        == "You’re using 3 seats, but Pro would have only 1. Remove 2 members or invitations, or choose more seats."
    )
    await send_event(page, "preview_seats", 26)
    assert "at most 25 seats" in page.problem
    assert page.seats_bought == 3
    seller.fail_next(ProviderDown("no answer"), verb="preview")
    await send_event(page, "preview_seats", 7)
    assert "isn’t responding" in page.problem


async def test_subscription_is_cancelled_and_resumed(cast: Cast, seller: MemoryProvider) -> None:
    page = await open_subscribed_page(seller, cast.gil)
    await send_event(page, "open_dialog", "cancel")
    await send_event(page, "cancel_subscription", {"why": "because"})
    assert (await page.get_state(FieldErrors)).errors == {"why": "This isn’t one of the answers."}
    assert (page.dialog, page.ends_at) == ("cancel", "")
    await send_event(page, "cancel_subscription", {"why": "too_expensive", "comment": " Too\nmuch "})
    deal = list(seller.deals.values())[-1]
    assert (deal.farewell.feedback, deal.farewell.comment) == ("too_expensive", "Too much")
    assert (page.dialog, page.next_amount, page.next_note) == (
        *("", "None", "Usage until then is charged too"),
    )
    assert page.ends_at
    await send_event(page, "resume_subscription")
    assert page.ends_at == ""


async def subscribe_to_starter(seller: MemoryProvider, person: Person, *, card: bool = True) -> str:
    """A paid subscription without metered prices."""
    page = await open_billing_page(person)
    await send_event(page, "choose_plan", "plv_starter_1")
    deal = seller.pay(list(seller.carts)[-1])
    seller.deals[deal].ends = seller.deals[deal].trial_until = seller.clock
    seller.advance(timedelta(seconds=1))
    seller.set_card(seller.deals[deal].buyer, pays=card)
    await shared_provider.return_from_provider(person)
    return deal


async def test_next_invoice_is_the_one_that_the_provider_charges(cast: Cast, seller: MemoryProvider) -> None:
    deal = await subscribe_to_starter(seller, cast.gil)
    seller.advance(timedelta(days=10))
    page = await open_billing_page(cast.gil)
    await send_event(page, "choose_plan", PRO)
    await send_event(page, "preview_seats", 4)
    await send_event(page, "confirm_change", {"seats": "4"})
    buyer = seller.buyers[seller.deals[deal].buyer]
    await seller.add_credit(buyer.id, 700, "usd", "Goodwill", "adj_page")
    await shared_provider.return_from_provider(cast.gil)
    await send_event(page, "load")
    assert page.next_amount != "$80.00"  # four seats by the price list
    assert page.next_note == "Your credit of $7.00 is used first"
    assert [line.text for line in page.next_lines][-1] == "Balance of earlier invoices and credits"
    assert page.next_lines[-1].amount == "−$7.00"
    seller.advance(timedelta(days=21))
    newest = seller.get_newest_bill(deal)
    assert page.next_amount == money.format_amount(newest.sum - newest.from_wallet, "usd")


async def test_nothing_more_is_charged_is_said_only_where_it_is_so(
    cast: Cast, seller: MemoryProvider
) -> None:
    deal = await subscribe_to_starter(seller, cast.gil)
    page = await open_billing_page(cast.gil)
    assert (page.remaining_text, page.void_note) == ("You won’t be charged again.", "")
    seller.advance(timedelta(days=10))
    await send_event(page, "preview_add_addon", SEATS)
    await send_event(page, "confirm_change", {})
    assert len(page.remaining_lines) == 1
    toast = str(await send_event(page, "cancel_subscription", {"why": "unused"}))
    assert "be charged again" not in toast
    pending = page.next_amount
    assert page.remaining_text == f"{pending} for changes is charged when it ends."
    assert page.next_label == "Last invoice"
    seller.advance(timedelta(days=21))
    newest = seller.get_newest_bill(deal)
    assert money.format_amount(newest.sum, "usd") == pending


async def test_subscription_is_cancelled_without_an_answer(cast: Cast, seller: MemoryProvider) -> None:
    page = await open_subscribed_page(seller, cast.gil)
    await send_event(page, "cancel_subscription", {})
    assert page.ends_at
    deal = list(seller.deals.values())[-1]
    assert (deal.farewell.feedback, deal.farewell.comment) == ("", "")


async def test_draft_of_the_renewal_is_charged_after_cancelling(cast: Cast, seller: MemoryProvider) -> None:
    deal = await subscribe_to_starter(seller, cast.gil)
    bill = seller.get_newest_bill(deal)
    bill.state, bill.at = "draft", now() - timedelta(minutes=20)
    await shared_provider.return_from_provider(cast.gil)
    page = await open_billing_page(cast.gil)
    assert page.remaining_text == "$29.00 for the period that has begun is charged within the hour."
    assert page.open_invoice.id == "", "a draft can't be paid"
    bill.at = now() - timedelta(days=1)
    await shared_provider.return_from_provider(cast.gil)
    await send_event(page, "load")
    assert page.remaining_text == "$29.00 is on a draft invoice and may still be charged."


async def test_trial_without_a_payment_method_has_no_next_invoice(cast: Cast, seller: MemoryProvider) -> None:
    page = await open_billing_page(cast.gil)
    await send_event(page, "choose_plan", "plv_starter_1")
    seller.pay(list(seller.carts)[-1], card=None)
    await shared_provider.return_from_provider(cast.gil)
    await send_event(page, "load")
    assert (page.subscribed, page.next_amount, page.next_lines) == (True, "None", [])
    assert page.next_note == "Nothing is charged unless you add a payment method"


async def test_charges_that_the_provider_does_not_tell_are_not_invented(
    cast: Cast, seller: MemoryProvider
) -> None:
    seller.tells_upcoming = False
    try:
        await subscribe_to_starter(seller, cast.gil)
    finally:
        seller.tells_upcoming = True
    page = await open_billing_page(cast.gil)
    assert (page.next_amount, page.next_at, page.next_lines) == ("Not known", "", [])
    assert "be charged again" not in page.remaining_text


async def test_overdue_invoice_is_voided_when_the_subscription_ends_now(
    cast: Cast, seller: MemoryProvider
) -> None:
    deal = await subscribe_to_starter(seller, cast.gil, card=False)
    seller.advance(timedelta(days=32))
    await shared_provider.return_from_provider(cast.gil)
    page = await open_billing_page(cast.gil)
    assert page.remaining_text == "$29.00 is overdue and still collected."
    assert page.cancel_text == "$29.00 is overdue and still collected, unless you end now."
    assert page.void_note.startswith("You lose access now, and we void TXN_")
    toast = str(await send_event(page, "cancel_subscription", voiding_form(page)))
    assert "Subscription ended" in toast
    assert "1 unpaid invoice was voided." in toast
    assert seller.deals[deal].state == "over"
    seller.set_card(seller.deals[deal].buyer, pays=True)
    assert [bill.state for bill in seller.transactions.values() if bill.deal == deal] == ["settled", "waived"]
    assert page.open_invoice.id == ""
    async with cast.gil.ctx() as ctx:
        events = (await audit_log.list_events(ctx)).rows
    assert "billing.void_asked" in [event.action for event in events]


def voiding_form(page: Any) -> dict[str, str]:
    return {"why": "unused", "comment": "", "voids_unpaid": "on", "void_ids": page.void_ids}


@pytest.mark.parametrize("shown", ["", "{} {}_2", "txn_other"])
async def test_nothing_is_voided_that_the_page_did_not_name(
    cast: Cast, seller: MemoryProvider, shown: str
) -> None:
    page, deal = await open_overdue_page(cast, seller)
    form = voiding_form(page) | {"void_ids": shown.format(page.void_ids, page.void_ids)}
    with pytest.raises(Conflict, match="changed since you opened it") as caught:
        await send_event(page, "cancel_subscription", form)
    assert "Reload" in caught.value.next_step
    assert seller.deals[deal].state == "behind"


async def open_overdue_page(cast: Cast, seller: MemoryProvider) -> tuple[Any, str]:
    """The page, and the subscription, whose renewal isn't paid."""
    deal = await subscribe_to_starter(seller, cast.gil, card=False)
    seller.advance(timedelta(days=32))
    await shared_provider.return_from_provider(cast.gil)
    return await open_billing_page(cast.gil), deal


async def test_invoice_is_overdue_only_after_an_attempt(cast: Cast, seller: MemoryProvider) -> None:
    page, deal = await open_overdue_page(cast, seller)
    bill = seller.get_newest_bill(deal)
    bill.tries = 0
    await shared_provider.return_from_provider(cast.gil)
    await send_event(page, "load")
    assert page.remaining_text == "$29.00 is open and still collected."
    assert page.remaining_lines[0].text.startswith("Open invoice TXN_")


def test_voided_invoices_are_counted() -> None:
    assert remaining_rows.describe_voided(2) == "2 unpaid invoices were voided."


async def test_nothing_ends_when_the_invoice_was_paid_meanwhile(cast: Cast, seller: MemoryProvider) -> None:
    page, deal = await open_overdue_page(cast, seller)
    seller.set_card(seller.deals[deal].buyer, pays=True)
    with pytest.raises(Conflict, match="was paid in the meantime"):
        await send_event(page, "cancel_subscription", voiding_form(page))
    assert seller.deals[deal].state == "running"
    await send_event(page, "load")
    assert page.open_invoice.id == "", "the refusal has brought our records up to date"


async def test_void_that_failed_after_the_end_is_repeated(cast: Cast, seller: MemoryProvider) -> None:
    page, deal = await open_overdue_page(cast, seller)
    seller.fail_next(ProviderDown("no answer"), verb="void")
    with pytest.raises(Conflict, match="has ended, but an unpaid invoice") as caught:
        await send_event(page, "cancel_subscription", voiding_form(page))
    assert "void it again" in caught.value.next_step
    await send_event(page, "load")
    assert (page.subscribed, seller.deals[deal].state) == (False, "over")
    assert page.void_note.startswith("The subscription has ended. You can void TXN_")
    assert "Voided" in str(await send_event(page, "void_invoices"))
    assert [bill.state for bill in seller.transactions.values() if bill.deal == deal] == ["settled", "waived"]
    assert page.void_note == ""


async def test_invoice_paid_while_its_subscription_ends_is_told(
    cast: Cast, seller: MemoryProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    page, deal = await open_overdue_page(cast, seller)
    end = seller.cancel_subscription

    async def pay_and_end(subscription_id: str, **params: Any) -> None:
        seller.set_card(seller.deals[deal].buyer, pays=True)
        await end(subscription_id, **params)

    monkeypatch.setattr(seller, "cancel_subscription", pay_and_end)
    with pytest.raises(Conflict, match="paid at the same moment") as caught:
        await send_event(page, "cancel_subscription", voiding_form(page))
    assert "refund" in caught.value.next_step
    assert [bill.state for bill in seller.transactions.values() if bill.deal == deal] == [
        "settled",
        "settled",
    ]


async def test_nothing_is_voided_where_nothing_is_overdue(cast: Cast, seller: MemoryProvider) -> None:
    deal = await subscribe_to_starter(seller, cast.gil)
    page = await open_billing_page(cast.gil)
    with pytest.raises(Conflict, match="No unpaid invoice"):
        await send_event(page, "cancel_subscription", voiding_form(page))
    assert seller.deals[deal].state == "running"


async def test_invoice_of_another_tenant_is_not_found(cast: Cast, seller: MemoryProvider) -> None:
    gil = await open_subscribed_page(seller, cast.gil)
    assert gil.invoice_rows
    await send_event(gil, "show_invoice", gil.invoice_rows[0].id)
    assert (gil.dialog, gil.invoice.id) == ("invoice", gil.invoice_rows[0].id)
    ann = await open_billing_page(cast.ann)
    assert ann.invoice_rows == []
    for strange in (gil.invoice_rows[0].id, "in_nobody"):
        with pytest.raises(NotFound, match="invoice doesn’t exist"):
            await send_event(ann, "show_invoice", strange)
    for forged in ("", "\0", 7, None, "x" * 300):
        with pytest.raises(Invalid):
            await send_event(ann, "show_invoice", forged)


async def test_quote_of_another_tenant_is_not_confirmed(cast: Cast, seller: MemoryProvider) -> None:
    gil, ann = (
        await open_subscribed_page(seller, cast.gil),
        await open_subscribed_page(seller, cast.ann, seats=5),
    )
    await send_event(gil, "open_seats_dialog")
    await send_event(gil, "preview_seats", 4)
    ann._quote = gil._quote
    with pytest.raises(NotFound):
        await send_event(ann, "confirm_change", {"seats": "4"})


@pytest.mark.parametrize("forged", [PRO[:3], "plv_nobody", 7, None, ["x"]])
async def test_plan_that_is_not_on_the_page_is_refused(
    cast: Cast, seller: MemoryProvider, forged: Any
) -> None:
    page = await open_billing_page(cast.gil)
    for name in ("choose_plan", "preview_add_addon", "preview_remove_addon"):
        with pytest.raises(Invalid):
            await send_event(page, name, forged)
    with pytest.raises(Invalid):
        await send_event(page, "choose_period", forged)
    assert page.dialog == ""


async def test_billing_page_is_refused_for_a_member(cast: Cast, seller: MemoryProvider) -> None:
    page = opens(BillingState, cast.max.cookie, f"/t/{cast.max.slug}/billing")
    await send_event(page, "load")
    assert not page.loaded
    for name, payload in (
        ("open_details", ()),
        ("save_details", ({"name": "Acme", "email": "bills@acme.test"},)),
        ("open_portal", ()),
        ("resume_subscription", ()),
        ("check_payment", ()),
        ("void_invoices", ()),
        ("cancel_subscription", ({"why": "other"},)),
    ):
        with pytest.raises(Refused):
            await send_event(page, name, *payload)


async def test_provider_outage_is_explained(cast: Cast, seller: MemoryProvider) -> None:
    page = await open_billing_page(cast.gil)
    seller.fail_next(ProviderDown("no answer"), verb="portal")
    with pytest.raises(Conflict, match="isn’t responding"):
        await send_event(page, "open_portal")
    assert "window.location.assign" in str(await send_event(page, "open_portal"))


async def test_cancelling_for_another_reason_is_another_request(cast: Cast, seller: MemoryProvider) -> None:
    """The reason is sent along, and the provider refuses two different requests with one key."""
    await subscribe_to_starter(seller, cast.gil)
    keys = []
    for reason_code in ("unused", "too_expensive", "unused"):
        async with cast.gil.ctx() as ctx:
            request = await cancellation.prepare_cancel(ctx, reason_code)
        keys += request.keys.values()
    assert keys[0] == keys[2] != keys[1]
