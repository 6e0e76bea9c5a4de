"""The pages hosted by Stripe: light, dark, on a phone, from payment to cancellation."""

from typing import Any

import stripe
from playwright.sync_api import expect

from tests.e2e.conftest import SANDBOX, TENANT, NewVisitor
from tests.e2e.looks import PHONE, open_page

BACK = f"{TENANT}/sign-in"


class Shop:
    """An account of its own at the stand-in, so that nobody else's numbers move."""

    def __init__(self) -> None:
        bases: Any = dict.fromkeys(("api", "connect", "files", "meter_events"), f"{SANDBOX}/stripe")
        self.v1 = stripe.StripeClient("sk_test_e2e_stand_ins", base_addresses=bases).v1
        self.price = self.v1.prices.create(
            {
                "product_data": {"name": "Business"},
                "currency": "usd",
                "unit_amount": 2000,
                "recurring": {"interval": "month"},
            }
        )
        self.customer = self.v1.customers.create({"name": "Acme", "email": "ann@acme.test"})

    def checkout(self) -> str:
        session = self.v1.checkout.sessions.create(
            {
                "mode": "subscription",
                "customer": self.customer.id,
                "line_items": [{"price": self.price.id, "quantity": 3}],
                "success_url": f"{BACK}?session={{CHECKOUT_SESSION_ID}}",
                "cancel_url": BACK,
            }
        )
        return str(session.url)

    def portal(self) -> str:
        features = {
            **{name: {"enabled": True} for name in ("invoice_history", "payment_method_update")},
            "subscription_cancel": {"enabled": True, "mode": "at_period_end"},
        }
        configuration = self.v1.billing_portal.configurations.create({"features": features})
        return self.v1.billing_portal.sessions.create(
            {"customer": self.customer.id, "return_url": BACK, "configuration": configuration.id}
        ).url


def test_subscription_is_declined_paid_cancelled_and_resumed(new_visitor: type[NewVisitor]) -> None:
    ann, shop = new_visitor(), Shop()
    ann.page.goto(shop.checkout())
    ann.page.get_by_label("Card number").fill("4000 0000 0000 0002")
    ann.page.get_by_role("button", name="Pay $60.00").click()
    expect(ann.page.get_by_role("alert")).to_have_text("Your card was declined.")
    ann.page.get_by_label("Card number").fill("4242 4242 4242 4242")
    ann.page.get_by_role("button", name="Pay $60.00").click()
    ann.page.wait_for_url(f"{BACK}?session=cs_*")
    ann.page.goto(shop.portal())
    ann.page.get_by_role("link", name="Cancel subscription").click()
    ann.page.get_by_role("button", name="Cancel subscription").click()
    ann.expect_text("not renewed")
    ann.page.get_by_role("button", name="Don't cancel").click()
    ann.expect_text("Renews on")
    ann.page.get_by_role("link", name="Return to Bulkhead").click()
    ann.page.wait_for_url(f"{BACK}**")


def test_hosted_pages_are_usable_in_every_look(new_visitor: type[NewVisitor]) -> None:
    ann, shop = new_visitor(PHONE), Shop()
    ann.page.goto(shop.checkout())
    ann.page.get_by_label("Card number").fill("4242424242424242")
    ann.page.get_by_role("button", name="Pay $60.00").click()
    ann.page.wait_for_url(f"{BACK}**")
    invoice = shop.v1.invoices.list({"customer": shop.customer.id}).data[0]
    pages = {
        "stand-ins": SANDBOX,
        "stripe-control": f"{SANDBOX}/stripe/_control?account=sk_test_e2e_stand_ins",
        "stripe-checkout": shop.checkout(),
        "stripe-portal": shop.portal(),
        "stripe-invoice": str(invoice.hosted_invoice_url),
    }
    assert [problem for name, address in pages.items() for problem in open_page(ann, name, address)] == []
