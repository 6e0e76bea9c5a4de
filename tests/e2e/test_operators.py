"""The operators' app: search, visit with a reason, suspension and restoration."""

import re

from playwright.sync_api import expect

from tests.e2e.conftest import ADMIN, DEMO, TENANT, NewVisitor

REASON = "Ticket 4471, cannot sign in"


def test_operator_finds_visits_suspends_and_restores_a_tenant(new_visitor: type[NewVisitor]) -> None:
    ann, olga = new_visitor(), new_visitor()
    home = ann.create_organisation("Ann Watched", "ann@watched.test", "Watched")
    ann.page.goto(f"{home}/home")
    olga.sign_in_as_operator("olga@bulkhead.test")
    olga.page.goto(f"{ADMIN}/tenants")
    olga.page.get_by_role("searchbox").fill("ann@watched.test")
    table = olga.page.get_by_role("table")
    expect(table.get_by_role("row")).to_have_count(2)  # its head, and the one
    olga.take_picture("operator-tenants")
    table.get_by_role("link", name="Watched").click()
    expect(olga.page.get_by_role("heading", level=1)).to_contain_text("Watched")
    olga.page.get_by_role("tab", name="Provisioning").click()
    expect(olga.page.get_by_test_id("provisioning").get_by_text("Done").first).to_be_visible()

    olga.page.get_by_role("tab", name="Members").click()
    expect(olga.page.get_by_role("table", name="Members")).to_have_count(0)  # not without a reason
    olga.page.get_by_test_id("reason-form").get_by_label("Reason", exact=True).fill(REASON)
    olga.page.get_by_role("button", name="Open", exact=True).click()
    expect(olga.page.get_by_role("table", name="Members")).to_contain_text("ann@watched.test")
    olga.take_picture("operator-members")

    olga.page.get_by_test_id("suspend").click()
    dialog = olga.page.get_by_role("dialog")
    dialog.get_by_label("Message to members").fill("Stolen cards were tried here.")
    dialog.get_by_label("Reason", exact=True).fill("Card testing, ticket 4472")
    dialog.get_by_label(re.compile("to confirm")).fill("Watched")
    olga.take_picture("operator-suspend")
    dialog.get_by_role("button", name="Suspend").click()
    expect(olga.page.get_by_test_id("restore")).to_be_visible()

    # Ann's open page says so without a click of hers; her next one is refused.
    ann.expect_text("This organisation is suspended. Stolen cards were tried here.")
    ann.expect_text("Contact support to have it restored.")
    ann.take_picture("suspended")
    answer = ann.page.goto(f"{home}/members")
    assert answer is not None
    assert answer.status == 403
    ann.expect_text("This organisation is suspended. Stolen cards were tried here.")

    olga.page.get_by_test_id("restore").click()
    dialog = olga.page.get_by_role("dialog")
    dialog.get_by_label("Reason", exact=True).fill("It was a mistake")
    dialog.get_by_label(re.compile("to confirm")).fill("Watched")
    dialog.get_by_role("button", name="Restore").click()
    expect(olga.page.get_by_test_id("suspend")).to_be_visible()

    ann.page.goto(f"{home}/members")
    expect(ann.page.get_by_role("table", name="Members")).to_contain_text("Ann Watched")
    ann.page.goto(f"{home}/audit")
    for text in (REASON, "Card testing, ticket 4472", "It was a mistake", "Olga Berg"):
        ann.expect_text(text)
    ann.take_picture("audit-of-operators")


def test_suspension_is_refused_for_support(new_visitor: type[NewVisitor]) -> None:
    sam = new_visitor()
    sam.sign_in_as_operator("sam@bulkhead.test")
    sam.page.goto(f"{ADMIN}/tenants")
    sam.page.get_by_role("link", name="Globex").click()
    refused = sam.page.get_by_role("button", name="Suspend")
    expect(refused).to_have_attribute("aria-disabled", "true")
    sam.page.goto(f"{ADMIN}/operators")
    sam.expect_text("You don’t have permission to view operators.")


def test_reading_across_tenants_requires_a_reason_and_is_audited(new_visitor: type[NewVisitor]) -> None:
    olga = new_visitor()
    olga.sign_in_as_operator("olga@bulkhead.test")
    olga.page.goto(f"{ADMIN}/audit")
    olga.page.get_by_label("Reason", exact=True).fill("Who changed roles yesterday, ticket 4473")
    olga.page.get_by_role("button", name="Read across tenants").click()
    olga.page.get_by_label("Actor").fill("Ann Keller")
    olga.page.get_by_role("button", name="Filter").click()
    expect(olga.page.locator("main")).to_contain_text("Acme")
    olga.take_picture("operator-audit")
    olga.page.get_by_role("tab", name="Operators").click()
    olga.expect_text(re.compile("ticket 4473"))
    olga.page.get_by_test_id("verify").click()
    olga.expect_text("Operator audit log verified.")


def test_session_of_one_realm_is_refused_in_the_other(new_visitor: type[NewVisitor]) -> None:
    ann, olga = new_visitor(), new_visitor()
    ann.sign_in_as("ann@acme.test")
    ann.page.goto(f"{ADMIN}/tenants")
    ann.page.wait_for_url("**/sign-in**")
    ann.sign_in("ann@acme.test", DEMO, ADMIN)
    ann.expect_text("Incorrect email or password.")
    olga.sign_in_as_operator("olga@bulkhead.test")
    olga.page.goto(f"{TENANT}/t/acme/home")
    olga.page.wait_for_url("**/sign-in**")


def test_operator_role_is_changed_and_changed_back(new_visitor: type[NewVisitor]) -> None:
    olga = new_visitor()
    olga.sign_in_as_operator("olga@bulkhead.test")
    olga.page.goto(f"{ADMIN}/operators")
    row = olga.page.get_by_role("row", name=re.compile("Sam Reyes"))
    for role in ("Billing", "Support"):
        row.get_by_role("button", name=re.compile("Actions")).click()
        olga.page.get_by_role("menuitem", name="Change role").click()
        dialog = olga.page.get_by_role("dialog")
        dialog.get_by_role("radio", name=role).check()
        dialog.get_by_label("Reason", exact=True).fill("Covers for billing this week")
        dialog.get_by_role("button", name="Change role").click()
        expect(row).to_contain_text(role)
    olga.take_picture("operators")
