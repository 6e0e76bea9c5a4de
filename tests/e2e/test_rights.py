"""Plan, role and bill in the pages: refused pages, disabled controls, custom roles."""

import re

from playwright.sync_api import expect

from tests.e2e.conftest import TENANT, NewVisitor
from tests.e2e.exports import download_export, start_export
from tests.e2e.looks import LIGHT, PHONE, Look, list_problems, open_page

ACME, GLOBEX, INITECH = (f"{TENANT}/t/{slug}" for slug in ("acme", "globex", "initech"))


def open_as(new_visitor: type[NewVisitor], email: str, look: Look = LIGHT) -> NewVisitor:
    person = new_visitor(look)
    person.sign_in_as(email)
    return person


def read_reason(person: NewVisitor, label: str) -> str:
    """What a closed control says to a screen reader."""
    control = person.page.get_by_role("button", name=label).first
    expect(control).to_have_attribute("aria-disabled", "true")
    description_id = control.get_attribute("aria-describedby")
    return person.page.locator(f"[id='{description_id}']").first.inner_text()


def test_pages_inside_and_outside_the_plan_are_usable_in_every_look(new_visitor: type[NewVisitor]) -> None:
    gil, ann, ida = (
        open_as(new_visitor, f"{name}.test", PHONE) for name in ("gil@globex", "ann@acme", "ida@initech")
    )
    problems = open_page(gil, "upsell", f"{GLOBEX}/reports")
    problems += open_page(gil, "refused-control", f"{GLOBEX}/roles")
    problems += open_page(ida, "grace", f"{INITECH}/members")
    for name in ("reports", "access", "members", "roles"):
        problems += open_page(ann, f"business-{name}", f"{ACME}/{name}")
    ann.page.get_by_test_id("create-role").click()
    expect(ann.page.get_by_role("dialog")).to_be_visible()
    problems += list_problems(ann, "role-editor")
    assert problems == []


def test_reports_are_offered_on_starter_and_shown_on_business(new_visitor: type[NewVisitor]) -> None:
    gil = open_as(new_visitor, "gil@globex.test")
    gil.page.goto(f"{GLOBEX}/home")
    reports = gil.page.get_by_role("navigation").get_by_role("link", name=re.compile("Reports"))
    expect(reports).to_contain_text("not in your plan")
    reports.click()
    offer = gil.page.get_by_test_id("upsell")
    expect(offer).to_contain_text("Starter doesn’t include Advanced reports.")
    expect(offer).to_contain_text("Understand how your team works.")
    expect(offer).to_contain_text("Business and Enterprise")
    expect(offer).to_contain_text("Choose a larger plan in Billing.")
    expect(offer.get_by_role("button")).to_have_count(0)

    ann = open_as(new_visitor, "ann@acme.test")
    ann.page.goto(f"{ACME}/reports")
    expect(ann.page.get_by_test_id("weeks")).to_be_visible()
    expect(ann.page.get_by_role("img", name=re.compile("Seats in use, 12 weeks"))).to_be_visible()
    expect(ann.page.get_by_test_id("changers")).to_contain_text("Ann Keller")


def test_disabled_control_explains_itself_to_everybody(new_visitor: type[NewVisitor]) -> None:
    gil = open_as(new_visitor, "gil@globex.test")
    gil.page.goto(f"{GLOBEX}/members")
    expect(gil.page.get_by_role("table", name="Members")).to_be_visible()
    assert "Starter doesn’t include CSV export." in read_reason(gil, "Export")
    gil.page.get_by_role("button", name="Export").focus()
    expect(gil.page.get_by_role("tooltip")).to_contain_text("Pro, Business and Enterprise do.")
    gil.take_picture("refused-control-tooltip")
    gil.page.goto(f"{GLOBEX}/roles")
    assert "Starter doesn’t include Custom roles." in read_reason(gil, "New role")


def test_custom_role_takes_effect_at_once_when_assigned_or_changed(new_visitor: type[NewVisitor]) -> None:
    ann, max_ = open_as(new_visitor, "ann@acme.test"), open_as(new_visitor, "max@acme.test")
    max_.page.goto(f"{ACME}/members")
    expect(max_.page.get_by_role("table", name="Members")).to_be_visible()
    assert "You don’t have permission to invite people." in read_reason(max_, "Invite member")

    ann.page.goto(f"{ACME}/roles")
    ann.page.get_by_test_id("create-role").click()
    editor = ann.page.get_by_test_id("create-form")
    editor.get_by_label("Name").fill("Recruiter")
    editor.get_by_label("Description").fill("Finds people.")
    expect(editor.get_by_role("checkbox", name="Transfer ownership")).to_be_disabled()
    for label in ("Invite people", "View members", "View roles"):
        editor.get_by_role("checkbox", name=re.compile(label, re.IGNORECASE)).check()
    editor.get_by_role("button", name="Create role").click()
    listed = ann.page.get_by_test_id("role").filter(has_text="Recruiter")
    expect(listed).to_contain_text("Not assigned")

    def give(role: str) -> None:
        ann.page.goto(f"{ACME}/members")
        ann.page.get_by_role("button", name="Actions for Max Brandt").click()
        ann.page.get_by_role("menuitem", name="Change role").click()
        ann.page.get_by_role("dialog").get_by_role("radio", name=role, exact=True).check()
        ann.page.get_by_role("dialog").get_by_role("button", name="Change role").click()
        expect(ann.page.get_by_role("row", name=re.compile("Max Brandt"))).to_contain_text(role)

    give("Recruiter")
    # His open page has loaded again by itself.
    expect(max_.page.get_by_test_id("invite")).to_be_visible(timeout=15_000)
    ann.page.get_by_label("Role", exact=True).first.select_option(label="Recruiter")
    expect(ann.page.get_by_role("table", name="Members").get_by_role("row")).to_have_count(2)
    ann.page.get_by_label("Role", exact=True).first.select_option(label="All roles")
    # A page that is left before the answer keeps its filter.
    expect(ann.page.get_by_role("row", name=re.compile("Adam"))).to_be_visible()

    ann.page.goto(f"{ACME}/roles")
    listed = ann.page.get_by_test_id("role").filter(has_text="Recruiter")
    expect(listed).to_contain_text("1 person")
    expect(listed.get_by_role("button", name="Delete")).to_have_attribute("aria-disabled", "true")
    ann.take_picture("role-held")
    listed.get_by_role("button", name="Change").click()
    editor = ann.page.get_by_test_id("change-form")
    editor.get_by_role("checkbox", name=re.compile("Invite people")).uncheck()
    editor.get_by_role("button", name="Change role").click()
    expect(editor).to_have_count(0)
    expect(max_.page.get_by_test_id("invite")).to_have_count(0, timeout=15_000)
    assert "You don’t have permission to invite people." in read_reason(max_, "Invite member")

    give("Member")
    ann.page.goto(f"{ACME}/roles")
    listed = ann.page.get_by_test_id("role").filter(has_text="Recruiter")
    listed.get_by_test_id("delete-role").click()
    confirm = ann.page.get_by_test_id("delete-form")
    confirm.get_by_label("confirm").fill("Recruit")
    confirm.get_by_role("button", name="Delete role").click()
    ann.expect_text("That doesn’t match.")
    confirm.get_by_label("confirm").fill("Recruiter")
    confirm.get_by_role("button", name="Delete role").click()
    expect(listed).to_have_count(0)


def test_member_list_is_exported_as_filtered(new_visitor: type[NewVisitor]) -> None:
    ann = open_as(new_visitor, "ann@acme.test")
    ann.page.goto(f"{ACME}/members")
    ann.page.get_by_label("Search members").fill("adam")
    table = ann.page.get_by_role("table", name="Members")
    expect(table.get_by_role("row")).to_have_count(2)
    start_export(ann, "CSV")
    problems = list_problems(ann, "export-ready")
    download = download_export(ann)
    text = download.path().read_text(encoding="utf-8-sig")
    assert re.fullmatch(r"acme-members-\d{4}-\d\d-\d\d\.csv", download.suggested_filename)
    assert "adam@acme.test" in text
    assert "max@acme.test" not in text
    ann.page.goto(f"{ACME}/notifications")
    ann.expect_text("Your export is ready: Members")
    problems += list_problems(ann, "export-notification")
    assert problems == []
    with ann.page.expect_download() as caught:
        ann.page.get_by_role("button", name="Download").first.click()
    assert caught.value.path().read_text(encoding="utf-8-sig") == text

    ann.page.goto(f"{ACME}/audit")
    ann.page.get_by_label("Action", exact=True).select_option("member.exported")
    ann.page.get_by_role("button", name="Filter").click()
    expect(ann.page.get_by_test_id("events")).to_contain_text("exported the list of members")
    # Only what is shown is exported, and the lines above were there before the filter as well.
    expect(ann.page.get_by_role("button", name="Clear filters")).to_be_visible()
    start_export(ann, "CSV")
    lines = download_export(ann).path().read_text(encoding="utf-8-sig").splitlines()
    assert all("member.exported" in line for line in lines[1:])
    assert len(lines) > 1


def test_overdue_invoice_is_announced_on_every_page(new_visitor: type[NewVisitor]) -> None:
    ida = open_as(new_visitor, "ida@initech.test")
    for name in ("home", "members", "settings"):
        ida.page.goto(f"{INITECH}/{name}")
        notice = ida.page.locator(".banner")
        expect(notice).to_contain_text("A payment is overdue. Everything keeps working until")
        expect(notice).to_contain_text("Pay the open invoice.")
