"""The operators' app: search, visit with a reason, suspension and restoration."""

import re

from playwright.sync_api import expect

from tests.e2e.conftest import ADMIN, DEMO, TENANT, Newcomer

REASON = "Ticket 4471, cannot sign in"


def test_operator_finds_visits_suspends_and_restores_a_tenant(someone: type[Newcomer]) -> None:
    ann, olga = someone(), someone()
    home = ann.founds("Ann Watched", "ann@watched.test", "Watched")
    ann.page.goto(f"{home}/home")
    olga.operates("olga@bulkhead.test")
    olga.page.goto(f"{ADMIN}/tenants")
    olga.page.get_by_role("searchbox").fill("ann@watched.test")
    table = olga.page.get_by_role("table")
    expect(table.get_by_role("row")).to_have_count(2)  # its head, and the one
    olga.shot("operator-tenants")
    table.get_by_role("link", name="Watched").click()
    expect(olga.page.get_by_role("heading", level=1)).to_contain_text("Watched")
    olga.page.get_by_role("tab", name="Provisioning").click()
    expect(olga.page.get_by_test_id("provisioning").get_by_text("Done").first).to_be_visible()

    olga.page.get_by_role("tab", name="Members").click()
    expect(olga.page.get_by_role("table", name="Members")).to_have_count(0)  # not without a reason
    olga.page.get_by_test_id("reason-form").get_by_label("Reason", exact=True).fill(REASON)
    olga.page.get_by_role("button", name="Open", exact=True).click()
    expect(olga.page.get_by_role("table", name="Members")).to_contain_text("ann@watched.test")
    olga.shot("operator-members")

    olga.page.get_by_test_id("suspend").click()
    dialog = olga.page.get_by_role("dialog")
    dialog.get_by_label("Message to members").fill("Stolen cards were tried here.")
    dialog.get_by_label("Reason", exact=True).fill("Card testing, ticket 4472")
    dialog.get_by_label(re.compile("to confirm")).fill("Watched")
    olga.shot("operator-suspend")
    dialog.get_by_role("button", name="Suspend").click()
    expect(olga.page.get_by_test_id("restore")).to_be_visible()

    # Ann's open page says so without a click of hers; her next one is refused.
    ann.sees("This organisation is suspended. Stolen cards were tried here.")
    ann.sees("Contact support to have it restored.")
    ann.shot("suspended")
    answer = ann.page.goto(f"{home}/members")
    assert answer is not None
    assert answer.status == 403
    ann.sees("This organisation is suspended. Stolen cards were tried here.")

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
        ann.sees(text)
    ann.shot("audit-of-operators")


def test_suspension_is_refused_for_support(someone: type[Newcomer]) -> None:
    sam = someone()
    sam.operates("sam@bulkhead.test")
    sam.page.goto(f"{ADMIN}/tenants")
    sam.page.get_by_role("link", name="Globex").click()
    refused = sam.page.get_by_role("button", name="Suspend")
    expect(refused).to_have_attribute("aria-disabled", "true")
    sam.page.goto(f"{ADMIN}/operators")
    sam.sees("You don't have permission to view operators.")


def test_reading_across_tenants_requires_a_reason_and_is_audited(someone: type[Newcomer]) -> None:
    olga = someone()
    olga.operates("olga@bulkhead.test")
    olga.page.goto(f"{ADMIN}/audit")
    olga.page.get_by_label("Reason", exact=True).fill("Who changed roles yesterday, ticket 4473")
    olga.page.get_by_role("button", name="Read across tenants").click()
    olga.page.get_by_label("Actor").fill("Ann Keller")
    olga.page.get_by_role("button", name="Filter").click()
    expect(olga.page.locator("main")).to_contain_text("Acme")
    olga.shot("operator-audit")
    olga.page.get_by_role("tab", name="Operators").click()
    olga.sees(re.compile("ticket 4473"))
    olga.page.get_by_test_id("verify").click()
    olga.sees("Operator audit log verified.")


def test_session_of_one_realm_is_refused_in_the_other(someone: type[Newcomer]) -> None:
    ann, olga = someone(), someone()
    ann.enters("ann@acme.test")
    ann.page.goto(f"{ADMIN}/tenants")
    ann.page.wait_for_url("**/sign-in**")
    ann.signs_in("ann@acme.test", DEMO, ADMIN)
    ann.sees("Incorrect email or password.")
    olga.operates("olga@bulkhead.test")
    olga.page.goto(f"{TENANT}/t/acme/home")
    olga.page.wait_for_url("**/sign-in**")


def test_operator_role_is_changed_and_changed_back(someone: type[Newcomer]) -> None:
    olga = someone()
    olga.operates("olga@bulkhead.test")
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
    olga.shot("operators")
