"""What goes wrong while somebody buys and changes, in a browser: old payment pages, cards that decline, a lost customer."""

import re
import urllib.request

from playwright.sync_api import Page, expect

from shared.core.config import DEMO_STRIPE_KEY
from tests.e2e.conftest import SANDBOX, NewVisitor
from tests.e2e.looks import DARK, PHONE, list_problems, put_on
from tests.e2e.test_billing import FAILS, PAYS, SOON, Till, get_fact, open_billing, pay
from tests.e2e.test_billing_changes import subscribe

ASKS = "4000002760003184"  # the bank asks for a confirmation of each charge


def replace_card_in_portal(page: Page, card: str) -> None:
    page.get_by_role("button", name="Manage payment method").click()
    page.wait_for_url("**/stripe/p/**")
    page.get_by_text("Replace it").click()
    page.get_by_label("Card number").fill(card)
    page.get_by_role("button", name="Use this card").click()
    page.get_by_role("link", name=re.compile("Return to")).first.click()
    page.wait_for_url("**/billing?back=portal")


def delete_customer(till: Till) -> None:
    """In the provider's dashboard."""
    request = urllib.request.Request(
        f"{SANDBOX}/stripe/v1/customers/{till.customer}",
        headers={"Authorization": f"Bearer {DEMO_STRIPE_KEY}"},
        method="DELETE",
    )
    with urllib.request.urlopen(request, timeout=30) as response:
        assert response.status == 200


def test_plan_is_bought_once_from_two_tabs_and_again_after_the_customer_was_deleted(
    new_visitor: type[NewVisitor],
) -> None:
    leo = new_visitor()
    home = leo.create_organisation("Leo Falk", "leo@reef.test", "Reef")
    till = Till.of("leo@reef.test")
    page, tab = open_billing(leo, home), leo.open_tab()
    page.get_by_role("button", name="Try Pro for 14 days").click()
    page.get_by_test_id("order-form").get_by_role("button", name="Continue to payment").click()
    page.wait_for_url("**/stripe/c/**")
    tab.goto(f"{home}/billing")
    tab.get_by_role("button", name="Try Starter for 14 days").click()
    tab.wait_for_url("**/stripe/c/**")
    page.reload()
    expect(page.get_by_role("heading", level=1)).to_contain_text("This checkout has expired")
    pay(tab, PAYS, re.compile("^Start trial$"))
    expect(tab.get_by_text("Starter is active.")).to_be_visible(timeout=SOON)
    page.goto(f"{home}/billing")
    expect(get_fact(page, "Plan")).to_contain_text("Starter", timeout=SOON)

    # More is charged when it ends: the dialog says so before, and the page afterwards.
    till.pull("renew")
    expect(page.get_by_test_id("invoices")).to_contain_text("$29.00", timeout=SOON)
    page.get_by_role("button", name="Change to Pro").click()
    change = page.get_by_test_id("change-form")
    expect(change.get_by_test_id("timing").or_(change.get_by_test_id("sum")).first).to_be_visible(
        timeout=SOON
    )
    change.get_by_label("Seats").fill("4")
    expect(change.get_by_test_id("sum")).to_contain_text("Added to the next invoice", timeout=SOON)
    change.get_by_role("button", name="Change to Pro").click()
    expect(get_fact(page, "Plan")).to_contain_text("Pro", timeout=SOON)
    expect(get_fact(tab, "Plan")).to_contain_text("Pro", timeout=SOON)
    page.get_by_test_id("cancel").click()
    charged = re.compile(r"\$\d+\.\d\d for changes is charged when it ends\.")
    expect(page.get_by_role("dialog")).to_contain_text(charged)
    problems = list_problems(leo, "billing-cancel-pending")
    page.get_by_test_id("cancel-form").get_by_role("button", name="Cancel subscription").click()
    expect(page.locator(".banner").first).to_contain_text(charged, timeout=SOON)
    problems += list_problems(leo, "billing-cancelled-pending")

    delete_customer(till)
    expect(page.get_by_text("The subscription ended on")).to_be_visible(timeout=SOON)
    # One for each period: more than one where another test has had a trial with this card, so that this one ended at once.
    paid_count = page.get_by_test_id("invoices").get_by_text("$29.00").count()
    page.get_by_role("button", name="Choose Starter").click()
    pay(page, PAYS, re.compile("^Subscribe|^Pay"))
    expect(page.get_by_text("Starter is active.")).to_be_visible(timeout=SOON)
    expect(page.get_by_test_id("invoices").get_by_text("$29.00")).to_have_count(paid_count + 1)
    problems += list_problems(leo, "billing-bought-again")
    assert problems == []


def test_yearly_upgrade_waits_for_the_confirmation_and_for_a_card_that_pays(
    new_visitor: type[NewVisitor],
) -> None:
    mia = new_visitor()
    home = mia.create_organisation("Mia Rask", "mia@quay.test", "Quay")
    till = Till.of("mia@quay.test")
    page = subscribe(mia, home, till, "Pro")
    replace_card_in_portal(page, ASKS)
    expect(get_fact(page, "Paid with")).to_contain_text("Visa ending in 3184", timeout=SOON)
    page.get_by_text("Yearly", exact=False).first.click()
    page.get_by_role("button", name="Pay yearly").click()
    change = page.get_by_test_id("change-form")
    expect(change.get_by_test_id("sum")).to_contain_text("Due today", timeout=SOON)
    problems = list_problems(mia, "billing-yearly")
    change.get_by_role("button", name="Pay yearly").click()
    waiting = page.locator(".banner").filter(has_text="A change waits for its payment of")
    expect(waiting).to_contain_text("Your plan is unchanged. Pay or confirm it by", timeout=SOON)
    expect(get_fact(page, "Plan")).to_contain_text("Monthly")
    put_on(page, PHONE)
    problems += list_problems(mia, "billing-confirm")
    page.goto(str(waiting.get_by_role("link", name="Complete the payment").get_attribute("href")))
    page.get_by_role("button", name=re.compile("Confirm")).click()
    page.goto(f"{home}/billing")
    expect(get_fact(page, "Plan")).to_contain_text("Yearly", timeout=SOON)
    expect(waiting).to_have_count(0)

    # The next one declines: nothing changes, and the change can be dropped.
    till.pull("replace-card", card=FAILS)
    put_on(page, DARK)
    page.get_by_test_id("change-seats").click()
    change.get_by_label("Seats").fill("3")
    expect(change.get_by_test_id("sum")).to_contain_text("Due today", timeout=SOON)
    change.get_by_role("button", name="Change seats").click()
    expect(page.get_by_text("The payment failed, or your bank needs your confirmation.")).to_be_visible(
        timeout=SOON
    )
    expect(waiting).to_be_visible(timeout=SOON)
    expect(page.get_by_text("1 seat is paid for")).to_be_visible()
    problems += list_problems(mia, "billing-declined")
    page.get_by_test_id("keep-plan-unpaid").click()
    expect(waiting).to_have_count(0, timeout=SOON)
    expect(page.get_by_text("You keep your current plan.")).to_be_visible()
    assert problems == []
