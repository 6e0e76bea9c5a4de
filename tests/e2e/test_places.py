"""One person in several organisations and tabs, and the brand of each organisation."""

import re

from playwright.sync_api import expect

from tests.e2e.conftest import TENANT, NewVisitor


def test_two_tabs_show_two_tenants_with_two_roles(new_visitor: type[NewVisitor]) -> None:
    ann = new_visitor()
    ann.sign_in_as("ann@acme.test")
    ann.page.goto(f"{TENANT}/organisations")
    ann.page.get_by_role("link", name="Acme", exact=True).click()
    ann.page.wait_for_url("**/t/acme/home**")
    ann.page.get_by_test_id("switcher").first.click()
    expect(ann.page.get_by_role("menuitem", name=re.compile("Globex"))).to_contain_text("Viewer")
    ann.take_picture("switcher")
    ann.page.get_by_role("menuitem", name=re.compile("Globex")).click()
    ann.page.wait_for_url("**/t/globex/home**")

    ann.page.goto(f"{TENANT}/t/globex/members")
    table = ann.page.get_by_role("table", name="Members")
    expect(table).to_contain_text("Gil Marchetti")
    refused = ann.page.get_by_role("button", name="Invite member")
    expect(refused).to_have_attribute("aria-disabled", "true")

    acme = ann.open_tab()
    acme.goto(f"{TENANT}/t/acme/members")
    expect(acme.get_by_role("table", name="Members")).to_contain_text("Max Brandt")
    expect(acme.get_by_test_id("invite")).to_be_visible()
    # The first tab is still where it was: sorting there shows nobody of Acme.
    ann.page.get_by_role("button", name="Name").click()
    expect(table).to_contain_text("Gil Marchetti")
    expect(table).not_to_contain_text("Max Brandt")

    ann.page.goto(f"{TENANT}/t/globex/audit")
    ann.expect_text("You don’t have permission to view the audit log.")
    ann.take_picture("not-for-this-role")


def test_person_without_a_tenant_and_stranger_see_no_tenant(new_visitor: type[NewVisitor]) -> None:
    carl, gil = new_visitor(), new_visitor()
    carl.sign_in_as("carl@nowhere.test")
    gil.sign_in_as("gil@globex.test")
    for person in (carl, gil):
        for place in ("acme", "no-such-place"):
            answer = person.page.goto(f"{TENANT}/t/{place}/members")
            assert answer is not None
            assert answer.status == 404
            person.expect_text("Page not found.")


def test_brand_colour_is_shown_only_in_its_tenant(new_visitor: type[NewVisitor]) -> None:
    ann = new_visitor()
    home = ann.create_organisation("Ann Brand", "ann@brand.test", "Brand")
    ann.page.goto(f"{home}/settings")
    ann.page.get_by_label("Brand colour").fill("#00694b")
    ann.page.get_by_role("button", name="Save colour").click()
    ann.expect_text("Saved the colour.")
    ann.take_picture("branded")
    ann.page.goto(f"{home}/members")
    invite = ann.page.get_by_test_id("invite")
    expect(invite).to_have_css("background-color", "rgb(0, 105, 75)")

    gil = new_visitor()
    gil.sign_in_as("gil@globex.test")
    gil.page.goto(f"{TENANT}/t/globex/members")
    expect(gil.page.get_by_test_id("invite")).not_to_have_css("background-color", "rgb(0, 105, 75)")


def test_former_address_leads_members_to_the_present_one(new_visitor: type[NewVisitor]) -> None:
    ann, max_, carl = new_visitor(), new_visitor(), new_visitor()
    home = ann.create_organisation("Ann Moving", "ann@moving.test", "Moving", invited="max@moving.test")
    max_.accept_invitation(ann.platform.wait_for_link("max@moving.test", "/invitations/accept"), "Max Moving")
    max_.page.goto(f"{home}/members")
    expect(max_.page.get_by_role("table", name="Members")).to_be_visible()
    ann.page.goto(f"{home}/settings")
    ann.page.get_by_test_id("change-address").click()
    dialog = ann.page.get_by_role("dialog")
    dialog.get_by_role("textbox").fill("moved-there")
    dialog.get_by_role("button", name="Change address").click()
    ann.page.wait_for_url("**/t/moved-there/settings**")
    # His open page goes to the present address by itself; so does an old link with its query.
    max_.page.wait_for_url("**/t/moved-there/members**", timeout=10_000)
    expect(max_.page.get_by_role("table", name="Members")).to_be_visible()
    max_.page.goto(f"{home}/notifications?from=mail")
    max_.page.wait_for_url("**/t/moved-there/notifications?from=mail")
    carl.create_organisation("Carl Moving", "carl@moving.test", "Elsewhere")
    answer = carl.page.goto(f"{home}/home")
    assert answer is not None
    assert answer.status == 404
