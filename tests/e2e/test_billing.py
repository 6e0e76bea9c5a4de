"""Billing from sign-up to the end of the last paid period, in a browser with the stand-in's clock."""

import json
import re
import time
import urllib.request
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from urllib.error import HTTPError

from playwright.sync_api import Page, expect

from shared.core.config import DEMO_STRIPE_KEY
from tests.e2e.conftest import SANDBOX, TENANT, NewVisitor
from tests.e2e.looks import DARK, LIGHT, PHONE, list_problems, open_page, put_on

PAYS, FAILS = "4242424242424242", "4000000000000341"
SOON = 25_000  # milliseconds until a page has turned by itself, on a machine that does other things too


@dataclass
class Till:
    """A customer at the stand-in, and the levers of its own clock."""

    customer: str

    @classmethod
    def of(cls, email: str, *, seconds_ago: int = 0) -> "Till":
        """`seconds_ago`: what the customer's clock is behind."""
        request = urllib.request.Request(
            f"{SANDBOX}/stripe/v1/customers?email={email}",
            headers={"Authorization": f"Bearer {DEMO_STRIPE_KEY}"},
        )
        until = time.monotonic() + 30
        while time.monotonic() < until:
            try:
                with urllib.request.urlopen(request, timeout=10) as response:
                    customers = json.load(response)["data"]
            except HTTPError as refusal:
                if refusal.code != HTTPStatus.TOO_MANY_REQUESTS:  # prices are being pushed
                    raise
                customers = []
            if customers:
                made = cls(customers[0]["id"])
                made.pull("own-clock", seconds_ago=seconds_ago)
                return made
            time.sleep(0.3)
        raise AssertionError(f"nobody at the stand-in has the address {email}")

    def pull(self, lever: str, **fields: Any) -> dict[str, Any]:
        body = json.dumps({"customer": self.customer, **fields}).encode()
        request = urllib.request.Request(
            f"{SANDBOX}/stripe/_control/{lever}", body, {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=30) as response:
            answer: dict[str, Any] = json.load(response)
        return answer


def open_billing(person: NewVisitor, home: str) -> Page:
    person.page.goto(f"{home}/billing")
    expect(person.page.get_by_test_id("plan").first).to_be_visible(timeout=SOON)
    return person.page


def pay(page: Page, card: str, button: str | re.Pattern[str]) -> None:
    """On the stand-in's page for checkout."""
    page.wait_for_url("**/stripe/c/**")
    page.get_by_label("Card number").fill(card)
    page.get_by_role("button", name=button).first.click()
    page.wait_for_url("**/billing?session=**")


def get_fact(page: Page, label: str) -> Any:
    facts = page.get_by_role("region", name="Billing facts").locator(".stat")
    return facts.filter(has=page.get_by_text(label, exact=True))


def take_pictures_of(person: NewVisitor, name: str) -> None:
    put_on(person.page, person.look)
    person.take_picture(f"billing-{name}")


def test_subscription_from_sign_up_to_its_last_paid_period(new_visitor: type[NewVisitor]) -> None:
    nora = new_visitor()
    home = nora.create_organisation("Nora Lind", "nora@harbour.test", "Harbour")
    till = Till.of("nora@harbour.test")

    # Reports are not in what Free gives; the page stays open beside.
    gated = nora.open_tab()
    gated.goto(f"{home}/reports")
    expect(gated.get_by_test_id("upsell")).to_be_visible(timeout=SOON)
    gated.get_by_role("link", name="See plans and prices").wait_for()

    page = open_billing(nora, home)
    take_pictures_of(nora, "free")
    page.get_by_role("button", name="Try Business for 14 days").click()
    order = page.get_by_test_id("order-form")
    order.get_by_role("button", name="One more").click()
    order.get_by_role("button", name="One more").click()
    take_pictures_of(nora, "order")
    order.get_by_role("button", name="Continue to payment").click()
    pay(page, PAYS, re.compile("^Start trial$"))
    expect(page.get_by_text("Business is active.")).to_be_visible(timeout=SOON)
    expect(get_fact(page, "After the trial")).to_contain_text("$244.00")
    expect(get_fact(page, "Paid with")).to_contain_text("Visa ending in 4242")
    take_pictures_of(nora, "active")
    expect(gated.get_by_test_id("weeks")).to_be_visible(timeout=SOON)  # nobody touched it

    # The trial ends, the first period is paid; then more seats, seen before they are paid.
    till.pull("renew")
    expect(get_fact(page, "Next invoice")).to_contain_text("$244.00", timeout=SOON)
    expect(page.get_by_test_id("invoices")).to_contain_text("$244.00", timeout=SOON)
    page.get_by_test_id("change-seats").click()
    change = page.get_by_test_id("change-form")
    change.get_by_label("Seats").fill("5")
    expect(change.get_by_test_id("sum")).to_contain_text("Added to the next invoice", timeout=SOON)
    expect(change).to_contain_text("$274.00 a month")
    take_pictures_of(nora, "preview")
    change.get_by_role("button", name="Change seats").click()
    expect(change).to_have_count(0, timeout=SOON)
    expect(page.get_by_text("5 seats are paid for")).to_be_visible(timeout=SOON)

    # The card fails at the renewal.
    till.pull("replace-card", card=FAILS)
    till.pull("renew")
    expect(page.locator(".banner").first).to_contain_text("A payment is overdue.", timeout=SOON)
    expect(page.get_by_role("link", name=re.compile(r"^Pay \$"))).to_be_visible(timeout=SOON)
    expect(page.get_by_test_id("invoices")).to_contain_text("Overdue")
    take_pictures_of(nora, "grace")
    assert nora.platform.wait_for_link("nora@harbour.test", "/billing")
    gated.reload()
    expect(gated.get_by_test_id("weeks")).to_be_visible(timeout=SOON)
    gated.locator(".banner").get_by_role("link", name="Open billing").wait_for()

    # Another card, on the provider's page; what was open is paid by it.
    page.get_by_role("button", name="Manage payment method").click()
    page.wait_for_url("**/stripe/p/**")
    page.get_by_text("Replace it").click()
    page.get_by_label("Card number").fill(PAYS)
    page.get_by_role("button", name="Use this card").click()
    page.get_by_role("link", name=re.compile("Return to")).first.click()
    page.wait_for_url("**/billing?back=portal")
    expect(page.get_by_test_id("invoices")).not_to_contain_text("Overdue", timeout=SOON)
    expect(page.locator(".banner")).to_have_count(0, timeout=SOON)
    take_pictures_of(nora, "recovered")

    # Cancelled: everything works until the period ends, and then no more.
    page.get_by_test_id("cancel").click()
    leaving = page.get_by_test_id("cancel-form")
    leaving.get_by_label("We don’t use it enough").check()
    take_pictures_of(nora, "cancel")
    leaving.get_by_role("button", name="Cancel subscription").click()
    expect(page.get_by_text("Business ends on")).to_be_visible(timeout=SOON)
    take_pictures_of(nora, "cancelled")
    gated.reload()
    expect(gated.get_by_test_id("weeks")).to_be_visible(timeout=SOON)
    till.pull("renew")
    expect(gated.get_by_test_id("upsell")).to_be_visible(timeout=SOON)
    expect(page.get_by_text("The subscription ended on")).to_be_visible(timeout=SOON)
    expect(get_fact(page, "Plan")).to_contain_text("Free")
    take_pictures_of(nora, "ended")


def test_billing_page_is_usable_in_every_look(new_visitor: type[NewVisitor]) -> None:
    gil = new_visitor(PHONE)
    gil.sign_in_as("gil@globex.test")
    problems = open_page(gil, "billing", f"{TENANT}/t/globex/billing")
    gil.page.get_by_label("Yearly").click()
    expect(gil.page.get_by_text("$290")).to_be_visible()
    put_on(gil.page, DARK)
    gil.page.get_by_label("Monthly").click()
    expect(gil.page.get_by_text("$290")).to_have_count(0)
    assert problems == []


def test_subscription_page_is_usable_in_every_look(new_visitor: type[NewVisitor]) -> None:
    """With seats, an add-on, a dialog with its sum, and an invoice. Bought on a phone; the add-on at a desk."""
    owner = new_visitor(PHONE)
    home = owner.create_organisation("Olof Ek", "olof@quay.test", "Quay")
    till = Till.of("olof@quay.test")
    page = open_billing(owner, home)
    page.get_by_role("button", name="Try Pro for 14 days").click()
    page.get_by_test_id("order-form").get_by_role("button", name="Continue to payment").click()
    pay(page, PAYS, re.compile("^Start trial$"))
    expect(page.get_by_text("Pro is active.")).to_be_visible(timeout=SOON)
    till.pull("renew")
    expect(get_fact(page, "Next invoice")).to_contain_text("$20.00", timeout=SOON)
    problems = open_page(owner, "billing-subscribed", f"{home}/billing")
    page.get_by_role("button", name="Change to Business").click()
    change = page.get_by_test_id("change-form")
    expect(change.get_by_test_id("sum")).to_be_visible(timeout=SOON)
    problems += list_problems(owner, "billing-change")
    change.get_by_role("button", name="Change to Business").click()
    expect(change).to_have_count(0, timeout=SOON)
    put_on(page, LIGHT)
    page.get_by_role("button", name="Add: 10 more seats").click()
    expect(change.get_by_test_id("sum")).to_be_visible(timeout=SOON)
    change.get_by_role("button", name="Add").click()
    expect(change).to_have_count(0, timeout=SOON)
    put_on(page, PHONE)
    page.get_by_role("button", name="Remove 10 more seats").click()
    change.get_by_role("button", name="Remove").click()
    expect(page.get_by_test_id("addon").first).to_contain_text("Paid until", timeout=SOON)
    page.get_by_test_id("invoices").get_by_role("button").first.click()
    expect(page.get_by_role("dialog")).to_contain_text("Total")
    problems += list_problems(owner, "billing-invoice")
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    problems += list_problems(owner, "billing-addon", screen=False, whole_suffix="")
    assert problems == []


def test_billing_page_is_hidden_and_refused_without_permission(new_visitor: type[NewVisitor]) -> None:
    adam = new_visitor()
    adam.sign_in_as("adam@acme.test")
    adam.page.goto(f"{TENANT}/t/acme/home")
    expect(adam.page.get_by_role("navigation").get_by_role("link", name="Members").first).to_be_visible()
    expect(adam.page.get_by_role("navigation").get_by_role("link", name="Billing")).to_have_count(0)
    adam.page.goto(f"{TENANT}/t/acme/billing")
    expect(adam.page.get_by_test_id("refusal")).to_contain_text("You don’t have permission to view billing.")
