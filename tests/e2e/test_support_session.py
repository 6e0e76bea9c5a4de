"""A support session in the browser: it begins in the admin app, shows a banner, changes nothing, and the owner sees it."""

import re

from playwright.sync_api import expect

from tests.e2e.conftest import ADMIN, TENANT, NewVisitor
from tests.e2e.looks import list_problems

REASON = "The members list looks empty"


def test_support_session_is_shown_reads_only_and_ends_for_the_owner_to_see(
    new_visitor: type[NewVisitor],
) -> None:
    olga = new_visitor()
    olga.sign_in_as_operator("olga@bulkhead.test")
    page = olga.page
    page.goto(f"{ADMIN}/tenants")
    page.get_by_role("link", name="Acme", exact=True).click()
    page.get_by_role("tab", name="Members").click()
    page.get_by_test_id("reason-form").get_by_label("Reason").fill("Ticket 4471, list looks empty")
    page.get_by_test_id("reason-form").get_by_role("button", name="Open").click()
    page.get_by_role("button", name="Act as Ann").click()
    form = page.get_by_test_id("impersonate-form")
    form.get_by_label("Reason", exact=True).fill(REASON)
    form.get_by_label("Ticket").fill("4471")
    assert list_problems(olga, "impersonate-dialog") == []
    form.get_by_role("button", name="Start").click()

    page.wait_for_url(f"{TENANT}/t/acme/home")
    banner = page.get_by_text("Support session.", exact=True)
    expect(banner).to_be_visible()
    expect(page.get_by_text("You act as Ann")).to_contain_text(re.compile(r"\d+:\d\d left"))
    assert list_problems(olga, "support-session") == []
    page.goto(f"{TENANT}/t/acme/settings")
    expect(banner).to_be_visible()
    expect(page.get_by_role("button", name="Save").first).to_have_attribute("aria-disabled", "true")
    page.goto(f"{TENANT}/t/acme/api-keys")
    expect(page.get_by_test_id("refusal")).to_contain_text("Support can")
    page.get_by_test_id("end-support-session").click()
    page.wait_for_url(re.compile("/sign-in"))
    expect(page.get_by_text("The support session has ended.")).to_be_visible()

    ann = new_visitor()
    ann.sign_in_as("ann@acme.test")
    ann.page.goto(f"{TENANT}/t/acme/support")
    sessions = ann.page.get_by_test_id("support-sessions")
    expect(sessions).to_contain_text("Olga Berg for Ann Keller")
    expect(sessions).to_contain_text("the operator ended it")
    assert list_problems(ann, "support-access") == []
    sessions.get_by_test_id("show-transcript").first.click()
    transcript = ann.page.get_by_test_id("transcript")
    expect(transcript).to_contain_text("/api-keys")
    assert list_problems(ann, "support-transcript") == []
