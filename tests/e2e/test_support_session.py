"""A day of support in the browser: find, explain, grant, act for a member who can be changed by nobody, and be seen."""

import re
from datetime import UTC, datetime, timedelta

from playwright.sync_api import Page, expect

from tests.e2e.conftest import ADMIN, NewVisitor
from tests.e2e.looks import list_problems

EMAIL, REASON = "dora@delta.test", "Ticket 4471, they can’t export"
READ_ONLY = "Nothing can be changed in a read-only support session."


def find_tenant(page: Page) -> None:
    """By the address of a member."""
    page.goto(f"{ADMIN}/tenants")
    page.get_by_role("searchbox").fill(EMAIL)
    tenants = page.get_by_test_id("tenants")
    expect(tenants).to_contain_text(f"Found by Dora Lund <{EMAIL}>")
    tenants.get_by_role("link", name="Delta", exact=True).click()


def grant_export(page: Page) -> None:
    """For 7 days, after asking why it is refused."""
    page.get_by_role("tab", name="Rights").click()
    export = page.get_by_test_id("features").get_by_role("row").filter(has_text="CSV export")
    export.get_by_role("link", name=re.compile("Why")).click()
    expect(page.get_by_test_id("verdict")).to_contain_text("Free doesn’t include CSV export.")
    page.go_back()
    page.get_by_role("tab", name="Rights").click()
    page.get_by_test_id("override-feature").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Feature").select_option("exports.csv")
    ends_at = datetime.now(UTC) + timedelta(days=7)
    dialog.get_by_label("Until").fill(ends_at.strftime("%Y-%m-%dT%H:%M"))
    dialog.get_by_label("Reason", exact=True).fill(REASON)
    dialog.get_by_role("button", name="Override").click()
    expect(export).to_contain_text("Yes")


def act_for_dora(page: Page) -> None:
    page.get_by_role("tab", name="Members").click()
    page.get_by_test_id("reason-form").get_by_label("Reason").fill(REASON)
    page.get_by_test_id("reason-form").get_by_role("button", name="Open").click()
    page.get_by_role("button", name="Act as Dora").click()
    form = page.get_by_test_id("impersonate-form")
    form.get_by_label("Reason", exact=True).fill(REASON)
    form.get_by_label("Ticket").fill("4471")


def test_support_day_leaves_everything_for_the_owner_to_see(new_visitor: type[NewVisitor]) -> None:
    dora, olga = new_visitor(), new_visitor()
    home = dora.create_organisation("Dora Lund", EMAIL, "Delta")
    olga.sign_in_as_operator("olga@bulkhead.test")
    page = olga.page
    find_tenant(page)
    grant_export(page)
    act_for_dora(page)
    problems = list_problems(olga, "impersonate-dialog")
    page.get_by_test_id("impersonate-form").get_by_role("button", name="Start").click()

    page.wait_for_url(f"{home}/home")
    expect(page.get_by_text("Support session.", exact=True)).to_be_visible()
    expect(page.get_by_text("You act as Dora")).to_contain_text(re.compile(r"\d+:\d\d left"))
    problems += list_problems(olga, "support-session")
    page.goto(f"{home}/settings")
    expect(page.get_by_role("button", name="Save name")).to_have_attribute("aria-disabled", "true")
    page.get_by_label("Name", exact=True).press("Enter")  # past the button
    olga.expect_text("You can’t change settings in a read-only support session.")  # the service
    page.goto(f"{home}/audit")
    page.get_by_role("button", name="Verify audit log").click()
    olga.expect_text(READ_ONLY)  # the database: whoever reads the log can verify it
    page.get_by_test_id("end-support-session").click()
    page.wait_for_url(re.compile("/sign-in"))
    expect(page.get_by_text("The support session has ended.")).to_be_visible()

    owner = dora.page
    owner.goto(f"{home}/support")
    sessions = owner.get_by_test_id("support-sessions")
    expect(sessions).to_contain_text("Olga Berg for Dora Lund")
    expect(sessions).to_contain_text("the operator ended it")
    problems += list_problems(dora, "support-access")
    sessions.get_by_test_id("show-transcript").first.click()
    transcript = owner.get_by_test_id("transcript")
    expect(transcript.get_by_role("listitem").filter(has_text="Refused")).to_have_count(2)
    problems += list_problems(dora, "support-transcript")
    owner.goto(f"{home}/audit")
    events = owner.get_by_test_id("events")
    for text in ("set an override", "began to act for Dora Lund", "ended support access for Dora Lund"):
        expect(events).to_contain_text(text)
    expect(events).not_to_contain_text("renamed")
    assert dora.platform.wait_for_link(EMAIL, "/support")
    assert problems == []
