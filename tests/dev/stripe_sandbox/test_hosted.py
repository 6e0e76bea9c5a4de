"""The hosted pages as a browser without script meets them: every honest status, and nothing that was typed as markup."""

import re
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import stripe

from shared.dev.stripe_sandbox import words
from tests.dev.stripe_sandbox.standing import Standing, standing
from tests.dev.stripe_sandbox.test_invoice_pdf import texts

pytestmark = pytest.mark.anyio
PAYS, DECLINED, FAILS_LATER = "4242 4242 4242 4242", "4000000000000002", "4000 0000 0000 0341"
BACK = "http://127.0.0.1:9/back"
BAD = '"><script>alert(1)</script>'


@pytest.fixture(scope="module")
async def all_stand() -> AsyncIterator[Standing]:
    async with standing() as made:
        yield made


@pytest.fixture
def stand(all_stand: Standing) -> Standing:
    return all_stand.another()


class Shop:
    """What is sold, and one customer."""

    def __init__(self, stand: Standing) -> None:
        self.stand = stand
        self.client = stand.stripe()

    async def opens(self, name: str = "Business") -> None:
        v1 = self.client.v1
        product = await self.stand.ask(v1.products.create, {"name": name})
        self.seat = await self.stand.ask(
            v1.prices.create,
            {
                "product": product.id,
                "currency": "usd",
                "unit_amount": 2000,
                "recurring": {"interval": "month"},
            },
        )
        self.customer = await self.stand.ask(v1.customers.create, {"name": "Acme", "email": "ann@acme.test"})

    async def checkout(self, **sent: Any) -> stripe.checkout.Session:
        plain = {
            "mode": "subscription",
            "customer": self.customer.id,
            "line_items": [{"price": self.seat.id, "quantity": 3}],
            "success_url": f"{BACK}?paid={{CHECKOUT_SESSION_ID}}",
            "cancel_url": f"{BACK}?left",
        }
        known = {key: value for key, value in (plain | sent).items() if value is not None}
        return await self.stand.ask(self.client.v1.checkout.sessions.create, known)

    async def saved(self, session: stripe.checkout.Session) -> stripe.checkout.Session:
        return await self.stand.ask(self.client.v1.checkout.sessions.retrieve, session.id)

    async def subscriptions(self) -> list[stripe.Subscription]:
        sent = {"customer": self.customer.id, "status": "all"}
        return (await self.stand.ask(self.client.v1.subscriptions.list, sent)).data

    async def invoices(self) -> list[stripe.Invoice]:
        return (await self.stand.ask(self.client.v1.invoices.list, {"customer": self.customer.id})).data

    async def subscribes(self, card: str = PAYS, **sent: Any) -> stripe.Subscription:
        session = await self.checkout(**sent)
        assert (await self.pays(session, card)).status_code == 303
        return (await self.subscriptions())[0]

    async def pays(self, session: stripe.checkout.Session, card: str = PAYS) -> httpx.Response:
        return await self.stand.http.post(str(session.url), data={"card": card})

    async def portal(self, **more: Any) -> str:
        sent = {"customer": self.customer.id, "return_url": f"{BACK}?portal"} | more
        return (await self.stand.ask(self.client.v1.billing_portal.sessions.create, sent)).url

    async def looks(self, address: str) -> httpx.Response:
        return await self.stand.http.get(address)


@pytest.fixture
async def shop(stand: Standing) -> Shop:
    made = Shop(stand)
    await made.opens()
    return made


def plain(page: httpx.Response) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", page.text).split())


# Checkout


async def test_the_page_says_what_is_bought_and_what_is_due(shop: Shop) -> None:
    page = await shop.looks(str((await shop.checkout()).url))
    assert page.status_code == 200
    for part in (
        "Test stand-in, no real card",
        "Subscribe to Business",
        "$60.00 a month",
        "3 × $20.00 a month",
        "Due today $60.00",
        "Pay $60.00",
    ):
        assert part in plain(page)
    assert f'href="{BACK}?left"' in page.text
    assert 'value="ann@acme.test"' in page.text


async def test_a_card_that_pays_goes_to_the_success_address(shop: Shop) -> None:
    session = await shop.checkout()
    answer = await shop.pays(session)
    assert (answer.status_code, answer.headers["location"]) == (303, f"{BACK}?paid={session.id}")
    assert (await shop.saved(session)).status == "complete"
    [subscription] = await shop.subscriptions()
    assert (subscription.status, subscription["items"].data[0].quantity) == ("active", 3)


async def test_a_declined_card_stays_on_the_page_and_another_may_pay(shop: Shop) -> None:
    session = await shop.checkout()
    for card, said in (
        (DECLINED, "Your card was declined."),
        ("1234", "Your card number is incorrect."),
        ("", "Your card number is incorrect."),
        (FAILS_LATER, "Your card was declined."),
    ):
        page = await shop.pays(session, card)
        assert page.status_code == 402
        assert f'role="alert">{said}' in page.text
    assert (await shop.saved(session)).status == "open"
    assert await shop.subscriptions() == []
    assert (await shop.pays(session)).status_code == 303


async def test_a_trial_costs_nothing_today_and_takes_a_card_that_fails_later(shop: Shop) -> None:
    session = await shop.checkout(subscription_data={"trial_period_days": 14})
    page = plain(await shop.looks(str(session.url)))
    free = words.day(shop.stand.account.now() + 14 * 86_400)
    for part in (
        "Try Business",
        f"Free until {free}, then $60.00 a month.",
        "Due today $0.00",
        "Start trial",
    ):
        assert part in page
    assert (await shop.pays(session, FAILS_LATER)).status_code == 303
    assert (await shop.subscriptions())[0].status == "trialing"
    await shop.stand.pull("renew", customer=shop.customer.id)
    assert (await shop.subscriptions())[0].status == "past_due"


async def test_a_trial_without_a_card_where_the_session_allows_it(shop: Shop) -> None:
    needs = await shop.checkout(subscription_data={"trial_period_days": 14})
    assert "without a card" not in (await shop.looks(str(needs.url))).text
    refused = await shop.stand.http.post(str(needs.url), data={"without": "card"})
    assert refused.status_code == 402
    session = await shop.checkout(
        subscription_data={"trial_period_days": 14}, payment_method_collection="if_required"
    )
    assert "Start trial without a card" in plain(await shop.looks(str(session.url)))
    answer = await shop.stand.http.post(str(session.url), data={"card": "", "without": "card"})
    assert answer.status_code == 303
    assert (await shop.subscriptions())[0].status == "trialing"


async def test_use_is_said_to_be_billed_afterwards(shop: Shop) -> None:
    client = shop.client
    meter = await shop.stand.ask(
        client.v1.billing.meters.create,
        {"display_name": "API calls", "event_name": "calls", "default_aggregation": {"formula": "sum"}},
    )
    use = await shop.stand.ask(
        client.v1.prices.create,
        {
            "product_data": {"name": "API calls"},
            "currency": "usd",
            "unit_amount_decimal": "0.5",
            "recurring": {"interval": "month", "usage_type": "metered", "meter": meter.id},
        },
    )
    session = await shop.checkout(line_items=[{"price": shop.seat.id, "quantity": 1}, {"price": use.id}])
    page = plain(await shop.looks(str(session.url)))
    assert "API calls $0.005, billed afterwards By use" in page
    assert "Due today $20.00" in page


async def test_a_session_that_is_over_says_so_and_charges_nothing(shop: Shop) -> None:
    paid = await shop.checkout()
    address = str(paid.url)
    await shop.pays(paid)
    again = await shop.stand.http.post(address, data={"card": PAYS})
    assert again.status_code == 409
    assert "completed before" in again.text
    assert (await shop.looks(address)).status_code == 200
    assert len(await shop.subscriptions()) == 1
    left = await shop.checkout()
    await shop.stand.ask(shop.client.v1.checkout.sessions.expire, left.id)
    gone = await shop.looks(str(left.url))
    assert gone.status_code == 410
    assert "has expired" in gone.text
    assert f"{BACK}?left" in gone.text
    assert (await shop.pays(left)).status_code == 409


async def test_a_session_expires_by_its_clock(shop: Shop) -> None:
    session = await shop.checkout()
    await shop.stand.pull("advance", days=2)
    assert (await shop.looks(str(session.url))).status_code == 410


async def test_whoever_looks_sees_what_fell_due_meanwhile(shop: Shop) -> None:
    session = await shop.checkout()
    shop.stand.account.settings["offset"] += 2 * 86_400
    assert (await shop.looks(str(session.url))).status_code == 410


async def test_setup_saves_a_card_and_charges_nothing(shop: Shop) -> None:
    session = await shop.checkout(mode="setup", line_items=None, currency="usd")
    page = plain(await shop.looks(str(session.url)))
    assert "Save a payment method" in page
    assert "Save card" in page
    assert "Due today" not in page
    assert (await shop.pays(session, DECLINED)).status_code == 402
    assert (await shop.pays(session)).status_code == 303
    methods = await shop.stand.ask(shop.client.v1.customers.payment_methods.list, shop.customer.id)
    assert [one.card.last4 for one in methods.data] == ["4242"]
    assert await shop.invoices() == []


async def test_pages_that_are_not_there(shop: Shop) -> None:
    for path in ("c/cs_test_nothing", "p/bps_nothing", "i/in_nothing", "i/in_nothing/pdf"):
        page = await shop.looks(f"{shop.stand.url}/{path}")
        assert page.status_code == 404
        assert "text/html" in page.headers["content-type"]
    for path in ("c/cs_test_nothing", "p/bps_nothing/card", "p/bps_nothing/cancel", "i/in_nothing/pay"):
        assert (
            await shop.stand.http.post(f"{shop.stand.url}/{path}", data={"card": PAYS})
        ).status_code == 404


# Portal


async def test_the_portal_shows_the_plan_the_card_and_the_invoices(shop: Shop) -> None:
    await shop.subscribes()
    page = await shop.looks(await shop.portal())
    for part in (
        "Acme, ann@acme.test",
        "Business",
        "3 × $20.00 a month",
        "Active",
        "Renews on",
        "Visa ending 4242",
    ):
        assert part in plain(page)
    [invoice] = await shop.invoices()
    assert "$60.00" in page.text
    assert f"/i/{invoice.id}/pdf" in page.text
    assert f'href="{BACK}?portal"' in page.text


async def test_an_empty_portal_says_what_to_do(shop: Shop) -> None:
    page = plain(await shop.looks(await shop.portal()))
    assert "No subscription. Choose a plan" in page
    assert "No invoice yet." in page
    assert "No payment method" in page


async def test_cancel_asks_first_ends_at_the_period_and_can_be_taken_back(shop: Shop) -> None:
    subscription = await shop.subscribes()
    portal = await shop.portal()
    asked = await shop.looks(f"{portal}?cancel={subscription.id}")
    assert "Cancel this subscription?" in asked.text
    assert (await shop.subscriptions())[0].cancel_at_period_end is False
    done = await shop.stand.http.post(
        f"{portal}/cancel", data={"subscription": subscription.id}, follow_redirects=True
    )
    assert done.history[0].status_code == 303
    assert "not renewed" in plain(done)
    assert (await shop.subscriptions())[0].cancel_at_period_end is True
    back = await shop.stand.http.post(
        f"{portal}/resume", data={"subscription": subscription.id}, follow_redirects=True
    )
    assert "Renews on" in plain(back)
    assert (await shop.subscriptions())[0].cancel_at_period_end is False
    twice = await shop.stand.http.post(f"{portal}/resume", data={"subscription": subscription.id})
    assert twice.status_code == 400
    assert 'role="alert"' in twice.text


async def test_the_portal_offers_what_its_configuration_does(shop: Shop) -> None:
    subscription = await shop.subscribes()
    off = {"enabled": False}
    features = {"subscription_cancel": off, "payment_method_update": off, "invoice_history": off}
    make = shop.client.v1.billing_portal.configurations.create
    bare = await shop.portal(configuration=(await shop.stand.ask(make, {"features": features})).id)
    page = plain(await shop.looks(bare))
    for word in ("Cancel subscription", "Replace it", "Invoices"):
        assert word not in page
    assert "Cancel this subscription?" not in (await shop.looks(f"{bare}?cancel={subscription.id}")).text
    refused = await shop.stand.http.post(f"{bare}/cancel", data={"subscription": subscription.id})
    assert refused.status_code == 400
    assert (await shop.stand.http.post(f"{bare}/card", data={"card": PAYS})).status_code == 400
    features["subscription_cancel"] = {"enabled": True, "mode": "immediately"}
    now = await shop.portal(configuration=(await shop.stand.ask(make, {"features": features})).id)
    assert "It ends at once." in (await shop.looks(f"{now}?cancel={subscription.id}")).text
    await shop.stand.http.post(f"{now}/cancel", data={"subscription": subscription.id})
    assert (await shop.subscriptions())[0].status == "canceled"


async def test_a_new_card_pays_what_is_open(shop: Shop) -> None:
    await shop.subscribes()
    await shop.stand.pull("replace-card", customer=shop.customer.id, card="4000000000000341")
    await shop.stand.pull("renew", customer=shop.customer.id)
    assert (await shop.subscriptions())[0].status == "past_due"
    portal = await shop.portal()
    assert "Past due" in (await shop.looks(portal)).text
    for card in (DECLINED, "12"):
        refused = await shop.stand.http.post(f"{portal}/card", data={"card": card})
        assert refused.status_code == 402
        assert 'role="alert"' in refused.text
    done = await shop.stand.http.post(f"{portal}/card", data={"card": PAYS}, follow_redirects=True)
    assert "Your payment method is replaced." in done.text
    assert "Visa ending 4242" in done.text
    assert (await shop.subscriptions())[0].status == "active"


async def test_the_next_charge_fails_once_whatever_the_card(shop: Shop) -> None:
    await shop.subscribes()
    await shop.stand.pull("fail-renewal", customer=shop.customer.id)
    await shop.stand.pull("renew", customer=shop.customer.id)
    assert (await shop.subscriptions())[0].status == "past_due"
    await shop.stand.pull("advance", days=4)
    assert (await shop.subscriptions())[0].status == "active"


async def test_nobody_cancels_anothers_subscription_in_their_portal(shop: Shop) -> None:
    theirs = await shop.subscribes()
    mine = Shop(shop.stand)
    await mine.opens()
    portal = await mine.portal()
    refused = await shop.stand.http.post(f"{portal}/cancel", data={"subscription": theirs.id})
    assert refused.status_code == 404
    assert "Cancel this subscription?" not in (await shop.looks(f"{portal}?cancel={theirs.id}")).text
    assert (await shop.subscriptions())[0].cancel_at_period_end is False


async def test_the_portal_of_a_deleted_customer_is_closed(shop: Shop) -> None:
    portal = await shop.portal()
    await shop.stand.ask(shop.client.v1.customers.delete, shop.customer.id)
    assert (await shop.looks(portal)).status_code == 404
    assert (await shop.stand.http.post(f"{portal}/card", data={"card": PAYS})).status_code == 404


# Invoices


async def test_an_invoice_as_page_and_as_pdf(shop: Shop) -> None:
    await shop.subscribes()
    [invoice] = await shop.invoices()
    page = await shop.looks(str(invoice.hosted_invoice_url))
    assert page.status_code == 200
    for part in (f"Invoice {invoice.number}", "Paid", "$60.00", "Acme"):
        assert part in plain(page)
    assert "Pay this invoice" not in page.text
    paper = await shop.looks(str(invoice.invoice_pdf))
    assert (paper.status_code, paper.headers["content-type"]) == (200, "application/pdf")
    assert f'filename="invoice-{invoice.number}.pdf"' in paper.headers["content-disposition"]
    [said] = texts(paper.content)
    assert {str(invoice.number), "$60.00 paid", "Acme", "ann@acme.test"} < set(said)


async def test_an_open_invoice_can_be_paid_where_it_is_shown(shop: Shop) -> None:
    await shop.subscribes()
    await shop.stand.pull("fail-renewal", customer=shop.customer.id)
    await shop.stand.pull("renew", customer=shop.customer.id)
    invoice = next(one for one in await shop.invoices() if one.status == "open")
    address = str(invoice.hosted_invoice_url)
    assert "Pay $60.00" in (await shop.looks(address)).text
    for card in (DECLINED, FAILS_LATER):
        refused = await shop.stand.http.post(f"{address}/pay", data={"card": card})
        assert refused.status_code == 402
        assert 'role="alert"' in refused.text
    done = await shop.stand.http.post(f"{address}/pay", data={"card": PAYS}, follow_redirects=True)
    assert "Pay this invoice" not in done.text
    assert [one.status for one in await shop.invoices()] == ["paid", "paid"]
    again = await shop.stand.http.post(f"{address}/pay", data={"card": PAYS})
    assert again.status_code == 303


# What nobody may do to a page


async def test_nothing_that_was_typed_or_named_comes_back_as_markup(stand: Standing) -> None:
    shop = Shop(stand)
    await shop.opens(name=f"Plan {BAD}")
    await stand.ask(shop.client.v1.customers.update, shop.customer.id, {"name": BAD})
    session = await shop.checkout()
    pages = [await shop.looks(str(session.url)), await shop.pays(session, BAD)]
    assert (await shop.pays(session)).status_code == 303
    portal = await shop.portal()
    pages += [
        await shop.looks(portal),
        await shop.looks(f"{portal}?done={BAD}&cancel={BAD}"),
        await stand.http.post(f"{portal}/card", data={"card": BAD}),
        await stand.http.post(f"{portal}/cancel", data={"subscription": BAD}),
        await shop.looks(str((await shop.invoices())[0].hosted_invoice_url)),
        await shop.looks(f"{stand.url}/_control?account={stand.key}"),
    ]
    for page in pages:
        assert "<script" not in page.text
        assert "default-src 'none'" in page.headers["content-security-policy"]


@pytest.mark.parametrize("address", ["javascript:alert(1)", "data:text/html,x", "//evil.test", ""])
def test_browsers_are_sent_to_addresses_only(address: str) -> None:
    assert words.link(address) == ""
    assert words.link(BACK) == BACK


async def test_the_look_is_served_with_the_pages(stand: Standing) -> None:
    sheet = await stand.http.get(f"{stand.url}/_look.css")
    assert sheet.headers["content-type"].startswith("text/css")
    assert (await stand.http.get(f"{stand.url}/_font.woff2")).status_code == 200


# Words


@pytest.mark.parametrize(
    ("amount", "currency", "said"),
    [
        (0, "usd", "$0.00"),
        (123456789, "usd", "$1,234,567.89"),
        (-2050, "eur", "−€20.50"),
        (500, "jpy", "JPY 500"),
        (1, "chf", "CHF 0.01"),
    ],
)
def test_money(amount: int, currency: str, said: str) -> None:
    assert words.money(amount, currency) == said


@pytest.mark.parametrize(("exact", "said"), [("0.5", "$0.005"), ("2000", "$20.00"), ("0.0125", "$0.000125")])
def test_parts_of_a_cent_are_kept(exact: str, said: str) -> None:
    assert words.unit({"unit_amount_decimal": exact, "currency": "usd"}) == said
