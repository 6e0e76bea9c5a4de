"""The flag pages: creation with owner and date, rollout in steps, kill switch."""

import re
from datetime import UTC, datetime, timedelta

from playwright.sync_api import Locator, expect

from tests.e2e.conftest import ADMIN, TENANT, NewVisitor, connect_to_database
from tests.e2e.looks import PHONE, list_problems, open_page

REASON = "First customers asked for it, ticket 5120"


def get_figure(person: NewVisitor) -> Locator:
    return person.page.get_by_test_id("effect").locator(".figure")


def in_days(days: int) -> str:
    return (datetime.now(UTC) + timedelta(days=days)).date().isoformat()


def create_flag(person: NewVisitor, key: str, title: str) -> None:
    person.page.goto(f"{ADMIN}/flags")
    person.page.get_by_test_id("create").click()
    dialog = person.page.get_by_role("dialog")
    for label, value in (
        ("Key", key),
        ("Title", title),
        ("Description", "Reports by department."),
        ("Owner", "Reports team"),
        ("Remove by", in_days(60)),
        ("Reason", REASON),
    ):
        dialog.get_by_label(label, exact=True).fill(value)
    person.take_picture(f"flag-create-{key}")
    dialog.get_by_role("button", name="Create flag").click()
    person.page.wait_for_url(f"**/flags/{key}")


def add_rule(
    person: NewVisitor, kind: str, *, choice: str = "", percent: str = "", works: bool = True
) -> None:
    form = person.page.get_by_test_id("rule-form")
    form.get_by_label("Applies to").select_option(label=kind)
    if choice:
        form.get_by_label("Values").select_option(label=choice)
    if percent:
        form.get_by_label("Percent of all tenants").fill(percent)
    form.get_by_role("button", name="Add rule").click()
    if works:
        expect(form.get_by_label("Applies to")).to_be_focused()  # ready for the next one


def save_rules(person: NewVisitor, reason: str = REASON) -> None:
    dialog = person.page.get_by_role("dialog")
    dialog.get_by_label("Reason", exact=True).fill(reason)
    dialog.get_by_role("button", name="Save rules").click()
    expect(dialog).to_have_count(0)


def switch_flag(person: NewVisitor, verb: str, key: str, reason: str) -> None:
    dialog = person.page.get_by_role("dialog")
    dialog.get_by_label("Reason", exact=True).fill(reason)
    dialog.get_by_label(re.compile("to confirm")).fill(key)
    dialog.get_by_role("button", name=verb).click()
    expect(dialog).to_have_count(0)


def test_flag_from_its_first_tenants_to_the_kill_switch(new_visitor: type[NewVisitor]) -> None:
    olga, colleague = new_visitor(), new_visitor()
    olga.sign_in_as_operator("olga@bulkhead.test")
    colleague.sign_in_as_operator("olga@bulkhead.test")
    create_flag(olga, "new_reports", "New reports")
    olga.expect_text("Off for everyone")

    olga.page.get_by_test_id("edit").click()
    add_rule(olga, "Plans", choice="Business")
    add_rule(olga, "Beta tenants")
    draft = olga.page.get_by_test_id("draft")
    expect(draft.get_by_role("listitem")).to_have_count(2)
    add_rule(olga, "Plans", choice="Business", works=False)
    olga.expect_text("This rule is already in the list.")
    draft.get_by_role("button", name="Remove beta tenants").click()
    expect(draft.get_by_role("listitem")).to_have_count(1)
    olga.take_picture("flag-editing")
    olga.page.get_by_test_id("review").click()
    expect(get_figure(olga)).to_contain_text(
        re.compile(r"0\s*[1-9]\d*\s*of")
    )  # Acme, and whoever bought the plan
    expect(olga.page.get_by_test_id("effect")).to_contain_text("Acme")
    olga.take_picture("flag-effect")
    save_rules(olga)
    expect(olga.page.get_by_test_id("exposed")).to_contain_text("Acme")
    expect(olga.page.get_by_role("heading", level=1)).to_contain_text("New reports")
    expect(olga.page.locator("main .badge").first).to_have_text("On for some")

    # Two at once: the colleague began before, saves after, and is told.
    colleague.page.goto(f"{ADMIN}/flags/new_reports")
    colleague.page.get_by_test_id("edit").click()
    add_rule(colleague, "Percentage of tenants", percent="15")
    olga.page.get_by_test_id("edit").click()
    add_rule(olga, "Percentage of tenants", percent="100")
    olga.page.get_by_test_id("review").click()
    expect(get_figure(olga)).to_contain_text(re.compile(r"[1-9]\d*\s*\d+\s*of"))
    save_rules(olga, "To all of them")
    colleague.expect_text("This flag was changed while you were editing.")
    colleague.take_picture("flag-overtaken")
    colleague.page.get_by_test_id("review").click()
    dialog = colleague.page.get_by_role("dialog")
    dialog.get_by_label("Reason", exact=True).fill("Only a few")
    dialog.get_by_role("button", name="Save rules").click()
    expect(dialog.get_by_test_id("conflict")).to_contain_text("Olga Berg changed New reports")
    expect(dialog.get_by_test_id("conflict")).to_contain_text("Yours: ")

    olga.page.get_by_test_id("kill").click()
    dialog = olga.page.get_by_role("dialog")
    dialog.get_by_label("Reason", exact=True).fill("Reports time out")
    dialog.get_by_label(re.compile("to confirm")).fill("new_report")
    dialog.get_by_role("button", name="Kill").click()
    olga.expect_text("That doesn’t match.")
    olga.take_picture("flag-kill")
    switch_flag(olga, "Kill", "new_reports", "Reports time out")
    olga.expect_text("Reports time out")
    olga.expect_text("No tenants")
    olga.take_picture("flag-killed")
    olga.page.get_by_test_id("revive").click()
    expect(get_figure(olga)).to_contain_text(re.compile(r"0\s*\d+\s*of"))
    switch_flag(olga, "Revive", "new_reports", "Reports work again")
    expect(olga.page.get_by_test_id("exposed")).to_contain_text("Acme")
    expect(olga.page.get_by_test_id("versions").get_by_role("listitem")).to_have_count(5)
    olga.take_picture("flag-history")
    olga.page.goto(f"{ADMIN}/flags")
    expect(olga.page.get_by_test_id("flags")).to_contain_text("New reports")

    olga.page.goto(f"{ADMIN}/audit")
    olga.page.get_by_role("tab", name="Operators").click()
    expect(olga.page.get_by_role("listitem").filter(has_text="killed the flag").first).to_be_visible()


def test_flag_form_requires_an_owner_and_a_future_date(new_visitor: type[NewVisitor]) -> None:
    olga = new_visitor()
    olga.sign_in_as_operator("olga@bulkhead.test")
    olga.page.goto(f"{ADMIN}/flags")
    olga.page.get_by_test_id("create").click()
    dialog = olga.page.get_by_role("dialog")
    for label, value in (
        ("Key", "yesterdays"),
        ("Title", "Yesterday's"),
        ("Description", "Nothing."),
        ("Remove by", in_days(-1)),
        ("Reason", REASON),
    ):
        dialog.get_by_label(label, exact=True).fill(value)
    dialog.get_by_role("button", name="Create flag").click()
    expect(dialog.get_by_label("Owner")).to_be_focused()  # the browser asks for it
    dialog.get_by_label("Owner").fill("Reports team")
    dialog.get_by_role("button", name="Create flag").click()
    olga.expect_text("a removal date in the future")
    expect(dialog.get_by_label("Key")).to_have_value("yesterdays")


def test_killed_flag_is_off_in_an_open_tenant_page(new_visitor: type[NewVisitor]) -> None:
    """Ann's next look is refused with the reason; nothing else of hers is."""
    olga, ann = new_visitor(), new_visitor()
    ann.sign_in_as("ann@acme.test")
    olga.sign_in_as_operator("olga@bulkhead.test")
    olga.page.goto(f"{ADMIN}/flags/role_editor")
    expect(olga.page.get_by_test_id("exposed")).to_contain_text("Acme")
    olga.page.get_by_role("button", name="More").click()
    expect(olga.page.get_by_role("menuitem", name=re.compile("still used in the code"))).to_have_attribute(
        "aria-disabled", "true"
    )
    olga.page.keyboard.press("Escape")
    olga.page.get_by_test_id("kill").click()
    switch_flag(olga, "Kill", "role_editor", "Roles break, ticket 5121")
    olga.expect_text("No tenants")
    ann.page.goto(f"{TENANT}/t/acme/home")
    expect(ann.page.get_by_role("heading", level=1)).to_be_visible()
    olga.page.get_by_test_id("revive").click()
    switch_flag(olga, "Revive", "role_editor", "Roles work again")
    expect(olga.page.get_by_test_id("exposed")).to_contain_text("Acme")


def test_flags_are_read_only_for_support(new_visitor: type[NewVisitor]) -> None:
    sam = new_visitor()
    sam.sign_in_as_operator("sam@bulkhead.test")
    sam.page.goto(f"{ADMIN}/flags")
    expect(sam.page.get_by_role("button", name="Create flag")).to_have_attribute("aria-disabled", "true")
    sam.page.get_by_role("link", name="Role editor").click()
    expect(sam.page.get_by_test_id("rules")).to_contain_text("allow-list")
    expect(sam.page.get_by_role("button", name="Kill")).to_have_attribute("aria-disabled", "true")
    expect(sam.page.get_by_test_id("edit")).to_have_count(0)
    sam.page.goto(f"{ADMIN}/flags/nothing_here")
    sam.expect_text("This flag doesn’t exist.")
    sam.page.goto(f"{ADMIN}/flags/Not-a-key")
    sam.expect_text("This flag doesn’t exist.")


def wait_until_outdated(key: str) -> None:
    """As time does it: the date passes."""
    with connect_to_database() as connection:
        connection.execute("update flag set cleanup_by = '2026-10-01' where key = %s", [key])


def test_flag_pages_are_usable_in_every_look(new_visitor: type[NewVisitor]) -> None:
    olga = new_visitor(PHONE)
    olga.sign_in_as_operator("olga@bulkhead.test")
    create_flag(olga, "old_exports", "Old exports")
    wait_until_outdated("old_exports")
    problems = open_page(olga, "flags", f"{ADMIN}/flags")
    olga.expect_text("overdue")
    problems += open_page(olga, "flag", f"{ADMIN}/flags/role_editor")
    problems += open_page(olga, "flag-stale", f"{ADMIN}/flags/old_exports")
    olga.page.get_by_test_id("edit").click()
    add_rule(olga, "Percentage of tenants", percent="50")
    expect(olga.page.get_by_test_id("draft")).to_contain_text("50 %")
    olga.page.get_by_test_id("review").scroll_into_view_if_needed()
    problems += list_problems(olga, "flag-editor")
    olga.page.get_by_test_id("review").click()
    expect(get_figure(olga)).to_be_visible()
    problems += list_problems(olga, "flag-review")
    assert problems == []
