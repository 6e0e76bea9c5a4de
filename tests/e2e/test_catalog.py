"""The catalog pages: a draft is changed, previewed and published, also by two operators at once."""

import re

from playwright.sync_api import Page, WebSocketRoute, expect

from tests.e2e.conftest import ADMIN, NewVisitor
from tests.e2e.looks import PHONE, judge_page, list_problems

BUSINESS, STARTER = "Business, draft of version", "Starter, draft of version"


def open_catalog(page: Page) -> None:
    page.goto(f"{ADMIN}/catalog")
    expect(page.get_by_role("table", name="Plans")).to_contain_text("Enterprise")


def open_draft(page: Page, plan: str) -> None:
    """A new draft, or the one that is open."""
    page.get_by_role("button", name=re.compile(f"draft of {plan}$")).click()
    expect(page.get_by_role("heading", level=1)).to_contain_text(f"{plan}, draft of version")


def discard_draft(page: Page) -> None:
    page.get_by_role("button", name="Discard", exact=True).click()
    page.get_by_role("dialog").get_by_role("button", name="Discard").click()
    expect(page.get_by_role("table", name="Plans")).to_be_visible()


def preview_impact(page: Page) -> None:
    page.get_by_test_id("look").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("Impact of")


def test_draft_and_its_impact_are_usable_in_every_look(new_visitor: type[NewVisitor]) -> None:
    olga = new_visitor(PHONE)
    olga.sign_in_as_operator("olga@bulkhead.test")
    page = olga.page
    open_catalog(page)
    page.get_by_role("button", name="Business", exact=True).click()
    expect(page.get_by_role("table", name="Versions of Business")).to_contain_text("In force")
    problems = list_problems(olga, "catalog-list", whole_suffix="-full")
    open_draft(page, "Business")
    page.get_by_role("checkbox", name="CSV export").uncheck()
    page.get_by_role("checkbox", name="Priority support").check()
    page.get_by_label("Members: amount").fill("2")
    page.get_by_label("API keys: what happens").select_option("unlimited")
    page.get_by_role("radio", name="Move to this version").check()
    problems += list_problems(olga, "catalog-draft", screen=False, whole_suffix="")
    preview_impact(page)
    effect = page.get_by_test_id("effect")
    for text in ("CSV export", "Priority support", "In use: more than 2 seats", "Acme, 3 in use"):
        expect(effect).to_contain_text(text)
    problems += list_problems(olga, "catalog-effect", screen=False, whole_suffix="")
    page.get_by_test_id("publish").click()
    expect(page.get_by_role("dialog").get_by_label("Reason", exact=True)).to_be_focused()
    problems += list_problems(olga, "catalog-publish")
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Back to the draft").click()
    expect(page.get_by_role("checkbox", name="CSV export")).not_to_be_checked()
    expect(page.get_by_label("Members: amount")).to_have_value("2")
    discard_draft(page)
    assert problems == []


def test_published_draft_is_in_force_and_audited(new_visitor: type[NewVisitor]) -> None:
    olga = new_visitor()
    olga.sign_in_as_operator("olga@bulkhead.test")
    page = olga.page
    open_catalog(page)
    open_draft(page, "Starter")
    page.get_by_label("API keys: amount").fill("4")
    page.get_by_role("radio", name="Move to this version").check()
    preview_impact(page)
    effect = page.get_by_test_id("effect")
    expect(effect).to_contain_text("3 keys → 4 keys")
    expect(effect.get_by_role("link", name="Globex")).to_be_visible()
    page.get_by_test_id("publish").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Reason", exact=True).fill("Everybody asked for it")
    dialog.get_by_role("button", name="Publish").click()
    olga.expect_text("Published Starter")
    page.get_by_role("button", name="Starter", exact=True).click()
    versions = page.get_by_role("table", name="Versions of Starter")
    expect(versions).to_contain_text("Everybody asked for it")
    expect(versions).to_contain_text("Earlier")
    page.goto(f"{ADMIN}/audit")
    page.get_by_role("tab", name="Operators").click()
    line = page.get_by_role("listitem").filter(has_text="published a version of Starter").first
    expect(line).to_contain_text("Everybody asked for it")
    expect(line).to_contain_text("4 keys")
    olga.take_picture("catalog-trail")


def test_draft_without_a_difference_has_no_impact(new_visitor: type[NewVisitor]) -> None:
    olga = new_visitor()
    olga.sign_in_as_operator("olga@bulkhead.test")
    open_catalog(olga.page)
    open_draft(olga.page, "Enterprise")
    preview_impact(olga.page)
    olga.expect_text("No impact")
    olga.take_picture("catalog-nobody")
    olga.page.get_by_role("button", name="Back to the draft").click()
    discard_draft(olga.page)


def test_draft_saved_by_another_operator_is_shown_and_typed_values_stay(
    new_visitor: type[NewVisitor],
) -> None:
    olga = new_visitor()
    olga.sign_in_as_operator("olga@bulkhead.test")
    first = olga.page
    open_catalog(first)
    open_draft(first, "Pro")
    first.get_by_label("Members: amount").fill("31")
    second = olga.open_tab()
    open_catalog(second)
    open_draft(second, "Pro")
    second.get_by_label("Members: amount").fill("40")
    second.get_by_role("checkbox", name="Workspaces").check()
    preview_impact(second)
    conflict = first.get_by_test_id("conflict")
    expect(conflict).to_contain_text("Olga Berg changed this draft")  # without a click
    expect(conflict).to_contain_text("40 seats")
    expect(conflict).to_contain_text("Workspaces")
    expect(first.get_by_label("Members: amount")).to_have_value("31")
    first.bring_to_front()
    first.get_by_test_id("look").click()  # as if it had not been seen: still refused, still nothing lost
    expect(first.get_by_label("Members: amount")).to_have_value("31")
    expect(conflict).to_be_in_viewport()
    olga.take_picture("catalog-conflict")
    assert judge_page(olga.page, "catalog-conflict") == []
    first.get_by_role("button", name="Use their changes").click()
    expect(first.get_by_label("Members: amount")).to_have_value("40")
    expect(first.get_by_role("checkbox", name="Workspaces")).to_be_checked()
    first.get_by_label("Members: amount").fill("32")
    preview_impact(first)
    second.bring_to_front()
    stale = second.get_by_test_id("stale")
    expect(stale).to_contain_text("Olga Berg changed this draft")
    expect(second.get_by_test_id("publish")).to_be_disabled()
    first.bring_to_front()
    first.get_by_role("button", name="Back to the draft").click()
    discard_draft(first)
    second.bring_to_front()
    expect(stale).to_contain_text("was discarded")


def test_plan_for_one_tenant_starts_as_a_draft(new_visitor: type[NewVisitor]) -> None:
    olga = new_visitor()
    olga.sign_in_as_operator("olga@bulkhead.test")
    page = olga.page
    page.goto(f"{ADMIN}/tenants")
    page.get_by_role("link", name="Globex").click()
    page.wait_for_url("**/tenants/ten_*")
    tenant = page.url.rstrip("/").rpartition("/")[2]
    open_catalog(page)
    for key in ("Not a key", "globex_pilot"):
        page.get_by_test_id("create").click() if key == "Not a key" else None
        dialog = page.get_by_role("dialog")
        dialog.get_by_label("Name").fill("Pilot")
        dialog.get_by_label("Key").fill(key)
        dialog.get_by_label("Tenant ID").fill(tenant)
        if key == "Not a key":
            olga.take_picture("catalog-create")
            assert judge_page(olga.page, "catalog-create") == []
        dialog.get_by_role("button", name="Create draft").click()
        if key == "Not a key":
            olga.expect_text("A key can have up to 40 lower-case letters")
            expect(dialog.get_by_label("Name")).to_have_value("Pilot")
    expect(page.get_by_role("heading", level=1)).to_contain_text("Pilot, draft of version 1")
    page.get_by_role("navigation", name="You are here").get_by_role("button", name="Catalog").click()
    page.get_by_role("tab", name="For one tenant").click()
    table = page.get_by_role("table", name="Offered to one tenant")
    expect(table).to_contain_text("Globex")
    expect(table).to_contain_text("Not in force yet")
    olga.take_picture("catalog-own")
    page.get_by_role("tab", name="Add-ons").click()
    expect(page.get_by_role("table", name="Add-ons")).to_contain_text("+10 seats")
    olga.take_picture("catalog-addons")
    assert judge_page(olga.page, "catalog-addons") == []


def test_wrong_fields_of_a_new_plan_are_shown_below_them(new_visitor: type[NewVisitor]) -> None:
    olga = new_visitor(PHONE)
    olga.sign_in_as_operator("olga@bulkhead.test")
    page = olga.page
    open_catalog(page)
    page.get_by_test_id("create").click()
    dialog = page.get_by_role("dialog")
    name, key = dialog.get_by_label("Name"), dialog.get_by_label("Key")
    name.fill(" ")
    key.fill("Not a key")
    dialog.get_by_label("Description").fill("Kept as it is")
    submit = dialog.get_by_role("button", name="Create draft")
    submit.click()
    expect(name).to_have_accessible_description("Enter a name.")
    expect(key).to_have_accessible_description(re.compile("A key can have up to 40 lower-case letters"))
    for field in (name, key):
        expect(field).to_have_attribute("aria-invalid", "true")
    expect(name).to_be_focused()
    expect(dialog.get_by_label("Description")).not_to_have_attribute("aria-invalid", "true")
    assert list_problems(olga, "catalog-create-wrong") == []
    name.fill("Pilot")
    submit.click()
    expect(name).not_to_have_attribute("aria-invalid", "true")
    expect(key).to_be_focused()
    submit.click()  # the same error again does not block the form
    expect(dialog.get_by_role("alert")).to_have_count(1)
    expect(dialog.get_by_label("Description")).to_have_value("Kept as it is")
    page.keyboard.press("Escape")
    page.get_by_test_id("create").click()
    expect(key).to_have_accessible_description(re.compile("You can’t change it later"))
    expect(dialog.get_by_role("alert")).to_have_count(0)


def test_dialog_opens_before_the_server_answers(new_visitor: type[NewVisitor]) -> None:
    olga = new_visitor()
    olga.sign_in_as_operator("olga@bulkhead.test")
    page, held = olga.page, HeldAnswers()
    page.route_web_socket(re.compile("/_event"), held.relay)
    open_catalog(page)
    held.is_holding = True
    page.get_by_test_id("create").click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_role("radio", name="Plan")).to_be_focused()
    dialog.get_by_label("Name").fill("Quick")
    held.release()
    dialog.get_by_label("Key").fill("Not a key")
    dialog.get_by_role("button", name="Create draft").click()
    expect(dialog.get_by_label("Key")).to_have_attribute("aria-invalid", "true")
    expect(dialog.get_by_label("Name")).to_have_value("Quick")
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    expect(page.get_by_test_id("create")).to_be_focused()


class HeldAnswers:
    """Stands between a page and the server, and can hold what the server says."""

    def __init__(self) -> None:
        self.is_holding = False
        self._answers: list[tuple[WebSocketRoute, str | bytes]] = []

    def relay(self, page_side: WebSocketRoute) -> None:
        server_side = page_side.connect_to_server()
        page_side.on_message(server_side.send)
        server_side.on_message(lambda answer: self._pass_on(page_side, answer))

    def _pass_on(self, page_side: WebSocketRoute, answer: str | bytes) -> None:
        if self.is_holding:
            self._answers.append((page_side, answer))
        else:
            page_side.send(answer)

    def release(self) -> None:
        self.is_holding = False
        for page_side, answer in self._answers:
            page_side.send(answer)


def test_catalog_is_read_only_for_support(new_visitor: type[NewVisitor]) -> None:
    sam = new_visitor()
    sam.sign_in_as_operator("sam@bulkhead.test")
    open_catalog(sam.page)
    expect(sam.page.get_by_role("button", name="New plan or add-on")).to_have_attribute(
        "aria-disabled", "true"
    )
    expect(sam.page.get_by_role("button", name=re.compile("draft of"))).to_have_count(0)
