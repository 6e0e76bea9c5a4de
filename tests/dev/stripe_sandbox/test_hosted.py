"""The hosted pages in a browser without scripts: statuses, payments, portal and escaped markup."""

import re
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import stripe

from shared.dev.stripe_sandbox import formatting
from shared.dev.stripe_sandbox.portal import save_default_settings
from tests.dev.stripe_sandbox.sandbox_server import RunningSandbox, run_sandbox
from tests.dev.stripe_sandbox.test_invoice_pdf import extract_texts

pytestmark = pytest.mark.anyio
CONFIRMED_CARD = "4000002760003184"
PAYING_CARD, DECLINED_CARD, LATER_FAILING_CARD = (
    "4242 4242 4242 4242",
    "4000000000000002",
    "4000 0000 0000 0341",
)
BACK_URL = "http://127.0.0.1:9/back"
MARKUP = '"><script>alert(1)</script>'


@pytest.fixture(scope="module")
async def shared_server() -> AsyncIterator[RunningSandbox]:
    async with run_sandbox() as server:
        yield server


@pytest.fixture
def sandbox_server(shared_server: RunningSandbox) -> RunningSandbox:
    return shared_server.with_new_key()


class HostedMerchant:
    """What is sold, and one customer."""

    def __init__(self, sandbox_server: RunningSandbox) -> None:
        self.server = sandbox_server
        self.client = sandbox_server.build_client()

    async def set_up(self, name: str = "Business") -> None:
        v1 = self.client.v1
        save_default_settings(self.server.account)
        product = await self.server.call_sdk(v1.products.create, {"name": name})
        self.seat_price = await self.server.call_sdk(
            v1.prices.create,
            {
                "product": product.id,
                "currency": "usd",
                "unit_amount": 2000,
                "recurring": {"interval": "month"},
            },
        )
        self.customer = await self.server.call_sdk(
            v1.customers.create, {"name": "Acme", "email": "ann@acme.test"}
        )

    async def create_session(self, **params: Any) -> stripe.checkout.Session:
        defaults = {
            "mode": "subscription",
            "customer": self.customer.id,
            "line_items": [{"price": self.seat_price.id, "quantity": 3}],
            "success_url": f"{BACK_URL}?paid={{CHECKOUT_SESSION_ID}}",
            "cancel_url": f"{BACK_URL}?left",
        }
        session_params = {key: value for key, value in (defaults | params).items() if value is not None}
        return await self.server.call_sdk(self.client.v1.checkout.sessions.create, session_params)

    async def reload_session(self, session: stripe.checkout.Session) -> stripe.checkout.Session:
        return await self.server.call_sdk(self.client.v1.checkout.sessions.retrieve, session.id)

    async def list_subscriptions(self) -> list[stripe.Subscription]:
        params = {"customer": self.customer.id, "status": "all"}
        return (await self.server.call_sdk(self.client.v1.subscriptions.list, params)).data

    async def list_invoices(self) -> list[stripe.Invoice]:
        return (await self.server.call_sdk(self.client.v1.invoices.list, {"customer": self.customer.id})).data

    async def subscribe(self, card: str = PAYING_CARD, **params: Any) -> stripe.Subscription:
        session = await self.create_session(**params)
        assert (await self.submit_card(session, card)).status_code == 303
        return (await self.list_subscriptions())[0]

    async def submit_card(self, session: stripe.checkout.Session, card: str = PAYING_CARD) -> httpx.Response:
        return await self.server.http.post(str(session.url), data={"card": card})

    async def create_portal_url(self, **more: Any) -> str:
        params = {"customer": self.customer.id, "return_url": f"{BACK_URL}?portal"} | more
        return (await self.server.call_sdk(self.client.v1.billing_portal.sessions.create, params)).url

    async def get_page(self, address: str) -> httpx.Response:
        return await self.server.http.get(address)


@pytest.fixture
async def merchant(sandbox_server: RunningSandbox) -> HostedMerchant:
    merchant = HostedMerchant(sandbox_server)
    await merchant.set_up()
    return merchant


def extract_text(page: httpx.Response) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", page.text).split())


# Checkout


async def test_payment_is_confirmed_on_the_pages_of_checkout_and_invoice(merchant: HostedMerchant) -> None:
    session = await merchant.create_session()
    response = await merchant.submit_card(session, CONFIRMED_CARD)
    assert response.status_code == 402
    assert "Confirm the payment" in response.text
    assert await merchant.list_subscriptions() == []
    data = {"card": CONFIRMED_CARD, "confirm": "yes"}
    assert (await merchant.server.http.post(str(session.url), data=data)).status_code == 303
    [subscription] = await merchant.list_subscriptions()
    assert subscription.status == "active"
    await merchant.server.apply_control("renew", customer=merchant.customer.id)
    assert (await merchant.list_subscriptions())[0].status == "past_due"
    invoice = (await merchant.list_invoices())[0]
    page = await merchant.get_page(str(invoice.hosted_invoice_url))
    assert "Your bank needs your confirmation." in page.text
    page = await merchant.server.http.post(f"{invoice.hosted_invoice_url}/confirm", follow_redirects=True)
    assert page.status_code == 200
    assert "Confirm this payment" not in page.text
    assert (await merchant.list_subscriptions())[0].status == "active"


async def test_checkout_page_shows_items_and_amount_due(merchant: HostedMerchant) -> None:
    page = await merchant.get_page(str((await merchant.create_session()).url))
    assert page.status_code == 200
    for part in (
        "Test stand-in, no real card",
        "Subscribe to Business",
        "$60.00 a month",
        "3 × $20.00 a month",
        "Due today $60.00",
        "Pay $60.00",
    ):
        assert part in extract_text(page)
    assert f'href="{BACK_URL}?left"' in page.text
    assert 'value="ann@acme.test"' in page.text


async def test_accepted_card_leads_to_the_success_address(merchant: HostedMerchant) -> None:
    session = await merchant.create_session()
    response = await merchant.submit_card(session)
    assert (response.status_code, response.headers["location"]) == (303, f"{BACK_URL}?paid={session.id}")
    assert (await merchant.reload_session(session)).status == "complete"
    [subscription] = await merchant.list_subscriptions()
    assert (subscription.status, subscription["items"].data[0].quantity) == ("active", 3)


async def test_declined_card_stays_on_the_page_and_another_may_pay(merchant: HostedMerchant) -> None:
    session = await merchant.create_session()
    for card, message in (
        (DECLINED_CARD, "Your card was declined."),
        ("1234", "Your card number is incorrect."),
        ("", "Your card number is incorrect."),
        (LATER_FAILING_CARD, "Your card was declined."),
    ):
        page = await merchant.submit_card(session, card)
        assert page.status_code == 402
        assert f'role="alert">{message}' in page.text
    assert (await merchant.reload_session(session)).status == "open"
    assert await merchant.list_subscriptions() == []
    assert (await merchant.submit_card(session)).status_code == 303


async def test_trial_checkout_costs_nothing_and_accepts_a_card_that_fails_later(
    merchant: HostedMerchant,
) -> None:
    session = await merchant.create_session(subscription_data={"trial_period_days": 14})
    page = extract_text(await merchant.get_page(str(session.url)))
    trial_end = formatting.format_day(merchant.server.account.now() + 14 * 86_400)
    for part in (
        "Try Business",
        f"Free until {trial_end}, then $60.00 a month.",
        "Due today $0.00",
        "Start trial",
    ):
        assert part in page
    assert (await merchant.submit_card(session, LATER_FAILING_CARD)).status_code == 303
    assert (await merchant.list_subscriptions())[0].status == "trialing"
    await merchant.server.apply_control("renew", customer=merchant.customer.id)
    assert (await merchant.list_subscriptions())[0].status == "past_due"


async def test_trial_checkout_without_a_card_is_offered_when_allowed(merchant: HostedMerchant) -> None:
    session = await merchant.create_session(subscription_data={"trial_period_days": 14})
    assert "without a card" not in (await merchant.get_page(str(session.url))).text
    refused_response = await merchant.server.http.post(str(session.url), data={"without": "card"})
    assert refused_response.status_code == 402
    optional_session = await merchant.create_session(
        subscription_data={"trial_period_days": 14}, payment_method_collection="if_required"
    )
    assert "Start trial without a card" in extract_text(await merchant.get_page(str(optional_session.url)))
    trial_response = await merchant.server.http.post(
        str(optional_session.url), data={"card": "", "without": "card"}
    )
    assert trial_response.status_code == 303
    assert (await merchant.list_subscriptions())[0].status == "trialing"


async def test_checkout_page_names_usage_as_billed_later(merchant: HostedMerchant) -> None:
    client = merchant.client
    meter = await merchant.server.call_sdk(
        client.v1.billing.meters.create,
        {"display_name": "API calls", "event_name": "calls", "default_aggregation": {"formula": "sum"}},
    )
    metered_price = await merchant.server.call_sdk(
        client.v1.prices.create,
        {
            "product_data": {"name": "API calls"},
            "currency": "usd",
            "unit_amount_decimal": "0.5",
            "recurring": {"interval": "month", "usage_type": "metered", "meter": meter.id},
        },
    )
    session = await merchant.create_session(
        line_items=[{"price": merchant.seat_price.id, "quantity": 1}, {"price": metered_price.id}]
    )
    page = extract_text(await merchant.get_page(str(session.url)))
    assert "API calls $0.005, billed afterwards Usage-based" in page
    assert "Due today $20.00" in page


async def test_finished_checkout_says_so_and_charges_nothing(merchant: HostedMerchant) -> None:
    paid_session = await merchant.create_session()
    address = str(paid_session.url)
    await merchant.submit_card(paid_session)
    response = await merchant.server.http.post(address, data={"card": PAYING_CARD})
    assert response.status_code == 409
    assert "already completed" in response.text
    assert (await merchant.get_page(address)).status_code == 200
    assert len(await merchant.list_subscriptions()) == 1
    expired_session = await merchant.create_session()
    await merchant.server.call_sdk(merchant.client.v1.checkout.sessions.expire, expired_session.id)
    page = await merchant.get_page(str(expired_session.url))
    assert page.status_code == 410
    assert "has expired" in page.text
    assert f"{BACK_URL}?left" in page.text
    assert (await merchant.submit_card(expired_session)).status_code == 409


async def test_checkout_expires_by_its_clock(merchant: HostedMerchant) -> None:
    session = await merchant.create_session()
    await merchant.server.apply_control("advance", days=2)
    assert (await merchant.get_page(str(session.url))).status_code == 410


async def test_page_request_applies_what_became_due(merchant: HostedMerchant) -> None:
    session = await merchant.create_session()
    merchant.server.account.settings["offset"] += 2 * 86_400
    assert (await merchant.get_page(str(session.url))).status_code == 410


async def test_setup_checkout_saves_a_card_and_charges_nothing(merchant: HostedMerchant) -> None:
    session = await merchant.create_session(mode="setup", line_items=None, currency="usd")
    page = extract_text(await merchant.get_page(str(session.url)))
    assert "Save a payment method" in page
    assert "Save card" in page
    assert "Due today" not in page
    assert (await merchant.submit_card(session, DECLINED_CARD)).status_code == 402
    assert (await merchant.submit_card(session)).status_code == 303
    methods = await merchant.server.call_sdk(
        merchant.client.v1.customers.payment_methods.list, merchant.customer.id
    )
    assert [method.card.last4 for method in methods.data] == ["4242"]
    assert await merchant.list_invoices() == []


async def test_unknown_page_is_not_found(merchant: HostedMerchant) -> None:
    for path in ("c/cs_test_nothing", "p/bps_nothing", "i/in_nothing", "i/in_nothing/pdf"):
        page = await merchant.get_page(f"{merchant.server.url}/{path}")
        assert page.status_code == 404
        assert "text/html" in page.headers["content-type"]
    for path in ("c/cs_test_nothing", "p/bps_nothing/card", "p/bps_nothing/cancel", "i/in_nothing/pay"):
        assert (
            await merchant.server.http.post(f"{merchant.server.url}/{path}", data={"card": PAYING_CARD})
        ).status_code == 404


# Portal


async def test_portal_shows_plan_card_and_invoices(merchant: HostedMerchant) -> None:
    await merchant.subscribe()
    page = await merchant.get_page(await merchant.create_portal_url())
    for part in (
        "Acme, ann@acme.test",
        "Business",
        "3 × $20.00 a month",
        "Active",
        "Renews on",
        "Visa ending 4242",
    ):
        assert part in extract_text(page)
    [invoice] = await merchant.list_invoices()
    assert "$60.00" in page.text
    assert f"/i/{invoice.id}/pdf" in page.text
    assert f'href="{BACK_URL}?portal"' in page.text


async def test_empty_portal_names_the_next_step(merchant: HostedMerchant) -> None:
    page = extract_text(await merchant.get_page(await merchant.create_portal_url()))
    assert "No subscription. Choose a plan" in page
    assert "No invoice yet." in page
    assert "No payment method" in page


async def test_portal_cancellation_is_confirmed_and_can_be_taken_back(merchant: HostedMerchant) -> None:
    subscription = await merchant.subscribe()
    portal = await merchant.create_portal_url()
    page = await merchant.get_page(f"{portal}?cancel={subscription.id}")
    assert "Cancel this subscription?" in page.text
    assert (await merchant.list_subscriptions())[0].cancel_at_period_end is False
    canceled_page = await merchant.server.http.post(
        f"{portal}/cancel", data={"subscription": subscription.id}, follow_redirects=True
    )
    assert canceled_page.history[0].status_code == 303
    assert "not renewed" in extract_text(canceled_page)
    assert (await merchant.list_subscriptions())[0].cancel_at_period_end is True
    resumed_page = await merchant.server.http.post(
        f"{portal}/resume", data={"subscription": subscription.id}, follow_redirects=True
    )
    assert "Renews on" in extract_text(resumed_page)
    assert (await merchant.list_subscriptions())[0].cancel_at_period_end is False
    response = await merchant.server.http.post(f"{portal}/resume", data={"subscription": subscription.id})
    assert response.status_code == 400
    assert 'role="alert"' in response.text


async def test_portal_asks_why_where_its_configuration_says_so(merchant: HostedMerchant) -> None:
    subscription = await merchant.subscribe()
    question = {"enabled": True, "options": ["unused", "other"]}
    features = {"subscription_cancel": {"enabled": True, "cancellation_reason": question}}
    create_configuration = merchant.client.v1.billing_portal.configurations.create
    asking = await merchant.create_portal_url(
        configuration=(await merchant.server.call_sdk(create_configuration, {"features": features})).id
    )
    assert 'name="feedback"' in (await merchant.get_page(f"{asking}?cancel={subscription.id}")).text
    answer = {"subscription": subscription.id, "feedback": "too_complex"}
    refused = await merchant.server.http.post(f"{asking}/cancel", data=answer)
    assert refused.status_code == 400
    await merchant.server.http.post(f"{asking}/cancel", data=answer | {"feedback": "unused"})
    (canceled,) = await merchant.list_subscriptions()
    assert (canceled.cancel_at_period_end, canceled.cancellation_details.feedback) == (True, "unused")


async def test_portal_offers_what_its_configuration_allows(merchant: HostedMerchant) -> None:
    subscription = await merchant.subscribe()
    disabled = {"enabled": False}
    features = {
        "subscription_cancel": disabled,
        "payment_method_update": disabled,
        "invoice_history": disabled,
    }
    create_configuration = merchant.client.v1.billing_portal.configurations.create
    restricted_portal = await merchant.create_portal_url(
        configuration=(await merchant.server.call_sdk(create_configuration, {"features": features})).id
    )
    page = extract_text(await merchant.get_page(restricted_portal))
    for word in ("Cancel subscription", "Replace it", "Invoices"):
        assert word not in page
    assert (
        "Cancel this subscription?"
        not in (await merchant.get_page(f"{restricted_portal}?cancel={subscription.id}")).text
    )
    response = await merchant.server.http.post(
        f"{restricted_portal}/cancel", data={"subscription": subscription.id}
    )
    assert response.status_code == 400
    assert (
        await merchant.server.http.post(f"{restricted_portal}/card", data={"card": PAYING_CARD})
    ).status_code == 400
    features["subscription_cancel"] = {"enabled": True, "mode": "immediately"}
    immediate_portal = await merchant.create_portal_url(
        configuration=(await merchant.server.call_sdk(create_configuration, {"features": features})).id
    )
    assert (
        "It ends immediately."
        in (await merchant.get_page(f"{immediate_portal}?cancel={subscription.id}")).text
    )
    await merchant.server.http.post(f"{immediate_portal}/cancel", data={"subscription": subscription.id})
    assert (await merchant.list_subscriptions())[0].status == "canceled"


async def test_new_card_pays_open_invoices(merchant: HostedMerchant) -> None:
    await merchant.subscribe()
    await merchant.server.apply_control(
        "replace-card", customer=merchant.customer.id, card="4000000000000341"
    )
    await merchant.server.apply_control("renew", customer=merchant.customer.id)
    assert (await merchant.list_subscriptions())[0].status == "past_due"
    portal = await merchant.create_portal_url()
    assert "Past due" in (await merchant.get_page(portal)).text
    for card in (DECLINED_CARD, "12"):
        response = await merchant.server.http.post(f"{portal}/card", data={"card": card})
        assert response.status_code == 402
        assert 'role="alert"' in response.text
    page = await merchant.server.http.post(
        f"{portal}/card", data={"card": PAYING_CARD}, follow_redirects=True
    )
    assert "Your payment method was replaced." in page.text
    assert "Visa ending 4242" in page.text
    assert (await merchant.list_subscriptions())[0].status == "active"


async def test_planted_failure_declines_the_next_charge_once(merchant: HostedMerchant) -> None:
    await merchant.subscribe()
    await merchant.server.apply_control("fail-renewal", customer=merchant.customer.id)
    await merchant.server.apply_control("renew", customer=merchant.customer.id)
    assert (await merchant.list_subscriptions())[0].status == "past_due"
    await merchant.server.apply_control("advance", days=4)
    assert (await merchant.list_subscriptions())[0].status == "active"


async def test_portal_refuses_to_cancel_another_customers_subscription(merchant: HostedMerchant) -> None:
    subscription = await merchant.subscribe()
    other_merchant = HostedMerchant(merchant.server)
    await other_merchant.set_up()
    portal = await other_merchant.create_portal_url()
    response = await merchant.server.http.post(f"{portal}/cancel", data={"subscription": subscription.id})
    assert response.status_code == 404
    assert (
        "Cancel this subscription?"
        not in (await merchant.get_page(f"{portal}?cancel={subscription.id}")).text
    )
    assert (await merchant.list_subscriptions())[0].cancel_at_period_end is False


async def test_portal_of_a_deleted_customer_is_closed(merchant: HostedMerchant) -> None:
    portal = await merchant.create_portal_url()
    await merchant.server.call_sdk(merchant.client.v1.customers.delete, merchant.customer.id)
    assert (await merchant.get_page(portal)).status_code == 404
    assert (await merchant.server.http.post(f"{portal}/card", data={"card": PAYING_CARD})).status_code == 404


# Invoices


async def test_invoice_is_shown_as_page_and_pdf(merchant: HostedMerchant) -> None:
    await merchant.subscribe()
    [invoice] = await merchant.list_invoices()
    page = await merchant.get_page(str(invoice.hosted_invoice_url))
    assert page.status_code == 200
    for part in (f"Invoice {invoice.number}", "Paid", "$60.00", "Acme"):
        assert part in extract_text(page)
    assert "Pay this invoice" not in page.text
    pdf_response = await merchant.get_page(str(invoice.invoice_pdf))
    assert (pdf_response.status_code, pdf_response.headers["content-type"]) == (200, "application/pdf")
    assert f'filename="invoice-{invoice.number}.pdf"' in pdf_response.headers["content-disposition"]
    [pdf_texts] = extract_texts(pdf_response.content)
    assert {str(invoice.number), "$60.00 paid", "Acme", "ann@acme.test"} < set(pdf_texts)


async def test_open_invoice_can_be_paid_on_its_page(merchant: HostedMerchant) -> None:
    await merchant.subscribe()
    await merchant.server.apply_control("fail-renewal", customer=merchant.customer.id)
    await merchant.server.apply_control("renew", customer=merchant.customer.id)
    invoice = next(invoice for invoice in await merchant.list_invoices() if invoice.status == "open")
    address = str(invoice.hosted_invoice_url)
    assert "Pay $60.00" in (await merchant.get_page(address)).text
    for card in (DECLINED_CARD, LATER_FAILING_CARD):
        declined_page = await merchant.server.http.post(f"{address}/pay", data={"card": card})
        assert declined_page.status_code == 402
        assert 'role="alert"' in declined_page.text
    page = await merchant.server.http.post(
        f"{address}/pay", data={"card": PAYING_CARD}, follow_redirects=True
    )
    assert "Pay this invoice" not in page.text
    assert [invoice.status for invoice in await merchant.list_invoices()] == ["paid", "paid"]
    second_payment = await merchant.server.http.post(f"{address}/pay", data={"card": PAYING_CARD})
    assert second_payment.status_code == 303


# What nobody may do to a page


async def test_hosted_pages_escape_typed_markup(sandbox_server: RunningSandbox) -> None:
    merchant = HostedMerchant(sandbox_server)
    await merchant.set_up(name=f"Plan {MARKUP}")
    await sandbox_server.call_sdk(merchant.client.v1.customers.update, merchant.customer.id, {"name": MARKUP})
    session = await merchant.create_session()
    pages = [await merchant.get_page(str(session.url)), await merchant.submit_card(session, MARKUP)]
    assert (await merchant.submit_card(session)).status_code == 303
    portal = await merchant.create_portal_url()
    pages += [
        await merchant.get_page(portal),
        await merchant.get_page(f"{portal}?done={MARKUP}&cancel={MARKUP}"),
        await sandbox_server.http.post(f"{portal}/card", data={"card": MARKUP}),
        await sandbox_server.http.post(f"{portal}/cancel", data={"subscription": MARKUP}),
        await merchant.get_page(str((await merchant.list_invoices())[0].hosted_invoice_url)),
        await merchant.get_page(f"{sandbox_server.url}/_control?account={sandbox_server.key}"),
    ]
    for page in pages:
        assert "<script" not in page.text
        assert "default-src 'none'" in page.headers["content-security-policy"]


@pytest.mark.parametrize("address", ["javascript:alert(1)", "data:text/html,x", "//evil.test", ""])
def test_redirect_is_allowed_to_web_addresses_only(address: str) -> None:
    assert formatting.allow_web_url(address) == ""
    assert formatting.allow_web_url(BACK_URL) == BACK_URL


async def test_style_sheet_is_served_with_the_pages(sandbox_server: RunningSandbox) -> None:
    sheet = await sandbox_server.http.get(f"{sandbox_server.url}/_look.css")
    assert sheet.headers["content-type"].startswith("text/css")
    assert (await sandbox_server.http.get(f"{sandbox_server.url}/_font.woff2")).status_code == 200


# Words


@pytest.mark.parametrize(
    ("amount", "currency", "text"),
    [
        (0, "usd", "$0.00"),
        (123456789, "usd", "$1,234,567.89"),
        (-2050, "eur", "−€20.50"),
        (500, "jpy", "JPY 500"),
        (1, "chf", "CHF 0.01"),
    ],
)
def test_money_is_formatted_by_currency(amount: int, currency: str, text: str) -> None:
    assert formatting.format_money(amount, currency) == text


@pytest.mark.parametrize(("exact", "text"), [("0.5", "$0.005"), ("2000", "$20.00"), ("0.0125", "$0.000125")])
def test_unit_price_keeps_fractions_of_a_cent(exact: str, text: str) -> None:
    assert formatting.format_unit_price({"unit_amount_decimal": exact, "currency": "usd"}) == text
