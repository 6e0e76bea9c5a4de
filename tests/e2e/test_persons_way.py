"""The main task of two people in two browsers, from the first mail to the last refusal."""

import re

from playwright.sync_api import expect

from tests.e2e.conftest import PASSWORD, TENANT, NewVisitor


def test_owner_builds_a_team_and_a_member_leaves_it(new_visitor: type[NewVisitor]) -> None:
    ann, max_ = new_visitor(still=False), new_visitor(still=False)

    ann.sign_up("Ann Journey", "ann@journey.test", "Journey & Söhne")
    ann.take_picture("wizard-1")
    for step in range(5):  # organisation, look, invitations; each has one button to go on
        if "/home" in ann.page.url:
            break
        if ann.page.locator("input[name^=email]").count():
            ann.page.locator("input[name^=email]").first.fill("max@journey.test")
        ann.page.locator("main form button[type=submit]").first.click()
        ann.page.wait_for_load_state()
        ann.take_picture(f"wizard-{step + 2}")
    ann.page.wait_for_url("**/t/*/home**")
    expect(ann.page.get_by_role("heading", level=1)).to_be_visible()
    slug = re.search(r"/t/([^/]+)/", ann.page.url)
    assert slug is not None
    home = f"{TENANT}/t/{slug.group(1)}"
    ann.take_picture("home")

    max_.page.goto(ann.platform.wait_for_link("max@journey.test", "/invitations/accept"))
    max_.page.fill("input[name=name]", "Max Journey")
    max_.page.fill("input[name=password]", PASSWORD)
    max_.page.get_by_role("button", name=re.compile("^Join")).click()
    max_.page.wait_for_url("**/home**")
    max_.take_picture("max-is-in")
    max_.page.goto(f"{home}/members")
    expect(max_.page.get_by_role("table", name="Members")).to_contain_text("Ann Journey")
    refused = max_.page.get_by_role("button", name="Invite member")
    expect(refused).to_have_attribute("aria-disabled", "true")

    ann.page.goto(f"{home}/members")
    ann.page.get_by_role("button", name="Actions for Max Journey").click()
    ann.page.get_by_role("menuitem", name="Change role").click()
    ann.page.get_by_role("dialog").get_by_role("radio", name="Admin").check()
    ann.page.get_by_role("dialog").get_by_role("button", name="Change role").click()
    expect(ann.page.get_by_role("row", name=re.compile("Max Journey"))).to_contain_text("Admin")
    ann.take_picture("members")
    # His open page changes by itself: no click of his.
    expect(max_.page.get_by_test_id("invite")).to_be_visible(timeout=10_000)
    max_.take_picture("max-is-admin")

    ann.page.get_by_role("button", name="Actions for Max Journey").click()
    ann.page.get_by_role("menuitem", name="Remove").click()
    dialog = ann.page.get_by_role("dialog")
    dialog.get_by_role("textbox").fill("Max Journey")
    dialog.get_by_role("button", name="Remove").click()
    expect(ann.page.get_by_role("row", name=re.compile("Max Journey"))).to_have_count(0)

    max_.expect_text(re.compile("Your access to Journey & Söhne was removed by Ann Journey"))
    max_.take_picture("max-is-out")
    answer = max_.page.goto(f"{home}/home")
    assert answer is not None
    assert answer.status == 403
    max_.expect_text("Contact an owner of Journey & Söhne to restore it.")

    ann.page.goto(f"{home}/audit")
    trail = ann.page.locator("main")
    for did in ("Max Journey", "Admin", "max@journey.test"):
        expect(trail).to_contain_text(did)
    ann.take_picture("audit")


def test_member_leaves_and_open_pages_show_it(new_visitor: type[NewVisitor]) -> None:
    ann, max_ = new_visitor(), new_visitor()
    home = ann.create_organisation("Ann Leaving", "ann@leaving.test", "Leaving", invited="max@leaving.test")
    max_.accept_invitation(
        ann.platform.wait_for_link("max@leaving.test", "/invitations/accept"), "Max Leaving"
    )
    ann.page.goto(f"{home}/members")
    max_.page.goto(f"{home}/members")
    other = max_.open_tab()
    other.goto(f"{home}/home")
    expect(ann.page.get_by_role("row", name=re.compile("Max Leaving"))).to_be_visible()

    max_.page.get_by_test_id("leave").click()
    max_.page.wait_for_url("**/organisations/leave**")
    max_.take_picture("leave")
    max_.page.get_by_role("button", name="Leave Leaving").click()
    max_.expect_text("You left the organisation.")
    # His other tab and Ann's list change by themselves.
    expect(other.get_by_text("You left Leaving on").first).to_be_visible(timeout=10_000)
    expect(ann.page.get_by_role("row", name=re.compile("Max Leaving"))).to_have_count(0)

    ann.page.goto(f"{TENANT}/organisations")
    ann.page.get_by_role("link", name="Leave Leaving").click()
    ann.page.get_by_role("button", name="Leave Leaving").click()
    ann.expect_text("Transfer ownership on the Members page first.")
